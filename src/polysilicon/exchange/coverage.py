"""Do bands hold what they promise? Bands learnt on one half of the runs, counted on the other, which nothing was fitted to.

The band of a chip is the quantile of errors on runs left out, drawn towards that of its family where a chip has few.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from polysilicon.exchange import leaving_out
from polysilicon.exchange.calibrate import Fitter

Array = NDArray[np.float64]
COVER = 0.8
PLENTY = 20  # points at which a chip's own spread weighs as much as its family's
LEAST = 20  # runs of one kind in a half
SEEDS = (0, 1, 2)
PARTS = 5


@dataclass(frozen=True, slots=True)
class Coverage:
    """How many runs of one half lie in the 80 % bands learnt on the other."""

    seed: int
    number: str  # tpot, ttft, throughput
    runs: int
    inside_frac: float


def band(sizes: Sequence[float]) -> float:
    """Return the half-width that holds 80 % of sizes yet to come: their quantile at 0.8 (n + 1) / n, as a share.

    >>> round(band([0.1] * 50), 4)
    0.1052
    """
    level = min(1.0, COVER * (len(sizes) + 1) / len(sizes))
    return max(float(np.expm1(np.quantile(np.asarray(sizes), level))), 1e-3)


def band_of_chip(own: Sequence[float], mates: Sequence[float]) -> float:
    """Return the band of a chip: its own, drawn towards that of all chips of its family the fewer points it has."""
    weight = len(own) / (len(own) + PLENTY)
    return float(band(own) ** weight * band(mates) ** (1.0 - weight))


def check(fitter: Fitter, good: NDArray[np.bool_], seeds: Sequence[int] = SEEDS) -> list[Coverage]:
    """Return how well bands hold, by seed and kind of number.

    Runs are split in two at random. On one half: a fit from the priors, its fifths left out in turn, bands from their errors.
    On the other: the errors of that fit, counted against these bands.
    """
    halves = [good & np.random.default_rng(seed).integers(0, 2, len(good)).astype(bool) for seed in seeds]
    tasks = [(seed, half, good & ~half) for seed, half in zip(seeds, halves, strict=True)]
    return [c for found in leaving_out.each(_halved, fitter, [t for t in tasks if min(t[1].sum(), t[2].sum()) >= LEAST]) for c in found]


def _halved(fitter: Fitter, task: tuple[int, NDArray[np.bool_], NDArray[np.bool_]]) -> list[Coverage]:
    seed, half, other = task
    rows, others = np.nonzero(half)[0], np.nonzero(other)[0]
    theta = fitter.afresh(rows)
    left_out, unseen = np.full((len(half), 2), np.nan), np.full((len(half), 2), np.nan)
    for part in range(PARTS):
        held = rows[part::PARTS]
        left_out[held] = leaving_out.without(fitter, (np.setdiff1d(rows, held), held, theta))
    unseen[others] = leaving_out.errors(fitter, theta, others)
    cases = fitter.cols.cases
    chips, families = np.array([c.chip.id for c in cases]), np.array([c.chip.family for c in cases])
    found = []
    for name, column, kind in (("tpot", 0, ~fitter.offline), ("ttft", 1, ~fitter.offline), ("throughput", 0, fitter.offline)):
        known, new = (np.where(kind, np.abs(x[:, column]), np.nan) for x in (left_out, unseen))
        if min(np.isfinite(known).sum(), np.isfinite(new).sum()) >= LEAST:
            found.append(Coverage(seed, name, int(np.isfinite(new).sum()), _inside(known, new, chips, families)))
    return found


def _inside(known: Array, new: Array, chips: NDArray[np.str_], families: NDArray[np.str_]) -> float:
    """Return the share of new errors within the bands of their chips."""
    inside: list[bool] = []
    for chip in np.unique(chips[np.isfinite(new)]):
        mine = chips == chip
        mates = known[(families == families[mine][0]) & np.isfinite(known)]
        own = known[mine & np.isfinite(known)]
        width = np.log1p(band_of_chip(list(own), list(mates)) if len(own) else band(list(mates)))
        inside += list(new[mine & np.isfinite(new)] <= width)
    return float(np.mean(inside))
