"""F08: gross margin by quarter with bands; many silicons against one."""

import json

from audited import example
from audited import run as command

from polysilicon.economics.kpi import margin_fan
from polysilicon.economics.uncertainty import run
from polysilicon.report.money_charts import fan


def test_more_silicons_never_narrow_the_margin():
    settings = {"years": 3.0, "price_fall": (0.0, 0.3, 0.6), "margin_frac": 0.5}
    one = margin_fan(cost_falls=[(0.0, 0.25, 0.4)], **settings)
    many = margin_fan(cost_falls=[(0.0, 0.25, 0.4), (0.0, 0.25, 0.4), (0.1, 0.3, 0.5)], **settings)
    assert len(one) == 13 and one[0][1:] == many[0][1:] == (0.5, 0.5, 0.5)
    assert all(m[2] >= o[2] for o, m in zip(one, many, strict=True)) and many[-1][1] > one[-1][1]


def test_chart_of_the_deals_margin():
    spread = run(example(), draws=64)
    spec = fan(spread.margin_fan, title="gross margin")
    assert {"p10", "p50", "p90"} <= set(spec["data"]["values"][0])
    assert all(s.p10 <= s.p50 <= s.p90 for _, s in spread.margin_fan)


def test_outlook_on_the_page_and_in_numbers(tmp_path):
    out = json.loads(command("lockin", "--json", "-o", str(tmp_path / "l.html")).stdout)["margin_outlook"]
    assert out["one"][0][1:] == out["two"][0][1:] == [0.5, 0.5, 0.5] and len(out["one"]) == 13
    assert all(b[k] >= a[k] for a, b in zip(out["one"], out["two"], strict=True) for k in (1, 2, 3)) and out["two"][-1][2] > out["one"][-1][2]
    page = (tmp_path / "l.html").read_text()
    assert "Gross margin, p10 to p90" in page and "Assumed falls" in page
