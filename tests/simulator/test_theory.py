"""Queues with a known answer: what the simulator measures lies within the confidence interval of theory."""

from __future__ import annotations

import heapq
import math

import numpy as np
import pytest

from polysilicon import simulator
from polysilicon.application.trace import Trace
from polysilicon.simulator.fleet import Fleet, Pool

N = 200_000


def poisson(rate: float, osl: np.ndarray, seed: int) -> Trace:
    rng = np.random.default_rng(seed)
    return Trace(np.cumsum(rng.exponential(1 / rate, len(osl))), np.ones(len(osl), np.int32), osl.astype(np.int32))


def batch_error(values: np.ndarray, batches: int = 40) -> float:
    """Standard error of a mean from batch means, which are nearly independent."""
    means = values[: len(values) // batches * batches].reshape(batches, -1).mean(axis=1)
    return float(means.std(ddof=1) / math.sqrt(batches))


def erlang_c(servers: int, load: float) -> float:
    """Probability of waiting in M/M/c. Erlang's formula, by the recursion of the B formula."""
    b = 1.0
    for k in range(1, servers + 1):
        b = load * b / (k + load * b)
    return b / (1 - load / servers * (1 - b))


def waits(trace: Trace, service_s: np.ndarray, servers: int = 1) -> np.ndarray:
    """What each of them waits when served in order by so many servers: Lindley's recursion, and Kiefer and Wolfowitz's."""
    free = [0.0] * servers
    found = []
    for arrival, service in zip(trace.arrival_s.tolist(), service_s.tolist(), strict=True):
        start = max(arrival, heapq.heappop(free))
        heapq.heappush(free, start + service)
        found.append(start - arrival)
    return np.array(found)


@pytest.mark.parametrize("busy", [0.5, 0.8])
def test_m_d_1(flat, busy: float) -> None:
    # one at a time, 10 steps of 10 ms each: service D = 0.1 s, wait = rho D / (2 (1 - rho))
    trace = poisson(busy / 0.1, np.full(N, 10), 1)
    result = simulator.simulate(Fleet((Pool("a", flat(), max_batch=1),)), trace)
    wait = result.queue_s
    np.testing.assert_allclose(wait, waits(trace, np.full(N, 0.1)), rtol=0, atol=1e-6)
    assert abs(wait.mean() - busy * 0.1 / (2 * (1 - busy))) < 4 * batch_error(wait)
    assert result.pools()["a"]["busy_frac"] == pytest.approx(busy, rel=0.01)


def test_m_g_1(flat) -> None:
    # Pollaczek-Khinchine: wait = rate E[S^2] / (2 (1 - rho)), service of 1 + geometric steps of 1 ms
    osl = np.random.default_rng(2).geometric(1 / 50, N)
    service = osl * 0.001
    rate = 0.7 / service.mean()
    trace = poisson(rate, osl, 3)
    wait = simulator.simulate(Fleet((Pool("a", flat(0.001), max_batch=1),)), trace).queue_s
    np.testing.assert_allclose(wait, waits(trace, service), rtol=0, atol=1e-6)
    rho = rate * service.mean()
    assert abs(wait.mean() - rate * (service**2).mean() / (2 * (1 - rho))) < 4 * batch_error(wait)


def test_m_m_c_by_a_batch_of_equal_places(flat) -> None:
    # a batch of c places whose step time does not depend on the batch serves c at once: M/M/c, Erlang C.
    # Starting on the next step boundary adds half a step to each wait; steps are 1 ms, services 500 steps.
    c, mean_steps = 8, 500
    osl = np.maximum(1, np.random.default_rng(4).exponential(mean_steps, N).round())
    mean_s = osl.mean() * 0.001
    load = 0.8 * c
    trace = poisson(load / mean_s, osl, 5)
    wait = simulator.simulate(Fleet((Pool("a", flat(0.001, budget=10_000), max_batch=c),)), trace).queue_s
    late = wait - waits(trace, osl * 0.001, c)
    assert late.min() > -1e-6 and late.max() < 0.001 + 1e-6
    expected = erlang_c(c, load) * mean_s / (c - load)
    assert abs(wait.mean() - expected) < 4 * batch_error(wait) + 0.001


def test_littles_law_holds_exactly_on_any_run(flat) -> None:
    rng = np.random.default_rng(6)
    times = flat(0.005, 2e-5, budget=2000, kv_s_per_token=1e-8)
    t = Trace(np.cumsum(rng.exponential(0.02, 20_000)), rng.integers(1, 2000, 20_000, np.int32), rng.integers(1, 400, 20_000, np.int32))
    result = simulator.simulate(Fleet((Pool("a", times, 4),)), t)
    rows = result.requests
    # L = integral of the number inside / span, from the events; lambda W from the sojourn times
    moments = np.concatenate([rows["arrival_s"], rows["done_s"]])
    change = np.concatenate([np.ones(len(rows)), -np.ones(len(rows))])
    order = np.argsort(moments, kind="stable")
    inside = np.cumsum(change[order])
    integral = float((inside[:-1] * np.diff(moments[order])).sum())
    assert integral / result.span_s == pytest.approx(len(rows) / result.span_s * result.e2e_s.mean(), rel=1e-9)


def test_more_load_never_shortens_and_more_bandwidth_never_lengthens_the_mean(flat) -> None:
    rng = np.random.default_rng(7)
    gaps, isl, osl = rng.exponential(1.0, 5000), rng.integers(10, 500, 5000, np.int32), rng.integers(1, 200, 5000, np.int32)

    def mean(rate: float, kv_s: float) -> float:
        times = flat(0.004, 1e-5, budget=1000, kv_s_per_token=kv_s)
        return float(np.nanmean(simulator.simulate(Fleet((Pool("a", times, 2),)), Trace(np.cumsum(gaps / rate), isl, osl)).e2e_s))

    by_rate = [mean(rate, 1e-7) for rate in (0.5, 1.0, 2.0, 4.0)]
    by_bandwidth = [mean(2.0, kv_s) for kv_s in (4e-7, 2e-7, 1e-7, 0.0)]
    assert by_rate == sorted(by_rate) and by_bandwidth == sorted(by_bandwidth, reverse=True)
