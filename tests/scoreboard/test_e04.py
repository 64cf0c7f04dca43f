"""A carbon price of 100 $/t changes which site is cheaper."""

from toy import offer, solve, work, world

from polysilicon.cloud.site import Site


def cloud(tax):
    sites = (Site("coal", "azure", "eastus", pue=1.2, g_co2_per_kwh=900.0, usd_per_tonne_co2=tax),
             Site("hydro", "aws", "eastus", pue=1.2, g_co2_per_kwh=20.0, usd_per_tonne_co2=tax))
    found = solve(world([work(rps=100.0)], [offer("h100", 2.00), offer("h100", 2.05, cloud="aws")], sites=sites))
    return {p.cloud for p in found.placements}, found.energy_usd


def test_e04():
    assert cloud(0.0) == ({"azure"}, 0.0)
    places, energy = cloud(100.0)
    assert places == {"aws"} and energy > 0
