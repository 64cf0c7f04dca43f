"""Small compiled structures: tournament trees over replicas, heaps of sequences and of later events."""

# mypy: disable-error-code="no-any-return, arg-type"
# (records and arrays are untyped to mypy; numba infers them)
from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from polysilicon.simulator.compiled import jit
from polysilicon.simulator.state import I8, RELEASE_SEQ, RELEASES, State

Keys = NDArray[Any]


@jit
def replay(tree: I8, base: int, leaves: int, keys: Keys, first: int, leaf: int) -> None:
    """Play the matches above `leaf` again after keys[first + leaf] changed; equals go to the lower leaf."""
    node = (leaf + leaves) >> 1
    while node >= 1:
        left = 2 * node
        if left >= leaves:
            a, b = left - leaves, left + 1 - leaves
        else:
            a, b = tree[base + left], tree[base + left + 1]
        winner = b if keys[first + b] < keys[first + a] else a
        if winner == tree[base + node] and winner != leaf:
            return  # what stands above cannot have changed
        tree[base + node] = winner
        node >>= 1


@jit
def set_time(s: State, r: int, t: float) -> None:
    """Set the time of replica r's next event."""
    s.times[r] = t
    replay(s.tree, 0, len(s.times), s.times, 0, r)


@jit
def set_load(s: State, r: int, key: int) -> None:
    """Set the load by which replica r is compared within its pool; seeds rotate who wins ties."""
    pool = s.pools[s.reps[r].pool]
    leaf = r - pool.first - pool.rotate
    if leaf < 0:
        leaf += pool.replicas
    s.load[pool.leaf + leaf] = key
    replay(s.load_tree, pool.leaf, pool.leaves, s.load, pool.leaf, leaf)


@jit
def least_loaded(s: State, p: int) -> int:
    """Return the replica of pool p with the least load, whatever that load is."""
    pool = s.pools[p]
    leaf = s.load_tree[pool.leaf + 1] if pool.leaves > 1 else 0
    r = leaf + pool.rotate
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
    return s.load[pool.leaf + leaf]


@jit
def push_running(s: State, off: int, n: int, slot: int, key: int) -> None:
    """Add a decoding sequence to the heap of n at `off`; `key` is the step it finishes in."""
    i = n
    while i > 0:
        parent = (i - 1) >> 1
        if s.run_key[off + parent] <= key:
            break
        s.run_key[off + i] = s.run_key[off + parent]
        s.run_slot[off + i] = s.run_slot[off + parent]
        i = parent
    s.run_key[off + i] = key
    s.run_slot[off + i] = slot


@jit
def remove_running(s: State, off: int, n: int, i: int) -> int:
    """Take element i out of the heap of n at `off` and return its sequence."""
    slot = s.run_slot[off + i]
    last_key = s.run_key[off + n - 1]
    last_slot = s.run_slot[off + n - 1]
    n -= 1
    if i == n:
        return slot
    while i > 0 and s.run_key[off + ((i - 1) >> 1)] > last_key:
        parent = (i - 1) >> 1
        s.run_key[off + i] = s.run_key[off + parent]
        s.run_slot[off + i] = s.run_slot[off + parent]
        i = parent
    while True:
        child = 2 * i + 1
        if child >= n:
            break
        if child + 1 < n and s.run_key[off + child + 1] < s.run_key[off + child]:
            child += 1
        if s.run_key[off + child] >= last_key:
            break
        s.run_key[off + i] = s.run_key[off + child]
        s.run_slot[off + i] = s.run_slot[off + child]
        i = child
    s.run_key[off + i] = last_key
    s.run_slot[off + i] = last_slot
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
