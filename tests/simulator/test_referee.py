"""The compiled loop equals the plain-Python referee: every time, every count, over all features at once."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polysilicon.application.trace import Trace
from polysilicon.application.workload import Slo
from polysilicon.performance import StepTimes
from polysilicon.simulator.fleet import Fleet, Pool
from polysilicon.simulator.host import Host
from polysilicon.simulator.run import check_trace, dense

from .referee import Referee

FEATURES = ("sessions", "blocks", "priorities", "pools", "disaggregated", "speculative", "windows", "deferred", "limits",
"closed", "outages")


def step_times(rng: np.random.Generator, budget: int, kv_tokens: int, windows: bool) -> StepTimes:
    tokens = np.arange(budget + 1)
    table = np.where(tokens > 0, rng.uniform(0.004, 0.02) + tokens * rng.uniform(1e-6, 1e-4), 0.0)
    window = int(rng.integers(8, 200)) if windows else 0
    return StepTimes(
        tokens_s=table, sequence_s=rng.uniform(0, 1e-4), kv_s_per_token=rng.uniform(0, 1e-5), window_s_per_token=rng.uniform(0,
        1e-5),
        window_tokens=window, pair_s=rng.uniform(0, 1e-7), kv_tokens=kv_tokens, transfer_s_per_token=rng.uniform(0, 1e-4),
        transfer_latency_s=rng.uniform(0, 0.01), prefill_step_s=rng.uniform(0, 0.01), first_token_s=rng.uniform(0, 0.05),
    )  # fmt: skip


def pool(rng: np.random.Generator, name: str, on: set[str], **more: object) -> Pool:
    draft = int(rng.integers(1, 4)) if "speculative" in on else 0
    block = int(rng.choice([1, 4, 16]))
    values: dict = {
        "replicas": int(rng.integers(1, 4)), "max_batch": int(rng.integers(1, 9)), "block_tokens": block,
        "watermark_frac": float(rng.choice([0.0, 0.02, 0.2])), "draft_tokens": draft,
        "accepted_tokens": float(rng.uniform(1, 1 + draft)) if draft else 1.0, "draft_s": float(rng.uniform(0,
        1e-3)) if draft else 0.0,
        "acceptance": str(rng.choice(["sampled", "mean"])),
        "routing": str(rng.choice(["least-loaded", "weighted", "sticky", "prefix"])), "usd_per_chip_hour": float(rng.integers(1,
        4)),
        "prefix_gain_requests": float(rng.choice([0.5, 2.0, 8.0])), "deferred_batch": int(rng.integers(0, 5)),
    }  # fmt: skip
    if "limits" in on:
        values["queue_requests"] = int(rng.integers(0, 4))
        values["context_tokens"] = int(rng.choice([0, 300]))
    values.update(more)
    budget = int(rng.integers(values["max_batch"] * (1 + draft) + 1, 200))
    return Pool(name, step_times(rng, budget, int(rng.integers(260, 1200)), "windows" in on), **values)


def fleet(rng: np.random.Generator, on: set[str], names: tuple[str, ...]) -> Fleet:
    pools = [pool(rng, "a", on)]
    if "pools" in on:
        pools.append(pool(rng, "b", on))
    if "disaggregated" in on:
        pools += [pool(rng, "p", on, role="prefill", decode_pool="d"), pool(rng, "d", on, role="decode")]
    slos = {names[-1]: Slo(deadline_s=float(rng.uniform(0.1, 4)))} if "deferred" in on else {}
    routing = str(rng.choice(["weighted", "least-loaded", "sticky", "prefix", "price"]))
    return Fleet(tuple(pools), routing=routing, prefix_memory_s=float(rng.choice([np.inf, 0.3])), slos=slos)


def trace(rng: np.random.Generator, on: set[str], names: tuple[str, ...]) -> Trace:
    n = int(rng.integers(1, 60))
    isl = rng.integers(0 if rng.random() < 0.2 else 1, 250, n).astype(np.int32)
    osl = rng.integers(0 if rng.random() < 0.2 else 1, 80, n).astype(np.int32)
    t = Trace(np.cumsum(rng.exponential(rng.choice([0.005, 0.05, 0.3]), n)), isl, osl, workload_names=names)
    t.workload = rng.integers(0, len(names), n).astype(np.int32)
    if "sessions" in on:
        t.session = rng.integers(-1, 6, n).astype(np.int32)
        t.think_s = rng.choice([0.0, 0.1, 1.0], n) * rng.random(n)
    if "priorities" in on:
        t.priority = rng.integers(0, 3, n).astype(np.int32)
    if "blocks" in on:
        t.block_tokens = int(rng.choice([16, 32]))
        roots = rng.integers(0, 4, n)
        shared = rng.integers(0, 12, n)
        rows = []
        for i in range(n):
            count = -(-int(isl[i]) // t.block_tokens)
            rows.append([int(roots[i]) * 100 + j if j < shared[i] else 10_000 + i * 100 + j for j in range(count)])
        t.block_offset = np.cumsum([0, *map(len, rows)]).astype(np.int64)
        t.block_hash = np.array([h for row in rows for h in row], np.int64)
    return t


def outages(rng: np.random.Generator, replicas: int, span_s: float) -> list[tuple[float, int, bool]]:
    found = []
    for r in range(replicas):
        if rng.random() < 0.6:
            down = float(rng.uniform(0, span_s * 1.5))
            found.append((down, r, False))
            if rng.random() < 0.7:
                found.append((down + float(rng.uniform(0.01, 0.02 + span_s)), r, True))
    return sorted(found)


def compiled(fleet: Fleet, t: Trace, seed: int, limit: int | None, events: list[tuple[float, int, bool]]) -> Host:
    check_trace(t, fleet)
    t, sessions = dense(t)
    host = Host(fleet, t, seed=seed, indexed_rows=len(t), sessions=sessions, slots=2)
    if limit is not None:
        host.limit = limit
    for at, replica, up in events:
        host.run(at)
        host.set_now(at)
        if up:
            host.rise(replica)
            host.open_door()
        else:
            host.fail(replica)
    host.run()
    host.give_up()
    return host


def compare(seed: int, on: set[str]) -> None:
    rng = np.random.default_rng(seed)
    names = ("chat", "batch") if "pools" in on or "deferred" in on else ("chat",)
    f, t = fleet(rng, on, names), trace(rng, on, names)
    limit = int(rng.integers(1, 8)) if "closed" in on else None
    events = outages(rng, f.replicas, t.span_s) if "outages" in on else []
    host = compiled(f, t, seed, limit, events)
    referee = Referee(f, t, seed=seed, limit=float("inf") if limit is None else limit, outages=events).run()
    rows = host.rows_by_request(t, len(t))
    for name, theirs in (
        ("status", "status"), ("tokens", "emitted"), ("cached_tokens", "cached"), ("preemptions", "preemptions"), ("retries",
        "retries"),
    ):  # fmt: skip
        assert rows[name].tolist() == [getattr(q, theirs) for q in referee], name
    assert [r if s == 1 else -1 for r, s in zip(rows["replica"], rows["status"], strict=True)] == [
        q.replica.index if q.status == 1 else -1 for q in referee
    ]
    for name, theirs in (("arrival_s", "arrival"), ("start_s", "start"), ("first_s", "first"), ("done_s", "finished")):
        np.testing.assert_allclose(rows[name], [getattr(q, theirs) for q in referee], rtol=1e-9, atol=1e-12, err_msg=name)
    reps = host.state.reps
    assert all((reps[name] == 0).all() for name in ("used", "n", "outstanding", "waiting"))
    assert not host.state.residue.any() and (host.state.pools["outstanding"] == 0).all()
    assert len(rows) == len(referee) and (rows["status"] > 0).all()


@settings(max_examples=120, deadline=None)
@given(seed=st.integers(0, 2**32), on=st.sets(st.sampled_from(FEATURES), max_size=6))
def test_compiled_loop_equals_the_referee(seed: int, on: set[str]) -> None:
    compare(seed, on)


@pytest.mark.parametrize("feature", FEATURES)
def test_each_feature_alone_equals_the_referee(feature: str) -> None:
    for seed in range(4):
        compare(seed, {feature})
