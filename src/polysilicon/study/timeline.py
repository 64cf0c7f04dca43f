"""The replay over time, in few enough points to draw: requests waiting, requests running, KV in use, time to first token."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from polysilicon.application.workload import Slo
from polysilicon.report.evidence import Series
from polysilicon.simulator.metrics import SimulationResult

F8 = NDArray[np.float64]
POINTS = 60  # of each series
MOST_POOLS = 3  # drawn for one workload, those with most replicas


def timeline(result: SimulationResult, workload: str, *, until_s: float, slo: Slo, from_s: float = 0.0) -> tuple[Series, ...]:
    """Return the means over equal spans of a replay from `from_s`, which is the drawing's zero, to `until_s`.

    waiting: requests between arrival and first admission; batch: requests running a replica;
    kv: KV that running requests hold of their own / all KV (a prefix read from the cache is left out);
    ttft: of the requests that arrive in a span, at the promised quantile; a span without arrivals has no point.

    Ignores: that a preempted request gives its KV back, and that a prompt's KV fills up step by step: kv is a bound from above.
    """
    rows = result.requests
    edges = np.linspace(from_s, max(until_s, from_s + 1e-9), POINTS + 1)
    started = rows["start_s"] >= 0
    begin = np.where(started, rows["start_s"], result.span_s)
    end = np.maximum(np.where(rows["done_s"] >= 0, rows["done_s"], result.span_s), begin)
    first = np.clip(np.where(rows["first_s"] >= 0, rows["first_s"], end), begin, end)
    arrived = np.minimum(rows["arrival_s"], begin)
    times = tuple(float(t) for t in edges[:-1] - from_s)
    waiting = _mean(edges, lambda e: np.clip(e, arrived, begin) - arrived)
    made = [Series("waiting", workload, times, waiting)]
    own = (rows["isl_tokens"] - rows["cached_tokens"]).astype(float)
    grown = np.where(end > first, rows["tokens"] / np.maximum(end - first, 1e-12) / 2.0, 0.0)
    for name, low, replicas, kv_tokens in _pools(result):
        mine = started & (rows["replica"] >= low) & (rows["replica"] < low + replicas)
        a, f, b, prompt, growth = begin[mine], first[mine], end[mine], own[mine], grown[mine]

        def ran(e: float, a: F8 = a, b: F8 = b) -> F8:
            return np.asarray(np.clip(e, a, b) - a)

        def kept(e: float, a: F8 = a, b: F8 = b, f: F8 = f, prompt: F8 = prompt, growth: F8 = growth) -> F8:
            return np.asarray(prompt * (np.clip(e, a, b) - a) + growth * (np.clip(e, f, b) - f) ** 2)

        subject = f"{workload} on {name}"
        made.append(Series("batch", subject, times, _mean(edges, ran, replicas)))
        if kv_tokens > 0:
            made.append(Series("kv", subject, times, _mean(edges, kept, replicas * kv_tokens)))
    return (*made, *_ttft(result, workload, edges, slo))


def _pools(result: SimulationResult) -> Sequence[tuple[str, int, int, int]]:
    """Return name, first replica, replicas and KV tokens a replica of the largest pools."""
    low, found = 0, []
    for pool in result.fleet.pools:
        found.append((pool.name, low, pool.replicas, int(pool.step_times.kv_tokens)))
        low += pool.replicas
    return sorted(found, key=lambda p: -p[2])[:MOST_POOLS]


def _mean(edges: F8, integral: Callable[[float], F8], size: float = 1.0) -> tuple[float, ...]:
    """Return the mean of a quantity over each span, from its integral up to a time, one entry a request."""
    total = np.array([float(integral(float(e)).sum()) for e in edges])
    return tuple(float(v) for v in np.diff(total) / np.diff(edges) / size)


def _ttft(result: SimulationResult, workload: str, edges: F8, slo: Slo) -> tuple[Series, ...]:
    rows, ttft = result.requests, result.ttft_s
    mine = (rows["workload"] == result.workload_names.index(workload)) & ~np.isnan(ttft)
    span = np.searchsorted(edges, rows["arrival_s"][mine], side="right") - 1
    values = ttft[mine]
    points = [(float(edges[k] - edges[0]), float(np.quantile(values[span == k], slo.quantile))) for k in range(POINTS) if (span == k).any()]
    if not points:
        return ()
    return (Series("ttft", workload, tuple(t for t, _ in points), tuple(v for _, v in points), slo.ttft_s),)
