"""The planner: from one scenario to a dated portfolio, with prices and a proven bound."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from polysilicon.errors import Infeasible
from polysilicon.performance import ServingPoint
from polysilicon.planner import answer, infeasible, notes
from polysilicon.planner.assembly import build
from polysilicon.planner.build import problem
from polysilicon.planner.engine import Progress
from polysilicon.planner.problem import Problem
from polysilicon.planner.program import Program, counts_blocks
from polysilicon.planner.solution import Solution, solve
from polysilicon.portfolio import Plan

__all__ = ["Plan", "Problem", "Program", "Solution", "build", "plan", "plan_problem", "planned", "problem", "solve"]


def plan(
    resolved: Any,
    table: Mapping[tuple[str, str], ServingPoint],
    *,
    headroom_frac: Mapping[str, float] | None = None,
    existing: Mapping[str, Sequence[float]] | None = None,
    seconds: float = 60.0,
    gap_frac: float = 0.01,
    progress: Progress | None = None,
) -> Plan:
    """Return the cheapest portfolio that serves all demand within all limits, as far as the time lets it be found.

    `table[workload, chip]` is the serving point to size with, `headroom_frac` extra capacity by workload, `existing` chips
    already signed by offer and period. The plan says how far it may be from the best (`gap_frac`, `bound_usd`).

    Raises: Infeasible naming the smallest set of clashing limits; InputErrors for impossible numbers; MissingFact.
    """
    return plan_problem(
        problem(resolved, table, headroom_frac=headroom_frac, existing=existing),
        seconds=seconds,
        gap_frac=gap_frac,
        progress=progress,
    )


def plan_problem(tables: Problem, *, seconds: float = 60.0, gap_frac: float = 0.01, progress: Progress | None = None) -> Plan:
    """Return the plan of a problem already laid out in tables.

    Raises: Infeasible as `plan` does.
    """
    return planned(tables, seconds=seconds, gap_frac=gap_frac, progress=progress)[0]


def planned(tables: Problem, *, seconds: float = 60.0, gap_frac: float = 0.01, progress: Progress | None = None) -> tuple[Plan, Program, Solution]:
    """Return the plan of a problem with the program and solution it was read from, for whoever asks them further.

    Raises: Infeasible as `plan` does.
    """
    program, solution, clock = solved(tables, seconds=seconds, gap_frac=gap_frac, progress=progress)
    return answer.plan_of(program, solution, seconds=clock, notes=notes.of(program, solution)), program, solution


def solved(
    tables: Problem, *, seconds: float = 60.0, gap_frac: float = 0.01, progress: Progress | None = None
) -> tuple[Program, Solution, dict[str, float]]:
    """Return program, solution and seconds spent; demand nobody priced is served, or the clash is explained.

    Raises: Infeasible as `plan` does.
    """
    began = time.monotonic()
    program = build(tables, integer_rent=counts_blocks(tables))
    built = time.monotonic() - began
    solution = solve(program, seconds=seconds, gap_frac=gap_frac, progress=progress)
    if solution.status == "infeasible" or program.impossible or (len(solution.values) and _missing(program, solution)):
        error = infeasible.explain(program)
        if error is not None:
            raise error
        if solution.status == "optimal" and _deterred_frac(program, solution) > 2.0 * max(gap_frac, 1e-6):
            raise _only_whole(program, solution)
    if not len(solution.values):
        why = "whole blocks and ports leave no plan, though fractions of them would" if solution.status == "infeasible" else "none was found in time"
        raise Infeasible(why, where=tables.name, hint="give the solver more time, or loosen a limit")
    return program, solution, {"build": built, "solve": time.monotonic() - began - built, **solution.seconds}


def _deterred_frac(program: Program, solution: Solution) -> float:
    """Return the share of a plan's cost that is our own deterrent for unserved demand nobody priced.

    Less than the gap asked for is what a search that may stop there leaves over, and is told beside the plan.
    """
    nobody = np.array([program.tables.unserved_usd_per_mtok[w] is None for w in program.demand_workload], bool)
    usd = program.unserved_usd * program.discount[program.demand_period] * answer.unserved_frac(program, solution)
    return float(usd[nobody].sum()) / max(abs(solution.objective_usd), 1e-9)


def _only_whole(program: Program, solution: Solution) -> Infeasible:
    """Say that limits could be kept with fractions of blocks and ports, but not with whole ones."""
    lost = "; ".join(notes.unserved(program, solution))
    words = f"whole blocks and ports leave no plan that serves all, though fractions of them would: {lost}"
    return Infeasible(words, where=program.tables.name, hint="loosen a limit (a utilisation floor, a power or a share cap), or offer smaller blocks")


def _missing(program: Program, solution: Solution) -> bool:
    """Return whether demand that has no price for going unserved goes unserved."""
    share = answer.unserved_frac(program, solution)
    priced = [program.tables.unserved_usd_per_mtok[w] is not None for w in program.demand_workload]
    return any(s > 1e-6 and not p for s, p in zip(share, priced, strict=True))
