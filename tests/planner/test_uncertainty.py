"""Decisions under uncertainty: bounds that must hold, tails that get shorter, purchases that stay bought."""

from __future__ import annotations

import pytest
from world import offer, port, table, work, world

from polysilicon import planner
from polysilicon.planner import uncertainty as u


def tables(rps=100.0, **more):
    resolved = world(
        [work(rps=rps)],
        [offer("h100", 3.0), offer("h100", 1.5, cloud="aws", kind="reserved", min_term_months=24, id="terms"), offer("maia200", 2.0)],
        ports=(port("cuda-hopper"), port("maia", "none", cost_usd=5e5, lead_months=6.0)),
        months=24,
        discount=0.1,
        **more,
    )
    return planner.problem(resolved, table(resolved.workloads))


def futures():
    base = tables()
    return [
        u.scaled(base, "low", 0.4, demand=0.3),
        u.scaled(base, "middle", 0.4),
        u.scaled(base, "high", 0.2, demand=2.5, prices={"azure-h100-on_demand": 1.6}),
    ]


def test_wait_and_see_is_below_the_hedge_and_the_hedge_below_any_single_plan():
    worlds = futures()
    hedge = u.two_stage(worlds)
    knowing = u.expected_alone(worlds)
    assert knowing <= hedge.expected_usd * (1 + 1e-3)
    for future in worlds:
        first = u.first_stage(future.tables)
        cost = sum(f.probability_frac * u.cost_of(f.tables, first) for f in worlds)
        assert hedge.expected_usd <= cost * (1 + 1e-3)
    assert hedge.bound_usd <= hedge.objective_usd + 1.0
    assert hedge.expected_usd == pytest.approx(hedge.objective_usd, rel=1e-6)


def test_weight_on_the_tail_shortens_it():
    worlds = futures()
    neutral, careful = u.two_stage(worlds, alpha_frac=0.8), u.two_stage(worlds, cvar_weight=0.9, alpha_frac=0.8)
    assert careful.cvar_usd <= neutral.cvar_usd * (1 + 1e-6) and careful.expected_usd >= neutral.expected_usd * (1 - 1e-3)


def test_regret_is_nil_on_the_diagonal_and_nowhere_negative():
    table_ = u.regret(futures()[:2])
    for decided, row in table_.items():
        assert row[decided] == pytest.approx(0.0, abs=1.0)
        assert all(v >= -1e-3 * 1e6 for v in row.values())


def test_probabilities_must_sum_to_one():
    with pytest.raises(ValueError, match="sum to"):
        u.two_stage(futures()[:2])


def test_processes_find_what_one_process_finds():
    worlds = futures()
    assert u.expected_alone(worlds, workers=2) == u.expected_alone(worlds)
    assert u.regret(worlds[:2], workers=2) == u.regret(worlds[:2])


def test_suppliers_shared_out_over_processes_are_worth_the_same():
    from polysilicon.planner import leverage

    question = tables()
    one, two = leverage.negotiate(question), leverage.negotiate(question, workers=2)
    assert len(one) > 2 and one == two
