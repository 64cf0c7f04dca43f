"""Invariants on large runs, and real traces where they are at hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from polysilicon import simulator
from polysilicon.application.trace import Trace
from polysilicon.performance import StepTimes
from polysilicon.simulator.dynamics import Happenings, random_outages
from polysilicon.simulator.fleet import Fleet, Pool


def times(kv_tokens: int = 200_000) -> StepTimes:
    tokens = np.arange(8193)
    return StepTimes(np.where(tokens > 0, 0.006 + tokens * 2e-5, 0.0), 1e-5, 2e-8, 0.0, 0, 1e-9, kv_tokens)


def traffic(n: int, rate: float, seed: int = 0) -> Trace:
    rng = np.random.default_rng(seed)
    isl = np.clip(rng.lognormal(6.7, 0.8, n), 16, 4096).astype(np.int32)
    osl = np.clip(rng.lognormal(5.1, 0.7, n), 1, 1024).astype(np.int32)
    return Trace(np.cumsum(rng.exponential(1 / rate, n)), isl, osl)


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
