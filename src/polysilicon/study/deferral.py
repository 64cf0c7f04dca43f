"""The proof for work that may wait: requests of a day, in order, into what the others leave idle."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from polysilicon.application.workload import Workload
from polysilicon.portfolio import Placement
from polysilicon.study.fleet import rate_of
from polysilicon.study.proof import PROBABILITIES, Measured, Promise, Replay
from polysilicon.study.traffic import body_of

F8 = NDArray[np.float64]
DAYS = 3  # the last is measured; the ones before fill the queue
HOUR_S = 3600.0


def replay_deferred(job: Replay, work: Workload, period: int, *, extra_frac: float = 0.0) -> Measured | None:
    """Return when requests that may wait are done, served first come first served with what is idle hour by hour.

    idle(pool, hour) = utilisation limit x chips held - chips busy with work that may not wait, of the plan's shares.
    Chips rented by the hour count with their mean over the period. A request of s tokens takes s / mean tokens of the
    time a mean request takes; the queue is exact: done_i = max(done_{i-1}, arrival_i) + work_i, on the clock that runs
    at the speed of the idle capacity.

    Ignores: requests that run when a busy hour begins; they would be held back with their KV cache, not lost.
    """
    placed = [p for p in job.plan.placements if (p.period, p.workload) == (period, work.id) and p.chip]
    if not placed:
        return None
    speed = np.sum([_idle_rps(job, work, p, period) for p in placed], axis=0) * (1.0 + extra_frac)
    demand = hourly_rps(job, work, period) * min(1.0, sum(p.share_frac for p in placed))
    arrival_s, size = _requests(job, work, demand)
    done_s = queue(arrival_s, size / float(len(arrival_s)) * float(demand.sum() * HOUR_S * DAYS), speed)
    counted = arrival_s >= (DAYS - 1) * 24 * HOUR_S
    wait = done_s[counted] - arrival_s[counted]
    limit = work.slo.deadline_s or np.inf
    promise = Promise("deadline_s", limit, 1.0, float(wait.max()))
    return Measured(
        workload=work.id,
        period=period,
        promises=(promise,),
        requests=int(counted.sum()),
        rps=len(arrival_s) / (DAYS * 24 * HOUR_S),
        planned_rps=float(demand.max()),
        replicas=0,
        held_replicas=0,
        goodput_frac=float((wait <= limit).mean()),
        cached_frac=work.lengths.cached_frac,
        latencies={"e2e_s": tuple(float(v) for v in np.quantile(np.minimum(wait, 1e9), PROBABILITIES))},
        source=str(work.traffic.get("profile", "")),
    )


def queue(arrival_s: F8, work_requests: F8, speed_rps: F8) -> F8:
    """Return when each request is done, one after another, at a speed that changes with the hour of the day.

    With C(t) the requests that could have been served by t, done_i = C^-1(max(C(done_{i-1}), C(arrival_i)) + work_i).

    >>> queue(np.array([0.0, 0.0]), np.array([3600.0, 3600.0]), np.array([1.0] * 12 + [0.0] * 12)).tolist()
    [3600.0, 7200.0]
    """
    days = int(arrival_s[-1] // (24 * HOUR_S)) + 60  # a queue longer than two months is late in any case
    edges = np.arange(24 * days + 1) * HOUR_S
    could = np.concatenate([[0.0], np.cumsum(np.tile(speed_rps * HOUR_S, days))])
    began = np.interp(arrival_s, edges, could)
    load = np.cumsum(work_requests)
    ends = np.maximum.accumulate(began - np.concatenate([[0.0], load[:-1]])) + load
    hour = np.clip(np.searchsorted(could, ends, side="left") - 1, 0, len(could) - 2)
    rate = np.tile(speed_rps, days)[hour]
    done: F8 = np.full(len(ends), np.inf)
    inside = (ends <= could[-1]) & (rate > 0)
    done[inside] = edges[hour[inside]] + (ends[inside] - could[hour[inside]]) / rate[inside]
    nothing = ends <= began  # no work to do: done on arrival
    done[nothing] = arrival_s[nothing]
    return done


def hourly_rps(job: Replay, work: Workload, period: int) -> F8:
    """Return a workload's demand in the 24 UTC hours of a working day: its load block's mean."""
    out = np.zeros(24)
    working = [b for b, off in enumerate(job.resolved.weekend or [False] * len(job.resolved.hours)) if not off]
    for block, hours in ((b, job.resolved.hours[b]) for b in working):
        out[list(hours)] = job.resolved.demand_rps[work.id][period][block]
    return out


def _idle_rps(job: Replay, work: Workload, placement: Placement, period: int) -> F8:
    """Return the requests/s a pool could serve of this workload in each hour, with what others leave idle."""
    plan, resolved = job.plan, job.resolved
    pool = (placement.chip, placement.cloud, placement.region)
    held = sum(h.chips for h in plan.holdings if h.period == period and (h.chip, h.cloud, h.region) == pool)
    usable = resolved.limits.utilisation_max_frac * held
    waiting = {w.id for w in resolved.workloads if w.slo.deferrable}
    busy = np.zeros(24)
    for other in plan.placements:
        here = sum(chips for pool, _, chips, _ in other.seats() if pool == placement.pool)
        if other.period == period and here > 0 and other.workload not in waiting:
            shape = hourly_rps(job, resolved.workload(other.workload), period)
            busy += here * shape / shape.mean()
    # several workloads that may wait share what is idle as the plan has them share the pool
    mine = placement.chips / max(
        1e-12, sum(p.chips for p in plan.placements if p.period == period and p.pool == placement.pool and p.workload in waiting)
    )
    free: F8 = np.maximum(0.0, usable - busy) * mine * rate_of(resolved, plan, job.points, placement)
    return free


def _requests(job: Replay, work: Workload, demand_rps: F8) -> tuple[F8, F8]:
    """Return arrivals over the days and sizes relative to the mean, a sample thinned to the size of the proof."""
    count = max(1000, min(job.requests, 50_000))
    day = np.repeat(np.arange(24 * DAYS), np.round(np.tile(demand_rps / demand_rps.sum(), DAYS) * count / DAYS).astype(int))
    rng = np.random.default_rng([job.seed, 24])
    arrival = np.sort((day + rng.random(len(day))) * HOUR_S)
    body = body_of(work, len(arrival) / HOUR_S, HOUR_S, job.seed)
    tokens = (body.isl_tokens * (1.0 - work.lengths.cached_frac) + body.osl_tokens).astype(float)
    tokens = np.resize(tokens, len(arrival))
    return arrival, tokens / tokens.mean()
