"""What must hold for any question: monotone in prices and suppliers, scale-free, dual, equal to brute force, one bill."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from world import CHIPS, offer, point, port, work, world

from polysilicon import planner
from polysilicon.cloud.contract import Contract, DiscountTier
from polysilicon.planner.answer import plan_of
from polysilicon.planner.resolve import Asker
from polysilicon.planner.search import port_columns
from polysilicon.planner.usage import recomputed_usd
from polysilicon.scenario.schema import LimitsPart, SurvivePart

BLOCKS = (("peak", 6.0, 1.5), ("day", 10.0, 1.0), ("night", 8.0, 0.6))


def question(seed, *, ports=True, contracts=True, survive=False):
    rng = np.random.default_rng(seed)
    works = [
        work("chat", rps=float(rng.uniform(50, 500)), peak=1.5, growth_per_year_frac=0.3),
        work("code", rps=float(rng.uniform(20, 200)), peak=1.3),
        work("batch", rps=float(rng.uniform(10, 100)), batch=True),
    ]
    offers = []
    for cloud, chips in (("azure", ("h100", "gb200", "maia200")), ("aws", ("h100", "trn3"))):
        for chip in chips:
            price = {"h100": 2.5, "gb200": 6.0, "maia200": 3.0, "trn3": 2.2}[chip] * float(rng.uniform(0.8, 1.2))
            offers.append(offer(chip, round(price, 3), cloud=cloud, max_chips=float(rng.integers(200, 1000))))
            offers.append(offer(chip, round(price * 0.6, 3), cloud=cloud, kind="reserved", min_term_months=12, block_chips=8, max_chips=2000.0))
    pairs = [port("cuda-hopper"), port("cuda-blackwell")]
    if ports:
        pairs += [
            port(f, "none", cost_usd=2e6, upkeep_usd_per_year=2e5, lead_months=3.0, initial_efficiency_frac=0.7, ramp_months=6.0)
            for f in ("maia", "neuron")
        ]
    macc = Contract("macc", "azure", "committed_spend", "2026-01-01", "2027-01-01", commit_usd=2e6, discount_tiers=(DiscountTier(0.0, 0.05),))
    limits = LimitsPart(survive_loss_of=(SurvivePart(kind="cloud", demand_frac=0.8),) if survive else ())
    w = world(works, offers, ports=pairs, months=12, blocks=BLOCKS, discount=0.1, contracts=(macc,) if contracts else (), limits=limits)
    speed = {c: s * float(rng.uniform(0.8, 1.2)) for c, s in {"h100": 1.0, "gb200": 3.0, "maia200": 2.0, "trn3": 1.5}.items()}
    return planner.problem(w, {(k.id, c): point(k.id, c, s) for k in works for c, s in speed.items()})


def optimum(tables):
    return Asker(tables).ask().usd


def divisible(tables):
    """Return the optimum were blocks divisible: what is sold whole does not scale."""
    asker = Asker(tables)
    asker.engine.solver.integrality(np.setdiff1d(asker.engine.integer_columns, port_columns(asker.engine)), integer=False)
    return asker.ask().usd


@settings(max_examples=3, deadline=None)
@given(st.integers(0, 10**6))
def test_more_ports_never_hurt_and_a_tighter_limit_never_helps(seed):
    with_ports, without = question(seed), question(seed, ports=False)
    base = optimum(with_ports)
    slack = 5e-4 * base
    assert base <= optimum(without) + slack
    for limit in ({"cloud_share_max_frac": 0.7}, {"cloud_hhi_max_frac": 0.6}, {"vendor_share_max_frac": 0.9}):
        tighter = replace(with_ports, limits=with_ports.limits.model_copy(update=limit))
        assert optimum(tighter) >= base - slack


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 10**6))
def test_a_cheaper_offer_never_raises_and_a_removed_supplier_never_lowers_the_optimum(seed):
    tables = question(seed)
    base = optimum(tables)
    slack = 5e-4 * base
    assert optimum(tables.repriced({tables.offers[seed % len(tables.offers)].id: 0.8})) <= base + slack
    assert optimum(tables.without(cloud=("azure", "aws")[seed % 2])) >= base - slack
    fewer = replace(tables, arcs=tuple(a for a in tables.arcs if a.port < 0))
    assert optimum(fewer) >= base - slack


@settings(max_examples=5, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([0.01, 20.0]))
def test_scaling_demand_limits_and_fixed_costs_scales_the_bill(seed, k):
    tables = question(seed, contracts=False)
    base = divisible(tables)
    larger = replace(
        tables,
        demand_rps=tables.demand_rps * k,
        peak_rps=tables.peak_rps * k,
        offers=tuple(replace(o, max_chips=None if o.max_chips is None else o.max_chips * k) for o in tables.offers),
        candidates=tuple(replace(c, cost_usd=c.cost_usd * k, upkeep_usd_per_year=c.upkeep_usd_per_year * k) for c in tables.candidates),
    )
    assert divisible(larger) == pytest.approx(base * k, rel=1e-3)


@settings(max_examples=6, deadline=None)
@given(st.integers(0, 10**6), st.booleans())
def test_the_objective_is_the_sum_of_the_bills_to_the_cent(seed, survive):
    tables = question(seed, survive=survive)
    program, solution, _ = planner.solved(tables, gap_frac=1e-3)
    assert recomputed_usd(program, solution) == pytest.approx(solution.objective_usd, abs=0.01, rel=1e-9)
    found = plan_of(program, solution, seconds={})
    assert not any("differs" in note for note in found.notes)
    assert found.bound_usd <= found.objective_usd + 0.01
    for y in range(4):
        for w in tables.workloads:
            share = sum(p.share_frac for p in found.placements if p.workload == w.id and p.period == y)
            assert share == pytest.approx(1.0, abs=1e-4)


def test_strong_duality_and_finite_differences():
    tables = question(3, ports=False, contracts=False)
    program, solution, _ = planner.solved(tables, gap_frac=1e-6)
    rows = program.rows["demand"]
    row = int(np.argmax(program.demand_requests))
    dual = float(solution.duals[rows.labels[row]])
    asker = Asker(tables, program=program)
    engine = asker.engine
    integers = engine.integer_columns
    fixed = np.round(solution.values[engine.columns[integers]])
    engine.solver.bounds(integers, fixed, fixed)
    before = asker.ask().usd
    engine.solver.highs.changeRowBounds(int(engine.row_of[rows.labels[row]]), 1.0 + 1e-5, 1.0 + 1e-5)
    assert (asker.ask().usd - before) / 1e-5 == pytest.approx(dual, rel=1e-3)
    lp = engine.solver.highs.getLp()
    assert before == pytest.approx(solution.objective_usd, rel=1e-9) and lp.num_row_ > 0


def test_equals_brute_force_over_ports_and_blocks():
    works = [work(rps=60.0)]
    offers = [offer("h100", 2.5), offer("gb200", 3.0, kind="reserved", min_term_months=12, block_chips=8, max_chips=16.0)]
    resolved = world(works, offers, months=6)
    speed = {(works[0].id, "h100"): point("chat", "h100", 1.0), (works[0].id, "gb200"): point("chat", "gb200", 3.0)}
    found = planner.plan(resolved, speed, gap_frac=0.0)
    hours = [90 * 24.0, 91 * 24.0]
    best = min(
        sum(8 * held * 3.0 * h + max(0.0, 60.0 - 3.0 * 8 * held) * 2.5 * h for held, h in zip((first, first + second), hours, strict=True))
        for first in range(3)
        for second in range(3 - first)
    )
    assert found.objective_usd == pytest.approx(best)


def test_time_that_is_too_short_still_gives_a_plan_with_its_gap():
    tables = question(5)
    program, solution, _ = planner.solved(tables, seconds=0.01, gap_frac=0.0)
    assert np.isfinite(solution.objective_usd) and solution.bound_usd <= solution.objective_usd
    assert plan_of(program, solution, seconds={}).gap_frac >= 0.0


def test_duals_of_degenerate_worlds_are_finite():
    tables = question(9)
    _, solution, _ = planner.solved(tables)
    assert np.isfinite(solution.duals).all()


def test_chips_of_the_world_have_families():
    assert {c.family for c in CHIPS.values()} == {"cuda-hopper", "cuda-blackwell", "maia", "neuron"}
