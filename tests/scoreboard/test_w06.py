"""W06: a port's spending against its savings; the running sum crosses zero at a computed month."""

from polysilicon.economics.lockin import port_budget
from polysilicon.report.money_charts import lines


def test_crossing():
    spent = [25e6 / 9] * 9 + [8e6 / 12] * 27
    saved = [0.0] * 9 + [2e6] * 27
    found = port_budget(spent, saved)
    assert found.crosses_after_months == 28  # 25 M$ at 2 - 0.667 M$ a month from the tenth month: 18.75 months
    assert found.cumulative_usd[27] >= 0 > found.cumulative_usd[26]
    rows = [{"when": i + 1, "what": "saved less spent", "value": usd} for i, usd in enumerate(found.cumulative_usd)]
    assert len(lines(rows, title="$", when="quantitative")["data"]["values"]) == 36


def test_a_port_that_never_pays():
    assert port_budget([10.0] * 3, [1.0] * 3).crosses_after_months is None
