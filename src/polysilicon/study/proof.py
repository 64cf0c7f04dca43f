"""The proof: the traffic of a workload's busiest hour, replayed on the fleet that the plan holds for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from polysilicon.application.workload import Workload
from polysilicon.performance import ServingPoint
from polysilicon.portfolio import Plan
from polysilicon.report.evidence import Series
from polysilicon.scenario import Resolved
from polysilicon.study.fleet import Part, Scaled, fleet_of, is_sticky, parts_of, prefill_s
from polysilicon.study.timeline import timeline
from polysilicon.study.traffic import WARM_UP, Window, peak_window

if TYPE_CHECKING:
    from polysilicon.simulator import SimulationResult

F8 = NDArray[np.float64]
B1 = NDArray[np.bool_]

EXTRA_STEPS: tuple[float, ...] = (0.1, 0.25, 0.5, 1.0, 2.0, 4.0)  # capacity tried on top, one after another
EXTRA_TOLERANCE = 0.06
ROOM = 0.7  # of a promise: what a search aims at, so that the next replay's luck does not undo it
STICKY_REPLICAS = 24  # where sessions stay, replicas differ: fewer make the quantile a matter of luck (TTFT 5 s or 18 s at like loads)
STICKY_MORE = 4.0  # times the requests, at most, are replayed for that
LOAD_FRAC = 0.98  # of the planned load: what a replay has to ask of the fleet to count as one of it
LOAD_TRIES = 4
LOAD_MOST = 2.0  # times as many sessions, at most, are started for that
PROBABILITIES: tuple[float, ...] = tuple(round(p, 3) for p in [*np.linspace(0.0, 0.95, 39), 0.96, 0.97, 0.98, 0.99, 0.995, 1.0])


@dataclass(frozen=True, slots=True)
class Promise:
    """One promise and what the replay measured at its quantile."""

    measure: str  # ttft_s, tpot_s, e2e_s or deadline_s
    limit_s: float
    quantile: float
    attained_s: float

    @property
    def kept(self) -> bool:
        """Return whether the promise was kept."""
        return self.attained_s <= self.limit_s

    @property
    def words(self) -> str:
        """Say what was promised and what was measured."""
        name = self.measure.removesuffix("_s").upper() if self.measure != "deadline_s" else "completion"
        return f"{name} {_time(self.attained_s)} at the {100 * self.quantile:g}th percentile, {_time(self.limit_s)} promised"


@dataclass(frozen=True, slots=True)
class Measured:
    """What the replay of one workload in one period said."""

    workload: str
    period: int
    promises: tuple[Promise, ...]
    requests: int  # measured, warm-up not counted
    rps: float  # asked of the replayed replicas, as counted
    planned_rps: float  # of the busiest hour
    replicas: int
    held_replicas: int
    goodput_frac: float  # share of requests that kept every promise
    cached_frac: float
    load_frac: float = 1.0  # of the planned load a replica that was asked of them
    latencies: Mapping[str, tuple[float, ...]] = field(default_factory=dict)  # measure -> value at each of PROBABILITIES
    source: str = ""
    series: tuple[Series, ...] = ()  # the replay over time

    @property
    def kept(self) -> bool:
        """Return whether every promise was kept under the planned load."""
        return self.loaded and all(promise.kept for promise in self.promises)

    @property
    def loaded(self) -> bool:
        """Return whether the planned load was asked; sessions that wait too long for answers ask less."""
        return self.load_frac >= LOAD_FRAC

    def kept_with_room(self) -> bool:
        """Return whether every promise was kept with some room to spare."""
        return self.loaded and all(promise.attained_s <= ROOM * promise.limit_s for promise in self.promises)

    @property
    def missed(self) -> tuple[str, ...]:
        """Say in words what was missed."""
        load = () if self.loaded else (f"{self.workload}: {100 * self.load_frac:.3g} % of its load came through, sessions wait for answers",)
        return (*(f"{self.workload}: {p.words}" for p in self.promises if not p.kept), *load)


@dataclass(frozen=True, slots=True)
class Replay:
    """What stays the same while a workload is replayed with more and more capacity."""

    resolved: Resolved
    plan: Plan
    points: Mapping[tuple[str, str], ServingPoint]
    requests: int  # to aim at, for one workload in one period
    seed: int
    margin_quantile: float


def replay(job: Replay, work: Workload, period: int, *, extra_frac: float = 0.0) -> Measured | None:
    """Return what the replay of a workload measures, or None where the plan serves it by the token alone.

    The fleet is scaled down so that about `job.requests` requests fill a window of at least a minute and of a dozen mean
    request times; a replica keeps its planned load. Small pools of replicas even out bursts less than large
    ones do, so scaling down makes the proof harder, not easier.
    """
    parts = parts_of(job.resolved, job.plan, job.points, work, period)
    if not parts:
        return None
    seconds = _seconds(work, parts)
    planned = sum(part.rps for part in parts)
    scale = job.requests / (planned * seconds)
    if is_sticky(work):
        scale *= min(STICKY_MORE, max(1.0, STICKY_REPLICAS / (scale * sum(part.replicas for part in parts))))
    scaled = fleet_of(
        job.resolved,
        job.plan,
        work,
        parts,
        period=period,
        scale=scale,
        extra_frac=extra_frac,
        margin_quantile=job.margin_quantile,
    )
    result, window, counted, load = _loaded(job, work, scaled, seconds, period)
    rows = result.requests
    columns = {"ttft_s": result.ttft_s[counted], "tpot_s": result.tpot_s[counted], "e2e_s": result.e2e_s[counted]}
    lone = ~np.isnan(columns["e2e_s"]) & np.isnan(columns["tpot_s"])  # answers of one token have no TPOT
    weight = _weights(result, scaled.weights)[counted]
    weights = {"ttft_s": weight, "tpot_s": weight[~lone], "e2e_s": weight}
    columns["tpot_s"] = columns["tpot_s"][~lone]
    isl = float((rows["isl_tokens"][counted] * weight).sum())
    return Measured(
        workload=work.id,
        period=period,
        promises=_promises(work, columns, weights),
        requests=int(counted.sum()),
        rps=load * scaled.rps,
        planned_rps=planned,
        replicas=scaled.replicas,
        held_replicas=sum(part.held_replicas for part in parts),
        goodput_frac=float(np.average(result.met()[counted], weights=weight)) if counted.any() else 0.0,
        cached_frac=float((rows["cached_tokens"][counted] * weight).sum()) / isl if isl else 0.0,
        load_frac=load,
        latencies={name: _curve(values, weights[name]) for name, values in columns.items()},
        source=window.source,
        series=timeline(result, work.id, from_s=window.measured_from_s, until_s=window.measured_until_s, slo=work.slo),
    )


def _loaded(job: Replay, work: Workload, scaled: Scaled, seconds: float, period: int) -> tuple[SimulationResult, Window, B1, float]:
    """Return a replay, its window, which requests count in it, and the share of the planned load that they are.

    A session asks again once it has its answer: answers slower than the traffic was recorded with make it ask less in the
    same time. As many more sessions are started as bring the planned load about, if any number of them does.
    """
    from polysilicon.simulator import simulate

    more = 1.0
    for _ in range(LOAD_TRIES):
        window = peak_window(
            work,
            rps=more * scaled.rps,
            seconds=seconds,
            prefill_s=lambda prompts: prefill_s(scaled.fleet, work.id, prompts),
            seed=job.seed + period,
        )
        result = simulate(scaled.fleet, window.trace, seed=job.seed)
        at = result.requests["arrival_s"]
        counted = (at >= window.measured_from_s) & (at < window.measured_until_s)
        counted &= result.requests["workload"] != _warm_index(result.workload_names)
        load = float(counted.sum()) / (window.measured_until_s - window.measured_from_s) / scaled.rps
        if not is_sticky(work) or load >= LOAD_FRAC or more >= LOAD_MOST:
            break
        more = min(LOAD_MOST, more * min(1.5, 1.0 / max(load, 0.5)))
    return result, window, counted, load if is_sticky(work) else 1.0


class Replayer(Protocol):
    """Replays one workload in one period with some capacity on top."""

    def __call__(self, job: Replay, work: Workload, period: int, *, extra_frac: float = 0.0) -> Measured | None:
        """Return what is measured, or None where there is nothing to replay."""


def needed_headroom(job: Replay, work: Workload, period: int, *, one: Replayer = replay) -> float | None:
    """Return the least extra capacity, to a few percent, with which a workload keeps its promises; None where none does.

    More replicas for the same traffic, in growing steps until the promise holds with some room, then halving the step
    that made it. Where even the largest step leaves no room but keeps the promise, that step is the answer.
    """
    low = 0.0
    for high in EXTRA_STEPS:
        measured = one(job, work, period, extra_frac=high)
        if measured is not None and measured.kept_with_room():
            break
        low = high
    else:
        return high if measured is not None and measured.kept else None
    while high - low > EXTRA_TOLERANCE * (1.0 + high):
        middle = (low + high) / 2.0
        measured = one(job, work, period, extra_frac=middle)
        low, high = (low, middle) if measured is not None and measured.kept_with_room() else (middle, high)
    return high


def _seconds(work: Workload, parts: list[Part]) -> float:
    request_s = max(part.point.ttft_s + work.lengths.osl_tokens * part.tpot_s for part in parts)
    return float(min(600.0, max(60.0, 12.0 * request_s)))


def _weights(result: SimulationResult, by_pool: Mapping[str, float]) -> F8:
    """Return how many requests of the plan each replayed one stands for; one that got nowhere weighs as the heaviest."""
    each = [by_pool[pool.name] for pool in result.fleet.pools for _ in range(pool.replicas)]
    weights: F8 = np.array([*each, max(by_pool.values())])[result.requests["replica"]]
    return weights


def _promises(work: Workload, columns: Mapping[str, F8], weights: Mapping[str, F8]) -> tuple[Promise, ...]:
    limits = (("ttft_s", work.slo.ttft_s), ("tpot_s", work.slo.tpot_s), ("e2e_s", work.slo.e2e_s))
    q = work.slo.quantile
    return tuple(Promise(name, limit, q, quantiles(columns[name], weights[name], (q,))[0]) for name, limit in limits if limit is not None)


def quantiles(values: F8, weights: F8, wanted: Sequence[float]) -> tuple[float, ...]:
    """Return the least values with at least such shares of the weight at or below; one that never got there is infinitely late.

    >>> quantiles(np.array([3.0, 1.0, 2.0]), np.array([8.0, 1.0, 1.0]), (0.1, 0.2, 0.95))
    (1.0, 2.0, 3.0)
    """
    if not len(values):
        return (0.0,) * len(wanted)
    late = np.where(np.isnan(values), np.inf, values)
    order = np.argsort(late, kind="stable")
    reached = np.cumsum(weights[order])
    at = np.searchsorted(reached, np.asarray(wanted) * reached[-1] * (1.0 - 1e-12))
    return tuple(float(v) for v in late[order][np.minimum(at, len(order) - 1)])


def _curve(values: F8, weights: F8) -> tuple[float, ...]:
    known = ~np.isnan(values)
    return quantiles(values[known], weights[known], PROBABILITIES) if known.any() else ()


def _warm_index(names: tuple[str, ...]) -> int:
    return names.index(WARM_UP) if WARM_UP in names else -1


def _time(seconds: float) -> str:
    """Return a time the way a person says it.

    >>> _time(0.0312), _time(2.5), _time(7200.0)
    ('31.2 ms', '2.5 s', '2 h')
    """
    if seconds == np.inf:
        return "never"
    if seconds < 1.0:
        return f"{1000 * seconds:.3g} ms"
    return f"{seconds:.3g} s" if seconds < 3600 else f"{seconds / 3600:.3g} h"
