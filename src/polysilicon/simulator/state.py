"""The state of a run as flat arrays: what the compiled loop reads and writes."""

from __future__ import annotations

from typing import Any, NamedTuple

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
ITL_BINS, ITL_FLOOR_S, ITL_WIDTH = 1024, 1e-6, 0.02  # bins of 2 %, 1 us to 786 s
TIES = 4096  # sequences that finish in the same step leave in order of admission
FAR = 4_000_000_000_000_000_000  # a step that never comes
BUSY_KEY = 1 << 60  # the load of a replica that must not be chosen

_I, _F = np.int64, np.float64


def _record(**fields: type) -> np.dtype[Any]:
    return np.dtype(list(fields.items()), align=True)


# One request in flight; a decode step yields `rate` tokens. They reach the client `late` after their steps.
# `next` links the list it stands in: waiting, prefilling in this step, parked, deferred, free.
SLOT = _record(
    id=_I, arrival=_F, start=_F, first=_F, late=_F, think=_F, isl=_I, osl=_I, workload=_I, session=_I, priority=_I, next=_I,
    replica=_I, source=_I, epoch=_I, goal_epoch=_I, stage=_I, emitted=_I, target=_I, done=_I, chunk=_I, context=_F, rate=_F, join=_I,
    finish=_I,
    order=_I, shared=_I, shared_blocks=_I, hash_at=_I, hash_n=_I, cached=_I, preemptions=_I, retries=_I,
)  # fmt: skip

# One replica. `planned` steps began at `t0`; step j of them takes `base + j * slope`. A step yields `rate` tokens, `below`
# of them to sequences that have not outgrown their window.
REPLICA = _record(
    pool=_I, state=_I, t0=_F, planned=_I, base=_F, slope=_F, step=_I, n=_I, context=_F, rate=_F, windowed=_F, below=_F, cross=_I,
    used=_I, idle=_I, run_off=_I, partial=_I, list_head=_I, list_tail=_I, waiting=_I, outstanding=_I, epoch=_I, nic_free=_F,
    busy_s=_F, up_since=_F, up_s=_F, steps=_I, prefill_tokens=_F, decode_tokens=_F, cached_tokens=_F, kv_block_s=_F, batch_s=_F,
    peak_used=_I, preemptions=_I, entry_off=_I, entries=_I, entry_free=_I, entry_fresh=_I, bucket_off=_I, bucket_mask=_I,
    lru_head=_I, lru_tail=_I,
)  # fmt: skip

POOL = _record(
    first=_I, replicas=_I, role=_I, policy=_I, leaf=_I, leaves=_I, turn=_I, rotate=_I, up=_I, outstanding=_I, cap=_I,
    tokens_off=_I, max_step=_I, sequence_s=_F, kv_s=_F, win_s=_F, win_tokens=_F, pair_s=_F, prefill_s=_F, first_s=_F, draft=_I, draft_s=_F, accept=_F,
    accept_frac=_F, seed=_I,
    block=_I, blocks=_I, watermark=_I, max_batch=_I, context=_I, plain=_I, prefix=_I, hash_tokens=_I, hash_blocks=_I,
    prefix_gain=_F, transfer_s=_F, latency_s=_F, decode_pool=_I, deferred_batch=_I,
)  # fmt: skip

WORKLOAD = _record(pools=_I, only=_I, deferrable=_I, defer_s=_F, head=_I, tail=_I, policy=_I)

# A span of prefix blocks held by one replica, live (ref > 0) or idle in the order of last use. `kept` of its blocks are
# there: all while it is live; an idle span loses its last block first.
ENTRY = np.dtype(
    [("key", np.int64), ("ref", np.int32), ("kept", np.int32), ("prev", np.int32), ("next", np.int32), ("chain", np.int32)], align=True
)

# What the prefix router remembers of a span: the replica that was last sent it, and when. An empty place has no replica.
KNOWN = np.dtype([("key", np.int64), ("seen", np.float64), ("replica", np.int64)], align=True)

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
I4 = NDArray[np.int32]
F8 = NDArray[np.float64]
Records = NDArray[np.void]


class State(NamedTuple):
    """Everything the loop owns; records for requests, replicas and pools, trees for the next event and the least load."""

    slots: Records
    reps: Records
    pools: Records
    workloads: Records
    times: F8  # [replicas padded] next event of each replica
    tree: I8  # tournament over `times`
    load: I8  # [replicas padded, pool by pool] outstanding, or BUSY_KEY
    load_tree: I8
    tokens_s: F8  # the pools' step tables, one after another
    run_slot: I8  # heaps of decoding sequences by the step they finish in
    run_key: I8
    residue: I4  # [replicas, block] decoding sequences by context modulo block
    heads: I8  # [replicas, classes] waiting lists
    tails: I8
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


_RECORDS = {"slots": SLOT, "reps": REPLICA, "pools": POOL, "workloads": WORKLOAD, "entries": ENTRY, "known": KNOWN, "rows": ROW}
_FLOATS = frozenset(
    [
        "times",
        "tokens_s",
        "release_s",
        "session_last",
        "share",
        "credit",
        "pool_load",
        "pool_cap",
        "price",
        "affinity",
        "itl",
        "clocks",
        "in_arrival",
        "in_think",
    ]
)
_SHORT = frozenset(["residue", "buckets", "span_blocks", "in_isl", "in_osl", "in_workload", "in_session", "in_priority"])
_TWO_DIMENSIONS = frozenset(["residue", "heads", "tails", "share", "credit", "itl"])


def _dtype(name: str) -> np.dtype[Any]:
    return _RECORDS.get(name) or np.dtype(_F if name in _FLOATS else np.int32 if name in _SHORT else _I)


FIELDS: dict[str, tuple[np.dtype[Any], int]] = {name: (_dtype(name), 2 if name in _TWO_DIMENSIONS else 1) for name in State._fields}
