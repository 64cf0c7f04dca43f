"""Drawn futures, the hedge at size, and the same figures in one process, in several, and on a cluster of two nodes."""

from __future__ import annotations

import importlib.util
from datetime import date

import numpy as np
import pytest
from test_uncertainty import futures, tables
from world import CHIPS, offer, table, work, world

from polysilicon import planner
from polysilicon.parallel import run_all
from polysilicon.planner import uncertainty as u
from polysilicon.planner.futures import Doubt, cost_and_unserved, draw, hedged, spread


def test_the_same_seed_draws_the_same_futures_and_another_seed_others():
    question = tables()
    one, same, other = (draw(question, count=6, seed=s) for s in (3, 3, 4))
    demand = [np.array([f.tables.demand_rps.sum() for f in fs]) for fs in (one, same, other)]
    assert np.array_equal(demand[0], demand[1]) and not np.allclose(demand[0], demand[2])
    assert [f.tables.offers for f in one] == [f.tables.offers for f in same]
    assert sum(f.probability_frac for f in one) == pytest.approx(1.0)


def test_demand_widens_with_time_about_a_mean_that_stays_and_signed_terms_keep_their_price():
    question = tables()
    drawn = draw(question, count=2000, seed=1, doubt=Doubt(demand_volatility_frac=0.4))
    factor = np.array([f.tables.demand_rps[0] / question.demand_rps[0] for f in drawn])
    assert factor[:, 0] == pytest.approx(1.0)  # today is known
    assert factor.mean(axis=0) == pytest.approx(1.0, abs=0.05) and (np.diff(factor.std(axis=0)) > 0).all()
    years = np.arange(factor.shape[1]) * 0.25
    assert np.log(factor).std(axis=0) == pytest.approx(0.4 * np.sqrt(years), rel=0.1)
    usd = {o.id: o.usd_per_chip_hour for o in question.offers}
    for future in drawn[:10]:
        now = {o.id: o.usd_per_chip_hour for o in future.tables.offers}
        assert now["terms"] == usd["terms"] and now["azure-h100-on_demand"] != usd["azure-h100-on_demand"]


def test_a_chip_that_is_late_is_late_everywhere_and_only_if_it_is_not_shipping():
    from dataclasses import replace

    chips = {**CHIPS, "maia200": replace(CHIPS["maia200"], available_from=date(2026, 7, 1))}
    resolved = world([work(rps=10.0)], [offer("h100", 2.0), offer("maia200", 1.0), offer("maia200", 1.1, cloud="aws")], months=24, chips=chips)
    drawn = draw(planner.problem(resolved, table(resolved.workloads)), count=40, seed=2, doubt=Doubt(slip_probability_frac=0.5, slip_months=6))
    days = {tuple(o.available_from for o in f.tables.offers) for f in drawn}
    assert days == {("", "", ""), ("", "2027-01-01", "2027-01-01")}


def test_ports_fixed_one_after_another_come_within_the_gap_of_the_whole_search(monkeypatch):
    worlds = futures()
    whole = u.two_stage(worlds, cvar_weight=0.5, gap_frac=1e-6)
    monkeypatch.setattr(u, "WHOLE_INTEGERS", 0)
    found = u.two_stage(worlds, cvar_weight=0.5, gap_frac=1e-6)
    assert found.bound_usd <= whole.objective_usd * (1 + 1e-6) and found.objective_usd >= whole.bound_usd * (1 - 1e-6)
    assert found.objective_usd == pytest.approx(whole.objective_usd, rel=0.02) and found.bound_usd > 0.9 * whole.objective_usd


def test_the_hedge_is_no_worse_than_todays_plan_and_never_beats_knowing():
    found = hedged(tables(), count=4, seed=5)
    hedge, today = found.decisions
    assert found.bound_usd <= found.objective_usd * (1 + 1e-9)
    assert found.objective_usd <= 0.5 * today.expected_usd + 0.5 * today.cvar_usd + 1e-3 * abs(found.objective_usd)
    assert found.knowing_usd <= hedge.expected_usd * (1 + 1e-3) and all(d.cvar_usd >= d.expected_usd * (1 - 1e-9) for d in found.decisions)
    assert all(d.most_regret_usd >= -1e-3 * found.knowing_usd for d in found.decisions)
    assert found.first_year and all(value is None or value >= 0 for _, value in found.options)


def test_two_vendors_spread_the_cost_less_than_one():
    resolved = world([work(rps=100.0)], [offer("h100", 2.0), offer("trn3", 3.0, cloud="aws")], months=3)
    both, *alone = spread(planner.problem(resolved, table(resolved.workloads)), count=100, seed=1, volatility=0.3)
    assert {s.name for s in alone} == {"aws alone", "nvidia alone"} and all(s.unserved_frac == 0 for s in alone)
    assert both.sd_usd < np.mean([s.sd_usd for s in alone]) and both.mean_usd < min(s.mean_usd for s in alone)


def test_processes_hedge_as_one_process_does():
    assert hedged(tables(), count=4, seed=5, workers=2) == hedged(tables(), count=4, seed=5)


def cost_on_a_node(question):
    import ray

    return ray.get_runtime_context().get_node_id(), cost_and_unserved(question)


@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="the extra `ray` is not installed")
@pytest.mark.filterwarnings("ignore")
def test_two_ray_nodes_plan_as_one_process_does():
    from ray.cluster_utils import Cluster

    question, worlds = tables(), futures()
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    try:
        cluster.add_node(num_cpus=1)
        cluster.wait_for_nodes()
        there = run_all(cost_on_a_node, [f.tables for f in worlds] * 2, backend="ray", address=cluster.address)
        regret = u.regret(worlds[:2], backend="ray", address=cluster.address)
        hedge = hedged(question, count=4, seed=5, backend="ray", address=cluster.address)
    finally:
        cluster.shutdown()
    assert len({node for node, _ in there}) == 2  # both nodes worked
    assert [found for _, found in there] == [cost_and_unserved(f.tables) for f in worlds] * 2
    assert regret == u.regret(worlds[:2]) and hedge == hedged(question, count=4, seed=5)


def test_everything_a_hedge_is_compared_with_counts_blocks_alike():
    """Racks of 72 for half a rack's work: whole ones for knowing and parts for the hedge would make ignorance the cheaper."""
    resolved = world([work(rps=30.0)], [offer("h100", 2.0, block_chips=72), offer("gb200", 5.0, block_chips=72, cloud="aws")], months=12)
    found = hedged(planner.problem(resolved, table(resolved.workloads)), count=4, seed=2)
    assert found.knowing_usd <= min(d.expected_usd for d in found.decisions) * (1 + 1e-3)


def test_what_goes_unserved_at_no_stated_loss_has_no_dollars():
    """Without one vendor's engines nothing serves, and nobody said what that costs: the option's worth is unknown, not billions."""
    resolved = world([work(rps=30.0)], [offer("h100", 2.0), offer("trn3", 2.5, cloud="aws", max_chips=5.0)], months=12)
    found = hedged(planner.problem(resolved, table(resolved.workloads)), count=2, seed=2)
    worth = dict(found.options)
    assert worth["aws"] is None and worth["nvidia"] is not None
    alone = {s.name: s for s in found.spreads}
    assert alone["aws alone"].mean_usd is None and alone["aws alone"].unserved_frac > 0.5 and alone["nvidia alone"].mean_usd is not None
