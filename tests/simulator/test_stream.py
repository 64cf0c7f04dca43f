"""Traffic in blocks: whatever it carries, each request fares as it does when the trace is read whole."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from polysilicon import simulator
from polysilicon.application import generate
from polysilicon.application.trace import Trace
from polysilicon.application.workload import Slo
from polysilicon.errors import InputError
from polysilicon.simulator.dynamics import Happenings, Outage
from polysilicon.simulator.fleet import Fleet, Pool
from polysilicon.simulator.stream import simulate_stream

from . import test_referee as cases
from .test_scale import times, traffic


def pieces(trace: Trace, size: int) -> Iterator[Trace]:
    """Cut a trace into blocks of `size` requests, with all its columns."""
    for at in range(0, len(trace), size):
        cut = slice(at, at + size)
        rows = {name: getattr(trace, name)[cut] for name in ("arrival_s", "isl_tokens", "osl_tokens")}
        rows |= {name: c[cut] for name in ("workload", "session", "think_s", "priority") if len(c := getattr(trace, name))}
        if trace.has_blocks:
            offset = trace.block_offset[at : at + size + 1]
            rows |= {"block_offset": offset - offset[0], "block_hash": trace.block_hash[offset[0] : offset[-1]]}
        yield replace(trace, **rows)


def rows_of(fleet: Fleet, trace: Trace, size: int, **more: object) -> np.ndarray:
    rows: list[np.ndarray] = []
    simulate_stream(fleet, pieces(trace, size), sink=rows.append, **more)
    together = np.concatenate(rows)
    return together[np.argsort(together["id"])]


def test_a_stream_in_blocks_equals_the_whole_and_says_the_same() -> None:
    fleet = Fleet((Pool("a", times(), 6),), slos={"default": Slo(ttft_s=0.1, tpot_s=0.01)})
    trace = traffic(30_000, 8.0)
    whole = simulator.simulate(fleet, trace)
    assert (rows_of(fleet, trace, 7_001) == whole.requests).all()  # by field: a record's padding says nothing
    streamed = simulate_stream(fleet, pieces(trace, 7_001))
    numbers, exact = streamed.summary()["default"], whole.summary()["default"]
    assert streamed.requests == 30_000
    assert numbers["met"] == int(whole.met().sum()) and numbers["output_tokens"] == exact["output_tokens"]
    for name in ("ttft_s", "tpot_s", "e2e_s"):
        assert numbers[name]["p99"] == pytest.approx(exact[name]["p99"], rel=0.02)


@pytest.mark.parametrize("seed", range(60))
def test_any_traffic_on_any_fleet_fares_in_blocks_as_it_does_whole(seed: int) -> None:
    rng = np.random.default_rng(seed)
    on = {name for name in cases.FEATURES if rng.random() < 0.4} - {"closed", "outages"}
    on |= {("sessions", "blocks")[seed % 2]}
    names = ("chat", "batch") if "pools" in on or "deferred" in on else ("chat",)
    fleet, trace = cases.fleet(rng, on, names), cases.trace(rng, on, names)
    whole = simulator.simulate(fleet, trace, seed=seed).requests
    assert (rows_of(fleet, trace, int(rng.integers(1, 9)), seed=seed) == whole).all()


def test_sessions_go_on_in_later_blocks_and_find_their_prefix() -> None:
    rng = np.random.default_rng(3)
    trace = traffic(4_000, 4.0)
    trace.session = rng.integers(10**12, 10**12 + 300, 4_000)  # ids as large as they come
    trace.think_s = rng.exponential(0.5, 4_000)
    fleet = Fleet((Pool("a", times(2_000_000), 3, routing="sticky"),))
    whole = simulator.simulate(fleet, trace).requests
    assert (rows_of(fleet, trace, 333) == whole).all() and (whole["cached_tokens"] > 0).mean() > 0.5


def test_generated_traffic_goes_straight_from_its_generator_into_the_replay() -> None:
    fleet = Fleet((Pool("a", times(2_000_000), 10, routing="sticky"),))
    asked = {"seconds": 900.0, "mean_rps": 10.0, "seed": 3, "block_requests": 1_000}
    result = simulate_stream(fleet, generate.stream("chat", **asked))
    numbers = result.summary()["chat"]
    assert result.requests == numbers["done"] == sum(map(len, generate.stream("chat", **asked))) > 5_000
    assert 0.05 < numbers["cached_tokens"] / numbers["input_tokens"] < 0.6  # sessions find their own prefixes


def test_a_router_that_forgets_needs_no_more_memory_for_a_longer_stream() -> None:
    n = 20_000
    trace = traffic(n, 8.0)
    count = -(-trace.isl_tokens // 64)
    trace.block_offset = np.concatenate([[0], np.cumsum(count)]).astype(np.int64)
    trace.block_hash, trace.block_tokens = np.arange(trace.block_offset[-1]) + 10**15, 64
    host_sizes = {}
    for memory_s in (60.0, np.inf):
        fleet = Fleet((Pool("a", times(2_000_000), 6, routing="prefix"),), prefix_memory_s=memory_s)
        sizes: list[int] = []
        simulate_stream(fleet, watched(pieces(trace, 1_000), sizes))
        host_sizes[memory_s] = sizes
    assert max(host_sizes[60.0]) < 0.2 * max(host_sizes[np.inf])


def watched(blocks: Iterator[Trace], sizes: list[int]) -> Iterator[Trace]:
    """Note the size of the router's table each time a block is asked for."""
    import gc

    from polysilicon.simulator.host import Host

    for block in blocks:
        hosts = [x for x in gc.get_objects() if type(x) is Host]
        sizes += [len(h.state.known) for h in hosts]
        yield block


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


def test_blocks_of_different_kinds_are_refused() -> None:
    fleet = Fleet((Pool("a", times(), 2),))
    first = traffic(10, 4.0)
    later = replace(first, arrival_s=first.arrival_s + 100.0, session=np.zeros(10, np.int32))
    with pytest.raises(InputError, match="the one before"):
        simulate_stream(fleet, [first, later])
    with pytest.raises(InputError, match="session -7 is negative"):
        simulate_stream(fleet, [replace(later, session=np.full(10, -7, np.int32))])
