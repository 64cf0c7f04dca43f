"""Solving: one HiGHS model kept warm, a strategy for many integers, a pricing run with integers fixed.

Small programs go to HiGHS whole. Large ones are relaxed, the ports that the relaxation touches are decided in a smaller
program, blocks are rounded, and the best plan found so starts the search of the whole; the bound is always the whole's.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import highspy
import numpy as np

from polysilicon.highs import INFEASIBLE, proven_bound
from polysilicon.planner.engine import Engine, Progress
from polysilicon.planner.floor import floor
from polysilicon.planner.problem import F8
from polysilicon.planner.program import Program
from polysilicon.planner.search import relax_and_fix

WHOLE_INTEGERS = 150  # up to here one search is fastest
LAST_SECONDS = 30.0  # beyond the time given, where nothing was found in it


@dataclass(frozen=True, slots=True)
class Solution:
    """Values of all variables, what is proven, and the duals of the pricing run."""

    status: str  # optimal, gap, time_limit, infeasible
    objective_usd: float
    bound_usd: float
    values: F8  # by label
    duals: F8  # by row label, dollars per unit of the row as written
    reduced: F8  # by label
    seconds: Mapping[str, float] = field(default_factory=dict)
    is_priced: bool = True  # False: the pricing run had no optimum, all duals are nil and say nothing

    @property
    def gap_frac(self) -> float:
        """Return how far the plan may be from the best, as a share of its cost."""
        return max(0.0, self.objective_usd - self.bound_usd) / max(abs(self.objective_usd), 1e-9)


def solve(program: Program, *, seconds: float, gap_frac: float, progress: Progress | None = None) -> Solution:
    """Return the best plan found within the time, with its bound, and its prices.

    The status is `optimal` within the gap asked for, `gap` where search ended with more, `time_limit` where time did.
    """
    engine = Engine(program)
    began = time.monotonic()
    clock: dict[str, float] = {}
    tell = progress or (lambda _done, _words: None)

    def left() -> float:
        return seconds - (time.monotonic() - began)

    if len(engine.integer_columns) <= WHOLE_INTEGERS:
        point, bound, finished = _whole(engine, left, gap_frac)
    else:
        point, bound, finished = relax_and_fix(engine, left, gap_frac, tell, clock)
    clock["search"] = time.monotonic() - began
    if point is None:
        return Solution(
            "infeasible" if finished else "time_limit",
            np.inf,
            bound * program.usd_unit,
            np.empty(0),
            np.empty(0),
            np.empty(0),
            clock,
        )
    priced = price(engine, point, max(5.0, left()))
    clock["pricing"] = time.monotonic() - began - clock["search"]
    usd = program.usd_unit
    objective = priced.objective_usd
    if not np.isfinite(bound) or (objective - program.constant_usd) / usd - bound > gap_frac * abs(bound):
        bound = max(bound, floor(engine))  # what needs no solver, where time let it prove less
    bound_usd = min(bound * usd + program.constant_usd, objective)
    gap = (objective - bound_usd) / max(abs(objective), 1e-9)
    status = "optimal" if gap <= gap_frac + 1e-9 else ("gap" if finished else "time_limit")
    return Solution(status, objective, bound_usd, priced.values, priced.duals, priced.reduced, clock, priced.is_priced)


def _whole(engine: Engine, left: Callable[[], float], gap_frac: float) -> tuple[F8 | None, float, bool]:
    """Search the program in one piece."""
    engine.solver.options(mip_rel_gap=gap_frac)
    status = engine.solver.run(left())
    bound = proven_bound(engine.solver.highs)
    if not engine.solver.found and status not in INFEASIBLE and len(engine.integer_columns):
        return (*_rounded(engine), False)
    return (engine.solver.point() if engine.solver.found else None), bound, status in (highspy.HighsModelStatus.kOptimal, *INFEASIBLE)


def _rounded(engine: Engine) -> tuple[F8 | None, float]:
    """Return a plan by rounding the relaxation up, and the relaxation's optimum: never nothing when time is short."""
    integers, bound = engine.integer_columns, -np.inf
    engine.solver.integrality(integers, integer=False)
    if engine.solver.run(LAST_SECONDS) == highspy.HighsModelStatus.kOptimal:
        bound = engine.solver.objective
    point = None
    if engine.solver.found:
        up = np.minimum(np.ceil(engine.solver.point()[integers] - 1e-7), engine.upper[integers])
        engine.solver.bounds(integers, up, up)
        engine.solver.run(LAST_SECONDS)
        point = engine.solver.point() if engine.solver.found else None
    engine.reset_bounds(integers)
    engine.solver.integrality(integers, integer=True)
    return point, bound


def price(engine: Engine, point: F8, seconds: float) -> Solution:
    """Fix the integers of a plan and solve what is left: its duals are prices."""
    program, integers = engine.program, engine.integer_columns
    fixed = np.round(point[integers])
    engine.solver.integrality(integers, integer=False)
    engine.solver.bounds(integers, fixed, fixed)
    engine.solver.options(solver="simplex")
    status = engine.solver.run(seconds)
    solution = engine.solver.highs.getSolution()
    if status != highspy.HighsModelStatus.kOptimal:  # out of time, or infeasible by a hair of rounding: keep the plan, say it has no prices
        values = np.zeros(len(engine.column_of))
        values[engine.columns] = point
        usd = float(program.cost_usd() @ values[: len(program.cost_usd())]) + program.constant_usd
        empty_rows, empty_columns = np.zeros(len(engine.row_of)), np.zeros(len(engine.column_of))
        result = Solution("optimal", usd, -np.inf, values, empty_rows, empty_columns, is_priced=False)
    else:
        values, reduced, duals = (np.zeros(len(n)) for n in (engine.column_of, engine.column_of, engine.row_of))
        values[engine.columns] = solution.col_value
        reduced[engine.columns] = np.asarray(solution.col_dual) * program.usd_unit
        duals[engine.row_labels] = np.asarray(solution.row_dual) * program.usd_unit
        usd = float(program.cost_usd() @ values[: len(program.cost_usd())]) + program.constant_usd
        result = Solution("optimal", usd, -np.inf, values, duals, reduced)
    engine.reset_bounds(integers)
    engine.solver.integrality(integers, integer=True)
    return result
