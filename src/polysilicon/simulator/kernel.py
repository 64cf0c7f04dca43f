"""The loop: the next arrival, the next request coming back, or the next step boundary, whichever is first.

At equal times requests come first, so everything that stands at the door is seen by the step that begins then.
Cost of an event: a tournament over replicas (log) and a heap over the batch (log); nothing is done per token.
"""

# mypy: disable-error-code="no-any-return, arg-type"
# (records and arrays are untyped to mypy; numba infers them)
from __future__ import annotations

import numpy as np

from polysilicon.routing import NOWHERE, PREFIX, STICKY, WEIGHTED
from polysilicon.simulator.compiled import entry, jit, pick
from polysilicon.simulator.engine import (
    add_outstanding,
    advance,
    blocks_held,
    cut,
    enqueue,
    finish,
    never_fits,
    schedule,
    settle,
    stand_down,
    tokens_so_far,
    wake,
)
from polysilicon.simulator.prefix import clear, give_back, owner, remember
from polysilicon.simulator.state import (
    AT,
    DOOR,
    DRAINING,
    EMPTY,
    EVENTS,
    FAILED,
    FAR,
    FINISHED,
    FIRST_ID,
    FLYING,
    FREE,
    FRESH,
    FRESH_SLOT,
    HANDED_OVER,
    INDEXED,
    MANY,
    MORE,
    NEXT_PROMOTION,
    NOW,
    OFF,
    QUEUE_FULL,
    REACHED,
    RELEASES,
    ROWS,
    STRANDED,
    STRANDED_TAIL,
    UNSERVED,
    UP,
    WANTS_ROWS,
    WANTS_SLOTS,
    WANTS_TRACE,
    State,
    Table,
)
from polysilicon.simulator.trees import least_loaded, load_of, look_ahead, pop_release, push_release, set_load, set_time, time_of
from polysilicon.simulator.view import view

RUN, FAIL, DRAIN, RISE, OPEN_DOOR, GIVE_UP = range(6)  # what the host asks for


# --- where a request goes --------------------------------------------------------------------------------------------
@jit
def _candidate(s: State, slot: int, policy: int, t: float) -> tuple[int, float]:
    """Return the one replica that has something for this request under a policy, and how much of its prompt."""
    request = s.slots[slot]
    if policy == PREFIX and request.hash_n >= 0:
        replica, blocks = owner(s, slot, t)
        return replica, min(1.0, blocks * s.pools[0].hash_tokens / request.isl)
    if policy in (PREFIX, STICKY) and request.session >= 0 and s.session_replica[request.session] >= 0:
        return s.session_replica[request.session], 1.0
    return -1, 0.0


@jit
def _pick_pool(s: State, slot: int, t: float) -> int:
    """Choose the pool: the workload's only one, or what the routing function says over all of them."""
    w = s.slots[slot].workload
    workload = s.workloads[w]
    if workload.pools == 1:
        return workload.only if s.pools[workload.only].up > 0 else NOWHERE
    replica, share = _candidate(s, slot, workload.policy, t)
    for p in range(len(s.pools)):
        pool = s.pools[p]
        s.pool_load[p] = pool.outstanding
        s.pool_cap[p] = float(pool.up) * pool.cap
        s.affinity[p] = 0.0
    if replica >= 0:
        home = s.reps[replica].pool
        s.affinity[home] = share * s.pools[home].prefix_gain
    return pick(workload.policy, s.share[w], s.pool_load, s.pool_cap, s.price, s.affinity, s.credit[w], 0)


@jit
def _pick_replica(s: State, slot: int, p: int, t: float) -> int:
    """Choose within a pool of equal replicas: what `routing.pick` over all of them would choose, without looking at all."""
    pool = s.pools[p]
    best = least_loaded(s, p)
    if pool.policy == WEIGHTED:  # equal weights: the next one in turn that has room
        for _ in range(pool.replicas):
            r = pool.first + pool.turn
            pool.turn = pool.turn + 1 if pool.turn + 1 < pool.replicas else 0
            if load_of(s, r) < pool.cap:
                return r
        return NOWHERE
    if load_of(s, best) >= pool.cap:
        return NOWHERE
    if pool.policy != STICKY and pool.policy != PREFIX:
        return best
    r, share = _candidate(s, slot, pool.policy, t)
    if r < 0 or s.reps[r].pool != p or load_of(s, r) >= pool.cap:
        return best
    if pool.policy == STICKY or load_of(s, r) - share * pool.prefix_gain <= load_of(s, best):
        return r
    return best


@jit
def _strand(s: State, slot: int) -> None:
    """Let a request wait at the door until a replica comes up."""
    s.slots[slot].next = -1
    if s.counters[STRANDED] < 0:
        s.counters[STRANDED] = slot
    else:
        s.slots[s.counters[STRANDED_TAIL]].next = slot
    s.counters[STRANDED_TAIL] = slot


@jit
def _place_for_deferrable(s: State, slot: int, chosen: int) -> int:
    """Return the chosen replica if it has idle room, else the first pool's least loaded one that has, else -1."""
    if s.reps[chosen].outstanding < s.pools[s.reps[chosen].pool].deferred_batch:
        return chosen
    for p in range(len(s.pools)):
        pool = s.pools[p]
        if pool.up > 0 and s.share[s.slots[slot].workload, p] > 0.0 and never_fits(s, slot, p) == 0:
            r = least_loaded(s, p)
            if s.reps[r].outstanding < pool.deferred_batch:
                return r
    return -1


@jit
def _defer(s: State, slot: int) -> None:
    """Let a request wait for idle capacity, until half of its deadline is gone."""
    request = s.slots[slot]
    workload = s.workloads[request.workload]
    request.next = -1
    if workload.head < 0:
        workload.head = slot
    else:
        s.slots[workload.tail].next = slot
    workload.tail = slot
    s.clocks[NEXT_PROMOTION] = min(s.clocks[NEXT_PROMOTION], request.arrival + workload.defer_s)


@jit
def dispatch(s: State, slot: int, t: float, deferral: bool, retry: bool) -> None:
    """Send a request to a replica; refuse it, defer it, or let it wait at the door where it cannot be sent."""
    request = s.slots[slot]
    p = _pick_pool(s, slot, t)
    if p >= 0 and s.pools[p].decode_pool >= 0 and s.pools[s.pools[p].decode_pool].up == 0:
        _strand(s, slot)
        return
    if p < 0:
        full = False
        for q in range(len(s.pools)):
            full = full or (s.share[request.workload, q] > 0.0 and s.pools[q].up > 0)
        if full and not retry:
            finish(s, slot, t, QUEUE_FULL)
        else:
            _strand(s, slot)
        return
    refused = never_fits(s, slot, p)
    if refused > 0:
        finish(s, slot, t, refused)
        return
    r = _pick_replica(s, slot, p, t)
    if r < 0:
        if retry:
            r = least_loaded(s, p)
        else:
            finish(s, slot, t, QUEUE_FULL)
            return
    if deferral and not retry and s.workloads[request.workload].deferrable == 1:
        r = _place_for_deferrable(s, slot, r)
        if r < 0:
            _defer(s, slot)
            return
    send(s, slot, r, t)


@jit
def send(s: State, slot: int, r: int, t: float) -> None:
    """Put a request into the queue of replica r and remember who has its prefix."""
    request = s.slots[slot]
    request.replica = r
    if request.session >= 0:
        s.session_replica[request.session] = r
    if len(s.known) > 0:
        remember(s, slot, r, t)
    add_outstanding(s, r, 1)
    enqueue(s, slot, r, False)
    wake(s, r, t, slot)


@jit
def _next_due(s: State) -> float:
    """Return when the next deferred request must be sent, idle capacity or not."""
    due = np.inf
    for w in range(len(s.workloads)):
        workload = s.workloads[w]
        if workload.deferrable == 1 and workload.head >= 0:
            due = min(due, s.slots[workload.head].arrival + workload.defer_s)
    return due


@jit
def _promote(s: State, t: float) -> None:
    """Send deferred work whose time has come."""
    for w in range(len(s.workloads)):
        workload = s.workloads[w]
        while workload.deferrable == 1 and workload.head >= 0:
            slot = workload.head
            if s.slots[slot].arrival + workload.defer_s > t:
                break
            workload.head = s.slots[slot].next
            dispatch(s, slot, t, False, True)
    s.clocks[NEXT_PROMOTION] = _next_due(s)


# --- prefill here, decode there --------------------------------------------------------------------------------------
@jit
def _hand_over(s: State, slot: int, t: float) -> None:
    """Send a prompt's KV over the prefill replica's link, one prompt after another, to the least loaded decode replica."""
    request = s.slots[slot]
    r = request.replica
    rep = s.reps[r]
    pool = s.pools[rep.pool]
    request.source = r
    request.epoch = rep.epoch
    rep.nic_free = max(t, rep.nic_free) + pool.transfer_s * request.target
    goal = least_loaded(s, pool.decode_pool)
    request.stage = HANDED_OVER
    request.replica = goal
    request.goal_epoch = -1  # nobody waits for it: no decode replica is up now
    if s.reps[goal].state == UP:
        request.goal_epoch = s.reps[goal].epoch
        add_outstanding(s, goal, 1)
    push_release(s, slot, rep.nic_free + pool.latency_s)


@jit
def _receive(s: State, slot: int, t: float) -> None:
    """Free the KV on the prefill side and queue the request where it decodes; recompute what was lost on the way."""
    request = s.slots[slot]
    goal, source = request.replica, request.source
    intact = s.reps[source].epoch == request.epoch
    if intact:
        request.replica = source
        request.join = FAR
        give_back(s, slot, blocks_held(s, slot, -1), 0)
        add_outstanding(s, source, -1)
        if time_of(s, source) == np.inf:
            s.reps[source].planned = 0
            set_time(s, source, t)
        request.replica = goal
    waited_for = s.reps[goal].epoch == request.goal_epoch and s.reps[goal].state != FAILED and s.reps[goal].state != OFF
    if intact and waited_for:
        enqueue(s, slot, goal, False)
        wake(s, goal, t, slot)
        return
    if waited_for:
        add_outstanding(s, goal, -1)
    request.stage = FRESH
    request.retries = min(request.retries + 1, MANY)
    dispatch(s, slot, t, False, True)


# --- fleet dynamics: called between runs of the loop -----------------------------------------------------------------
@jit
def _run_again(s: State, slot: int, t: float) -> None:
    request = s.slots[slot]
    request.stage = FRESH
    request.done = request.shared = request.shared_blocks = 0
    request.join = FAR
    request.retries = min(request.retries + 1, MANY)
    dispatch(s, slot, t, False, True)


@jit
def fail(s: State, r: int, t: float, state: int) -> int:
    """Lose replica r and its memory at time t; what it had goes elsewhere and is computed again. Returns how many."""
    rep = s.reps[r]
    if rep.state == FAILED or rep.state == OFF:
        rep.state = state
        return 0
    if rep.planned > 0:
        cut(s, r, t)
        began = rep.t0
        rep.planned -= 1  # the step under way is lost, even when it would end at this very moment
        if rep.planned > 0:
            began = rep.t0 + rep.planned * rep.base + rep.slope * (0.5 * rep.planned * (rep.planned - 1.0))
            advance(s, r, began)
        rep.busy_s += t - began
    stand_down(s, r)
    rep.up_s += t - rep.up_since
    rep.state = state
    rep.epoch += 1
    lost = np.empty(rep.n + rep.waiting + s.pools[rep.pool].max_batch + 1, np.int64)
    count = 0
    for i in range(rep.n):
        slot = s.running[r, i].slot
        s.slots[slot].emitted = tokens_so_far(s, slot, rep.step)
        lost[count] = slot
        count += 1
    slot = rep.list_head
    while slot >= 0:
        lost[count] = slot
        count += 1
        slot = s.slots[slot].next
    if rep.partial >= 0:
        lost[count] = rep.partial
        count += 1
    for i in range(1, count):  # the oldest goes first
        slot, j = lost[i], i - 1
        while j >= 0 and s.slots[lost[j]].order > s.slots[slot].order:
            lost[j + 1] = lost[j]
            j -= 1
        lost[j + 1] = slot
    for head in range(0, len(s.queues[0]), 2):
        slot = s.queues[r, head]
        while slot >= 0:
            lost[count] = slot
            count += 1
            slot = s.slots[slot].next
        s.queues[r, head] = s.queues[r, head + 1] = -1
    s.pools[rep.pool].outstanding -= rep.outstanding
    rep.n = rep.waiting = rep.outstanding = rep.used = rep.planned = 0
    rep.context = rep.windowed = rep.rate = rep.below = 0.0
    rep.cross = FAR
    rep.partial = rep.list_head = -1
    rep.nic_free = 0.0
    for b in range(len(s.residue[0])):
        s.residue[r, b] = 0
    if s.pools[rep.pool].prefix == 1:
        clear(s, r)
    set_time(s, r, np.inf)
    for i in range(count):
        _run_again(s, lost[i], t)
    return count


@jit
def drain(s: State, r: int, t: float) -> None:
    """Take replica r out of the choice at time t; it goes off when it has nothing left."""
    rep = s.reps[r]
    if rep.state != UP:
        return
    stand_down(s, r)
    rep.state = DRAINING
    if rep.outstanding == 0:
        rep.state = OFF
        rep.up_s += t - rep.up_since


@jit
def rise(s: State, r: int, t: float) -> None:
    """Bring replica r up at time t; `open_door` then sends it what waited."""
    rep = s.reps[r]
    if rep.state == UP:
        return
    if rep.state == OFF or rep.state == FAILED:
        rep.up_since = t
    rep.state = UP
    s.pools[rep.pool].up += 1
    set_load(s, r, rep.outstanding)
    if time_of(s, r) == np.inf:
        rep.planned = 0
        set_time(s, r, t)


@jit
def open_door(s: State, t: float) -> bool:
    """Send what has been waiting at the door for a replica; return whether some is left for lack of rows."""
    slot, tail = s.counters[STRANDED], s.counters[STRANDED_TAIL]
    s.counters[STRANDED] = -1
    while slot >= 0:
        following = s.slots[slot].next
        if s.counters[INDEXED] == 0 and len(s.rows) - s.counters[ROWS] < 8:
            if s.counters[STRANDED] < 0:
                s.counters[STRANDED] = slot
            else:
                s.slots[s.counters[STRANDED_TAIL]].next = slot
            s.counters[STRANDED_TAIL] = tail
            return True
        dispatch(s, slot, t, False, True)
        slot = following
    return False


@jit
def give_up(s: State, t: float) -> int:
    """Book requests that still wait at the door as unserved, as many as there are rows for; return how many."""
    count = 0
    slot = s.counters[STRANDED]
    while slot >= 0 and (s.counters[INDEXED] == 1 or s.counters[ROWS] < len(s.rows)):
        following = s.slots[slot].next
        finish(s, slot, t, UNSERVED)
        count += 1
        slot = following
    s.counters[STRANDED] = slot
    return count


# --- the loop --------------------------------------------------------------------------------------------------------
@jit
def _arrive(s: State, i: int, t: float) -> int:
    """Make the record of trace row i, which stands at the door at time t."""
    slot = s.counters[FREE]
    if slot >= 0:
        s.counters[FREE] = s.slots[slot].next
    else:
        slot = s.counters[FRESH_SLOT]
        s.counters[FRESH_SLOT] += 1
    s.counters[FLYING] += 1
    request = s.slots[slot]
    request.id = s.counters[FIRST_ID] + i
    request.arrival = t
    request.start = request.first = -1.0
    request.late = 0.0
    request.isl = s.in_isl[i]
    request.osl = s.in_osl[i]
    request.workload = s.in_workload[i] if len(s.in_workload) > 0 else 0
    request.priority = s.in_priority[i] if len(s.in_priority) > 0 else 0
    request.session = s.in_session[i] if len(s.in_session) > 0 else -1
    if len(s.in_session) > 0:
        request.think = s.in_think[i] if len(s.in_think) > 0 else 0.0
    if len(s.in_offset) > 0:
        request.hash_at = s.in_offset[i]
        request.hash_n = s.in_offset[i + 1] - s.in_offset[i]
    request.replica = -1
    request.stage = FRESH
    request.emitted = request.done = request.shared = request.shared_blocks = request.cached = request.preemptions = request.retries = 0
    request.join = FAR
    request.order = 0
    return slot


@jit
def _enter(s: State, slot: int, t: float, deferral: bool) -> None:
    """Let a request in, or keep it until its session's earlier one is done."""
    request = s.slots[slot]
    s.counters[DOOR] += 1
    session = request.session
    if session >= 0:
        if s.session_busy[session] == 1:
            s.counters[DOOR] -= 1
            request.next = -1
            if s.session_head[session] < 0:
                s.session_head[session] = slot
            else:
                s.slots[s.session_tail[session]].next = slot
            s.session_tail[session] = slot
            return
        s.session_busy[session] = 1
        begin = s.session_last[session] + request.think
        if begin > t:
            push_release(s, slot, begin)
            return
    if request.isl <= 0 or request.osl <= 0:
        finish(s, slot, t, EMPTY)
        return
    dispatch(s, slot, t, deferral, False)


@jit
def run(s: State, until: float, limit: int, deferral: bool) -> int:
    """Run until the time `until` (exclusive) or the end, with at most `limit` requests inside at once; say why it stopped."""
    n = len(s.in_arrival)
    now = s.clocks[NOW]
    rows = len(s.rows)
    slots = len(s.slots)
    while True:
        at = s.counters[AT]
        arrival = np.inf
        if at < n:
            if s.counters[DOOR] < limit:
                arrival = max(s.in_arrival[at], now)
        elif s.counters[MORE] == 1:
            return WANTS_TRACE
        release = s.release_s[0] if s.counters[RELEASES] > 0 else np.inf
        boundary = s.clock[1].key
        promotion = s.clocks[NEXT_PROMOTION]
        t = min(min(arrival, release), min(boundary, promotion))
        if t == promotion and t < np.inf and _next_due(s) > t:  # idle capacity has taken it already
            s.clocks[NEXT_PROMOTION] = _next_due(s)
            continue
        if t >= until:
            return FINISHED if t == np.inf else REACHED
        if s.counters[INDEXED] == 0 and rows - s.counters[ROWS] < 8192:
            return WANTS_ROWS
        s.counters[EVENTS] += 1
        now = t
        s.clocks[NOW] = t
        if arrival <= t:
            if s.counters[FREE] < 0 and s.counters[FRESH_SLOT] >= slots:
                return WANTS_SLOTS
            s.counters[AT] = at + 1
            _enter(s, _arrive(s, at, t), t, deferral)
        elif release <= t:
            slot = pop_release(s)
            if s.slots[slot].stage == HANDED_OVER:
                _receive(s, slot, t)
            else:
                s.slots[slot].arrival = t
                if s.slots[slot].isl <= 0 or s.slots[slot].osl <= 0:
                    finish(s, slot, t, EMPTY)
                else:
                    dispatch(s, slot, t, deferral, False)
        elif promotion <= t:
            _promote(s, t)
        else:
            r = s.clock[1].leaf
            look_ahead(s, r)
            slot = settle(s, r, t)
            while slot >= 0:
                following = s.slots[slot].next
                _hand_over(s, slot, t)
                slot = following
            schedule(s, r, t, deferral)


@entry
def act(table: Table, what: int, r: int, t: float, number: int, deferral: bool) -> int:
    """Do what the host asks, at or up to time t: one way in, so that all of the engine is compiled once."""
    s: State = view(table)
    if what == RUN:
        return run(s, t, number, deferral)
    if what == FAIL:
        return fail(s, r, t, number)
    if what == DRAIN:
        drain(s, r, t)
    elif what == RISE:
        rise(s, r, t)
    elif what == OPEN_DOOR:
        return 1 if open_door(s, t) else 0
    elif what == GIVE_UP:
        return give_up(s, t)
    return 0
