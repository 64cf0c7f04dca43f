"""K10: 1 GW at 120 kW a rack and PUE 1.0 is 8,333 racks, 600,000 GPUs; PUE changes it."""

from audited import run
from pytest import approx

from polysilicon.economics.energy import capacity, facility_gw_for_chips


def test_gigawatt():
    one = capacity(1.0, rack_kw=120, rack_chips=72, tok_per_s_per_chip=1000)
    assert (round(one.racks), round(one.chips)) == (8333, 600_000)
    assert one.tokens_per_month == approx(600_000 * 1000 * 730 * 3600)
    assert round(capacity(1.0, rack_kw=120, rack_chips=72, pue=1.2).chips) == 500_000
    assert facility_gw_for_chips(500_000, rack_kw=120, rack_chips=72, pue=1.2) == approx(1.0)


def test_command():
    assert "8,333 racks = 600,000 chips" in run("tco", "--set", "pue=1.0").stdout
