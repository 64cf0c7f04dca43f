"""Traffic too long for memory: arrivals come in blocks, rows go out as they finish, quantiles are kept in 1 % bins."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polysilicon.application.trace import Trace
from polysilicon.application.workload import Slo
from polysilicon.errors import InputError
from polysilicon.simulator import fleet as fleets
from polysilicon.simulator.dynamics import Happenings, Stage
from polysilicon.simulator.fleet import Fleet
from polysilicon.simulator.host import Host
from polysilicon.simulator.metrics import Numbers
from polysilicon.simulator.run import check_replicas, check_trace
from polysilicon.simulator.state import DONE, MORE, STATUS

_BINS, _FLOOR_S, _WIDTH = 3072, 1e-6, 0.01  # 1 us to 1.9e7 s
LATENCIES = ("ttft_s", "tpot_s", "e2e_s")


@dataclass
class Tally:
    """Counts of one workload: outcomes, tokens, promises kept, and latencies in bins of 1 %."""

    status: NDArray[np.int64] = field(default_factory=lambda: np.zeros(len(STATUS), np.int64))
    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    preemptions: int = 0
    retries: int = 0
    met: int = 0
    bins: dict[str, NDArray[np.int64]] = field(default_factory=lambda: {name: np.zeros(_BINS, np.int64) for name in LATENCIES})

    def add(self, rows: NDArray[Any], slo: Slo | None) -> None:
        """Count rows of this workload."""
        self.status += np.bincount(rows["status"], minlength=len(STATUS))
        self.input_tokens += int(rows["isl_tokens"].sum())
        self.output_tokens += int(rows["tokens"].sum())
        self.cached_tokens += int(rows["cached_tokens"].sum())
        self.preemptions += int(rows["preemptions"].sum())
        self.retries += int(rows["retries"].sum())
        done = rows[rows["status"] == DONE]
        gaps = done["osl_tokens"] - 1
        values = {
            "ttft_s": done["first_s"] - done["arrival_s"],
            "tpot_s": (done["done_s"] - done["first_s"]) / np.maximum(gaps, 1),
            "e2e_s": done["done_s"] - done["arrival_s"],
        }
        met = np.ones(len(done), bool)
        for name, limit in _limits(slo):
            met &= values[name] <= limit
        self.met += int(met.sum())
        values["tpot_s"] = values["tpot_s"][gaps > 0]
        for name, column in values.items():
            at = (np.log(np.maximum(column, _FLOOR_S) / _FLOOR_S) / math.log1p(_WIDTH)).astype(np.int64)
            self.bins[name] += np.bincount(np.minimum(at, _BINS - 1), minlength=_BINS)

    def quantile(self, name: str, quantile: float) -> float | None:
        """Return a latency's quantile to within half a bin (0.5 %)."""
        counts = self.bins[name]
        if not counts.sum():
            return None
        at = int(np.searchsorted(np.cumsum(counts), quantile * counts.sum()))
        return float(_FLOOR_S * (1 + _WIDTH) ** (min(at, _BINS - 1) + 0.5))

    def numbers(self) -> Numbers:
        """Return what a summary shows."""
        found: Numbers = {
            "requests": int(self.status.sum()), "done": int(self.status[DONE]), "met": self.met,
            "input_tokens": self.input_tokens,
            "output_tokens": self.output_tokens, "cached_tokens": self.cached_tokens, "preemptions": self.preemptions,
            "retries": self.retries,
        }  # fmt: skip
        for name in LATENCIES:
            found[name] = {f"p{round(100 * q)}": self.quantile(name, q) for q in (0.5, 0.9, 0.95, 0.99)}
        return found


def _limits(slo: Slo | None) -> list[tuple[str, float]]:
    if slo is None:
        return []
    pairs = (("ttft_s", slo.ttft_s), ("tpot_s", slo.tpot_s), ("e2e_s", slo.e2e_s), ("e2e_s", slo.deadline_s))
    return [(name, limit) for name, limit in pairs if limit is not None]


@dataclass(frozen=True)
class StreamResult:
    """The counts of a streamed run; rows, where wanted, went to the sink."""

    workloads: Mapping[str, Tally]
    replicas: NDArray[Any]
    requests: int
    span_s: float
    seconds: float
    events: tuple[tuple[float, str], ...] = ()

    def summary(self) -> dict[str, Numbers]:
        """Return the numbers of each workload."""
        return {name: tally.numbers() for name, tally in self.workloads.items()}


class _Sessions:
    """Numbers for sessions that may go on in any later block: 12 bytes each, found by bisection."""

    def __init__(self) -> None:
        self.ids = np.empty(0, np.int64)
        self.numbers = np.empty(0, np.int32)

    def of(self, session: NDArray[Any]) -> NDArray[np.int32]:
        """Return the number of each row's session, -1 for none."""
        ids, row = np.unique(session, return_inverse=True)
        at = np.searchsorted(self.ids, ids)
        known = (at < len(self.ids)) & (self.ids[np.minimum(at, len(self.ids) - 1)] == ids) if len(self.ids) else np.zeros(len(ids), bool)
        fresh = ~known & (ids >= 0)
        number = np.full(len(ids), -1, np.int32)
        number[known] = self.numbers[at[known]]
        number[fresh] = len(self.ids) + np.arange(int(fresh.sum()), dtype=np.int32)
        self.ids, self.numbers = np.insert(self.ids, at[fresh], ids[fresh]), np.insert(self.numbers, at[fresh], number[fresh])
        return np.asarray(number[row], np.int32)


class _Feed:
    """Hands one block of trace after another to the host, and checks that the clock goes on."""

    def __init__(self, blocks: Iterable[Trace], fleet: Fleet) -> None:
        self.blocks = iter(blocks)
        self.fleet = fleet
        self.count = 0
        self.clock_s = 0.0
        self.sessions = _Sessions()
        self.shape: tuple[object, ...] | None = None

    def next(self) -> Trace | None:
        """Return the next block that has requests, checked and its sessions numbered, or None."""
        for block in self.blocks:
            if not len(block):
                continue
            check_trace(block, self.fleet)
            where = block.source or "trace"
            shape = (block.workload_names, block.has_blocks and block.block_tokens, len(block.session) > 0)
            if self.shape not in (None, shape):
                raise InputError(f"a block has workloads, prefix blocks and sessions {shape}, the one before {self.shape}", where=where)
            self.shape = shape
            if block.arrival_s[0] < self.clock_s:
                raise InputError(f"a block begins at {block.arrival_s[0]:g} s, before {self.clock_s:g} s", where=where)
            self.clock_s = float(block.arrival_s[-1])
            if not len(block.session):
                return block
            if block.session.min() < -1:
                raise InputError(f"session {block.session.min()} is negative; -1 stands for none", where=where)
            return replace(block, session=self.sessions.of(block.session))
        return None

    def __call__(self, host: Host) -> None:
        block = self.next()
        if block is None:
            host.state.counters[MORE] = 0
            return
        host.grow_sessions(len(self.sessions.ids))
        host.next_block(block, first_id=self.count, more=True)
        self.count += len(block)


def simulate_stream(
    fleet: Fleet, blocks: Iterable[Trace], *, seed: int = 0, happenings: Happenings | None = None,
    sink: Callable[[NDArray[Any]], None] | None = None, progress: Callable[[float], None] | None = None,
) -> StreamResult:  # fmt: skip
    """Replay a trace that comes in blocks, in memory that does not grow with its requests.

    All blocks carry the same workload names and one clock; all have prefix blocks, or sessions, or none has. A session may
    go on in a later block: some 90 bytes each are kept. The prefix router keeps up to 96 bytes a prefix block it has sent,
    as long as `fleet.prefix_memory_s` says. Finished rows are handed to `sink` in order of completion. What happens to
    each request is what `simulate` says of the whole trace.

    Raises: InputErrors for a fleet, InputError for a block that cannot be right.
    """
    began = time.perf_counter()
    fleets.check(fleet)
    check_replicas(fleet)
    feed = _Feed(blocks, fleet)
    first = feed.next()
    if first is None:
        raise InputError("has no requests; at least one is needed", where="trace")
    host = Host(fleet, first, seed=seed, indexed_rows=None, sessions=len(feed.sessions.ids))
    host.state.counters[MORE] = 1
    feed.count = len(first)
    tallies = {name: Tally() for name in first.workload_names}

    def take(rows: NDArray[Any]) -> None:
        for w, (name, tally) in enumerate(tallies.items()):
            tally.add(rows if len(tallies) == 1 else rows[rows["workload"] == w], fleet.slos.get(name))
        if sink is not None:
            sink(rows)
        if progress is not None:
            progress(host.now_s)

    host.sink, host.feed = take, feed
    stage = Stage(host, replace(happenings, sample_s=0.0) if happenings else Happenings())
    stage.run()
    host.give_up()
    take(host.take_rows())
    host.stop_clocks(host.now_s)
    return StreamResult(tallies, host.state.reps, feed.count, host.now_s, time.perf_counter() - began, stage.notes)
