"""Training blocks compete for chips: by hand, in one place or several, within power, paused in an emergency, told apart in the cost."""

from __future__ import annotations

from datetime import date

import pytest
from world import CHIPS, offer, table, work, world

from polysilicon import planner
from polysilicon.cloud.site import Site
from polysilicon.errors import Infeasible
from polysilicon.planner.answer import plan_of
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
