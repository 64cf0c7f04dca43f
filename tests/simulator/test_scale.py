"""Streams, many runs at once, invariants on large runs, and real traces where they are at hand."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from polysilicon import simulator
from polysilicon.application.trace import Trace
from polysilicon.application.workload import Slo
from polysilicon.errors import InputError
from polysilicon.performance import StepTimes
from polysilicon.simulator.dynamics import Happenings, Outage, random_outages
from polysilicon.simulator.fleet import Fleet, Pool
from polysilicon.simulator.stream import simulate_stream


def times(kv_tokens: int = 200_000) -> StepTimes:
    tokens = np.arange(8193)
    return StepTimes(np.where(tokens > 0, 0.006 + tokens * 2e-5, 0.0), 1e-5, 2e-8, 0.0, 0, 1e-9, kv_tokens)


def traffic(n: int, rate: float, seed: int = 0) -> Trace:
    rng = np.random.default_rng(seed)
    isl = np.clip(rng.lognormal(6.7, 0.8, n), 16, 4096).astype(np.int32)
    osl = np.clip(rng.lognormal(5.1, 0.7, n), 1, 1024).astype(np.int32)
    return Trace(np.cumsum(rng.exponential(1 / rate, n)), isl, osl)


def pieces(trace: Trace, size: int) -> Iterator[Trace]:
    for at in range(0, len(trace), size):
        cut = slice(at, at + size)
        yield replace(trace, arrival_s=trace.arrival_s[cut], isl_tokens=trace.isl_tokens[cut], osl_tokens=trace.osl_tokens[cut])


def test_invariants_hold_on_a_large_run_under_failures_and_pressure() -> None:
    n = 200_000
    fleet = Fleet((Pool("a", times(6_000), 40, max_batch=64), Pool("b", times(9_000), 24, max_batch=128)),
    routing="least-loaded")
    trace = traffic(n, 150.0)
    failures = random_outages(fleet, mtbf_hours=1.0, repair_s=60.0, span_s=trace.span_s, seed=1)
    result = simulator.simulate(fleet, trace, happenings=Happenings(outages=failures))
    rows = result.requests
    assert (rows["id"] == np.arange(n)).all() and result.done.all() and (rows["tokens"] == trace.osl_tokens).all()
    assert rows["preemptions"].sum() > 0 and rows["retries"].sum() > 0
    assert (rows["arrival_s"] <= rows["start_s"]).all() and (rows["start_s"] < rows["first_s"]).all() and (rows["first_s"] <= rows["done_s"]).all()
    reps = result.replicas
    assert (reps["used"] == 0).all() and (reps["outstanding"] == 0).all() and (reps["busy_s"] <= reps["up_s"] * (1 + 1e-9)).all()


def test_a_stream_in_blocks_equals_the_whole_and_says_the_same() -> None:
    fleet = Fleet((Pool("a", times(), 6),), slos={"default": Slo(ttft_s=0.1, tpot_s=0.01)})
    trace = traffic(30_000, 8.0)
    whole = simulator.simulate(fleet, trace)
    rows: list[np.ndarray] = []
    streamed = simulate_stream(fleet, pieces(trace, 7_001), sink=rows.append)
    together = np.concatenate(rows)
    together = together[np.argsort(together["id"])]
    assert (together == whole.requests).all() and streamed.requests == 30_000  # by field: a record's padding says nothing
    numbers, exact = streamed.summary()["default"], whole.summary()["default"]
    assert numbers["met"] == int(whole.met().sum()) and numbers["output_tokens"] == exact["output_tokens"]
    for name in ("ttft_s", "tpot_s", "e2e_s"):
        assert numbers[name]["p99"] == pytest.approx(exact[name]["p99"], rel=0.02)


def test_a_stream_survives_an_outage_and_refuses_a_clock_that_goes_back() -> None:
    fleet = Fleet((Pool("a", times(), 2),))
    trace = traffic(5_000, 4.0)
    lost = Happenings(outages=[Outage(100.0, "pool", "a")])
    numbers = simulate_stream(fleet, pieces(trace, 1000), happenings=lost).workloads["default"]
    assert numbers.status.sum() == 5_000 and numbers.status[6] > 4_000
    with pytest.raises(InputError, match="before"):
        simulate_stream(fleet, [trace, trace])
    with pytest.raises(InputError, match="no requests"):
        simulate_stream(fleet, [])


@pytest.mark.shared
def test_a_real_long_context_trace_finds_its_prefixes(shared_dir: Path) -> None:
    from polysilicon.application.read import read

    trace = read(shared_dir / "traces/mooncake/synthetic_trace.jsonl.gz")
    many = Pool("a", times(8_000_000), 8, routing="prefix")
    few = replace(many, step_times=times(400_000))
    cached = [float(simulator.simulate(Fleet((pool,)),
    trace).summary()[trace.workload_names[0]]["cached_frac"]) for pool in (many, few)]
    assert cached[1] < cached[0] <= 0.66  # an infinite cache would find 65.1 % of input tokens
    assert cached[0] > 0.5


@pytest.mark.shared
def test_prefix_aware_routing_finds_more_than_taking_turns(shared_dir: Path) -> None:
    from polysilicon.application.read import read

    trace = read(shared_dir / "traces/mooncake/synthetic_trace.jsonl.gz")
    found = {
        routing: simulator.simulate(Fleet((Pool("a", times(1_500_000), 8, routing=routing),)),
        trace).requests["cached_tokens"].sum()
        for routing in ("prefix", "weighted")
    }
    assert found["prefix"] > 1.3 * found["weighted"]
