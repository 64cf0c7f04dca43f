"""R10: a build-out by quarter: 500-1,000 racks are 60-120 MW; drawn by quarter."""

from pytest import approx

from polysilicon.economics.energy import ramp_mw
from polysilicon.report.money_charts import lines


def test_ramp_and_chart():
    racks = [125, 250, 375, 500, 625, 750, 875, 1000]
    assert [ramp_mw([r], rack_kw=120)[0] for r in (500, 1000)] == approx([60, 120])
    megawatts = ramp_mw(racks, rack_kw=120, pue=1.2)
    rows = [{"when": f"{2026 + i // 4}-{3 * (i % 4) + 1:02d}-01", "what": "facility", "value": mw} for i, mw in enumerate(megawatts)]
    assert lines(rows, title="MW")["data"]["values"][-1]["value"] == approx(144)
