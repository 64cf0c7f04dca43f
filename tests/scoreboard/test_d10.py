"""D10: a library of deals with sources, ranked by comparable units; letters are never summed with contracts."""

import json

from audited import run
from pytest import approx

from polysilicon.economics.library import library, totals


def test_deals_have_sources_and_compare():
    deals = library()
    assert len(deals) >= 25 and all(d.source and d.status and d.uncertain for d in deals)
    by_id = {d.id: d for d in deals}
    assert by_id["anthropic-aws"].usd_per_gw_year == approx(2e9)
    assert by_id["microsoft-iren"].usd_per_gw_year == approx(9.7e9 / 0.75 / 5)
    assert by_id["openai-amd"].usd_per_gw_year is None


def test_letters_goals_and_restated_rows_stay_out_of_totals():
    deals = library()
    without = [d for d in deals if d.group != "letter" and d.status not in ("goal", "talks", "letter") and not d.same_as]
    assert totals(deals) == totals(without)
    assert "letter" not in totals(deals) and totals(deals)["commitment"] < 1e12


def test_ranking_command():
    out = json.loads(run("deals", "--rank", "usd-per-gw-year", "--json").stdout)
    prices = [d["usd_per_gw_year"] for d in out["deals"] if d["usd_per_gw_year"]]
    assert len(prices) >= 4 and prices == sorted(prices, reverse=True)
