"""Solving: one HiGHS model kept warm, a strategy for many integers, a pricing run with integers fixed.

Small programs go to HiGHS whole. Large ones are relaxed, the ports that the relaxation touches are decided in a smaller
program, blocks are rounded, and the best plan found so starts the search of the whole; the bound is always the whole's.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import highspy
import numpy as np
from scipy import sparse

from polysilicon.highs import INFEASIBLE, Solver, proven_bound
from polysilicon.planner.problem import F8, I8
from polysilicon.planner.program import Program

Progress = Callable[[float, str], None]
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


class Engine:
    """A HiGHS model of a program; bounds, costs and integrality may change between solves."""

    def __init__(self, program: Program) -> None:
        self.program = program
        matrices = program.model.matrices
        self.matrix, self.row_lower, self.row_upper = _rows(matrices)
        self.cost = np.asarray(matrices.c, float)
        self.solver = _loaded(matrices, self.matrix, self.row_lower, self.row_upper)
        self.columns = np.asarray(matrices.vlabels)  # label of each column
        self.row_labels = np.asarray(matrices.clabels)
        self.column_of = np.full(int(self.columns.max(initial=-1)) + 1, -1, np.int64)
        self.column_of[self.columns] = np.arange(len(self.columns))
        self.row_of = np.full(int(self.row_labels.max(initial=-1)) + 1, -1, np.int64)
        self.row_of[self.row_labels] = np.arange(len(self.row_labels))
        model = self.solver.highs.getLp()
        self.lower, self.upper = np.array(model.col_lower_), np.array(model.col_upper_)
        integer = np.concatenate([*program.integers.values(), np.empty(0, np.int64)])
        self.integer_columns = self.column_of[integer.astype(np.int64)]

    def reset_bounds(self, columns: I8) -> None:
        """Give columns their first bounds back."""
        self.solver.bounds(columns, self.lower[columns], self.upper[columns])


def _rows(matrices: Any) -> tuple[sparse.csr_matrix, F8, F8]:
    """Return the rows of a linopy model: matrix, lower and upper bound."""
    matrix = matrices.A.tocsr() if matrices.A is not None else sparse.csr_matrix((0, len(matrices.vlabels)))
    return matrix, np.where(matrices.sense != "<", matrices.b, -np.inf), np.where(matrices.sense != ">", matrices.b, np.inf)


def _loaded(matrices: Any, rows: sparse.csr_matrix, lower: F8, upper: F8) -> Solver:
    """Return a solver with the matrices of a linopy model; linopy's own hand-over prints a banner on stdout."""
    solver = Solver()
    solver.highs.addVars(len(matrices.vlabels), matrices.lb, matrices.ub)
    solver.integrality(np.flatnonzero(np.isin(matrices.vtypes, ["B", "I"])), integer=True)
    solver.highs.changeColsCost(len(matrices.vlabels), np.arange(len(matrices.vlabels), dtype=np.int32), matrices.c)
    if rows.shape[0]:
        solver.highs.addRows(rows.shape[0], lower, upper, rows.nnz, rows.indptr, rows.indices, rows.data)
    return solver


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
        from polysilicon.planner.search import relax_and_fix

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
        from polysilicon.planner.floor import floor

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
