"""Infeasible is an answer: the smallest set of limits that clash, and how much each would have to give."""

from __future__ import annotations

from dataclasses import dataclass

import highspy
import numpy as np

from polysilicon.errors import Infeasible
from polysilicon.planner.build import never_there
from polysilicon.planner.engine import Engine
from polysilicon.planner.problem import F8, I8
from polysilicon.planner.program import Program

TOLERANCE = 1e-6
LARGE = 30_000  # columns, from which the interior point method is quicker


@dataclass(frozen=True, slots=True)
class Clash:
    """One of the limits that cannot all hold, and the least change of it alone that would let a plan exist."""

    words: str
    give: str  # with unit; empty where no change of this limit alone helps
    alone: bool = False  # it clashes with nothing else: no purchase whatever keeps it


@dataclass(frozen=True, slots=True)
class Group:
    """All rows of one stated limit."""

    words: str
    unit: str
    size: float
    rows: I8  # of the HiGHS model
    slack: I8  # columns
    scale: F8  # relative weight of each row's slack


def explain(program: Program) -> Infeasible | None:
    """Return the error that names the clash, or None if all demand can be served within all limits.

    Every stated limit gets slack. The duals of the least total slack point at rows that clash; a deletion filter over
    the limits they belong to leaves a set of which each member is needed.
    """
    if program.impossible:
        alone = [
            Clash(words, _amount(missing, unit) + (f": nothing that is left could serve {of}" if of else ""), alone=True)
            for words, (missing, unit, of) in sorted(program.impossible.items())
        ]
        return _error(program, alone)
    engine, groups = _elastic(program)
    everything = set(range(len(groups)))
    first = _least_slack(engine, groups, everything)
    if first is None:
        words = "limits clash, and the time was too short to find the smallest set of them"
        return Infeasible(words, where=program.tables.name, hint="ask about a shorter horizon or fewer offers first")
    total, weights = first
    if total <= TOLERANCE:
        return None
    suspects = {g for g in everything if weights[g] > 1e-12} or everything
    if not _clash(engine, groups, suspects):
        suspects = everything
    for g in sorted(suspects, key=lambda g: weights[g]):
        if len(suspects) > 1 and _clash(engine, groups, suspects - {g}):
            suspects = suspects - {g}
    kept = sorted(suspects, key=lambda g: groups[g].words)
    return _error(program, [Clash(groups[g].words, _give(engine, groups, set(kept), g)) for g in kept])


def _clash(engine: Engine, groups: list[Group], enforced: set[int]) -> bool:
    """Return whether limits clash among themselves, all others being free; what time does not settle counts as no clash."""
    found = _least_slack(engine, groups, enforced)
    return found is not None and found[0] > TOLERANCE


def _elastic(program: Program) -> tuple[Engine, list[Group]]:
    engine = Engine(program)
    engine.solver.integrality(engine.integer_columns, integer=False)
    engine.solver.options(solver="ipm" if len(engine.columns) > LARGE else "simplex")
    unserved = engine.column_of[program.blocks["unserved"]]
    stated = np.array([program.tables.unserved_usd_per_mtok[w] is not None for w in program.demand_workload], bool)
    engine.solver.bounds(unserved, np.zeros(len(unserved)), np.where(stated, 1.0, 0.0))
    count = engine.solver.highs.getNumCol()
    engine.solver.highs.changeColsCost(count, np.arange(count, dtype=np.int32), np.zeros(count))
    grouped: dict[str, list[tuple[int, str, float, float]]] = {}
    for block in program.rows.values():
        for i, words in enumerate(block.words):
            scale = max(abs(float(block.rhs[i])), 1e-3) if block.unit != "share of demand" else 1.0
            grouped.setdefault(words, []).append((int(engine.row_of[block.labels[i]]), block.unit, block.size, scale))
    groups = []
    lower = np.array(engine.solver.highs.getLp().row_lower_)
    for words, members in grouped.items():
        columns = []
        for row, _, _, _ in members:
            sign = 1.0 if np.isfinite(lower[row]) else -1.0  # a >= row or a balance lacks; a <= row has too much
            engine.solver.highs.addCol(0.0, 0.0, highspy.kHighsInf, 1, np.array([row], np.int32), np.array([sign]))
            columns.append(engine.solver.highs.getNumCol() - 1)
        groups.append(
            Group(
                words,
                members[0][1],
                members[0][2],
                np.array([m[0] for m in members], np.int64),
                np.array(columns, np.int64),
                np.array([m[3] for m in members]),
            )
        )
    return engine, groups


def _least_slack(engine: Engine, groups: list[Group], enforced: set[int]) -> tuple[float, F8] | None:
    """Return the least relative slack of the enforced limits, all others being free, and how much each limit weighs in it.

    None where time ran out.
    """
    for g, group in enumerate(groups):
        cost = 1.0 / group.scale if g in enforced else np.zeros(len(group.slack))
        engine.solver.highs.changeColsCost(len(group.slack), group.slack.astype(np.int32), cost)
    if engine.solver.run(120.0) != highspy.HighsModelStatus.kOptimal:
        return None
    duals = np.abs(np.asarray(engine.solver.highs.getSolution().row_dual, float))
    return engine.solver.objective, np.array([float((duals[g.rows] * g.scale).sum()) for g in groups])


def _give(engine: Engine, groups: list[Group], clash: set[int], g: int) -> str:
    """Return the least that one limit must give for the others of the clash to hold; empty where it alone cannot.

    A limit is one number wherever it applies: the largest of its slacks is made least, t >= slack, not their sum.
    """
    highs, slack = engine.solver.highs, groups[g].slack
    for i, group in enumerate(groups):
        _free_slack(engine, group, free=i not in clash or i == g)
        highs.changeColsCost(len(group.slack), group.slack.astype(np.int32), np.zeros(len(group.slack)))
    highs.addCol(1.0, 0.0, highspy.kHighsInf, 0, np.empty(0, np.int32), np.empty(0))
    most, first = highs.getNumCol() - 1, highs.getNumRow()
    for column in slack:
        highs.addRow(-highspy.kHighsInf, 0.0, 2, np.array([column, most], np.int32), np.array([1.0, -1.0]))
    solved = engine.solver.run(120.0) == highspy.HighsModelStatus.kOptimal
    least = float(engine.solver.point()[most]) if solved else 0.0
    highs.deleteRows(len(slack), np.arange(first, first + len(slack), dtype=np.int32))
    highs.deleteCols(1, np.array([most], np.int32))
    for group in groups:
        _free_slack(engine, group, free=True)
    return _amount(least * groups[g].size, groups[g].unit) if solved else ""


def _free_slack(engine: Engine, group: Group, *, free: bool) -> None:
    count = len(group.slack)
    top = np.full(count, highspy.kHighsInf if free else 0.0)
    engine.solver.highs.changeColsBounds(count, group.slack.astype(np.int32), np.zeros(count), top)


def _amount(value: float, unit: str) -> str:
    if unit == "share of demand":
        return f"{value:.1%} of it"
    return f"{value:,.4g} {unit}"


def _works(clash: Clash) -> list[str]:
    """Return the workloads that a clash is about by name."""
    name = clash.words.removeprefix("the demand of workload ")
    if name != clash.words:
        return [name]
    return clash.give.partition("could serve ")[2].split(", ") if clash.alone and "could serve " in clash.give else []


def _error(program: Program, clashes: list[Clash]) -> Infeasible:
    tables = program.tables
    head = (
        "this limit" if len(clashes) == 1 else f"any of these {len(clashes)} limits" if clashes[0].alone else f"these {len(clashes)} limits together"
    )
    lines = [f"no plan satisfies {head}:"]
    for clash in clashes:
        lines.append(f"  - {clash.words}" + (f"; it would have to give {clash.give}" if clash.give else ""))
        for name in _works(clash):
            lines += [f"      closed to {name}: {reason}" for reason in tables.excluded.get(name, ())[:6]]
    if any(clash.words.startswith("the demand of workload ") for clash in clashes):
        lines += [f"      too late: {words}" for words in never_there(tables)[:6]]
        lines += ["      nothing is on offer"] if not tables.offers and not tables.token_offers and not tables.contracts else []
    hint = "loosen one of them by the amount named, or state unserved_usd_per_mtok for a workload that may go unserved"
    error = Infeasible("\n".join(lines), where=tables.name, hint=hint)
    error.clashes = tuple(clashes)  # type: ignore[attr-defined]
    return error
