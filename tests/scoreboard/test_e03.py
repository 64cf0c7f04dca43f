"""E03: a power purchase agreement: price, megawatts, start, carbon, on a site and in the cost of a rack."""

from pytest import approx

from polysilicon.cloud.site import Site
from polysilicon.economics.cost import Rack, chip_hour, vary
from polysilicon.economics.energy import PowerPurchase, blended_power


def test_the_site_pays_the_blend_from_the_agreement_on():
    nuclear = PowerPurchase(96.0, 60.0, "2028-01-01", g_co2_per_kwh=12.0)
    site = Site("crane", "azure", "eastus", it_mw=100.0, pue=1.2, usd_per_kwh=0.09, g_co2_per_kwh=380.0)
    before, after = (
        blended_power(site.it_mw, [nuclear], day, pue=site.pue, grid_usd_per_kwh=site.usd_per_kwh, grid_g_per_kwh=site.g_co2_per_kwh)
        for day in ("2027-12-31", "2028-01-01")
    )
    assert before == (0.09, 380.0)
    assert after == approx(((96 * 0.06 + 24 * 0.09) / 120, (96 * 12 + 24 * 380) / 120))


def test_the_rack_pays_the_blend():
    half = chip_hour(vary(Rack(), {"ppa_frac": 0.5, "ppa_usd_per_mwh": 50.0}))
    assert half.power_usd / chip_hour(Rack()).power_usd == approx(60 / 70)
