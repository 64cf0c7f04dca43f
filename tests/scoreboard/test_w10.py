"""An offer that includes its own chips against one based on Nvidia's, with the port it needs counted in."""

import pytest
from toy import offer, port, tables, work, world

from polysilicon.planner.thresholds import compare_offers


def test_w10():
    maia = port("maia", "none", cost_usd=5e5, lead_months=3.0, initial_efficiency_frac=1.0, ramp_months=0.0)
    ports = (port("cuda-blackwell"), port("cuda-hopper"), maia)
    sheets = [offer("maia200", 2.0, id="maia-sheet"), offer("gb200", 4.5, id="nvidia-sheet", cloud="aws")]
    offers = [*sheets, offer("h100", 3.0, cloud="gcp", id="today")]
    found = compare_offers(tables(world([work(rps=500.0)], offers, ports=ports, months=12)), "maia-sheet", "nvidia-sheet")
    quarter, rest = 90 * 24.0, (365 - 90) * 24.0
    assert found.b_usd == pytest.approx(500 / 3 * 4.5 * (quarter + rest), rel=1e-3)
    assert found.a_usd == pytest.approx(500 * 3.0 * quarter + 500 / 2 * 2.0 * rest + 5e5, rel=1e-3)
    assert found.both_usd < min(found.a_usd, found.b_usd)
