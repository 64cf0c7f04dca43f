"""A05: the token price at which an application breaks even, and a chart of it."""

from pytest import approx

from polysilicon.economics.finance import viable_price_usd_per_mtok
from polysilicon.report.money_charts import lines


def test_closed_form_and_chart():
    assert viable_price_usd_per_mtok(0.05, 20_000, 0.01) == approx(2.0)
    assert viable_price_usd_per_mtok(0.01, 20_000, 0.02) == 0.0
    rows = [{"when": t, "what": "5 cents a task", "value": viable_price_usd_per_mtok(0.05, t)} for t in (1_000, 10_000, 100_000)]
    assert [r["value"] for r in lines(rows, title="$/Mtok", when="quantitative")["data"]["values"]] == approx([50, 5, 0.5])
