"""What is sold whole is bought from the price at which the whole of it pays, not its first chip."""

from __future__ import annotations

import pytest
from world import offer, table, work, world

from polysilicon import planner
from polysilicon.planner import stress
from polysilicon.planner.blocks import whole_blocks
from polysilicon.planner.resolve import Asker
from polysilicon.planner.thresholds import entry_prices


def asked(rack):
    resolved = world([work(rps=30.0)], [offer("h100", 2.0), rack])
    tables = planner.problem(resolved, table(resolved.workloads))
    program, solution, _ = planner.solved(tables, seconds=20.0)
    return program, solution


@pytest.mark.parametrize("terms", [{}, {"kind": "reserved", "min_term_months": 3}], ids=["by the hour", "for a term"])
def test_a_rack_is_bought_from_what_the_whole_of_it_saves(terms):
    # 30 requests/s keep 30 H100 busy, $60 an hour; a GB200 does three times as much, but comes in racks of 72: 60 / 72 = $0.833
    rack = {"id": "rack", "block_chips": 72, **terms}
    program, solution = asked(offer("gb200", 2.0, **rack))
    (whole,) = whole_blocks(program, solution, entry_prices(program, solution))
    assert whole.threshold == pytest.approx(60.0 / 72.0) and whole.now == 2.0
    assert "sold by 72" in whole.words
    for price, bought in ((0.99 * whole.threshold, True), (1.01 * whole.threshold, False)):
        program, solution = asked(offer("gb200", price, **rack))
        assert ("rack" not in [t.what for t in entry_prices(program, solution)]) is bought


def test_a_chip_sold_alone_is_worth_what_it_replaces():
    program, solution = asked(offer("gb200", 7.0, id="rack"))
    (whole,) = whole_blocks(program, solution, entry_prices(program, solution))
    assert whole.threshold == pytest.approx(6.0)  # three H100


def test_a_small_plans_what_ifs_buy_whole_blocks_as_the_plan_does():
    resolved = world([work(rps=30.0)], [offer("h100", 2.0), offer("gb200", 2.0, id="rack", block_chips=72)])
    tables = planner.problem(resolved, table(resolved.workloads))
    _, solution, _ = planner.solved(tables, seconds=20.0)
    base = Asker(tables).ask()
    assert base.usd == pytest.approx(solution.objective_usd)  # half a rack would have been cheaper
    assert all(shock.delta_usd >= -1e-6 for shock in stress.standard(tables) if shock.is_priced)


def test_a_seller_of_tokens_can_fail_and_raise_its_prices_too():
    api = offer("", None, cloud="sellers", region="global", kind="per_token", id="api", model="m", usd_per_mtok_in=1.0, usd_per_mtok_out=1.0)
    resolved = world([work(rps=1.0)], [api, offer("gb200", 9.0, block_chips=72)])
    named = {s.name: s for s in stress.standard(planner.problem(resolved, table(resolved.workloads)))}
    assert named["cloud sellers out for 30 days"].delta_usd > 0
    assert named["cloud sellers at 1.2 times its price"].delta_usd > 0


def test_what_ifs_of_a_small_fleet_count_whole_racks_however_many_offers_there_are(monkeypatch):
    """3 chips of work, racks of 72: a what-if that cuts racks would compare with a plan nobody can buy."""
    from polysilicon.planner import resolve

    rack = [offer("gb200", 4.0, region=r, block_chips=72) for r in ("eastus", "westus", "northeurope")]
    resolved = world([work(rps=9.0)], rack)
    question = planner.problem(resolved, table(resolved.workloads))
    plan = planner.plan_problem(question, gap_frac=1e-6)
    monkeypatch.setattr(resolve, "WHOLE_INTEGERS", 0)  # as with hundreds of offers
    asker = Asker(question)
    base = asker.ask()
    assert base.usd == pytest.approx(plan.objective_usd) and not asker.divides_blocks
    assert "divisible" not in asker.compared_with(base.usd)
    monkeypatch.setattr(resolve, "counts_blocks", lambda _tables: False)
    large = Asker(question)
    assert large.divides_blocks == bool(len(large.engine.integer_columns))
