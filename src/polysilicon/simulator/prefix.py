"""The prefix cache of a replica: live and idle blocks by hash, idle ones forgotten in order of last use.

A block counts as cached from the moment its prefill is scheduled, and stays until memory is needed. Idle blocks do not
count as used. A request shares blocks with others; what it holds alone is counted without being stored. Blocks that
always come together are one entry, a span (`spans.py`): the same blocks are kept and lost as if each were its own.
"""

# mypy: disable-error-code="no-any-return, arg-type, return-value"
# (records and arrays are untyped to mypy; numba infers them)
from __future__ import annotations

import numpy as np

from polysilicon.simulator.compiled import entry, jit
from polysilicon.simulator.state import ROUTER_MEMORY, Records, State, Table
from polysilicon.simulator.view import view

_SESSION_BLOCKS = 1 << 22  # blocks a session may have before its keys would meet the next one's


@jit
def key_of(s: State, slot: int, j: int) -> int:
    """Return the key of the j-th span of a request: by its hashes, or its session's own numbering."""
    request = s.slots[slot]
    if request.hash_n >= 0:
        return s.hashes[request.hash_at + j]
    return request.session * _SESSION_BLOCKS + j


@jit
def blocks_of(s: State, slot: int, j: int) -> int:
    """Return the prefix blocks of the j-th span of a request."""
    if s.slots[slot].hash_n < 0 or len(s.span_blocks) == 0:
        return 1
    return s.span_blocks[s.hashes[s.slots[slot].hash_at + j]]


@jit
def spans_of(s: State, slot: int, tokens: int) -> int:
    """Return how many spans the first `tokens` tokens of a request have; hashes name whole blocks of its prompt only."""
    request = s.slots[slot]
    pool = s.pools[s.reps[request.replica].pool]
    if pool.prefix == 0 or (request.hash_n < 0 and request.session < 0):
        return 0
    return tokens // pool.hash_tokens if request.hash_n < 0 else request.hash_n


@jit
def _bucket(s: State, r: int, key: int) -> int:
    mixed = (np.uint64(key) * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(32)
    return s.reps[r].bucket_off + (np.int64(mixed) & s.reps[r].bucket_mask)


@jit
def find(s: State, r: int, key: int) -> int:
    """Return the entry of a key on replica r, or -1."""
    e = s.buckets[_bucket(s, r, key)]
    while e >= 0 and s.entries[e].key != key:
        e = s.entries[e].chain
    return e


@jit
def find_beside(s: State, r: int, key: int, guess: int) -> int:
    """Return the entry of a key on replica r, or -1; neighbours in a prompt mostly are neighbours in memory: look there first."""
    rep = s.reps[r]
    if rep.entry_off <= guess < rep.entry_off + rep.entry_fresh and s.entries[guess].key == key and s.entries[guess].ref >= 0:
        return guess
    return find(s, r, key)


@jit
def _unlink_idle(s: State, r: int, e: int) -> None:
    rep = s.reps[r]
    entry = s.entries[e]
    if entry.prev >= 0:
        s.entries[entry.prev].next = entry.next
    else:
        rep.lru_head = entry.next
    if entry.next >= 0:
        s.entries[entry.next].prev = entry.prev
    else:
        rep.lru_tail = entry.prev


@jit
def make_idle(s: State, r: int, e: int) -> None:
    """Put an entry at the young end of the idle list."""
    rep = s.reps[r]
    s.entries[e].prev = rep.lru_tail
    s.entries[e].next = -1
    if rep.lru_tail >= 0:
        s.entries[rep.lru_tail].next = e
    else:
        rep.lru_head = e
    rep.lru_tail = e
    rep.idle += s.entries[e].kept * s.pools[rep.pool].hash_blocks


@jit
def hold(s: State, r: int, e: int) -> None:
    """Take one more reference; what is idle becomes used."""
    if s.entries[e].ref == 0:
        rep = s.reps[r]
        blocks = s.entries[e].kept * s.pools[rep.pool].hash_blocks
        _unlink_idle(s, r, e)
        rep.idle -= blocks
        rep.used += blocks
    s.entries[e].ref += 1


@jit
def release(s: State, r: int, e: int) -> None:
    """Give one reference back; a span nobody holds becomes idle."""
    s.entries[e].ref -= 1
    if s.entries[e].ref == 0:
        rep = s.reps[r]
        rep.used -= s.entries[e].kept * s.pools[rep.pool].hash_blocks
        make_idle(s, r, e)


@jit
def insert(s: State, r: int, key: int) -> int:
    """Make an entry of one block for a new key, neither held nor idle yet."""
    rep = s.reps[r]
    if rep.entry_free >= 0:
        e = rep.entry_free
        rep.entry_free = s.entries[e].next
    else:
        e = rep.entry_off + rep.entry_fresh
        rep.entry_fresh += 1
    b = _bucket(s, r, key)
    s.entries[e].key = key
    s.entries[e].ref = 0
    s.entries[e].kept = 1
    s.entries[e].chain = s.buckets[b]
    s.buckets[b] = e
    return e


@jit
def _forget(s: State, r: int, e: int) -> None:
    rep = s.reps[r]
    b = _bucket(s, r, s.entries[e].key)
    if s.buckets[b] == e:
        s.buckets[b] = s.entries[e].chain
    else:
        before = s.buckets[b]
        while s.entries[before].chain != e:
            before = s.entries[before].chain
        s.entries[before].chain = s.entries[e].chain
    s.entries[e].ref = -1
    s.entries[e].next = rep.entry_free
    rep.entry_free = e


@jit
def make_room(s: State, r: int) -> None:
    """Forget the longest idle blocks until used and idle ones fit in memory."""
    rep = s.reps[r]
    blocks = s.pools[rep.pool].hash_blocks
    excess = rep.used + rep.idle - s.pools[rep.pool].blocks
    while excess > 0 and rep.lru_head >= 0:
        e = rep.lru_head
        lost = min(s.entries[e].kept, -(-excess // blocks))
        if lost == s.entries[e].kept:
            _unlink_idle(s, r, e)
            _forget(s, r, e)
        else:
            s.entries[e].kept -= lost
        rep.idle -= lost * blocks
        excess -= lost * blocks


@jit
def clear(s: State, r: int) -> None:
    """Forget everything: the replica's memory is gone."""
    rep = s.reps[r]
    rep.idle = 0
    rep.lru_head = rep.lru_tail = rep.entry_free = -1
    rep.entry_fresh = 0
    for b in range(rep.bucket_off, rep.bucket_off + rep.bucket_mask + 1):
        s.buckets[b] = -1


@jit
def price(s: State, slot: int, target: int) -> tuple[int, int]:
    """Return (engine blocks that become used, leading prefix blocks found) if the request were admitted now."""
    request = s.slots[slot]
    r = request.replica
    pool = s.pools[s.reps[r].pool]
    blocks = -(-target // pool.block)
    spans = spans_of(s, slot, target)
    found = 0
    leading = True
    e = -2
    for j in range(spans):
        e = find_beside(s, r, key_of(s, slot, j), e + 1)
        s.scratch[j] = e
        if e < 0:
            leading = False
            continue
        size = blocks_of(s, slot, j)
        if leading:
            found += s.entries[e].kept
            leading = s.entries[e].kept == size
        if s.entries[e].ref > 0:
            blocks -= size * pool.hash_blocks
    return blocks, min(found, (target - 1) // pool.hash_tokens) if spans > 0 else 0


@jit
def take(s: State, slot: int, target: int) -> None:
    """Hold the spans that `price` has just looked up, making what is not there; the rest is held alone."""
    request = s.slots[slot]
    r = request.replica
    rep = s.reps[r]
    pool = s.pools[rep.pool]
    spans = spans_of(s, slot, target)
    whole = fresh = 0
    for j in range(spans):
        e = s.scratch[j]
        size = blocks_of(s, slot, j)
        whole += size
        fresh += size
        if e >= 0:
            fresh -= s.entries[e].kept
            hold(s, r, e)
    request.shared = spans
    request.shared_blocks = whole
    rep.used += -(-target // pool.block) - whole * pool.hash_blocks + fresh * pool.hash_blocks
    make_room(s, r)
    for j in range(spans):
        e = s.scratch[j]
        if e < 0:
            e = insert(s, r, key_of(s, slot, j))
            s.entries[e].ref = 1
        s.entries[e].kept = blocks_of(s, slot, j)


@jit
def give_back(s: State, slot: int, blocks: int, written: int) -> None:
    """Free what a request holds, `blocks` in all; of `written` tokens whole blocks of its session stay cached."""
    request = s.slots[slot]
    r = request.replica
    rep = s.reps[r]
    pool = s.pools[rep.pool]
    rep.used -= blocks - request.shared_blocks * pool.hash_blocks
    kept = spans_of(s, slot, written) if written > 0 else 0
    for j in range(kept - 1, request.shared - 1, -1):  # the newest tokens are forgotten first
        key = key_of(s, slot, j)
        if find(s, r, key) < 0:
            make_idle(s, r, insert(s, r, key))
    e = -1
    for j in range(request.shared - 1, -1, -1):
        e = find_beside(s, r, key_of(s, slot, j), e - 1)
        release(s, r, e)
    request.shared = request.shared_blocks = 0
    make_room(s, r)


# --- what the router remembers ---------------------------------------------------------------------------------------
@jit
def _place_of(s: State, key: int) -> int:
    """Return where a key stands in the router's table, or the empty place where it would."""
    mask = len(s.known) - 1
    mixed = (np.uint64(key) * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(32)
    i = np.int64(mixed) & mask
    while s.known[i].replica >= 0 and s.known[i].key != key:
        i = (i + 1) & mask
    return i


@jit
def owner(s: State, slot: int, t: float) -> tuple[int, int]:
    """Return (replica that was last sent the longest known prefix of the request, its blocks), or (-1, 0).

    Whoever was sent a span was sent all before it, even where others have been sent those since.
    """
    request = s.slots[slot]
    replica, blocks = -1, 0
    for j in range(request.hash_n):
        i = _place_of(s, s.hashes[request.hash_at + j])
        if s.known[i].replica < 0 or t - s.known[i].seen > s.clocks[ROUTER_MEMORY]:
            break
        replica = s.known[i].replica
        blocks += blocks_of(s, slot, j)
    return replica, blocks


@jit
def remember(s: State, slot: int, r: int, t: float) -> None:
    """Remember that replica r was sent the prefix of a request."""
    request = s.slots[slot]
    for j in range(request.hash_n):
        key = s.hashes[request.hash_at + j]
        i = _place_of(s, key)
        s.known[i].key = key
        s.known[i].replica = r
        s.known[i].seen = t


@entry
def copy_known(table: Table, old: Records, since: float) -> None:
    """Copy what was seen at or after `since` into the state's larger table."""
    s: State = view(table)
    for i in range(len(old)):
        if old[i].replica >= 0 and old[i].seen >= since:
            j = _place_of(s, old[i].key)
            s.known[j].key = old[i].key
            s.known[j].replica = old[i].replica
            s.known[j].seen = old[i].seen
