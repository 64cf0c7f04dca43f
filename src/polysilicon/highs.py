"""The one place that starts HiGHS, for the planner and the broker: silent, and never a failed run taken for an answer."""

from __future__ import annotations

import highspy
import numpy as np
from numpy.typing import NDArray

from polysilicon.errors import PolysiliconError

F8 = NDArray[np.float64]
I8 = NDArray[np.int64]

THREADS = 2
_STATUS = highspy.HighsModelStatus
STOPPED = (_STATUS.kTimeLimit, _STATUS.kInterrupt, _STATUS.kSolutionLimit, _STATUS.kObjectiveTarget, _STATUS.kObjectiveBound)
INFEASIBLE = (_STATUS.kInfeasible, _STATUS.kUnboundedOrInfeasible)
SETTLED = (_STATUS.kOptimal, _STATUS.kModelEmpty, _STATUS.kUnbounded, *STOPPED, *INFEASIBLE)


class Silent(highspy.Highs):
    """HiGHS, silent from the start: since 1.16 it greets on stdout, where JSON goes, while its constructor enables callbacks."""

    def enableCallbacks(self) -> None:  # noqa: N802 - HiGHS's own name
        """Turn output off before the first thing that would print."""
        self.silent()
        super().enableCallbacks()  # type: ignore[no-untyped-call]


def new_solver(*, threads: int | None = None) -> highspy.Highs:
    """Return an empty, silent solver."""
    solver = Silent()  # type: ignore[no-untyped-call]
    solver.setOptionValue("threads", THREADS if threads is None else threads)
    return solver


def run(solver: highspy.Highs) -> highspy.HighsModelStatus:
    """Solve and return the model's status, which is one that says something: optimal, stopped in time, infeasible, unbounded.

    HiGHS shares one pool of threads in a process and refuses to run when somebody else has set it to another size; the pool
    is then made anew. A run that ends in numerical trouble is started once more, cold and by the simplex method.

    Raises: PolysiliconError when HiGHS refuses or fails all the same; its numbers then mean nothing.
    """
    outcome = solver.run()
    if outcome == highspy.HighsStatus.kError:
        highspy.Highs.resetGlobalScheduler(True)
        outcome = solver.run()
    if outcome != highspy.HighsStatus.kError and solver.getModelStatus() not in SETTLED:
        solver.clearSolver()
        solver.setOptionValue("solver", "simplex")
        outcome = solver.run()
    status = solver.getModelStatus()
    if outcome == highspy.HighsStatus.kError or status not in SETTLED:
        why = "refused to run" if outcome == highspy.HighsStatus.kError else f"ended with: {solver.modelStatusToString(status)}"
        raise PolysiliconError(f"the solver {why}", where="HiGHS", hint="the numbers may be of wildly different size; check the units")
    return status


def run_to_optimum(solver: highspy.Highs, question: str) -> None:
    """Solve a program that has an optimum.

    Raises: PolysiliconError naming the question when HiGHS ends otherwise.
    """
    status = run(solver)
    if status != _STATUS.kOptimal:
        raise PolysiliconError(f"{question} has no optimum: {solver.modelStatusToString(status)}", where="HiGHS")


def has_point(solver: highspy.Highs) -> bool:
    """Return whether the last run left a feasible point."""
    return bool(solver.getInfo().primal_solution_status == highspy.SolutionStatus.kSolutionStatusFeasible)


def proven_bound(solver: highspy.Highs) -> float:
    """Return a bound that the last run proved, whole or not: minus infinity where it proved none."""
    status = solver.getModelStatus()
    info = solver.getInfo()
    if status in INFEASIBLE:
        return -float("inf")  # a bound of nothing says nothing
    if info.mip_node_count >= 0:
        return float(info.mip_dual_bound)
    return float(info.objective_function_value) if status == _STATUS.kOptimal else -float("inf")


class Solver:
    """A silent HiGHS kept warm: options, bounds and integrality may change between runs. Columns are named by their place."""

    def __init__(self, *, threads: int | None = None) -> None:
        self.highs = new_solver(threads=threads)

    def options(self, **values: float | int | str | bool) -> None:
        """Set HiGHS options."""
        for name, value in values.items():
            self.highs.setOptionValue(name, value)

    def integrality(self, columns: I8, *, integer: bool) -> None:
        """Make columns integer or continuous."""
        kind = highspy.HighsVarType.kInteger if integer else highspy.HighsVarType.kContinuous
        if len(columns):
            self.highs.changeColsIntegrality(len(columns), columns.astype(np.int32), np.full(len(columns), kind))

    def bounds(self, columns: I8, lower: F8, upper: F8) -> None:
        """Change the bounds of columns."""
        if len(columns):
            self.highs.changeColsBounds(len(columns), columns.astype(np.int32), np.asarray(lower, float), np.asarray(upper, float))

    def run(self, seconds: float) -> highspy.HighsModelStatus:
        """Solve, within a time."""
        self.highs.setOptionValue("time_limit", self.highs.getRunTime() + max(0.05, float(seconds)))  # HiGHS adds up its runs
        return run(self.highs)

    @property
    def found(self) -> bool:
        """Return whether a feasible point is known."""
        return has_point(self.highs)

    @property
    def objective(self) -> float:
        """Return the objective of the point found, in money units."""
        return float(self.highs.getInfo().objective_function_value)

    def point(self) -> F8:
        """Return the value of every column."""
        return np.asarray(self.highs.getSolution().col_value, float)

    def start_from(self, point: F8) -> None:
        """Give the search a first plan."""
        solution = highspy.HighsSolution()
        solution.col_value = list(point)
        self.highs.setSolution(solution)
