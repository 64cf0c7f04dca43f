"""The user's own measurements over the model: exact where they match, a correction where they are near."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from polysilicon.application.workload import Lengths
from polysilicon.performance.types import ServingPoint

EXACT = math.log(1.05)  # concurrency and lengths this close count as the same point
NEAR = math.log(4.0)  # beyond this distance a measurement says nothing
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


def correct(points: Sequence[ServingPoint], seen: Sequence[Observation], lengths: Lengths) -> list[ServingPoint]:
    """Return serving points with the user's measurements put over them.

    A point whose model, chip, replica size, precision, lengths and concurrency match within 5 % takes the measured TPOT
    (and TTFT) with basis `measured`. Near ones are scaled by measured / predicted, weighted by exp(-distance).
    """
    return [_corrected(p, points, seen, lengths) for p in points]


def _corrected(point: ServingPoint, all_points: Sequence[ServingPoint], seen: Sequence[Observation], lengths: Lengths) -> ServingPoint:
    alike = [o for o in seen if _same_system(point, o)]
    if not alike:
        return point
    weighted = 0.0
    weights = 0.0
    for o in alike:
        away = _distance(point, o, lengths)
        if away <= EXACT:
            return _scaled(point, o.tpot_s / point.tpot_s, ttft_s=o.ttft_s, measured=True)
        reference = min((p for p in all_points if _same_system(p, o)), key=lambda p: abs(math.log(p.batch / o.concurrency)))
        if away < NEAR:
            weight = math.exp(-away)
            weighted += weight * math.log(o.tpot_s / reference.tpot_s)
            weights += weight
    return _scaled(point, math.exp(weighted / max(weights, 1.0)), ttft_s=None, measured=False) if weights else point


def _same_system(p: ServingPoint, o: Observation) -> bool:
    return (p.model, p.chip, p.chips, p.layout.precision) == (o.model, o.chip, o.chips, o.precision)


def _distance(p: ServingPoint, o: Observation, lengths: Lengths) -> float:
    pairs = ((p.batch, o.concurrency), (lengths.isl_tokens, o.isl_tokens), (lengths.osl_tokens, o.osl_tokens))
    return max(abs(math.log(max(a, 1e-9) / max(b, 1e-9))) for a, b in pairs)


def _scaled(p: ServingPoint, slower: float, *, ttft_s: float | None, measured: bool) -> ServingPoint:
    note = "your own measurement, taken as it is (a mean is no quantile)" if measured else "corrected by your own measurements near it"
    return replace(
        p, tpot_s=p.tpot_s * slower, ttft_s=ttft_s or p.ttft_s * slower, tok_per_s_per_chip=p.tok_per_s_per_chip / slower,
        requests_per_s=p.requests_per_s / slower, j_per_token=p.j_per_token * slower, basis="measured" if measured else p.basis,
        error_frac=REPEAT_FRAC if measured else p.error_frac, note="; ".join(x for x in (p.note, note) if x),
    )  # fmt: skip
