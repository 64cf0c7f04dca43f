"""P02: written-off chips put a floor under tier-two prices; drawn against the projected price."""

from audited import run
from pytest import approx

from polysilicon.economics.cost import Rack, chip_hour, floor_usd_per_chip_hour
from polysilicon.economics.price_history import projected_usd_per_mtok
from polysilicon.economics.tokens import usd_per_mtok
from polysilicon.report.money_charts import lines


def test_floor_is_cash_cost():
    rack = Rack()
    assert floor_usd_per_chip_hour(rack, age_years=5) == approx(chip_hour(rack).cash_usd)
    assert floor_usd_per_chip_hour(rack, age_years=1) > floor_usd_per_chip_hour(rack, age_years=6)


def test_chart_of_floor_and_price():
    floor = usd_per_mtok(floor_usd_per_chip_hour(Rack(), age_years=6), 500.0)
    rows = [{"when": m, "what": "price, if it halves in 10 months", "value": projected_usd_per_mtok(4.0, m, 10.0)} for m in range(0, 61, 6)]
    rows += [{"when": m, "what": "floor", "value": floor} for m in range(0, 61, 6)]
    crossing = next(m for m in range(120) if projected_usd_per_mtok(4.0, m, 10.0) < floor)
    assert 40 < crossing < 46  # 10 x log2(4 / 0.234)
    assert lines(rows, title="$/Mtok", when="quantitative")["data"]["values"][-1]["value"] == approx(0.2337, abs=1e-3)


def test_the_page_of_prices_draws_both(tmp_path):
    out = run("prices", "claude-opus", "--tok-per-s", "500", "-o", str(tmp_path / "p.html")).stdout
    assert "written-off chips can serve down to 0.234" in out
    page = (tmp_path / "p.html").read_text()
    assert "Written-off chips can serve down to 0.234" in page and page.count("<svg") == 1 and "A scenario, not a fact" in page
