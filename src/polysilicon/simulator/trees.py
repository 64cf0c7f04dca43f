"""Small compiled structures: tournaments over replicas, heaps of sequences and of later events."""

# mypy: disable-error-code="no-any-return, arg-type"
# (records and arrays are untyped to mypy; numba infers them)
from __future__ import annotations

from polysilicon.simulator.compiled import jit
from polysilicon.simulator.state import MANY_REPLICAS, RELEASE_SEQ, RELEASES, State
from polysilicon.simulator.view import fetch


@jit
def set_time(s: State, r: int, t: float) -> None:
    """Set the time of replica r's next event and play the matches above it again; equals go to the lower leaf."""
    node = (len(s.clock) >> 1) + r
    key, leaf = t, r
    s.clock[node].key = t
    while node > 1:
        other_key, other_leaf = s.clock[node ^ 1].key, s.clock[node ^ 1].leaf
        better = (other_key < key) | ((other_key == key) & (other_leaf < leaf))
        key = other_key if better else key
        leaf = other_leaf if better else leaf
        node >>= 1
        s.clock[node].key = key
        s.clock[node].leaf = leaf


@jit
def time_of(s: State, r: int) -> float:
    """Return the time of replica r's next event; infinity for none."""
    return s.clock[(len(s.clock) >> 1) + r].key


@jit
def look_ahead(s: State, r: int) -> None:
    """Ask early for what the next events will touch, where there are too many replicas for the nearest cache.

    After replica r, whose event is now, comes the least of those it beat, or the next arrival's replica.
    """
    if len(s.clock) < 2 * MANY_REPLICAS:
        return
    node = (len(s.clock) >> 1) + r
    while node >= 64:  # the least of those it beat is all but always in another 32nd of the replicas
        node >>= 1
    key, least = s.clock[node ^ 1].key, node ^ 1
    while node > 3:
        node >>= 1
        other_key = s.clock[node ^ 1].key
        least = node ^ 1 if other_key < key else least
        key = min(key, other_key)
    next_r = s.clock[least].leaf
    fetch(s.reps, next_r, 0)
    fetch(s.reps, next_r, 1)
    fetch(s.running, next_r, 0)
    fetch(s.residue, next_r, 0)
    fetch(s.queues, next_r, 0)
    idle = least_loaded(s, 0)
    fetch(s.reps, idle, 0)
    fetch(s.reps, idle, 1)
    if s.reps[r].n > 0:
        fetch(s.slots, s.running[r, 0].slot, 0)
        fetch(s.slots, s.running[r, 0].slot, 1)


@jit
def set_load(s: State, r: int, load: int) -> None:
    """Set the load by which replica r is compared within its pool; seeds rotate who wins ties."""
    pool = s.pools[s.reps[r].pool]
    leaf = r - pool.first - pool.rotate
    if leaf < 0:
        leaf += pool.replicas
    root = 2 * pool.leaf
    node = pool.leaves + leaf
    key: int = load
    s.load[root + node].key = load
    while node > 1:
        other_key, other_leaf = 0 + s.load[root + (node ^ 1)].key, 0 + s.load[root + (node ^ 1)].leaf
        better = (other_key < key) | ((other_key == key) & (other_leaf < leaf))
        key = other_key if better else key
        leaf = other_leaf if better else leaf
        node >>= 1
        if s.load[root + node].key == key and s.load[root + node].leaf == leaf:
            return  # what stands above cannot have changed
        s.load[root + node].key = key
        s.load[root + node].leaf = leaf


@jit
def least_loaded(s: State, p: int) -> int:
    """Return the replica of pool p with the least load, whatever that load is."""
    pool = s.pools[p]
    r = s.load[2 * pool.leaf + 1].leaf + pool.rotate
    if r >= pool.replicas:
        r -= pool.replicas
    return pool.first + r


@jit
def load_of(s: State, r: int) -> int:
    """Return the load key of replica r."""
    pool = s.pools[s.reps[r].pool]
    leaf = r - pool.first - pool.rotate
    if leaf < 0:
        leaf += pool.replicas
    return s.load[2 * pool.leaf + pool.leaves + leaf].key


@jit
def push_running(s: State, r: int, n: int, slot: int, key: int) -> None:
    """Add a decoding sequence to the heap of replica r's n; `key` is the step it finishes in."""
    i = n
    while i > 0:
        parent = (i - 1) >> 1
        if s.running[r, parent].key <= key:
            break
        s.running[r, i].key = s.running[r, parent].key
        s.running[r, i].slot = s.running[r, parent].slot
        i = parent
    s.running[r, i].key = key
    s.running[r, i].slot = slot


@jit
def remove_running(s: State, r: int, n: int, i: int) -> int:
    """Take element i out of the heap of replica r's n and return its sequence."""
    slot = s.running[r, i].slot
    last_key = s.running[r, n - 1].key
    last_slot = s.running[r, n - 1].slot
    n -= 1
    if i == n:
        return slot
    while i > 0 and s.running[r, (i - 1) >> 1].key > last_key:
        parent = (i - 1) >> 1
        s.running[r, i].key = s.running[r, parent].key
        s.running[r, i].slot = s.running[r, parent].slot
        i = parent
    while True:
        child = 2 * i + 1
        if child >= n:
            break
        if child + 1 < n and s.running[r, child + 1].key < s.running[r, child].key:
            child += 1
        if s.running[r, child].key >= last_key:
            break
        s.running[r, i].key = s.running[r, child].key
        s.running[r, i].slot = s.running[r, child].slot
        i = child
    s.running[r, i].key = last_key
    s.running[r, i].slot = last_slot
    return slot


@jit
def _later(s: State, t: float, seq: int, i: int) -> bool:
    """Return whether the release at i comes after (t, seq)."""
    return s.release_s[i] > t or (s.release_s[i] == t and s.release_seq[i] > seq)


@jit
def push_release(s: State, slot: int, t: float) -> None:
    """Let a request come back at time t; equal times come back in the order they were asked for."""
    seq = s.counters[RELEASE_SEQ]
    s.counters[RELEASE_SEQ] = seq + 1
    i = s.counters[RELEASES]
    s.counters[RELEASES] = i + 1
    while i > 0:
        parent = (i - 1) >> 1
        if not _later(s, t, seq, parent):
            break
        s.release_s[i], s.release_seq[i], s.release_slot[i] = s.release_s[parent], s.release_seq[parent], s.release_slot[parent]
        i = parent
    s.release_s[i], s.release_seq[i], s.release_slot[i] = t, seq, slot


@jit
def pop_release(s: State) -> int:
    """Return the request that comes back first and take it off the heap."""
    slot = s.release_slot[0]
    n = s.counters[RELEASES] - 1
    s.counters[RELEASES] = n
    t, seq, moved = s.release_s[n], s.release_seq[n], s.release_slot[n]
    i = 0
    while True:
        child = 2 * i + 1
        if child >= n:
            break
        if child + 1 < n and _later(s, s.release_s[child + 1], s.release_seq[child + 1], child):
            child += 1
        if _later(s, t, seq, child):
            break
        s.release_s[i], s.release_seq[i], s.release_slot[i] = s.release_s[child], s.release_seq[child], s.release_slot[child]
        i = child
    s.release_s[i], s.release_seq[i], s.release_slot[i] = t, seq, moved
    return slot
