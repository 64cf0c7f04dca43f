"""F07: cost of ownership: the layers of a chip-hour sum to the rack's year."""

from pytest import approx

from polysilicon.economics.cost import Rack, chip_hour, vary, yearly_usd


def test_totals_reconcile():
    rack = vary(Rack(), {"network_usd": 3e5, "staff_usd": 4e4, "carbon_kg_per_mwh": 350.0, "carbon_usd_per_tonnes": 80.0, "resale_frac": 0.1})
    cost, year = chip_hour(rack), sum(yearly_usd(rack).values())
    sold = rack.chips * 8760 * rack.sold_frac
    assert cost.total_usd * sold == approx(year, rel=1e-12)
    assert year / 12 * 12 == approx(cost.full_usd * rack.chips * 8760)


def test_the_published_base():
    cost = chip_hour(Rack())
    assert [round(x, 2) for x in (cost.it_usd, cost.site_usd, cost.opex_usd, cost.total_usd)] == [1.67, 0.61, 0.33, 2.78]
    assert round(cost.power_usd, 3) == 0.165  # told as 0.17
