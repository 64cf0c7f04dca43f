"""What is sold whole is bought from the price at which the whole of it pays, not its first chip."""

from __future__ import annotations

import pytest
from world import offer, table, work, world

from polysilicon import planner
from polysilicon.planner.blocks import whole_blocks
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
