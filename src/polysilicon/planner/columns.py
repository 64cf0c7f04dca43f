"""Parts of a program: some of its columns and rows in a HiGHS of their own, and port starts let in as they pay.

Most columns of a large program belong to port starts that no plan would use. They are left out, and the duals of what is
left say what each would be worth: the relaxation of the part plus all that is worth letting in is a bound of the whole.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import highspy
import numpy as np
from scipy import sparse

from polysilicon.highs import INFEASIBLE, Solver
from polysilicon.planner.engine import Engine
from polysilicon.planner.problem import F8, I8

ENGINE_ROWS = ("port_live", "survive_port")  # sum of s <= share x sum of z: who serves only if started
IPX_COLUMNS = 20_000  # from here on interior point with crossover beats simplex from cold
IPX_TOLERANCE = 1e-5  # crossover makes the vertex exact
ROUNDS = 12
NEW_STARTS = 1  # let in for each pair and round
Basis = tuple[I8, I8, "np.ndarray", "np.ndarray"]


class Starts:
    """Port starts and what they alone let serve."""

    def __init__(self, engine: Engine) -> None:
        program = engine.program
        self.columns = engine.column_of[program.blocks["port"]]
        keys = [c.key for c in program.tables.candidates]
        pairs = {key: i for i, key in enumerate(sorted(set(keys)))}
        self.pair = np.array([pairs[k] for k in keys], np.int64)
        labels = [program.rows[name].labels for name in ENGINE_ROWS if name in program.rows]
        self.rows = engine.row_of[np.concatenate(labels)] if labels else np.empty(0, np.int64)
        place = np.full(len(engine.columns), -1)
        place[self.columns] = np.arange(len(self.columns))
        entries = engine.matrix[self.rows].tocoo()
        start = place[entries.col] >= 0
        self.share = sparse.csr_matrix(  # [row, start]: what one start lets serve
            (-entries.data[start], (entries.row[start], place[entries.col[start]])), shape=(len(self.rows), len(self.columns))
        )
        self.flow_row, self.flow, self.flow_size = entries.row[~start], entries.col[~start], entries.data[~start]

    def live(self, inside: I8) -> np.ndarray:
        """Return which engine rows some start that was let in can fill."""
        there = np.zeros(len(self.columns))
        there[inside] = 1.0
        return np.asarray(self.share @ there > 0)

    def part(self, engine: Engine, inside: I8) -> tuple[I8, I8]:
        """Return columns and rows of the program with these starts alone."""
        live = self.live(inside)
        columns, rows = np.ones(len(engine.columns), bool), np.ones(engine.matrix.shape[0], bool)
        columns[self.columns] = False
        columns[self.columns[inside]] = True
        columns[self.flow[~live[self.flow_row]]] = False
        rows[self.rows[~live]] = False
        return np.flatnonzero(columns), np.flatnonzero(rows)

    def reduced(self, engine: Engine, duals: F8, inside: I8) -> F8:
        """Return each start's reduced cost: its cost less what all that only it lets serve would save at these duals.

        r = d_z + sum over its rows of share x min(0, min over flows of d_s / size), d = c - A'y; rows already there are in d_z.
        """
        d = engine.cost - engine.matrix.T @ duals
        best = np.zeros(len(self.rows))
        np.minimum.at(best, self.flow_row, d[self.flow] / self.flow_size)
        best[self.live(inside)] = 0.0
        return np.asarray(d[self.columns] + self.share.T @ best)


class Part:
    """Some columns and rows of a program. Columns are named as the whole names them; what is left out is nil."""

    def __init__(self, engine: Engine, columns: I8, rows: I8, basis: Basis | None = None) -> None:
        self.engine, self.columns, self.rows = engine, columns, rows
        self.place = np.full(len(engine.columns), -1, np.int64)
        self.place[columns] = np.arange(len(columns))
        self.solver = Solver()
        matrix = engine.matrix[rows][:, columns].tocsr()
        self.solver.highs.addVars(len(columns), engine.lower[columns], engine.upper[columns])
        self.solver.highs.changeColsCost(len(columns), np.arange(len(columns), dtype=np.int32), engine.cost[columns])
        self.solver.highs.addRows(len(rows), engine.row_lower[rows], engine.row_upper[rows], matrix.nnz, matrix.indptr, matrix.indices, matrix.data)
        if basis is not None:
            self._start_at(basis)

    def _start_at(self, basis: Basis) -> None:
        """Begin where a smaller part ended: new columns at their lower bound, new rows slack."""
        columns, rows, column_status, row_status = basis
        of_column = np.full(len(self.engine.columns), highspy.HighsBasisStatus.kLower, object)
        of_row = np.full(self.engine.matrix.shape[0], highspy.HighsBasisStatus.kBasic, object)
        of_column[columns], of_row[rows] = column_status, row_status
        made = highspy.HighsBasis()
        made.col_status, made.row_status = list(of_column[self.columns]), list(of_row[self.rows])
        made.valid = True
        self.solver.highs.setBasis(made)

    @property
    def basis(self) -> Basis:
        """Return where the last run ended."""
        found = self.solver.highs.getBasis()
        return self.columns, self.rows, np.array(found.col_status, object), np.array(found.row_status, object)

    def bounds(self, columns: I8, lower: F8, upper: F8) -> None:
        """Change the bounds of columns that are here."""
        here = self.place[columns] >= 0
        self.solver.bounds(self.place[columns[here]], np.asarray(lower, float)[here], np.asarray(upper, float)[here])

    def reset_bounds(self, columns: I8) -> None:
        """Give columns their first bounds back."""
        self.bounds(columns, self.engine.lower[columns], self.engine.upper[columns])

    def integrality(self, columns: I8, *, integer: bool) -> None:
        """Make columns integer or continuous."""
        place = self.place[columns]
        self.solver.integrality(place[place >= 0], integer=integer)

    def point(self) -> F8:
        """Return the value of every column of the whole."""
        values = np.zeros(len(self.engine.columns))
        values[self.columns] = self.solver.highs.getSolution().col_value
        return values

    def duals(self) -> F8:
        """Return the dual of every row of the whole, nil where it is left out."""
        values = np.zeros(self.engine.matrix.shape[0])
        values[self.rows] = self.solver.highs.getSolution().row_dual
        return values

    def start_from(self, point: F8) -> None:
        """Give the search a first plan."""
        self.solver.start_from(point[self.columns])


@dataclass(slots=True)
class Root:
    """The relaxation: a part solved to its optimum, the starts in it, and a bound of the whole program."""

    part: Part | None  # None: not one part was solved
    inside: I8
    bound_usd: float  # without the program's constant
    reduced: F8  # of each start, at the bound's duals
    status: highspy.HighsModelStatus


def relax(engine: Engine, starts: Starts, left: Callable[[], float], tolerance: float) -> Root:
    """Return the relaxation, solved with as few port starts as it takes to be within a tolerance of the bound of the whole.

    At each round the bound is the part's optimum plus the least reduced cost of each pair that is below nil: a pair is started
    once at most. It is valid from the first round on, whatever time is left.
    """
    inside, status = np.empty(0, np.int64), highspy.HighsModelStatus.kNotset
    best = Root(None, inside, -np.inf, np.zeros(len(starts.columns)), status)
    part: Part | None = None
    unit = engine.program.usd_unit
    for _ in range(ROUNDS):
        warm = part.basis if part is not None and len(best.inside) else None  # without any start the first basis says little
        part = Part(engine, *starts.part(engine, inside), warm)
        status = _run_relaxed(part, left(), warm=warm is not None)
        if status in INFEASIBLE and len(inside) < len(starts.columns):
            wider = _firsts(starts) if not len(inside) else np.arange(len(starts.columns))
            part, inside = None, wider
            continue
        if status != highspy.HighsModelStatus.kOptimal:
            best.status = best.status if best.part is not None else status
            return best
        reduced = starts.reduced(engine, part.duals(), inside)
        outside = reduced.copy()
        outside[inside] = np.maximum(outside[inside], 0.0)
        least = np.zeros(int(starts.pair.max(initial=-1)) + 1)
        np.minimum.at(least, starts.pair, outside)
        bound = max(best.bound_usd / unit, part.solver.objective + float(least.sum()))
        best = Root(part, inside, bound * unit, reduced, status)
        if part.solver.objective - bound <= tolerance * abs(part.solver.objective) or left() <= 0:
            return best
        new = [k for p in np.flatnonzero(least < 0) for k in _cheapest(outside, np.flatnonzero(starts.pair == p))]
        inside = np.union1d(inside, np.array(new, np.int64))
    return best


def _run_relaxed(part: Part, seconds: float, *, warm: bool) -> highspy.HighsModelStatus:
    if warm:
        part.solver.options(solver="simplex", simplex_strategy=4)  # primal: the last basis is feasible, new columns are not priced yet
    elif len(part.columns) > IPX_COLUMNS:
        part.solver.options(solver="ipx", ipm_optimality_tolerance=IPX_TOLERANCE)
    status = part.solver.run(seconds)
    part.solver.options(solver="simplex", simplex_strategy=1)
    return status


def _firsts(starts: Starts) -> I8:
    """Return the first start of each pair."""
    return np.unique(starts.pair, return_index=True)[1].astype(np.int64)


def _cheapest(reduced: F8, mine: I8) -> list[int]:
    order = mine[np.argsort(reduced[mine], kind="stable")][:NEW_STARTS]
    return [int(k) for k in order if reduced[k] < 0]
