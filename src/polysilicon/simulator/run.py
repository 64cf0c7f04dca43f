"""Run a trace on a fleet: `simulate` for traces in memory, `closed_loop` for many small benchmarks at once."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polysilicon.application.trace import Trace
from polysilicon.application.workload import Slo
from polysilicon.errors import InputError
from polysilicon.performance import StepTimes
from polysilicon.simulator import fleet as fleets
from polysilicon.simulator.dynamics import Happenings, Stage, bills
from polysilicon.simulator.dynamics import check as check_happenings
from polysilicon.simulator.fleet import Fleet, Pool
from polysilicon.simulator.host import Host
from polysilicon.simulator.metrics import SimulationResult
from polysilicon.simulator.state import CLASSES, EVENTS


def check_replicas(fleet: Fleet) -> None:
    """Say that nothing could ever be served. Raises: InputError."""
    if fleet.replicas == 0:
        raise InputError("the fleet has no replicas; nothing could be served", where="fleet", hint="give at least one pool replicas: 1 or more")


def check_trace(trace: Trace, fleet: Fleet) -> None:
    """Say what cannot be right about a trace. Raises: InputError with the first row that is wrong."""
    n = len(trace)
    where = trace.source or "trace"
    columns: dict[str, NDArray[Any]] = {"isl_tokens": trace.isl_tokens, "osl_tokens": trace.osl_tokens}
    optional: dict[str, NDArray[Any]] = {
        "workload": trace.workload,
        "session": trace.session,
        "think_s": trace.think_s,
        "priority": trace.priority,
    }
    for name, column in [*columns.items(), *((k, v) for k, v in optional.items() if len(v))]:
        if len(column) != n:
            raise InputError(f"{name} has {len(column)} rows, arrival_s has {n}", where=where)
    if n == 0:
        raise InputError("has no requests; at least one is needed", where=where)
    _refuse(where, "arrival_s", ~np.isfinite(trace.arrival_s) | (trace.arrival_s < 0), trace.arrival_s, "finite and not negative")
    backwards = np.flatnonzero(np.diff(trace.arrival_s) < 0)
    if len(backwards):
        i = int(backwards[0])
        raise InputError(
            f"request {i + 1} arrives at {trace.arrival_s[i + 1]:g} s, before request {i} at {trace.arrival_s[i]:g} s",
            where=where, hint="arrivals must not go back: sort the trace by arrival",
        )  # fmt: skip
    for name, column in columns.items():
        _refuse(where, name, column < 0, column, "0 or more")
    if len(trace.think_s):
        _refuse(where, "think_s", ~(trace.think_s >= 0) | ~np.isfinite(trace.think_s), trace.think_s, "finite and not negative")
    if len(trace.priority):
        _refuse(where, "priority", (trace.priority < 0) | (trace.priority >= CLASSES), trace.priority, f"0 to {CLASSES - 1}")
    if len(trace.workload):
        names = len(trace.workload_names)
        _refuse(where, "workload", (trace.workload < 0) | (trace.workload >= names), trace.workload, f"an index into {names} names")
    for name in trace.workload_names:
        if not any(share > 0 for share in fleet.shares(name)):
            raise InputError(f'no pool of the fleet serves workload "{name}"', where=where, hint="add it to the fleet's routes")
    if trace.has_blocks:
        _check_blocks(trace, where)


def _refuse(where: str, name: str, bad: NDArray[np.bool_], values: NDArray[Any], allowed: str) -> None:
    if bad.any():
        i = int(np.argmax(bad))
        raise InputError(f"request {i} has {name} {values[i]}; it must be {allowed}", where=where)


def _check_blocks(trace: Trace, where: str) -> None:
    offsets = trace.block_offset
    if offsets[0] != 0 or offsets[-1] != len(trace.block_hash) or (np.diff(offsets) < 0).any():
        raise InputError("block_offset does not run from 0 up to the number of block hashes", where=where)


def dense(trace: Trace) -> tuple[Trace, int]:
    """Return the trace with sessions renumbered from 0 without gaps, and how many there are."""
    changes: dict[str, Any] = {}
    sessions = 0
    if len(trace.session):
        known, index = np.unique(trace.session, return_inverse=True)
        none = int(known[0] < 0) if len(known) else 0
        if none and known[0] != -1:
            raise InputError(f"session {known[0]} is negative; -1 stands for none", where=trace.source or "trace")
        changes["session"] = (index - none).astype(np.int32)
        sessions = len(known) - none
    if not changes:
        return trace, sessions
    fields = {name: changes.get(name, getattr(trace, name)) for name in Trace.__slots__}
    return Trace(**fields), sessions


def simulate(
    fleet: Fleet,
    trace: Trace,
    *,
    seed: int = 0,
    slos: Mapping[str, Slo] | None = None,
    until_s: float = math.inf,
    happenings: Happenings | None = None,
    progress: Callable[[float], None] | None = None,
) -> SimulationResult:
    """Replay a trace on a fleet and return what became of every request.

    The run ends when every request is done or refused, or at `until_s`; what is then unfinished is in flight, and what has
    not arrived by then is no part of the result.
    `seed` decides which of equally loaded replicas comes first. Promises come from `slos`, else from the fleet.
    `happenings` are outages, prices, scaling and samples; `progress` is told the simulated time now and then.

    Raises: InputErrors for a fleet, InputError for a trace or an event that cannot be right.
    """
    began = time.perf_counter()
    fleets.check(fleet)
    check_replicas(fleet)
    check_trace(trace, fleet)
    happenings = happenings or Happenings()
    check_happenings(happenings, fleet)
    if not until_s > 0:
        raise InputError(f"the end is at {until_s} s; it must be above 0", where="until")
    trace, sessions = dense(trace)
    host = Host(fleet, trace, seed=seed, indexed_rows=len(trace), sessions=sessions)
    stage = Stage(host, happenings)
    stage.run(until_s, progress)
    if until_s == math.inf:
        host.give_up()
    host.set_now(0.0 if until_s == math.inf else until_s)
    bill_usd = bills(stage, fleet, host.now_s)
    return collect(host, trace, seed=seed, slos=fleet.slos if slos is None else slos, began=began, until_s=until_s, stage=stage, bill_usd=bill_usd)


def collect(
    host: Host,
    trace: Trace,
    *,
    seed: int,
    slos: Mapping[str, Slo],
    began: float,
    until_s: float = math.inf,
    stage: Stage | None = None,
    bill_usd: Mapping[str, float] | None = None,
) -> SimulationResult:
    """Return the result of an indexed run that has ended."""
    span = host.now_s
    host.stop_clocks(span)
    arrived = len(trace) if until_s == math.inf else int(np.searchsorted(trace.arrival_s, until_s))
    return SimulationResult(
        fleet=host.fleet, workload_names=trace.workload_names, requests=host.rows_by_request(trace, arrived), replicas=host.state.reps,
        pools_counted=host.state.pools, itl=host.state.itl, span_s=span, slos=dict(slos), seed=seed, timeline=stage.timeline() if stage else {},
        watched=stage.watched() if stage else {},
        events=stage.notes if stage else (), bill_usd=bill_usd or {}, seconds=time.perf_counter() - began,
        loop_events=int(host.state.counters[EVENTS]),
    )  # fmt: skip


def closed_loop(
    step_times: StepTimes, isl_tokens: Sequence[int] | NDArray[Any], osl_tokens: Sequence[int] | NDArray[Any], concurrency: int,
    *, max_batch: int | None = None, block_tokens: int = 16, context_tokens: int = 0, seed: int = 0,
) -> SimulationResult:  # fmt: skip
    """Run prompts through one replica with a fixed number inside at once, as benchmarks of engines do.

    All prompts stand at the door at time 0; `concurrency` of them go in at once, the next whenever one is done, in
    order. Latencies count from going in. For many runs at once call it in a thread pool: compiled code holds no lock.
    """
    isl, osl = np.asarray(isl_tokens, np.int32), np.asarray(osl_tokens, np.int32)
    if concurrency < 1:
        raise InputError(f"concurrency is {concurrency}; it must be 1 or more", where="closed_loop")
    batch = max_batch or min(fleets.MAX_BATCH, concurrency, len(step_times.tokens_s) - 1)
    pool = Pool("replica", step_times, max_batch=batch, block_tokens=block_tokens, context_tokens=context_tokens)
    fleet = Fleet((pool,))
    trace = Trace(np.zeros(len(isl)), isl, osl)
    began = time.perf_counter()
    fleets.check(fleet)
    check_trace(trace, fleet)
    host = Host(fleet, trace, seed=seed, indexed_rows=len(isl))
    host.limit = concurrency
    host.run()
    return collect(host, trace, seed=seed, slos={}, began=began)
