"""The search of large programs, on small ones where the answer is known: bounds hold, nothing is dropped, time never ends in nothing."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from test_properties import question
from world import offer, port, table, work, world

from polysilicon import planner
from polysilicon.planner import resilience, search, solution
from polysilicon.planner.columns import Starts, relax
from polysilicon.planner.engine import Engine
from polysilicon.planner.resilience import failures, hardest
from polysilicon.scenario.schema import LimitsPart, SurvivePart


def whole(tables, gap_frac=1e-6):
    return planner.solve(planner.build(tables), seconds=60.0, gap_frac=gap_frac)


@pytest.fixture
def large(monkeypatch):
    """Every program is searched as a large one is."""
    monkeypatch.setattr(solution, "WHOLE_INTEGERS", 0)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("survive", [False, True])
def test_the_bound_is_below_the_optimum_and_the_plan_above(seed, survive, monkeypatch):
    tables = question(seed, survive=survive)
    best = whole(tables)
    monkeypatch.setattr(solution, "WHOLE_INTEGERS", 0)
    found = whole(tables, gap_frac=0.01)
    assert found.bound_usd <= best.objective_usd * (1 + 1e-6)
    assert found.objective_usd >= best.bound_usd * (1 - 1e-6)
    assert found.gap_frac <= 0.01 and found.status == "optimal"


@pytest.mark.parametrize("seed", range(3))
def test_the_relaxation_with_few_starts_is_that_of_the_whole(seed):
    engine = Engine(planner.build(question(seed, survive=seed == 2)))
    root = relax(engine, Starts(engine), lambda: 60.0, 0.0)
    engine.solver.integrality(engine.integer_columns, integer=False)
    engine.solver.run(60.0)
    assert root.bound_usd / engine.program.usd_unit == pytest.approx(engine.solver.objective, rel=1e-7)
    assert root.part.solver.objective == pytest.approx(engine.solver.objective, rel=1e-7)


@pytest.mark.parametrize("seed", range(3))
def test_the_bound_holds_after_the_first_round_alone(seed):
    engine = Engine(planner.build(question(seed)))
    starts = Starts(engine)
    seconds = iter((60.0, 0.0))  # one round, no time for another
    first, last = relax(engine, starts, lambda: next(seconds), 0.0), relax(engine, starts, lambda: 60.0, 0.0)
    assert not len(first.inside) and np.isfinite(first.bound_usd)
    unit = engine.program.usd_unit
    assert (
        first.bound_usd
        <= last.bound_usd * (1 + 1e-9)
        <= last.part.solver.objective * unit * (1 + 1e-8)
        <= first.part.solver.objective * unit * (1 + 1e-7)
    )


def test_no_time_still_returns_a_plan_with_its_gap(large, monkeypatch):
    tables = question(1)
    found = planner.solve(planner.build(tables), seconds=0.0, gap_frac=0.01)
    assert found.status in ("time_limit", "optimal") and np.isfinite(found.objective_usd)
    monkeypatch.setattr(search, "relax", lambda *_: SimpleNamespace(part=None, status=None))
    nothing_known = planner.solve(planner.build(tables), seconds=0.0, gap_frac=0.01)
    best = whole(tables)
    assert nothing_known.status == "time_limit" and nothing_known.objective_usd >= best.bound_usd and nothing_known.bound_usd <= best.objective_usd


def test_no_time_still_survives_what_must_be_survived(large, monkeypatch):
    """Without engines the loss of the only vendor they run on is not survived: the last resort starts them."""
    limits = LimitsPart(survive_loss_of=(SurvivePart(kind="vendor", demand_frac=0.8, from_month=6),))
    ports = (port("cuda-hopper"), port("maia", "none", cost_usd=1e5, lead_months=3.0, upkeep_usd_per_year=0.0))
    resolved = world([work(rps=100.0)], [offer("h100", 2.0), offer("maia200", 4.0)], ports=ports, months=12, limits=limits)
    tables = planner.problem(resolved, table(resolved.workloads))
    monkeypatch.setattr(search, "relax", lambda *_: SimpleNamespace(part=None, status=None))
    found = planner.solve(planner.build(tables), seconds=0.0, gap_frac=0.01)
    assert np.isfinite(found.objective_usd) and found.objective_usd >= whole(tables).objective_usd * (1 - 1e-6)


def test_a_failure_that_follows_from_a_harder_one_changes_nothing(monkeypatch):
    limits = LimitsPart(survive_loss_of=(SurvivePart(kind="cloud", demand_frac=0.9), SurvivePart(kind="vendor", demand_frac=0.9, from_month=3)))
    offers = [
        offer(chip, price, cloud=cloud, kind="reserved", min_term_months=6, block_chips=8)
        for chip, price, cloud in (("h100", 1.0, "azure"), ("h100", 1.2, "gcp"), ("trn3", 2.0, "aws"))
    ]
    resolved = world([work(rps=100.0)], offers, months=6, limits=limits)
    tables = planner.problem(resolved, table(resolved.workloads))
    stated, implied = hardest(tables)
    assert len(failures(tables)) == 5 and {f[:2] for f in stated} == {("cloud", c) for c in ("azure", "aws", "gcp")} | {("vendor", "nvidia")}
    assert list(implied) == ["surviving the loss of vendor aws for 90% of interactive demand"]
    assert implied[next(iter(implied))] == "surviving the loss of cloud aws for 90% of interactive demand"
    short = whole(tables)
    monkeypatch.setattr(resilience, "hardest", lambda t: (failures(t), {}))
    assert whole(tables).objective_usd == pytest.approx(short.objective_usd, rel=1e-6)


def test_engines_alike_by_age_share_their_columns_at_no_change_of_the_optimum(monkeypatch):
    from polysilicon.planner import constraints

    limits = LimitsPart(survive_loss_of=(SurvivePart(kind="cloud", demand_frac=0.5),))
    ports = (port("cuda-hopper"), port("maia", "none", cost_usd=2e5, upkeep_usd_per_year=0.0, lead_months=3.0, ramp_months=3.0))
    offers = [offer("h100", 2.0), offer("h100", 2.5, cloud="aws"), offer("maia200", 1.0)]
    resolved = world([work(rps=100.0, growth_per_year_frac=0.5)], offers, ports=ports, months=21, limits=limits)
    tables = planner.problem(resolved, table(resolved.workloads))
    shared = planner.build(tables)
    best = whole(tables)
    alike = constraints._alike

    def apart(program):
        alike(program)
        program.alike = {(k, y): (k,) for k in range(len(tables.candidates)) for y in range(len(tables.periods))}
        return {}

    monkeypatch.setattr(constraints, "_alike", apart)
    longer = planner.build(tables)
    assert longer.model.nvars > shared.model.nvars and any(len(ports) > 1 for ports in shared.alike.values())
    assert whole(tables).objective_usd == pytest.approx(best.objective_usd, rel=1e-6)
