"""N01: who keeps what of a token's price, layer by layer; the layers sum to it."""

from audited import run
from pytest import approx

from polysilicon.economics.tokens import margin_stack
from polysilicon.report.money_charts import stack
from polysilicon.report.sheet import sankey


def test_totals_match():
    layers = margin_stack(15.0, mtok_per_chip_hour=2.0, rent_usd_per_chip_hour=3.0)
    assert sum(layers.values()) == approx(15.0) and len(layers) == 8
    values = stack(layers, title="$/Mtok")["data"]["values"]
    assert sum(v["usd"] for v in values) == approx(15.0)
    drawn = sankey([("token price", name, usd) for name, usd in layers.items() if usd > 0], unit="$/Mtok")
    assert drawn.count("<path") == sum(usd > 0 for usd in layers.values())


def test_the_page_of_costs_shows_it(tmp_path):
    run("tco", "--tok-per-s", "10000:800", "--api", "3@500", "--draws", "64", "-o", str(tmp_path / "t.html"))
    page = (tmp_path / "t.html").read_text()
    assert "Who keeps what of a token" in page and "sum to the price, 3 $/Mtok" in page
