"""The user's own knowledge over the model: an efficiency table, and measured points, exact where they match, a correction near by."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from polysilicon.application.workload import Lengths
from polysilicon.model.layout import Layout
from polysilicon.performance.types import ServingPoint

EXACT = math.log(1.05)  # concurrency and lengths this close count as the same point
NEAR = math.log(4.0)  # beyond this distance a measurement says nothing
HALVING = math.log(2.0)  # at twice the load or length a measurement counts for 37 %
REPEAT_FRAC = 0.05  # two measurements of one configuration differ by so much


@dataclass(frozen=True, slots=True)
class Observation:
    """One measured operating point of a user's own system."""

    model: str
    chip: str
    chips: int  # of one replica
    precision: str
    isl_tokens: float
    osl_tokens: float
    concurrency: float
    tpot_s: float
    ttft_s: float | None = None
    layout: Layout | None = None  # None: any with so many chips
    cached_frac: float = 0.0
    source: str = ""
    as_of: str = ""


@dataclass(frozen=True, slots=True)
class Own:
    """What a user knows better than the embedded data."""

    efficiency_path: str = ""  # a table that `calibrate` wrote
    seen: tuple[Observation, ...] = ()

    def of(self, model: str, chip: str) -> list[Observation]:
        """Return what was seen of a model on a chip."""
        return [o for o in self.seen if (o.model, o.chip) == (model, chip)]


@dataclass(frozen=True, slots=True)
class Sighting:
    """An observation beside what the model says of it, at its own lengths and load."""

    observation: Observation
    modelled_tpot_s: float

    @property
    def ratio(self) -> float:
        """Return measured over modelled step time."""
        return self.observation.tpot_s / self.modelled_tpot_s


def corrected(points: Sequence[ServingPoint], sightings: Sequence[Sighting], lengths: Lengths, *, margin: float = 0.0) -> list[ServingPoint]:
    """Return serving points with the user's measurements put over them.

    A point whose model, chip, layout, lengths and concurrency match within 5 % takes the measured TPOT (and TTFT) with basis
    `measured`, and the rate n / (TTFT + (OSL - 1) TPOT) of the measured loop. Near ones are slowed by measured / modelled
    to the power of exp(-(distance / ln 2)^2), where both are of the measurement's own lengths and load. `margin` is in half-widths of the band.
    """
    return [_corrected(p, sightings, lengths, margin) for p in points]


def same_system(p: Layout, o: Observation) -> bool:
    """Return whether a layout is the one that was measured; the cache's precision is seldom told and not asked."""
    if o.layout is None:
        return (p.chips, p.precision) == (o.chips, o.precision)
    return (p.precision, p.tp, p.pp, p.ep, p.dp) == (o.layout.precision, o.layout.tp, o.layout.pp, o.layout.ep, o.layout.dp)


def _corrected(point: ServingPoint, sightings: Sequence[Sighting], lengths: Lengths, margin: float) -> ServingPoint:
    weighted = weights = 0.0
    for s in sightings:
        if not same_system(point.layout, s.observation):
            continue
        away = _distance(point, s.observation, lengths)
        if away <= EXACT:
            return _measured(point, s, lengths, margin)
        if away < NEAR:
            weight = math.exp(-((away / HALVING) ** 2))
            weighted += weight * math.log(s.ratio)
            weights += weight
    if not weights:
        return point
    slower = math.exp(weighted / max(weights, 1.0))
    moved = replace(point, tpot_s=point.tpot_s * slower, ttft_s=point.ttft_s * slower, slower_ratio=slower)
    return _paced(moved, point.requests_per_s / slower, "corrected by your own measurements near it")


def _measured(point: ServingPoint, s: Sighting, lengths: Lengths, margin: float) -> ServingPoint:
    seen, careful = s.observation, 1.0 + REPEAT_FRAC * margin
    ttft_s = None if seen.ttft_s is None else seen.ttft_s * careful
    tpot_s = seen.tpot_s * careful
    rate = point.requests_per_s / s.ratio / careful
    if ttft_s is not None:
        rate = seen.concurrency / (ttft_s + (max(lengths.osl_tokens, 1.0) - 1.0) * tpot_s)
    moved = replace(
        point, tpot_s=tpot_s, ttft_s=ttft_s or point.ttft_s * s.ratio, basis="measured", error_frac=REPEAT_FRAC, slower_ratio=s.ratio,
        source=seen.source or "your own measurement", as_of=seen.as_of,
    )  # fmt: skip
    return _paced(moved, rate, "your own measurement, taken as it is (a mean is no quantile)")


def _distance(p: ServingPoint, o: Observation, lengths: Lengths) -> float:
    fresh = max(1.0, lengths.isl_tokens * (1.0 - lengths.cached_frac)), max(1.0, o.isl_tokens * (1.0 - o.cached_frac))
    pairs = ((p.batch, o.concurrency), (lengths.isl_tokens, o.isl_tokens), fresh, (lengths.osl_tokens, o.osl_tokens))
    return max(abs(math.log(max(a, 1e-9) / max(b, 1e-9))) for a, b in pairs)


def _paced(p: ServingPoint, requests_per_s: float, note: str) -> ServingPoint:
    """Return a point at another rate; power is held, so energy a token moves with it."""
    faster = requests_per_s / p.requests_per_s
    return replace(
        p, requests_per_s=requests_per_s, tok_per_s_per_chip=p.tok_per_s_per_chip * faster, j_per_token=p.j_per_token / faster,
        mfu_frac=p.mfu_frac * faster, mbu_frac=p.mbu_frac * faster, note="; ".join(x for x in (p.note, note) if x),
    )  # fmt: skip
