"""Working days and week-ends apart: demand adds up to the same week, and work that may wait a day stays on its side of Friday."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from world import offer, table, work, world

from polysilicon import planner
from polysilicon.application.workload import Slo
from polysilicon.planner.ramps import steps

WEEK = (("day", 60 / 7, 1.0), ("night", 60 / 7, 1.0), ("day off", 24 / 7, 1.0), ("night off", 24 / 7, 1.0))


def question(*, deadline_h=24.0, weekend=(False, False, True, True), batch_rps=6.0):
    waits = replace(work("batch", rps=batch_rps, batch=True), slo=Slo(deadline_s=deadline_h * 3600.0))
    resolved = world([work(rps=10.0), waits], [offer("h100", 2.0)], blocks=WEEK, weekend=weekend)
    resolved = replace(resolved, demand_rps={"chat": np.array([14.0, 14.0, 0.0, 0.0]), "batch": np.full(4, batch_rps)},
                       peak_rps={"chat": np.array([14.0, 14.0, 0.0, 0.0]), "batch": np.full(4, batch_rps)})  # fmt: skip
    return planner.problem(resolved, table(resolved.workloads))


def done(tables):
    """Return chips busy with what may wait, by load block."""
    program, solution, _ = planner.solved(tables, gap_frac=1e-6)
    flows = program.flows
    mine = flows.workload == 1
    return np.bincount(flows.slot[mine], (solution.values[flows.label] * flows.chips * program.chip_unit)[mine], minlength=4) * tables.slot_hours


def test_work_that_may_wait_a_day_is_mostly_done_on_its_side_of_the_week_end():
    tables = question()
    hours = done(tables)
    arrives = 6.0 * tables.slot_hours
    share = 1.0 - 24.0 / 84.0
    assert hours.sum() == pytest.approx(arrives.sum())
    assert hours[:2].sum() >= share * arrives[:2].sum() * (1 - 1e-9) and hours[2:].sum() >= share * arrives[2:].sum() * (1 - 1e-9)


def test_work_that_may_wait_a_week_is_not_bound_to_either():
    tables = question(deadline_h=7 * 24.0)
    assert "deferral" not in planner.build(tables).rows
    assert "deferral" in planner.build(question()).rows and "deferral" not in planner.build(question(weekend=())).rows


def test_each_representative_day_is_a_ring_of_its_own():
    first, second, _ = steps(question())
    assert {frozenset((int(a), int(b))) for a, b in zip(first, second, strict=True)} == {frozenset((0, 1)), frozenset((2, 3))}


def test_a_scenario_with_quiet_week_ends_plans_both_and_keeps_its_mean(tmp_path):
    from polysilicon.scenario import catalogue_for, embedded_text, load, resolve

    text = embedded_text("minimal")
    file = tmp_path / "s.yaml"
    file.write_text(text)
    scenario = load(file)
    alike = resolve(scenario, catalogue_for(scenario))
    parts = tuple(w.model_copy(update={"traffic": w.traffic.model_copy(update={"weekend_to_weekday_ratio": 0.3})}) for w in scenario.workloads)
    apart = resolve(scenario.model_copy(update={"workloads": parts}), catalogue_for(scenario))
    assert len(apart.hours) == 2 * len(alike.hours) and apart.weekend == (*[False] * len(alike.hours), *[True] * len(alike.hours))
    for one, two in zip(alike.periods, apart.periods, strict=True):
        assert sum(h for _, h, _ in two.blocks) == pytest.approx(one.hours)
        assert sum(h for n, h, _ in two.blocks if n.endswith("week-end")) == pytest.approx(one.hours * 2 / 7)
        for work_id, rps in apart.demand_rps.items():
            hours = np.array([h for _, h, _ in two.blocks])
            before = np.array([h for _, h, _ in one.blocks])
            assert rps[two.index] @ hours == pytest.approx(alike.demand_rps[work_id][one.index] @ before)
            half = len(alike.hours)
            assert rps[two.index][half:] == pytest.approx(0.3 * rps[two.index][:half])
