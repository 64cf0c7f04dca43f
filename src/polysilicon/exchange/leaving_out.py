"""Fits without some runs, and how wrong they are about those: one after another, or on every core where there are many runs."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from polysilicon.exchange import closed_loop
from polysilicon.exchange.calibrate import Fitter
from polysilicon.exchange.predict import play, reached, take

Array = NDArray[np.float64]
Rows = NDArray[np.int64]
Task = TypeVar("Task")
MANY = 500  # runs from which processes are worth their start
_fitter: Fitter | None = None  # of a worker process


def errors(fitter: Fitter, theta: Array, rows: Rows) -> Array:
    """Return signed log errors of TPOT and TTFT of some cases, played anew: [cases, 2]."""
    cols = take(fitter.cols, rows)
    played = play(cols, reached(cols, fitter.efficiencies(theta, rows=rows)))
    tpot, ttft = played[:, closed_loop.TPOT] / fitter.tpot_s[rows], played[:, closed_loop.TTFT] / fitter.ttft_s[rows]
    return np.asarray(np.log(np.stack([tpot, ttft], axis=1)))


def without(fitter: Fitter, task: tuple[Rows, Rows, Array | None]) -> Array:
    """Return the errors on held rows of a fit to other rows: from a point whose counts were played, or from the priors."""
    rows, held, start = task
    at = fitter.afresh(rows) if start is None else fitter.descend(start, rows, rounds=4)
    return errors(fitter, at, held)


def each(work: Callable[[Fitter, Task], Any], fitter: Fitter, tasks: Sequence[Task]) -> list[Any]:
    """Return `work(fitter, task)` of every task, in order; where runs are many, on every core."""
    workers = min(os.cpu_count() or 1, len(tasks))
    if workers < 2 or len(fitter.cols.cases) < MANY:
        return [work(fitter, task) for task in tasks]
    with ProcessPoolExecutor(workers, initializer=_remember, initargs=(fitter,)) as pool:
        return list(pool.map(_run, [(work, task) for task in tasks]))


def _remember(fitter: Fitter) -> None:
    global _fitter
    _fitter = fitter


def _run(job: tuple[Callable[[Fitter, Any], Any], Any]) -> Any:
    assert _fitter is not None
    return job[0](_fitter, job[1])
