"""Training blocks compete for chips: by hand, in one place or several, within power, paused in an emergency, told apart in the cost."""

from __future__ import annotations

import math
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st
from world import CHIPS, offer, table, work, world

from polysilicon import planner
from polysilicon.cloud.site import Site
from polysilicon.errors import Infeasible
from polysilicon.planner.answer import plan_of
from polysilicon.planner.training import efficiency
from polysilicon.report.figures import waterfall
from polysilicon.scenario.schema import LimitsPart, SurvivePart, TrainingPart

HOURS = 90 * 24.0


def block(chips=60.0, *, start="2026-01-01", end="2026-04-01", **more):
    given = {"id": "pretrain", "chips": chips, "on": ("h100",), "start": date.fromisoformat(start), "end": date.fromisoformat(end)}
    return TrainingPart(**{**given, **more})


def solve(*blocks, offers=None, **more):
    offers = offers or [offer("h100", 2.0, max_chips=100.0), offer("h100", 4.0, cloud="aws")]
    resolved = world([work(rps=50.0)], offers, training=blocks, **more)
    return planner.plan(resolved, table(resolved.workloads), gap_frac=1e-6)


def test_a_block_leaves_fewer_chips_for_inference_by_hand():
    """60 of 100 cheap chips train, so 10 of the 50 that serve are bought elsewhere: $240/h against $100/h without."""
    assert solve().objective_usd == pytest.approx(100.0 * HOURS)
    found = solve(block())
    assert found.objective_usd == pytest.approx((60 * 2 + 40 * 2 + 10 * 4) * HOURS)
    assert [(b.run, b.cloud, b.chips) for b in found.training] == [("pretrain", "azure", pytest.approx(60.0))]
    assert sum(p.usd for p in found.placements) + sum(b.usd for b in found.training) == pytest.approx(found.bill_usd)


def test_the_cost_tells_training_from_inference_and_adds_up():
    found = solve(block())
    steps = {s.layer: s.usd for s in waterfall(found)}
    assert steps["Training"] == pytest.approx(120.0 * HOURS) and steps["Inference"] + steps["Training"] == pytest.approx(steps["Total"])


def test_one_place_or_several():
    small = [offer("h100", 2.0, max_chips=50.0), offer("h100", 4.0, cloud="aws", max_chips=200.0)]
    together, spread = solve(block(), offers=small), solve(block(one_place=False), offers=small)
    assert {b.cloud for b in together.training} == {"aws"}
    assert sum(b.chips for b in spread.training) == pytest.approx(60.0) and spread.objective_usd <= together.objective_usd + 1e-6


def test_it_holds_chips_in_every_period_it_touches_and_no_other():
    found = solve(block(start="2026-03-15", end="2026-07-02"), months=12)
    assert {b.period for b in found.training} == {0, 1, 2}


def test_training_fills_a_utilisation_cap_no_further():
    """Chips that train are not half idle: 60 train, 50 serve at a cap of 80 %, so 60 + 62.5 are held."""
    found = solve(block(), offers=[offer("h100", 2.0)], limits=LimitsPart(utilisation_max_frac=0.8))
    assert sum(h.peak_chips for h in found.holdings) == pytest.approx(122.5)


def test_power_counts_it_and_an_emergency_pauses_it():
    site = Site("east", "azure", "eastus", it_mw=1.0, usd_per_kwh=0.1, pue=1.0)
    with_block, without = solve(block(), sites=(site,)), solve(sites=(site,))
    extra_mwh = (with_block.energy_usd - without.energy_usd) / 100.0
    assert extra_mwh == pytest.approx(60 * CHIPS["h100"].all_in_w / 1e6 * HOURS - 10 * 700 / 1e6 * HOURS, rel=0.01)  # 10 served elsewhere
    limits = LimitsPart(utilisation_max_frac=1.0, survive_loss_of=(SurvivePart(kind="cloud", demand_frac=1.0),))
    capped = [offer("h100", 2.0, max_chips=100.0), offer("h100", 4.0, cloud="aws", max_chips=60.0)]
    assert solve(block(), offers=capped, limits=limits).training  # after losing aws, the block's 60 chips serve


def test_too_few_chips_name_the_block():
    with pytest.raises(Infeasible, match="the chips of training pretrain"):
        solve(block(), offers=[offer("h100", 2.0, max_chips=100.0)])
    with pytest.raises(Infeasible, match="the chips of training pretrain"):
        solve(block(on=("gb200",)))


def test_its_chips_have_the_same_price_as_anybody_s():
    resolved = world([work(rps=50.0)], [offer("h100", 2.0, max_chips=100.0), offer("h100", 4.0, cloud="aws")], training=(block(),))
    program, solution, _ = planner.solved(planner.problem(resolved, table(resolved.workloads)), gap_frac=1e-6)
    worth = {p.limit: p.usd for p in plan_of(program, solution, seconds={}).shadow_prices}
    assert worth["chip-hour:h100@azure/eastus"] == pytest.approx(4.0)


SPOT = {"kind": "spot", "interruptions_per_hour": 0.001}


def test_training_on_spot_takes_more_chips_by_what_interruptions_cost():
    """60 chips, each reclaimed 0.001 times an hour: L = 0.06; T = 1 h, C = 0.1 h, R = 0.5 h."""
    useful = 0.06 * math.exp(-0.5 * 0.06) / math.expm1(1.1 * 0.06)
    found = solve(block(checkpoint_every_hours=1.0, checkpoint_hours=0.1, restart_hours=0.5), offers=[offer("h100", 1.0, **SPOT), offer("h100", 4.0)])
    assert sum(b.chips for b in found.training) == pytest.approx(60.0 / useful)
    assert found.objective_usd == pytest.approx((60.0 / useful + 50.0 / (1 - 0.001 * 0.25)) * HOURS)
    assert any(a.subject == "training pretrain on azure-h100-spot" and f"{useful:.1%}" in a.value for a in found.assumptions)
    assert found.objective_usd == pytest.approx(found.bill_usd)


def test_spot_that_is_reclaimed_too_often_is_not_trained_on_though_it_is_half_the_price():
    often = {**SPOT, "interruptions_per_hour": 0.05}  # 3 an hour for the block: 13 % of the time makes progress
    found = solve(block(), offers=[offer("h100", 1.0, **often, max_chips=1e4), offer("h100", 2.0)])
    assert sum(b.chips for b in found.training) == pytest.approx(60.0)
    assert found.objective_usd == pytest.approx((60.0 * 2.0 + 50.0 / (1 - 0.05 * 0.25)) * HOURS)


def test_training_that_stays_does_not_stand_on_spot():
    """100 steady chips and any number of spot: 60 train on steady ones, the 50 that serve are split."""
    often = {**SPOT, "interruptions_per_hour": 2.0}
    found = solve(block(), offers=[offer("h100", 1.0, **often), offer("h100", 1.5, max_chips=70.0)])
    assert found.objective_usd == pytest.approx((70.0 * 1.5 + 40.0 / 0.5) * HOURS)


def test_a_block_in_one_place_may_stand_on_both_kinds_there_and_nowhere_else():
    offers = [offer("h100", 1.0, **SPOT, max_chips=90.0), offer("h100", 3.0), offer("h100", 1.2, cloud="aws", max_chips=30.0)]
    found = solve(block(), offers=offers)
    assert {b.cloud for b in found.training} == {"azure"} and found.objective_usd == pytest.approx(found.bill_usd)


@given(rate=st.floats(0, 5), every=st.floats(0.1, 24), cost=st.floats(0, 1), restart=st.floats(0, 2))
def test_efficiency_is_a_share_that_falls_with_every_loss_and_is_best_near_youngs_interval(rate, every, cost, restart):
    def e(r=rate, c=cost, s=restart, t=every):
        return efficiency(r, every_hours=t, checkpoint_hours=c, restart_hours=s)

    assert 0.0 <= e() <= 1.0
    assert e(r=rate + 0.1) <= e() + 1e-12 and e(c=cost + 0.1) <= e() + 1e-12 and e(s=restart + 0.1) <= e() + 1e-12
    if 0 < rate * cost < 0.02:
        assert e(t=None) >= 0.98 * e()
