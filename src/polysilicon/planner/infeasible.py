"""Infeasible is an answer: the smallest set of limits that clash, and how much each would have to give."""

from __future__ import annotations

from dataclasses import dataclass

import highspy
import numpy as np

from polysilicon.errors import Infeasible
from polysilicon.planner.build import never_there
from polysilicon.planner.problem import F8, I8
from polysilicon.planner.program import Program
from polysilicon.planner.solution import Engine

TOLERANCE = 1e-6
LARGE = 30_000  # columns, from which the interior point method is quicker


@dataclass(frozen=True, slots=True)
class Clash:
    """One of the limits that cannot all hold, and the least change of it alone that would let a plan exist."""

    words: str
    give: str  # with unit; empty where no change of this limit alone helps


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
        clashes = [Clash(words, "") for words in sorted(program.impossible)]
        return _error(program, clashes)
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
    engine.integrality(engine.integer_columns, integer=False)
    engine.options(solver="ipm" if len(engine.columns) > LARGE else "simplex")
    unserved = engine.column_of[program.blocks["unserved"]]
    stated = np.array([program.tables.unserved_usd_per_mtok[w] is not None for w in program.demand_workload], bool)
    engine.bounds(unserved, np.zeros(len(unserved)), np.where(stated, 1.0, 0.0))
    count = engine.highs.getNumCol()
    engine.highs.changeColsCost(count, np.arange(count, dtype=np.int32), np.zeros(count))
    grouped: dict[str, list[tuple[int, str, float, float]]] = {}
    for block in program.rows.values():
        for i, words in enumerate(block.words):
            scale = max(abs(float(block.rhs[i])), 1e-3) if block.unit != "share of demand" else 1.0
            grouped.setdefault(words, []).append((int(engine.row_of[block.labels[i]]), block.unit, block.size, scale))
    groups = []
    lower = np.array(engine.highs.getLp().row_lower_)
    for words, members in grouped.items():
        columns = []
        for row, _, _, _ in members:
            sign = 1.0 if np.isfinite(lower[row]) else -1.0  # a >= row or a balance lacks; a <= row has too much
            engine.highs.addCol(0.0, 0.0, highspy.kHighsInf, 1, np.array([row], np.int32), np.array([sign]))
            columns.append(engine.highs.getNumCol() - 1)
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
        engine.highs.changeColsCost(len(group.slack), group.slack.astype(np.int32), cost)
    if engine.run(120.0) != highspy.HighsModelStatus.kOptimal:
        return None
    duals = np.abs(np.asarray(engine.highs.getSolution().row_dual, float))
    return engine.objective, np.array([float((duals[g.rows] * g.scale).sum()) for g in groups])


def _give(engine: Engine, groups: list[Group], clash: set[int], g: int) -> str:
    """Return the least that one limit must give for the others of the clash to hold; empty where it alone cannot."""
    for i, group in enumerate(groups):
        _free_slack(engine, group, free=i not in clash or i == g)
        cost = np.full(len(group.slack), 1.0 if i == g else 0.0)
        engine.highs.changeColsCost(len(group.slack), group.slack.astype(np.int32), cost)
    solved = engine.run(120.0) == highspy.HighsModelStatus.kOptimal
    slack = engine.point()[groups[g].slack] if solved else np.zeros(1)
    for group in groups:
        _free_slack(engine, group, free=True)
    return _amount(float(slack.max()) * groups[g].size, groups[g].unit) if solved else ""


def _free_slack(engine: Engine, group: Group, *, free: bool) -> None:
    count = len(group.slack)
    top = np.full(count, highspy.kHighsInf if free else 0.0)
    engine.highs.changeColsBounds(count, group.slack.astype(np.int32), np.zeros(count), top)


def _amount(value: float, unit: str) -> str:
    if unit == "share of demand":
        return f"{value:.1%} of it"
    return f"{value:,.4g} {unit}"


def _error(program: Program, clashes: list[Clash]) -> Infeasible:
    tables = program.tables
    lines = [f"no plan satisfies these {len(clashes)} limits together:" if len(clashes) > 1 else "no plan satisfies this limit:"]
    for clash in clashes:
        lines.append(f"  - {clash.words}" + (f"; it would have to give {clash.give}" if clash.give else ""))
        name = clash.words.removeprefix("the demand of workload ")
        if name != clash.words:
            lines += [f"      closed to {name}: {reason}" for reason in tables.excluded.get(name, ())[:6]]
    if any(clash.words.startswith("the demand of workload ") for clash in clashes):
        lines += [f"      too late: {words}" for words in never_there(tables)[:6]]
        lines += ["      nothing is on offer"] if not tables.offers and not tables.token_offers and not tables.contracts else []
    hint = "loosen one of them by the amount named, or state unserved_usd_per_mtok for a workload that may go unserved"
    error = Infeasible("\n".join(lines), where=tables.name, hint=hint)
    error.clashes = tuple(clashes)  # type: ignore[attr-defined]
    return error
