"""One bill: what the solver added up is what the contracts bill, to the cent, on every example and embedded scenario; hours as load blocks."""

from __future__ import annotations

from pathlib import Path

import pytest
from world import offer, table, work, world

from polysilicon import planner
from polysilicon.planner.answer import plan_of
from polysilicon.planner.usage import recomputed_usd
from polysilicon.scenario import catalogue_for, embedded_text, load, load_text, resolve
from polysilicon.study.serving import serving_table

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted(p for p in (ROOT / "examples").glob("*.yaml") if p.read_text().lstrip("#").find("workloads:") > 0)


def asked(name):
    if name.suffix:
        scenario = load(name)
        return resolve(scenario, catalogue_for(scenario))
    from polysilicon import catalogue

    known = catalogue.load()
    return resolve(load_text(embedded_text(name.name), "s.yaml", known), known)


@pytest.mark.parametrize("name", [*EXAMPLES, Path("minimal"), Path("enterprise"), Path("frontier_lab")], ids=lambda p: p.stem)
def test_the_objective_is_the_sum_of_bills_ports_and_energy(name):
    resolved = asked(name)
    points = serving_table(resolved, margin_quantile=0.5)
    tables = planner.problem(resolved, points.points, phases=points.phases)
    program, solution, _ = planner.solved(tables, seconds=10.0, gap_frac=0.05)
    plan = plan_of(program, solution, seconds={})
    assert abs(recomputed_usd(program, solution) - solution.objective_usd) < 0.005 + 1e-9 * abs(solution.objective_usd)
    assert plan.bill_usd == pytest.approx(sum(line.total_usd for line in plan.contracts), abs=0.005)
    assert not any("the solver's total differs" in note for note in plan.notes)


def test_a_representative_day_by_the_hour():
    """24 load blocks are the day hour by hour: the merit order is held in each, and the bill is the sum over hours by hand."""
    shape = [0.4] * 8 + [1.0] * 8 + [1.6] * 8
    hours = tuple((f"h{i:02}", 1.0, f) for i, f in enumerate(shape))
    resolved = world([work(rps=100.0, peak=1.6)], [offer("h100", 2.0, max_chips=100.0), offer("h100", 3.0, cloud="aws")], blocks=hours)
    found = planner.plan(resolved, table(resolved.workloads), gap_frac=1e-9)
    by_hand = sum(2.0 * min(100 * f, 100) + 3.0 * max(100 * f - 100, 0.0) for f in shape) * 90
    assert len(resolved.periods[0].blocks) == 24 and found.bill_usd == pytest.approx(by_hand, rel=1e-6)


def test_a_scenario_may_ask_for_every_hour():
    from polysilicon import catalogue

    known = catalogue.load()
    text = embedded_text("minimal").replace("horizon:\n", "horizon:\n  blocks: 24\n", 1).replace("horizon: {", "horizon: {blocks: 24, ", 1)
    resolved = resolve(load_text(text, "s.yaml", known), known)
    assert [hours for _, hours, _ in resolved.periods[0].blocks] == pytest.approx([resolved.periods[0].hours / 24] * 24)
