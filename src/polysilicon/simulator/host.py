"""The host of a run: lays out the state for a fleet and a trace, and drives the compiled loop."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polysilicon import routing
from polysilicon.application.trace import Trace
from polysilicon.errors import InputError
from polysilicon.simulator import kernel
from polysilicon.simulator.first_use import warm
from polysilicon.simulator.fleet import Fleet, Pool
from polysilicon.simulator.prefix import copy_known
from polysilicon.simulator.spans import Spans, single_blocks, spans
from polysilicon.simulator.speculation import acceptance_frac
from polysilicon.simulator.state import (
    AT,
    BUSY_KEY,
    CLASSES,
    CLOCKS,
    COUNTERS,
    DRAINING,
    ENTRY,
    FAILED,
    FAR,
    FIRST_ID,
    FREE,
    FRESH_SLOT,
    IN_FLIGHT,
    INDEXED,
    ITL_BINS,
    KNOWN,
    LINE_BYTES,
    LOAD_NODE,
    MORE,
    NEXT_PROMOTION,
    NOW,
    POOL,
    REACHED,
    REPLICA,
    ROLES,
    ROUTER_MEMORY,
    ROW,
    ROWS,
    RUNNING,
    SLOT,
    STARTING,
    STRANDED,
    TIME_NODE,
    UP,
    WANTS_ROWS,
    WANTS_SLOTS,
    WANTS_TRACE,
    WORKLOAD,
    State,
    itl_bins,
    zeros,
)
from polysilicon.simulator.view import table_of

_NO_LIMIT = 1 << 40
_RING_ROWS = 1 << 18
_SESSION_BLOCK_TOKENS = 64  # granularity of session prefixes where the trace has no hashes


def _power_of_two(n: int) -> int:
    return 1 << max(0, (n - 1).bit_length())


def _tournament(keys: NDArray[Any], node: np.dtype[Any], leaves: int) -> NDArray[Any]:
    """Return the nodes of a tournament over `leaves` keys; node 1 is the root, equals go to the lower leaf."""
    nodes = zeros(2 * leaves, node)
    nodes["key"][leaves:], nodes["leaf"][leaves:] = keys, np.arange(leaves)
    for i in range(leaves - 1, 0, -1):
        a, b = nodes[2 * i], nodes[2 * i + 1]
        nodes[i] = b if b["key"] < a["key"] else a
    return nodes


def _apart(records: int, size: int) -> int:
    """Return at least so many records that fill an odd number of cache lines: runs of them then share no place in the cache."""
    each = max(1, LINE_BYTES // size)
    return each * (-(-records // each) | 1)


class Host:
    """One run: the state, the trace block it reads from, and the rows it has written."""

    def __init__(self, fleet: Fleet, trace: Trace, *, seed: int = 0, indexed_rows: int | None, sessions: int = 0, slots: int = 1024) -> None:
        warm()
        self.fleet = fleet
        self.names = trace.workload_names
        self.prefix = trace.has_blocks or len(trace.session) > 0
        self.block_tokens = trace.block_tokens if trace.has_blocks else _SESSION_BLOCK_TOKENS
        self.deferral = False
        self.sink: Callable[[NDArray[Any]], None] = _nobody_reads
        self.feed: Callable[[Host], None] = _nobody_feeds
        self.limit = _NO_LIMIT
        whole = indexed_rows is not None
        classes = CLASSES if not whole else 1 + int(max(trace.priority, default=0))
        self.state = self._layout(seed, indexed_rows, sessions, slots, classes)
        self._load(trace, 0, spans(trace) if trace.has_blocks and whole else None)

    # --- laying out --------------------------------------------------------------------------------------------------
    def _layout(self, seed: int, indexed_rows: int | None, sessions: int, slots: int, classes: int) -> State:
        fleet = self.fleet
        pools, tokens_s, leaves_total = self._pools(seed)
        replicas = fleet.replicas
        leaves = _power_of_two(replicas)
        reps = zeros(replicas, REPLICA)
        load = zeros(2 * leaves_total, LOAD_NODE)
        entry_off = bucket_off = 0
        for p, pool in enumerate(pools):
            mine = slice(int(pool["first"]), int(pool["first"] + pool["replicas"]))
            n = int(pool["replicas"])
            at, size = 2 * int(pool["leaf"]), int(pool["leaves"])
            load[at : at + 2 * size] = _tournament(np.where(np.arange(size) < n, 0, BUSY_KEY), LOAD_NODE, size)
            entries = int(pool["blocks"] // max(1, pool["hash_blocks"])) + 2 if pool["prefix"] else 0
            buckets = _power_of_two(entries) if entries else 1
            ranks = np.arange(n)
            reps["pool"][mine] = p
            reps["entry_off"][mine] = entry_off + ranks * entries
            reps["bucket_off"][mine] = bucket_off + ranks * buckets
            reps["bucket_mask"][mine] = buckets - 1
            entry_off += n * entries
            bucket_off += n * buckets
        reps["state"] = UP
        for name in ("partial", "list_head", "list_tail", "entry_free", "lru_head", "lru_tail"):
            reps[name] = -1
        reps["cross"] = FAR
        counters = np.zeros(COUNTERS, np.int64)
        counters[[FREE, STRANDED]] = -1
        counters[INDEXED] = indexed_rows is not None
        clocks = np.zeros(CLOCKS)
        clocks[NEXT_PROMOTION], clocks[ROUTER_MEMORY] = np.inf, fleet.prefix_memory_s
        w, p = len(self.names), len(fleet.pools)
        workloads, share = self._workloads(w, p)
        none = np.empty(0, np.int32)
        widest, batch = max(x.block_tokens for x in fleet.pools), _apart(max(x.max_batch for x in fleet.pools), RUNNING.itemsize)
        itl_edge, itl_first = itl_bins()
        longest = (pools["blocks"] // np.maximum(1, pools["hash_blocks"])).max()
        return State(
            slots=_slots(slots), reps=reps, pools=pools, workloads=workloads,
            clock=_tournament(np.full(leaves, np.inf), TIME_NODE, leaves), load=load,
            tokens_s=tokens_s, running=zeros(replicas * batch, RUNNING).reshape(replicas, batch),
            residue=zeros(replicas * widest, np.int16).reshape(replicas, widest),
            queues=np.full((replicas, 2 * classes), -1, np.int32),
            release_s=np.zeros(slots), release_seq=np.zeros(slots, np.int64), release_slot=np.zeros(slots, np.int64),
            session_busy=np.zeros(sessions, np.int64), session_last=np.full(sessions, -np.inf), session_head=np.full(sessions,
            -1, np.int64),
            session_tail=np.full(sessions, -1, np.int64), session_replica=np.full(sessions, -1, np.int64),
            share=share, credit=np.zeros((w, p)), pool_load=np.zeros(p), pool_cap=np.zeros(p),
            price=np.array([x.usd_per_chip_hour * x.chips_per_replica for x in fleet.pools], np.float64), affinity=np.zeros(p),
            entries=zeros(entry_off, ENTRY), buckets=np.full(max(1, bucket_off), -1, np.int32),
            known=np.zeros(0, KNOWN), span_blocks=none, scratch=np.zeros(int(longest) + 1, np.int64),
            itl=np.zeros((p, ITL_BINS)), itl_edge=itl_edge, itl_first=itl_first,
            rows=np.zeros(_RING_ROWS if indexed_rows is None else indexed_rows, ROW), counters=counters, clocks=clocks,
            in_arrival=np.empty(0), in_isl=none, in_osl=none, in_workload=none, in_session=none, in_think=np.empty(0),
            in_priority=none,
            in_offset=np.empty(0, np.int64), hashes=np.empty(0, np.int64),
        )  # fmt: skip

    def _pools(self, seed: int) -> tuple[NDArray[Any], NDArray[np.float64], int]:
        records = np.zeros(len(self.fleet.pools), POOL)
        names = [pool.name for pool in self.fleet.pools]
        first = leaf = tokens = 0
        for record, pool in zip(records, self.fleet.pools, strict=True):
            leaves = _power_of_two(pool.replicas)
            self._fill_pool(record, pool)
            record["first"], record["leaf"], record["leaves"], record["tokens_off"] = first, leaf, leaves, tokens
            record["seed"] = seed
            record["rotate"] = seed % pool.replicas if pool.replicas else 0
            record["turn"] = record["rotate"]
            record["decode_pool"] = names.index(pool.decode_pool) if pool.decode_pool else -1
            first += pool.replicas
            leaf += leaves
            tokens += len(pool.step_times.tokens_s)
        table = np.concatenate([np.asarray(pool.step_times.tokens_s, np.float64) for pool in self.fleet.pools])
        return records, table, leaf

    def _fill_pool(self, record: Any, pool: Pool) -> None:
        times = pool.step_times
        queue = BUSY_KEY if pool.queue_requests is None else min(BUSY_KEY, pool.queue_requests + pool.max_batch)
        fits = self.prefix and self.block_tokens % pool.block_tokens == 0
        if self.prefix and not fits:
            raise InputError(
                f"the trace's prefix blocks of {self.block_tokens} tokens are not whole KV blocks of {pool.block_tokens} tokens",
                where=f"pool {pool.name}", hint=f"set block_tokens to a divisor of {self.block_tokens}",
            )  # fmt: skip
        values = {
            "replicas": pool.replicas, "up": pool.replicas, "role": ROLES[pool.role], "policy": routing.POLICIES[pool.routing],
            "cap": queue,
            "max_step": pool.max_step_tokens, "sequence_s": times.sequence_s, "kv_s": times.kv_s_per_token,
            "win_s": times.window_s_per_token if times.window_tokens > 0 else 0.0, "win_tokens": times.window_tokens,
            "pair_s": times.pair_s, "prefill_s": times.prefill_step_s, "first_s": times.first_token_s,
            "draft": pool.draft_tokens, "draft_s": pool.draft_s, "accept": pool.accepted_tokens,
            "accept_frac": acceptance_frac(pool.draft_tokens, pool.accepted_tokens) if pool.acceptance == "sampled" else -1.0,
            "block": pool.block_tokens,
            "blocks": pool.kv_blocks, "watermark": math.ceil(pool.watermark_frac * pool.kv_blocks), "max_batch": pool.max_batch,
            "context": pool.context_tokens, "plain": int(pool.draft_tokens == 0 and pool.accepted_tokens == 1.0),
            "prefix": int(fits),
            "hash_tokens": self.block_tokens, "hash_blocks": self.block_tokens // pool.block_tokens,
            "prefix_gain": pool.prefix_gain_requests,
            "transfer_s": times.transfer_s_per_token, "latency_s": times.transfer_latency_s,
            "deferred_batch": pool.max_batch // 2 if pool.deferred_batch is None else pool.deferred_batch,
        }  # fmt: skip
        for name, value in values.items():
            record[name] = value

    def _workloads(self, workloads: int, pools: int) -> tuple[NDArray[Any], NDArray[np.float64]]:
        records = np.zeros(workloads, WORKLOAD)
        share = np.zeros((workloads, pools))
        for w, name in enumerate(self.names):
            share[w] = self.fleet.shares(name)
            slo = self.fleet.slos.get(name)
            records["pools"][w] = np.count_nonzero(share[w])
            records["only"][w] = int(np.argmax(share[w]))
            records["deferrable"][w] = slo is not None and slo.deadline_s is not None
            records["defer_s"][w] = 0.5 * slo.deadline_s if slo is not None and slo.deadline_s is not None else 0.0
        records["policy"] = routing.POLICIES[self.fleet.routing]
        records["head"] = records["tail"] = -1
        self.deferral = bool(records["deferrable"].any())
        return records, share

    def _load(self, trace: Trace, first_id: int, prefixes: Spans | None) -> None:
        """Set the trace block the loop reads from; without spans each prefix block of it stands by itself."""
        offset, hashes, blocks = np.empty(0, np.int64), np.empty(0, np.int64), self.state.span_blocks
        if trace.has_blocks:
            prefixes = prefixes or single_blocks(trace)
            carried = self._carried_hashes()
            offset, hashes, blocks = prefixes.offset + len(carried), np.concatenate([carried, prefixes.key]), prefixes.blocks
            self._make_room_to_remember(prefixes.different + len(np.unique(carried)))  # those inside may not have been sent yet
        self.state = self.state._replace(
            in_arrival=_plain(trace.arrival_s, np.float64), in_isl=_plain(trace.isl_tokens, np.int32),
            in_osl=_plain(trace.osl_tokens, np.int32),
            in_workload=_plain(trace.workload, np.int32), in_session=_plain(trace.session, np.int32),
            in_think=_plain(trace.think_s, np.float64),
            in_priority=_plain(trace.priority, np.int32), in_offset=_plain(offset, np.int64), hashes=_plain(hashes, np.int64),
            span_blocks=_plain(blocks, np.int32),
        )  # fmt: skip
        self.state.counters[FIRST_ID] = first_id
        self.table = table_of(self.state)

    def _carried_hashes(self) -> NDArray[np.int64]:
        """Return the hashes of the requests inside, which outlive their block of trace, and tell those where they now stand."""
        slots = self.state.slots[: int(self.state.counters[FRESH_SLOT])]
        inside = np.flatnonzero(slots["hash_n"] > 0)
        if not len(inside):
            return np.empty(0, np.int64)
        count, old = slots["hash_n"][inside], slots["hash_at"][inside]
        begin = np.cumsum(count) - count
        slots["hash_at"][inside] = begin
        return np.asarray(self.state.hashes[np.arange(int(count.sum())) + np.repeat(old - begin, count)], np.int64)

    def _make_room_to_remember(self, more: int) -> None:
        """Let the prefix router's table hold so many further keys at half its size; what it would not believe is dropped."""
        fleet, known = self.fleet, self.state.known
        if "prefix" not in [fleet.routing, *(x.routing for x in fleet.pools)]:
            return
        if len(known) and 2 * (np.count_nonzero(known["replica"] >= 0) + more) <= len(known):
            return
        since = self.now_s - fleet.prefix_memory_s
        size = _power_of_two(2 * (int(((known["replica"] >= 0) & (known["seen"] >= since)).sum()) + more) + 2)
        larger = np.zeros(size, KNOWN)
        larger["replica"] = -1
        self.state = self.state._replace(known=larger)
        copy_known(table_of(self.state), known, since)

    # --- running -----------------------------------------------------------------------------------------------------
    @property
    def now_s(self) -> float:
        """Return the time of the last event."""
        return float(self.state.clocks[NOW])

    def run(self, until_s: float = math.inf) -> bool:
        """Run to `until_s` (exclusive); return whether anything is left to happen by itself."""
        while True:
            why = self._act(kernel.RUN, at_s=until_s, number=self.limit)
            if why == WANTS_SLOTS:
                self._grow()
            elif why == WANTS_ROWS:
                self.sink(self.take_rows())
            elif why == WANTS_TRACE:
                self.feed(self)
            else:
                return bool(why == REACHED)

    def _act(self, what: int, replica: int = 0, *, at_s: float | None = None, number: int = 0) -> int:
        at_s = self.now_s if at_s is None else at_s
        return int(kernel.act(self.table, what, replica, float(at_s), number, self.deferral))

    def _grow(self) -> None:
        state = self.state
        more = len(state.slots)
        self.state = state._replace(
            slots=_slots(2 * more, state.slots),
            release_s=np.concatenate([state.release_s, np.zeros(more)]),
            release_seq=np.concatenate([state.release_seq, np.zeros(more, np.int64)]),
            release_slot=np.concatenate([state.release_slot, np.zeros(more, np.int64)]),
        )
        self.table = table_of(self.state)

    def next_block(self, trace: Trace, *, first_id: int, more: bool) -> None:
        """Hand over the next block of a streamed trace."""
        self._load(trace, first_id, None)
        self.state.counters[AT] = 0
        self.state.counters[MORE] = more

    def grow_sessions(self, count: int) -> None:
        """Make room for sessions numbered below `count`."""
        have = len(self.state.session_busy)
        if count <= have:
            return
        missing = {"session_busy": 0, "session_last": -np.inf, "session_head": -1, "session_tail": -1, "session_replica": -1}
        grown = {}
        for name, value in missing.items():
            old = getattr(self.state, name)
            grown[name] = np.concatenate([old, np.full(max(count, 2 * have) - have, value, old.dtype)])
        self.state = self.state._replace(**grown)
        self.table = table_of(self.state)

    def stop_clocks(self, end_s: float) -> None:
        """Count the time that replicas have been up until the end."""
        reps = self.state.reps
        running = np.isin(reps["state"], (UP, DRAINING, STARTING))
        reps["up_s"][running] += end_s - reps["up_since"][running]
        reps["up_since"][running] = end_s

    def rows_by_request(self, trace: Trace, arrived: int) -> NDArray[Any]:
        """Return the rows of an indexed run's first `arrived` requests, with what is known of those that are not done."""
        rows = self.state.rows[:arrived]
        open_ = np.flatnonzero(rows["status"] == IN_FLIGHT)
        if not len(open_):
            return rows
        rows["id"][open_] = open_
        rows["arrival_s"][open_] = trace.arrival_s[open_]
        rows["isl_tokens"][open_], rows["osl_tokens"][open_] = trace.isl_tokens[open_], trace.osl_tokens[open_]
        rows["workload"][open_] = trace.workload_index()[open_]
        rows["start_s"][open_] = rows["first_s"][open_] = rows["done_s"][open_] = -1.0
        rows["replica"][open_] = -1
        slots = self.state.slots[: int(self.state.counters[FRESH_SLOT])]
        inside = slots[slots["id"] >= 0]
        for column, known in (("arrival_s", "arrival"), ("start_s", "start"), ("first_s", "first")):
            rows[column][inside["id"]] = inside[known]
        return rows

    def take_rows(self) -> NDArray[Any]:
        """Return the rows finished since the last call, in order of completion."""
        n = int(self.state.counters[ROWS])
        self.state.counters[ROWS] = 0
        return self.state.rows[:n].copy()

    def fail(self, replica: int, state: int = FAILED) -> int:
        """Lose a replica and its memory now; return how many requests go elsewhere."""
        return self._act(kernel.FAIL, replica, number=state)

    def rise(self, replica: int) -> None:
        """Bring a replica up now."""
        self._act(kernel.RISE, replica)

    def open_door(self) -> None:
        """Send on what waited at the door for a replica."""
        while self._act(kernel.OPEN_DOOR):
            self.sink(self.take_rows())

    def drain(self, replica: int) -> None:
        """Send nothing more to a replica; it goes off when what it has is done."""
        self._act(kernel.DRAIN, replica)

    def set_now(self, at_s: float) -> None:
        """Move the clock to a time before which all events have been run."""
        self.state.clocks[NOW] = max(self.now_s, at_s)

    def give_up(self) -> None:
        """Book what still waits at the door as unserved."""
        while self.state.counters[STRANDED] >= 0:
            if not self.state.counters[INDEXED]:
                self.sink(self.take_rows())
            self._act(kernel.GIVE_UP)
            self.run()


def _slots(count: int, old: NDArray[Any] | None = None) -> NDArray[Any]:
    """Return places for so many requests, the first of them those of `old`."""
    slots = zeros(count, SLOT)
    slots["hash_n"] = -1
    if old is not None:
        slots[: len(old)] = old
    return slots


def _nobody_reads(rows: NDArray[Any]) -> None:
    raise AssertionError("an indexed run keeps its rows")


def _nobody_feeds(host: Host) -> None:
    raise AssertionError("a run with its whole trace asks for no more")


def _plain(array: Sequence[Any] | NDArray[Any], dtype: Any) -> NDArray[Any]:
    """Return a contiguous, writable array of this type: the one form the loop is compiled for."""
    return np.require(array, dtype, ["C", "W", "A"])
