"""The search of what-ifs: branch and bound over port starts alone, on one warm simplex.

Questions about one program differ in a few bounds and prices, so each relaxation starts from the vertex of the last. A general
search solves each from nothing and spends most of its time on heuristics that answers nearby make needless.
"""

from __future__ import annotations

import heapq
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import highspy
import numpy as np

from polysilicon.planner.engine import Engine
from polysilicon.planner.problem import F8, I8

WHOLE = 1e-6


@dataclass(frozen=True, slots=True)
class Found:
    """The best point of a search, and what it proves."""

    point: F8 | None  # None: none found
    cost_usd: float  # without the program's constant, as the bound
    bound_usd: float
    late: bool  # time ended first


@dataclass(frozen=True, slots=True)
class _Node:
    high: F8  # 0 or 1 of each start
    must: I8  # pairs that are started, somewhen


class Search:
    """Branch and bound over the port starts of an engine. All else is continuous; starts are named by their place.

    A pair of model family and chip family is branched on first, started or not, then the time of its start, early or late.
    """

    def __init__(self, engine: Engine) -> None:
        program = engine.program
        self.engine, self.columns = engine, engine.column_of[program.blocks["port"]]
        keys = [c.key for c in program.tables.candidates]
        names = {key: i for i, key in enumerate(sorted(set(keys)))}
        self.pair = np.array([names[k] for k in keys], np.int64)
        self.once = engine.row_of[program.rows["port_once"].labels] if len(keys) else np.empty(0, np.int64)
        self.starts = [np.flatnonzero(self.pair == p) for p in range(len(names))]  # candidates come in the order of their start
        self.vertex: Any = None
        self.solved = 0  # relaxations so far
        self.ends, self.most = 0.0, np.inf
        self.best: F8 | None = None
        self.low = np.zeros(len(self.columns))

    def keep(self) -> None:
        """Let later searches begin from where the last relaxation ended."""
        self.vertex = self.engine.solver.highs.getBasis()

    def forget(self) -> None:
        """Begin the next search from the vertex kept, whatever was asked since."""
        if self.vertex is not None:
            self.engine.solver.highs.setBasis(self.vertex)
        else:
            self.engine.solver.highs.clearSolver()

    def run(self, seconds: float, gap_frac: float, first: Sequence[F8] = ()) -> Found:
        """Return the best plan within the gap and the bounds that the starts have now; `first` are starts of plans nearby."""
        self.ends = time.monotonic() + seconds
        self.best, self.most = None, np.inf
        model = self.engine.solver.highs.getLp()
        self.low, top = np.array(model.col_lower_)[self.columns], np.array(model.col_upper_)[self.columns]
        nodes = [(-np.inf, 0, _Node(top, np.empty(0, np.int64)))]
        least, count, guesses = np.inf, 0, list(first) if (top > self.low).any() else []
        while nodes:
            bound, _, node = heapq.heappop(nodes)
            if bound >= self._enough(gap_frac) or self._late():
                least = min(least, bound)
                break  # the rest is no better
            relaxed = self._relaxed(node)
            if relaxed is None:
                continue
            objective, z, reduced = relaxed
            for guess in [*guesses, *([self._rounded(z, node.high)] if not count else [])]:
                self._try(np.clip(guess, self.low, top))
            guesses = []
            children = [] if objective >= self._enough(gap_frac) else self._branches(node, z)
            if not children:
                least = min(least, objective)
                if objective < self.most:
                    self._try(np.round(z))
                continue
            dear = (z <= self.low + WHOLE) & (objective + reduced > self._enough(gap_frac))  # in no plan that is better by the gap
            for child in children:
                count += 1
                heapq.heappush(nodes, (objective, -count, replace(child, high=np.where(dear, self.low, child.high))))
        self._set(self.low, top, np.empty(0, np.int64))
        unit = self.engine.program.usd_unit
        return Found(self.best, self.most * unit, min(least, self.most) * unit, self._late())

    def _enough(self, gap_frac: float) -> float:
        """Return the bound from which on a part of the search is not worth it."""
        return self.most - gap_frac * abs(self.most) if np.isfinite(self.most) else np.inf

    def _late(self) -> bool:
        return time.monotonic() > self.ends

    def _set(self, low: F8, high: F8, must: I8) -> None:
        solver, count = self.engine.solver, len(self.once)
        solver.bounds(self.columns, low, high)
        lower = np.full(count, -np.inf)
        lower[must] = 1.0
        for row, least in zip(self.once, lower, strict=True):
            solver.highs.changeRowBounds(int(row), float(least), 1.0)

    def _solve(self) -> bool:
        """Solve the relaxation as it stands; return whether it has an optimum, which time may leave unknown."""
        self.solved += 1
        status = self.engine.solver.run(max(1.0, self.ends - time.monotonic()))
        return status == highspy.HighsModelStatus.kOptimal

    def _relaxed(self, node: _Node) -> tuple[float, F8, F8] | None:
        if (node.high < self.low).any():
            return None
        self._set(self.low, node.high, node.must)
        if not self._solve():
            return None
        solution, solver = self.engine.solver.highs.getSolution(), self.engine.solver
        return solver.objective, np.asarray(solution.col_value)[self.columns], np.asarray(solution.col_dual)[self.columns]

    def _try(self, whole: F8) -> None:
        """Keep the plan with these starts if it is the best so far."""
        self._set(whole, whole, np.empty(0, np.int64))
        if self._solve() and self.engine.solver.objective < self.most:
            self.best, self.most = self.engine.solver.point(), self.engine.solver.objective

    def _rounded(self, z: F8, high: F8) -> F8:
        """Return whole starts near fractions of them: of each pair that is started by half, the largest."""
        whole = np.zeros(len(z))
        for mine in self.starts:
            if z[mine].sum() >= 0.5:
                whole[mine[z[mine].argmax()]] = 1.0
        return np.minimum(whole, high)

    def _branches(self, node: _Node, z: F8) -> list[_Node]:
        """Return the parts that a node falls into at the pair that is least settled: not started, started early, started late."""
        sums = np.array([z[mine].sum() for mine in self.starts])
        unsure = np.minimum(sums, np.abs(1.0 - sums))
        p = int(unsure.argmax())
        if unsure[p] > WHOLE:
            shut = node.high.copy()
            shut[self.starts[p]] = 0.0
            return [_Node(shut, node.must), _Node(node.high, np.union1d(node.must, [p]))]
        split = np.array([np.minimum(z[mine], 1.0 - z[mine]).max() for mine in self.starts])
        p = int(split.argmax())
        if split[p] <= WHOLE:
            return []
        mine = self.starts[p]
        middle = min(int(np.searchsorted(np.cumsum(z[mine]), 0.5)) + 1, len(mine) - 1)
        early, late = node.high.copy(), node.high.copy()
        early[mine[middle:]], late[mine[:middle]] = 0.0, 0.0
        return [_Node(early, node.must), _Node(late, node.must)]
