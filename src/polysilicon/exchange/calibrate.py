"""Calibration: a few physical efficiencies, fitted with shrinkage to measured runs, judged on runs they did not see.

Every constant has a physical name, a prior from published operator tables or datasheets, and a width that says how far
the data may move it. There is no constant for a model or for a row. TPOT and TTFT of played closed loops are fitted
together; errors count in logarithms, outliers with a bounded pull (pseudo-Huber).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polysilicon.exchange import closed_loop
from polysilicon.exchange.cases import Case
from polysilicon.exchange.predict import Columns, analytic, columns, pick, play, reached, take
from polysilicon.performance.efficiency import ANY, PARAMETERS, Efficiency

Array = NDArray[np.float64]
TPOT_SCALE, TTFT_SCALE = 0.10, 0.12  # errors below these pull fully, above ever less
TTFT_WEIGHT = 0.4
OFFLINE_WEIGHT = 0.4  # many numbers from few systems
ALIKE, ALIKE_TTFT = 0.04, 0.25  # runs of one model on one engine err alike by so much
PRECISIONS = ("bf16", "fp8", "fp8_block", "fp4", "mxfp4")
ENGINES = ("trtllm", "vllm", "sglang")


@dataclass(frozen=True, slots=True)
class Cell:
    """One constant of the fit: where it applies, what is believed before, how far it may move (in logarithms)."""

    parameter: str
    subject: str = ANY
    precision: str = ANY
    engine: str = ANY
    prior: float = 1.0
    width: float = 0.3
    most: float = float("inf")
    least: float = 0.0


def cells(families: Sequence[str], chips: Sequence[str]) -> list[Cell]:
    """Return the constants of the fit for the chip families and chips that were measured."""
    d = Efficiency()
    found = [
        Cell(name, precision=p, prior=v, width=w, most=0.97)
        for name, w, values in (
            ("gemm_math_frac", 0.15, {"bf16": 0.72, "fp8": 0.57, "fp8_block": 0.54, "fp4": 0.38}),
            ("gemm_memory_frac", 0.12, {"bf16": 0.82, "fp8": 0.82, "fp8_block": 0.78, "fp4": 0.65}),
            ("expert_math_frac", 0.25, {"bf16": 0.55, "fp8": 0.45, "fp8_block": 0.42, "fp4": 0.3, "mxfp4": 0.3}),
            ("expert_memory_frac", 0.2, {"bf16": 0.75, "fp8": 0.7, "fp8_block": 0.7, "fp4": 0.65, "mxfp4": 0.65}),
        )
        for p, v in values.items()
    ]
    widths = {
        "weight_only_math_frac": 0.3,
        "weight_only_memory_frac": 0.3,
        "kv_memory_frac": 0.3,
        "latent_memory_frac": 0.4,
        "attention_math_frac": 0.3,
        "latent_math_frac": 0.4,
        "link_frac": 0.3,
        "knee_sharpness_ratio": 0.3,
        "gemm_pad_tokens": 0.5,
        "expert_pad_tokens": 0.5,
        "layer_s": 0.3,
        "expert_layer_s": 0.5,
        "weight_only_layer_s": 0.5,
        "latent_layer_s": 0.4,
        "routing_skew_factor": 0.25,
        "linear_layer_s": 0.4,
        "collective_s": 0.5,
        "all_to_all_s": 0.5,
        "imbalance_factor": 0.1,
    }
    for name, width in widths.items():
        most = 0.97 if name.endswith("_frac") else float("inf")
        least = 1.0 if name in ("imbalance_factor", "routing_skew_factor") else 0.0
        found.append(Cell(name, prior=getattr(d, name), width=width, most=most, least=least))
    for name, width in (("quantised_layer_s", 0.5), ("moe_layer_s", 0.35)):
        found.extend(Cell(name, precision=p, prior=getattr(d, name), width=width) for p in PRECISIONS)
    host = {
        "step_s": 0.7,
        "sequence_s": 0.7,
        "host_token_s": 0.5,
        "prefill_step_s": 0.6,
        "eager_launch_ratio": 0.5,
        "first_token_s": 0.8,
        "admission_s": 0.4,
        "admission_s_per_token": 0.6,
        "stream_wait_frac": 0.5,
        "software_gain_ratio": 0.06,
    }
    for name, width in host.items():
        found.extend(Cell(name, engine=e, prior=getattr(d, name), width=width) for e in ENGINES)
    for name, width in (("launch_factor", 0.06), ("moe_launch_factor", 0.08), ("expert_factor", 0.06), ("kv_factor", 0.06)):
        found.extend(Cell(name, subject=f, engine=e, width=width) for f in families for e in ENGINES)
    for chip in chips:
        found.append(Cell("memory_factor", subject=chip, width=0.04, most=1.25))
        found.append(Cell("chip_launch_factor", subject=chip, width=0.05))
    return found


@dataclass(frozen=True, slots=True)
class Fit:
    """Fitted values, one a cell, and how they were found."""

    cells: tuple[Cell, ...]
    values: Array
    rounds: int


class Fitter:
    """Cases, measurements and cells; moves the cells until predictions meet measurements."""

    def __init__(self, cases: Sequence[Case], tpot_s: Array, ttft_s: Array, layout: Sequence[Cell]) -> None:
        self.cols = columns(cases)
        self.tpot_s, self.ttft_s = tpot_s, ttft_s
        self.cells = tuple(layout)
        self.prior = np.array([c.prior for c in layout])
        self.width = np.array([c.width for c in layout])
        self.upper = np.log(np.array([c.most for c in layout]) / self.prior)
        self.lower = np.array([np.log(c.least / c.prior) if c.least else -5.0 for c in layout])
        names = sorted({c.parameter for c in layout})
        weights = [str(w) for w in np.asarray(self.cols.facts.weights)[:, 0]]
        dense = [str(w) for w in np.asarray(self.cols.facts.dense_weights)[:, 0]]
        self.index = {n: (self._where(n, weights), self._where(n, dense)) for n in names}
        self.played = np.zeros((len(cases), closed_loop.OUTPUTS))
        self.offline = np.array([c.queued_requests > 0 for c in cases], dtype=bool)
        self.alike = np.array([f"{c.model.id}/{c.engine}/{c.protocol}" for c in cases])

    def _where(self, name: str, precisions: Sequence[str]) -> NDArray[np.int64]:
        """Return for every case the cell that holds a parameter, -1 where none does (then the default stands)."""
        found = []
        for case, precision in zip(self.cols.cases, precisions, strict=True):
            small = {"int8": "fp8"}.get(precision, precision)
            best, best_rank = -1, -1
            for i, c in enumerate(self.cells):
                if c.parameter != name or c.subject not in (ANY, case.chip.family, case.chip.id):
                    continue
                if c.precision not in (ANY, small) or c.engine not in (ANY, case.engine):
                    continue
                rank = (c.subject != ANY) * 4 + (c.precision != ANY) * 2 + (c.engine != ANY)
                if rank > best_rank:
                    best, best_rank = i, rank
            found.append(best)
        return np.array(found)

    def efficiencies(
        self, theta: Array, cols: Columns | None = None, rows: Sequence[int] | NDArray[np.int64] | None = None
    ) -> tuple[Efficiency, Efficiency]:
        """Return the efficiencies of every case (or some) at a point of the fit, as columns."""
        values = np.append(self.prior * np.exp(theta), 0.0)
        default = Efficiency()
        both: list[dict[str, Any]] = [{}, {}]
        for name in PARAMETERS:
            for side in (0, 1):
                if name not in self.index:
                    both[side][name] = getattr(default, name)
                    continue
                where = self.index[name][side] if rows is None else self.index[name][side][np.asarray(rows)]
                both[side][name] = np.where(where < 0, getattr(default, name), values[where])[:, None]
        return replace(default, **both[0]), replace(default, **both[1])

    def play(self, theta: Array, rows: NDArray[np.int64] | None = None) -> None:
        """Play every case, or some, at a point of the fit and keep the counts."""
        if rows is None:
            self.played = play(self.cols, reached(self.cols, self.efficiencies(theta)))
        else:
            cols = take(self.cols, rows)
            self.played[rows] = play(cols, reached(cols, self.efficiencies(theta, rows=rows)))

    def predicted(self, theta: Array, rows: NDArray[np.int64], cols: Columns) -> tuple[Array, Array]:
        """Return TTFT and TPOT of some cases from the counts of the last play."""
        return analytic(cols, reached(cols, self.efficiencies(theta, rows=rows)), self.played[rows])

    def descend(self, theta: Array, rows: NDArray[np.int64], *, rounds: int = 8) -> Array:
        """Return the point that a damped Gauss-Newton descent reaches from the counts of the last play."""
        cols = take(self.cols, rows)
        ttft, tpot = self.predicted(theta, rows, cols)
        shift_ttft = np.log(self.played[rows, closed_loop.TTFT] / ttft)  # what the analytic form misses of the play
        shift_tpot = np.log(self.played[rows, closed_loop.TPOT] / tpot)
        shared = self._shared(rows)
        k = len(theta)

        parts = self._parts(rows, cols)

        def errors(at: Array, part: NDArray[np.int64] | None = None, some: Columns | None = None) -> Array:
            here = rows if part is None else rows[part]
            first, each = self.predicted(at, here, some or cols)
            late = shift_tpot if part is None else shift_tpot[part], shift_ttft if part is None else shift_ttft[part]
            return np.concatenate(
                [
                    (np.log(each / self.tpot_s[here]) + late[0]) / TPOT_SCALE,
                    (np.log(first / self.ttft_s[here]) + late[1]) / TTFT_SCALE,
                ]
            )

        def slopes(at: Array, base: Array) -> Array:
            found = np.zeros((len(base), k))
            for j, (part, some) in enumerate(parts):
                if len(part):
                    both = np.concatenate([part, len(rows) + part])
                    found[both, j] = (errors(at + 1e-3 * (np.arange(k) == j), part, some) - base[both]) / 1e-3
            return found

        share = np.concatenate([np.where(self.offline[rows], OFFLINE_WEIGHT, 1.0), np.full(len(rows), TTFT_WEIGHT)])
        share = np.where(np.isfinite(np.concatenate([self.tpot_s[rows], self.ttft_s[rows]])), share, 0.0)
        stiff = np.concatenate([1.0 / self.width**2, np.ones(shared.shape[1])])
        lower = np.concatenate([self.lower, np.full(shared.shape[1], -9.0)])
        upper = np.concatenate([self.upper, np.full(shared.shape[1], 9.0)])
        damping, x = 1e-2, np.concatenate([theta, np.zeros(shared.shape[1])])
        own = errors(theta)
        cost = _cost(own + shared @ x[k:], share, x, stiff)
        for _ in range(rounds):
            slope = np.nan_to_num(np.concatenate([slopes(x[:k], own), shared], axis=1))
            flat = np.nan_to_num(own + shared @ x[k:])
            pull = share / np.sqrt(1.0 + flat**2)
            normal = slope.T @ (pull[:, None] * slope) + np.diag(stiff)
            gradient = slope.T @ (pull * flat) + x * stiff
            for _attempt in range(6):
                step = np.linalg.solve(normal + damping * np.diag(np.diag(normal)), -gradient)
                there = np.clip(x + np.clip(step, -0.7, 0.7), lower, upper)
                then = errors(there[:k])
                new = _cost(then + shared @ there[k:], share, there, stiff)
                if new < cost:
                    break
                damping *= 5.0
            else:
                return x[:k]
            done = cost - new < 1e-4 * cost
            x, own, cost, damping = there, then, new, max(damping / 5.0, 1e-6)
            if done:
                break
        return x[:k]

    def afresh(self, rows: NDArray[np.int64], *, plays: int = 2) -> Array:
        """Return a fit of some cases to which nothing else was known: from the priors, played and descended in turn."""
        theta = np.zeros(len(self.cells))
        for _ in range(plays):
            self.play(theta, rows)
            theta = self.descend(theta, rows)
        return theta

    def _parts(self, rows: NDArray[np.int64], cols: Columns) -> list[tuple[NDArray[np.int64], Columns | None]]:
        """Return for every cell the places in `rows` whose prediction it moves, and their columns (None: all of them)."""
        found: list[tuple[NDArray[np.int64], Columns | None]] = []
        for j, cell in enumerate(self.cells):
            moved = np.logical_or(*(self.index[cell.parameter][side][rows] == j for side in (0, 1)))
            part = np.nonzero(moved)[0]
            found.append((part, None if len(part) == len(rows) else take(cols, part)))
        return found

    def _shared(self, rows: NDArray[np.int64]) -> Array:
        """Return the offsets that runs of one model on one engine share, as columns over TPOT and TTFT errors.

        They keep a model with many runs from bending the constants to its own peculiarities, and are thrown away.
        """
        names, index = np.unique(self.alike[rows], return_inverse=True)
        mine = np.zeros((len(rows), len(names)))
        mine[np.arange(len(rows)), index] = 1.0
        none = np.zeros_like(mine)
        tpot, ttft = mine * ALIKE / TPOT_SCALE, mine * ALIKE_TTFT / TTFT_SCALE
        return np.concatenate([np.concatenate([tpot, none], axis=1), np.concatenate([none, ttft], axis=1)])

    def fit(self, rows: NDArray[np.int64], *, plays: int = 5, start: Array | None = None, each: Callable[[float], None] | None = None) -> Array:
        """Return the best played point of some cases: play, descend from its counts, play again, later with half steps.

        A descent moves what the counts say; played anew, batches may form otherwise, so what counts is the cost as played.
        """
        theta = np.zeros(len(self.cells)) if start is None else start
        best, least = theta, float("inf")
        for i in range(plays + 1):
            self.play(theta)
            cost = self._played_cost(theta, rows)
            if cost < least:
                best, least = theta, cost
            if i < plays:
                theta = theta + (1.0 if i < 2 else 0.5) * (self.descend(theta, rows) - theta)
            if each is not None:
                each((i + 1) / (plays + 1))
        return best

    def _played_cost(self, theta: Array, rows: NDArray[np.int64]) -> float:
        """Return the cost of the last play, pull towards the priors included."""
        each = np.log(self.played[rows, closed_loop.TPOT] / self.tpot_s[rows]) / TPOT_SCALE
        first = np.log(self.played[rows, closed_loop.TTFT] / self.ttft_s[rows]) / TTFT_SCALE
        share = np.concatenate([np.where(self.offline[rows], OFFLINE_WEIGHT, 1.0), np.full(len(rows), TTFT_WEIGHT)])
        both = np.concatenate([each, first])
        return _cost(both, np.where(np.isfinite(both), share, 0.0), theta, 1.0 / self.width**2)


def _cost(r: Array, share: Array, x: Array, stiff: Array) -> float:
    flat = np.nan_to_num(r)
    return float(2.0 * np.sum(share * (np.sqrt(1.0 + flat**2) - 1.0)) + np.sum(x**2 * stiff))


def folds(keys: Sequence[str]) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    """Yield each group's name and which cases belong to it: who is left out."""
    names = np.array(keys)
    for name in np.unique(names):
        yield str(name), names == name


def rows_table(fitter: Fitter, theta: Array) -> dict[str, float]:
    """Return fitted values by a readable name."""
    values = fitter.prior * np.exp(theta)
    return {
        "/".join(x for x in (c.parameter, c.subject, c.precision, c.engine) if x != ANY): float(v) for c, v in zip(fitter.cells, values, strict=True)
    }


__all__ = ["Cell", "Fit", "Fitter", "cells", "fields", "folds", "pick", "rows_table"]
