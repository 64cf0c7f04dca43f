"""N06: from $/Mtok to gross margin, step by step; the steps sum."""

from pytest import approx

from polysilicon.economics.tokens import waterfall
from polysilicon.report.money_charts import waterfall as chart


def test_steps_sum_and_a_dollar_saved_drops_to_margin():
    before = waterfall(10.0, {"compute": 4.0, "support": 1.0})
    after = waterfall(10.0, {"compute": 3.0, "support": 1.0})
    assert before[0][2] + sum(b - a for _, a, b in before[1:-1]) == approx(before[-1][2]) == approx(5.0)
    assert after[-1][2] - before[-1][2] == approx(1.0)
    assert [v["step"] for v in chart(before, title="$")["data"]["values"]] == ["price", "compute", "support", "gross margin"]
