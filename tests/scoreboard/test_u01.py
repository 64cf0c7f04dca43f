"""U01: make or buy: a small buyer is told to use an API, by arithmetic and by the planner."""

from audited import planner_world
from pytest import approx

from polysilicon import planner
from polysilicon.cloud.offer import Offer
from polysilicon.economics.tokens import make_or_buy

TERMS = {"api_usd_per_mtok": 2.0, "usd_per_chip_hour": 3.0, "tok_per_s_per_chip": 1000.0, "staff_usd_per_month": 30_000.0}


def test_break_even_volume():
    small = make_or_buy(500, **TERMS)
    assert (small.answer, small.api_usd_per_month, small.own_usd_per_month) == ("API", 1000, 47_520)
    assert small.break_even_mtok == float("inf")  # a block costs 17,520 $ and carries 8,410 Mtok a month: 2.08 $/Mtok, above the API
    dear = make_or_buy(500, **{**TERMS, "api_usd_per_mtok": 5.0})
    assert dear.break_even_mtok == approx((30_000 + 2 * 17_520) / 5)  # 13,008 Mtok: more than one block carries, less than two
    assert make_or_buy(13_000, **{**TERMS, "api_usd_per_mtok": 5.0}).answer == "API"
    assert make_or_buy(13_100, **{**TERMS, "api_usd_per_mtok": 5.0}).answer == "own chips"


def test_the_planner_gives_the_small_buyer_an_api():
    w = planner_world()

    def chips(rps):
        chat = w.work(rps=rps)
        api = Offer("api", "anthropic", "global", "", "per_token", None, model="m", usd_per_mtok_in=3.0, usd_per_mtok_out=15.0)
        block = w.offer("h100", 3.0, kind="reserved", block_chips=8)
        plan = planner.plan(w.world([chat], [api, block]), w.table([chat]), gap_frac=1e-6)
        return sum(p.chips for p in plan.placements if p.chip)

    assert chips(0.0005) == 0 and chips(50.0) > 0
