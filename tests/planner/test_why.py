"""The reason a workload runs somewhere: never nothing against nothing, and true to what chips and tokens cost there."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from world import offer, table, work, world

from polysilicon import planner
from polysilicon.planner import prices
from polysilicon.scenario.schema import LimitsPart


def solve(resolved):
    return planner.plan(resolved, table(resolved.workloads), gap_frac=1e-6)


def test_the_next_best_place_is_priced_at_what_it_asks_even_where_nothing_is_held():
    found = solve(world([work(rps=100.0)], [offer("h100", 2.0), offer("gb200", 5.0)]))
    (placed,) = found.placements
    here, best = (float(x) for x in re.findall(r"([\d.]+) \$/Mtok; .*would cost ([\d.]+)", placed.why)[0])
    assert placed.chip == "gb200" and "h100@" in placed.why
    assert best / here == pytest.approx(2.0 * 3 / 5.0, rel=0.01)  # a GB200 serves three times an H100's requests


def test_capacity_that_is_paid_for_says_so_and_no_reason_compares_zeros():
    held = offer("gb200", 3.0, kind="reserved", min_term_months=12, block_chips=50)
    found = solve(world([work(rps=100.0)], [held, offer("h100", 9.0)]))
    (placed,) = [p for p in found.placements if p.chip == "gb200" and p.period == 0]
    assert placed.why.startswith("already paid for: one more token costs nothing until it is full; the next best place, h100@")
    assert re.search(r"would cost 0\.\d*[1-9]\d* \$/Mtok$|would cost [1-9]", placed.why)


def test_a_dearer_place_in_use_names_the_cheaper_one_that_is_full():
    found = solve(world([work(rps=100.0)], [offer("h100", 2.0), offer("gb200", 5.0, max_chips=20.0)]))
    reasons = {p.chip: p.why for p in found.placements}
    assert "alike" in reasons["h100"] and "alike" in reasons["gb200"]  # a full place is worth what spilling over costs


def test_a_cap_on_vendors_is_said_once():
    cloud = LimitsPart(cloud_share_max_frac=0.6, utilisation_max_frac=1.0)
    found = solve(world([work(rps=100.0)], [offer("gb200", 5.0), offer("gb200", 6.0, cloud="aws", region="us-east-2")], limits=cloud))
    said = [p.words for p in found.shadow_prices if "-share:" in p.limit]
    assert said
    assert all(words.count("cloud") == 1 for words in said)


def test_worth_in_a_period_with_demand_unserved_that_nobody_priced_is_marked():
    resolved = world([work(rps=100.0)], [offer("h100", 2.0)], months=6)
    program, solution, _ = planner.solved(planner.problem(resolved, table(resolved.workloads)), gap_frac=1e-6)
    assert all(p.is_priced for p in prices.shadow_prices(program, solution))
    values = solution.values.copy()
    values[program.blocks["unserved"][program.demand_period == 1]] = 0.01
    marked = {(p.period, p.is_priced) for p in prices.shadow_prices(program, replace(solution, values=values)) if p.period is not None}
    assert marked == {(0, True), (1, False)}
