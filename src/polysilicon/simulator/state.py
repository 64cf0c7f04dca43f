"""The state of a run as flat arrays: what the compiled loop reads and writes."""

from __future__ import annotations

import mmap
from typing import Any, NamedTuple, get_type_hints

import numpy as np
from numpy.typing import NDArray

# --- outcomes of a request -------------------------------------------------------------------------------------------
IN_FLIGHT, DONE, TOO_LONG, TOO_LARGE, QUEUE_FULL, EMPTY, UNSERVED = 0, 1, 2, 3, 4, 5, 6
STATUS: tuple[str, ...] = (
    "in flight", "done", "rejected: longer than the context", "rejected: larger than the KV cache",
    "rejected: queue full", "rejected: no prompt or no output asked", "unserved: no replica came up",
)  # fmt: skip

# --- states of a replica ---------------------------------------------------------------------------------------------
OFF, UP, DRAINING, STARTING, FAILED = 0, 1, 2, 3, 4
REPLICA_STATE: tuple[str, ...] = ("off", "up", "draining", "starting", "failed")

# --- stages of a request between replicas ----------------------------------------------------------------------------
FRESH, HANDED_OVER = 0, 1
BOTH, PREFILL, DECODE = 0, 1, 2
ROLES: dict[str, int] = {"both": BOTH, "prefill": PREFILL, "decode": DECODE}

# --- why the loop returned -------------------------------------------------------------------------------------------
FINISHED, REACHED, WANTS_ROWS, WANTS_SLOTS, WANTS_TRACE = 0, 1, 2, 3, 4

CLASSES = 8  # priority classes
ITL_BINS, ITL_FLOOR_S, ITL_WIDTH = 1024, 1e-6, 0.02  # bins of 2 %, 1 us to 640 s
ITL_SHIFT = 47  # a time's exponent and first five bits say its bin but for one or two
ITL_LOWEST = int(np.float64(ITL_FLOOR_S).view(np.int64)) >> ITL_SHIFT
TIES = 4096  # sequences that finish in the same step leave in order of admission
LINE_BYTES, LARGE_PAGE_BYTES = 64, 1 << 21
MANY_REPLICAS = 1024  # whose states the nearest cache does not hold
FAR = 4_000_000_000_000_000_000  # a step that never comes
MANY = 32767  # preemptions or retries of one request; more are counted as so many
MAX_KV_TOKENS = (1 << 31) - 1  # of one replica
BUSY_KEY = 1 << 30  # the load of a replica that must not be chosen

_I, _F, _S, _T, _B = np.int64, np.float64, np.int32, np.int16, np.int8


def _record(**fields: Any) -> np.dtype[Any]:
    return np.dtype([(name, *kind) if isinstance(kind, tuple) else (name, kind) for name, kind in fields.items()], align=True)


def itl_bins() -> tuple[NDArray[np.float64], NDArray[np.int32]]:
    """Return where the bins of gaps between tokens begin, and the bin of the shortest time for each of its leading bits."""
    edges = ITL_FLOOR_S * np.exp(np.arange(ITL_BINS + 1) * np.log1p(ITL_WIDTH))
    last = int(edges[-1].view(np.int64)) >> ITL_SHIFT
    shortest = (np.arange(ITL_LOWEST, last + 1) << ITL_SHIFT).view(np.float64)
    return edges, (np.searchsorted(edges, np.maximum(shortest, ITL_FLOOR_S), "right") - 1).astype(np.int32)


def zeros(count: int, dtype: Any) -> NDArray[Any]:
    """Return zeros that begin on a cache line; many of them on large pages where the system has them."""
    size = max(1, count) * np.dtype(dtype).itemsize
    if size < LARGE_PAGE_BYTES // 8 or not hasattr(mmap, "MADV_HUGEPAGE"):
        room = np.zeros(size + LINE_BYTES, np.uint8)
        begin = -room.ctypes.data % LINE_BYTES
        return np.asarray(room[begin : begin + size].view(dtype)[:count])
    pages = mmap.mmap(-1, -(-size // LARGE_PAGE_BYTES) * LARGE_PAGE_BYTES, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    pages.madvise(mmap.MADV_HUGEPAGE)
    return np.frombuffer(pages, dtype, count)


# Records are whole cache lines of 64 bytes, what every event touches first: with thousands of replicas memory is what an event costs.

# One request in flight; a decode step yields `rate` tokens. They reach the client `late` after their steps.
# `next` links the list it stands in: waiting, prefilling in this step, parked, deferred, free.
SLOT = _record(
    next=_S, replica=_S, isl=_S, osl=_S, emitted=_S, target=_S, done=_S, chunk=_S, shared=_S, shared_blocks=_S, cached=_S, session=_S,
    workload=_T, preemptions=_T, retries=_T, priority=_B, stage=_B, late=_F,
    id=_I, arrival=_F, start=_F, first=_F, context=_F, rate=_F, join=_I, order=_I,
    think=_F, hash_at=_I, hash_n=_S, source=_S, epoch=_S, goal_epoch=_S, spare=(_I, 4),
)  # fmt: skip

# One replica. `planned` steps began at `t0`; step j of them takes `base + j * slope`. A step yields `rate` tokens, `below`
# of them to sequences that have not outgrown their window.
REPLICA = _record(
    pool=_S, state=_S, n=_S, used=_S, idle=_S, partial=_S, list_head=_S, list_tail=_S, waiting=_S, outstanding=_S, peak_used=_S, planned=_S,
    step=_I, entry_off=_I,
    t0=_F, base=_F, slope=_F, context=_F, rate=_F, busy_s=_F, batch_s=_F, kv_block_s=_F,
    cross=_I, windowed=_F, below=_F, nic_free=_F, up_since=_F, up_s=_F, bucket_off=_I,
    bucket_mask=_I, epoch=_S, preemptions=_S, entry_free=_S, entry_fresh=_S, lru_head=_S, lru_tail=_S, spare=(_I, 13),
)  # fmt: skip

POOL = _record(
    first=_I, replicas=_I, role=_I, policy=_I, leaf=_I, leaves=_I, turn=_I, rotate=_I, up=_I, outstanding=_I, cap=_I,
    tokens_off=_I, max_step=_I, sequence_s=_F, kv_s=_F, win_s=_F, win_tokens=_F, pair_s=_F, prefill_s=_F, first_s=_F, draft=_I, draft_s=_F, accept=_F,
    accept_frac=_F, seed=_I,
    block=_I, blocks=_I, watermark=_I, max_batch=_I, context=_I, plain=_I, prefix=_I, hash_tokens=_I, hash_blocks=_I,
    prefix_gain=_F, transfer_s=_F, latency_s=_F, decode_pool=_I, deferred_batch=_I,
    steps=_I, prefill_tokens=_F, decode_tokens=_F, cached_tokens=_F,
)  # fmt: skip

WORKLOAD = _record(pools=_I, only=_I, deferrable=_I, defer_s=_F, head=_I, tail=_I, policy=_I)

# A span of prefix blocks held by one replica, live (ref > 0) or idle in the order of last use. `kept` of its blocks are
# there: all while it is live; an idle span loses its last block first.
ENTRY = np.dtype([("key", np.int64), ("ref", np.int32), ("kept", np.int32), ("prev", np.int32), ("next", np.int32), ("chain", np.int32)], align=True)

# What the prefix router remembers of a span: the replica that was last sent it, and when. An empty place has no replica.
KNOWN = np.dtype([("key", np.int64), ("seen", np.float64), ("replica", np.int64)], align=True)

# A node of a tournament: the least key below it, and whose. Nodes 2i and 2i + 1 play for node i, leaves stand last.
TIME_NODE = np.dtype([("key", np.float64), ("leaf", np.int64)], align=True)
LOAD_NODE = np.dtype([("key", np.int32), ("leaf", np.int32)], align=True)

# A decoding sequence in its replica's heap, by the step it finishes in.
RUNNING = np.dtype([("key", np.int64), ("slot", np.int64)], align=True)

ROW = np.dtype(
    [
        ("id", np.int64), ("arrival_s", np.float64), ("start_s", np.float64), ("first_s", np.float64), ("done_s", np.float64),
        ("isl_tokens", np.int32), ("osl_tokens", np.int32), ("tokens", np.int32), ("cached_tokens", np.int32), ("replica",
        np.int32),
        ("preemptions", np.int16), ("retries", np.int16), ("workload", np.int16), ("status", np.int8),
    ],
    align=True,
)  # fmt: skip

# --- counters[...] ---------------------------------------------------------------------------------------------------
AT, ROWS, FREE, FRESH_SLOT, FLYING, DOOR, ADMITTED, RELEASES, RELEASE_SEQ = range(9)
STRANDED, STRANDED_TAIL, EVENTS, INDEXED, MORE, FIRST_ID = range(9, 15)
COUNTERS = 15
# --- clocks[...] -----------------------------------------------------------------------------------------------------
NOW, NEXT_PROMOTION, ROUTER_MEMORY = range(3)
CLOCKS = 3

I8 = NDArray[np.int64]
I2 = NDArray[np.int16]
I4 = NDArray[np.int32]
F8 = NDArray[np.float64]
Records = NDArray[np.void]
Table = NDArray[np.int64]  # of addresses: a state as compiled code sees it


class State(NamedTuple):
    """Everything the loop owns; records for requests, replicas and pools, trees for the next event and the least load."""

    slots: Records
    reps: Records
    pools: Records
    workloads: Records
    clock: Records  # tournament over the replicas' next events
    load: Records  # tournaments over the replicas' loads, one a pool: outstanding, or BUSY_KEY
    tokens_s: F8  # the pools' step tables, one after another
    running: Records  # [replicas, batch] heaps of decoding sequences
    residue: I2  # [replicas, block] decoding sequences by context modulo block
    queues: I4  # [replicas, 2 classes] waiting lists: the head and the tail of each class
    release_s: F8  # heap of requests that come back later: sessions, KV in transit
    release_seq: I8
    release_slot: I8
    session_busy: I8
    session_last: F8
    session_head: I8
    session_tail: I8
    session_replica: I8
    share: F8  # [workloads, pools]
    credit: F8
    pool_load: F8
    pool_cap: F8
    price: F8
    affinity: F8
    entries: Records
    buckets: I4
    known: Records  # hash table of the prefix router
    span_blocks: I4  # prefix blocks of each span; empty: one each
    scratch: I8  # entries found for the prefix of the request under way
    itl: F8  # [pools, ITL_BINS] decode steps seen by sequences
    itl_edge: F8  # [ITL_BINS + 1] where the bins begin
    itl_first: I4  # the bin of the shortest time with these leading bits
    rows: Records
    counters: I8
    clocks: F8
    # the block of trace the loop reads from; optional columns are empty
    in_arrival: F8
    in_isl: I4
    in_osl: I4
    in_workload: I4
    in_session: I4
    in_think: F8
    in_priority: I4
    in_offset: I8
    hashes: I8


_RECORDS = {
    "slots": SLOT, "reps": REPLICA, "pools": POOL, "workloads": WORKLOAD, "clock": TIME_NODE, "load": LOAD_NODE, "running": RUNNING,
    "entries": ENTRY, "known": KNOWN, "rows": ROW,
}  # fmt: skip
_PLAIN: dict[Any, Any] = {I2: np.int16, I4: np.int32, I8: np.int64, F8: np.float64}
_TWO_DIMENSIONS = frozenset(["running", "residue", "queues", "share", "credit", "itl"])

FIELDS: dict[str, tuple[np.dtype[Any], int]] = {
    name: (_RECORDS.get(name) or np.dtype(_PLAIN[kind]), 2 if name in _TWO_DIMENSIONS else 1) for name, kind in get_type_hints(State).items()
}
