"""N06: from $/Mtok to gross margin, step by step; the steps sum."""

from itertools import pairwise

from pytest import approx

from polysilicon.report.charts import steps
from polysilicon.report.figures import Step, price_steps


def test_steps_sum_and_a_dollar_saved_drops_to_margin():
    before = price_steps(10.0, [Step("compute", 4.0), Step("support", 1.0)])
    after = price_steps(10.0, [Step("compute", 3.0), Step("support", 1.0)])
    assert before[0].usd + sum(s.usd for s in before if not s.total) == approx(before[-1].usd) == approx(5.0)
    assert after[-1].usd - before[-1].usd == approx(1.0)


def test_the_chart_ends_where_the_sum_does():
    made = price_steps(10.0, [Step("compute", 4.0), Step("support", 1.0)])
    (bars,) = steps(made, gain=True)["datasets"].values()
    assert [v["layer"] for v in bars] == ["Price", "compute", "support", "Margin"]
    for previous, bar in pairwise(bars[:-1]):
        assert bar["begin"] == approx(previous["end"])
    assert bars[-1]["begin"] == 0.0 and bars[-1]["end"] == approx(bars[-2]["end"]) == approx(5.0)
