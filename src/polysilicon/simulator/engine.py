"""One replica's engine: schedule a step, leap through the steps in which nothing changes, settle what was done.

A step is filled in this order: every decoding sequence, the prompt whose prefill is under way, then waiting requests
by class and age. Memory is paged; when a decode finds no block the newest sequence of the lowest class gives way and
will be recomputed. Between two changes of the batch the step time grows by a constant, so k steps are one sum.
"""

# mypy: disable-error-code="no-any-return, arg-type"
# (records and arrays are untyped to mypy; numba infers them)
from __future__ import annotations

import math

import numpy as np

from polysilicon.simulator.compiled import jit
from polysilicon.simulator.prefix import give_back, make_room, price, take
from polysilicon.simulator.speculation import decode_steps
from polysilicon.simulator.state import (
    ADMITTED,
    BUSY_KEY,
    DOOR,
    DRAINING,
    FAR,
    FLYING,
    FREE,
    FRESH,
    HANDED_OVER,
    INDEXED,
    ITL_BINS,
    ITL_FLOOR_S,
    ITL_LOWEST,
    ITL_SHIFT,
    MANY,
    OFF,
    PREFILL,
    ROWS,
    TIES,
    TOO_LARGE,
    TOO_LONG,
    UP,
    State,
)
from polysilicon.simulator.trees import push_release, push_running, remove_running, set_load, set_time, time_of


# --- memory ----------------------------------------------------------------------------------------------------------
@jit
def blocks_held(s: State, slot: int, step: int) -> int:
    """Return the blocks a request holds once step `step` of its replica has its memory; before it decodes, its prompt's."""
    request = s.slots[slot]
    pool = s.pools[s.reps[request.replica].pool]
    prompt = -(-request.target // pool.block)
    done = step - request.join
    if done < 0:
        return prompt
    return max(prompt, math.ceil((request.context + request.rate * done + pool.draft) / pool.block))


@jit
def growth(s: State, r: int, steps: int, ahead: int) -> int:
    """Return the blocks that the decoding sequences need for `steps` steps, the first `ahead` steps from now."""
    rep = s.reps[r]
    pool = s.pools[rep.pool]
    total = 0
    if pool.plain == 1:
        cycles = steps // pool.block
        total = cycles * rep.n
        at = (1 - rep.step - ahead) % pool.block
        for _ in range(steps - cycles * pool.block):
            total += s.residue[r, at]
            at = at - 1 if at > 0 else pool.block - 1
        return total
    for i in range(rep.n):
        slot = s.running[r, i].slot
        total += blocks_held(s, slot, rep.step + ahead + steps - 1) - blocks_held(s, slot, rep.step + ahead - 1)
    return total


@jit
def affordable(s: State, r: int, steps: int) -> int:
    """Return how many of the next `steps` steps after the present one fit into free memory."""
    rep = s.reps[r]
    pool = s.pools[rep.pool]
    free = pool.blocks - rep.used
    if rep.n * (steps * (1 + pool.draft) // pool.block + 2) <= free:
        return steps
    if pool.plain == 1:
        cycles = free // rep.n
        fit = cycles * pool.block
        free -= cycles * rep.n
        while fit < steps:
            need = s.residue[r, (-rep.step - fit) % pool.block]
            if need > free:
                return fit
            free -= need
            fit += 1
        return steps
    low, high = 0, steps
    while low < high:
        middle = (low + high + 1) >> 1
        if growth(s, r, middle, 1) <= free:
            low = middle
        else:
            high = middle - 1
    return low


# --- lists -----------------------------------------------------------------------------------------------------------
@jit
def enqueue(s: State, slot: int, r: int, front: bool) -> None:
    """Put a request into its class's waiting list."""
    head = 2 * s.slots[slot].priority
    if s.queues[r, head] < 0:
        s.slots[slot].next = -1
        s.queues[r, head] = s.queues[r, head + 1] = slot
    elif front:
        s.slots[slot].next = s.queues[r, head]
        s.queues[r, head] = slot
    else:
        s.slots[slot].next = -1
        s.slots[s.queues[r, head + 1]].next = slot
        s.queues[r, head + 1] = slot
    s.reps[r].waiting += 1


@jit
def _first_waiting(s: State, r: int) -> int:
    for head in range(0, len(s.queues[0]), 2):
        if s.queues[r, head] >= 0:
            return s.queues[r, head]
    return -1


@jit
def _dequeue(s: State, r: int, slot: int) -> None:
    head = 2 * s.slots[slot].priority
    s.queues[r, head] = s.slots[slot].next
    if s.queues[r, head] < 0:
        s.queues[r, head + 1] = -1
    s.reps[r].waiting -= 1


@jit
def add_outstanding(s: State, r: int, change: int) -> None:
    """Count a request in or out of a replica, and keep the load tree right."""
    rep = s.reps[r]
    rep.outstanding += change
    s.pools[rep.pool].outstanding += change
    if rep.state == UP:
        set_load(s, r, rep.outstanding)


# --- the life of a request -------------------------------------------------------------------------------------------
@jit
def finish(s: State, slot: int, t: float, status: int) -> None:
    """Write the request's row, wake the next one of its session, free its place."""
    request = s.slots[slot]
    o = request.id if s.counters[INDEXED] == 1 else s.counters[ROWS]
    s.counters[ROWS] += 1
    row = s.rows[o]
    row.id = request.id
    row.arrival_s = request.arrival
    row.start_s = request.start
    row.first_s = request.first
    row.done_s = t
    row.isl_tokens = request.isl
    row.osl_tokens = request.osl
    row.tokens = request.emitted
    row.cached_tokens = request.cached
    row.replica = request.replica
    row.preemptions = request.preemptions
    row.retries = request.retries
    row.workload = request.workload
    row.status = status
    session = request.session
    request.id = -1
    if len(s.in_offset) > 0:
        request.hash_n = -1
    request.next = s.counters[FREE]
    s.counters[FREE] = slot
    s.counters[FLYING] -= 1
    s.counters[DOOR] -= 1
    if session < 0:
        return
    s.session_last[session] = t
    following = s.session_head[session]
    if following < 0:
        s.session_busy[session] = 0
        return
    s.session_head[session] = s.slots[following].next
    s.counters[DOOR] += 1
    push_release(s, following, max(s.slots[following].arrival, t + s.slots[following].think))


@jit
def _leave(s: State, slot: int, t: float) -> None:
    """Finish a request that has all its tokens and free its memory; its client has the last token `late` after its step."""
    request = s.slots[slot]
    r = request.replica
    request.emitted = request.osl
    give_back(s, slot, blocks_held(s, slot, s.reps[r].step - 1), request.isl + request.osl - 1)
    add_outstanding(s, r, -1)
    finish(s, slot, t + request.late, 1)


@jit
def join(s: State, slot: int) -> None:
    """Let a request decode from its replica's next step on."""
    request = s.slots[slot]
    rep = s.reps[request.replica]
    pool = s.pools[rep.pool]
    left = request.osl - request.emitted
    request.join = rep.step
    request.context = request.target + 1.0
    steps = decode_steps(s, slot, left)
    request.rate = left / steps if pool.accept_frac >= 0.0 else pool.accept
    rep.rate += request.rate
    push_running(s, request.replica, rep.n, slot, (rep.step + steps) * TIES + request.order % TIES)
    rep.n += 1
    rep.context += request.context
    if pool.plain == 1:
        s.residue[request.replica, (request.target + 1 - rep.step) % pool.block] += 1
    if pool.win_s > 0.0:
        rep.windowed += min(request.context, pool.win_tokens)
        if request.context < pool.win_tokens:
            rep.below += request.rate
            rep.cross = min(rep.cross, rep.step + math.ceil((pool.win_tokens - request.context) / request.rate))


@jit
def _quit(s: State, r: int, i: int) -> int:
    """Take decoding sequence i out of the batch of r and return it; its memory stays."""
    rep = s.reps[r]
    pool = s.pools[rep.pool]
    slot = remove_running(s, r, rep.n, i)
    request = s.slots[slot]
    rep.n -= 1
    context = request.context + request.rate * (rep.step - request.join)
    rep.context = rep.context - context if rep.n > 0 else 0.0
    rep.rate = rep.rate - request.rate if rep.n > 0 else 0.0
    if pool.plain == 1:
        s.residue[r, (request.target + 1 - request.join) % pool.block] -= 1
    if pool.win_s > 0.0:
        if context < pool.win_tokens:
            rep.below = rep.below - request.rate if rep.n > 0 else 0.0
        rep.windowed = rep.windowed - min(context, pool.win_tokens) if rep.n > 0 else 0.0
    return slot


@jit
def tokens_so_far(s: State, slot: int, step: int) -> int:
    """Return the tokens a decoding request has emitted when `step` steps of its replica are done."""
    request = s.slots[slot]
    return min(request.emitted + math.floor(request.rate * (step - request.join)), request.osl - 1)


@jit
def _preempt_newest(s: State, r: int) -> None:
    """Send the newest request of the lowest class back to wait; its KV is dropped and will be computed again."""
    rep = s.reps[r]
    victim, at = rep.partial, -1
    for i in range(rep.n):
        slot = s.running[r, i].slot
        if victim < 0:
            victim, at = slot, i
            continue
        mine, best = s.slots[slot], s.slots[victim]
        if mine.priority > best.priority or (mine.priority == best.priority and mine.order > best.order):
            victim, at = slot, i
    request = s.slots[victim]
    if at >= 0:
        emitted = tokens_so_far(s, victim, rep.step)
        give_back(s, victim, blocks_held(s, victim, rep.step - 1), 0)
        _quit(s, r, at)
        request.emitted = emitted
    else:
        give_back(s, victim, blocks_held(s, victim, -1), 0)
        rep.partial = -1
    request.join = FAR
    request.done = 0
    request.stage = FRESH
    request.preemptions = min(request.preemptions + 1, MANY)
    rep.preemptions += 1
    enqueue(s, victim, r, True)


@jit
def never_fits(s: State, slot: int, p: int) -> int:
    """Return why pool p, or the decode pool behind it, could never finish this request, or 0."""
    request = s.slots[slot]
    tokens = request.isl + request.osl
    while p >= 0:
        pool = s.pools[p]
        if pool.context > 0 and tokens > pool.context:
            return TOO_LONG
        if -(-(tokens + pool.draft) // pool.block) > pool.blocks:
            return TOO_LARGE
        p = pool.decode_pool
    return 0


# --- a step ----------------------------------------------------------------------------------------------------------
@jit
def _admit(s: State, r: int, slot: int, t: float) -> bool:
    """Give a waiting request its memory, if there is enough beside the watermark."""
    request = s.slots[slot]
    rep = s.reps[r]
    pool = s.pools[rep.pool]
    handed_over = request.stage == HANDED_OVER
    request.target = request.isl + request.emitted - (1 if handed_over else 0)
    request.join = FAR
    blocks, found = price(s, slot, request.target)
    if handed_over:
        blocks += math.ceil((request.target + 1.0 + pool.draft) / pool.block) - (-(-request.target // pool.block))
    reserve = pool.watermark if rep.used > 0 else 0
    if rep.used + blocks + reserve > pool.blocks:
        return False
    _dequeue(s, r, slot)
    take(s, slot, request.target)
    if request.start < 0.0:
        request.start = t
        request.cached = found * pool.hash_tokens
    request.order = s.counters[ADMITTED]
    s.counters[ADMITTED] += 1
    if handed_over:
        join(s, slot)
        rep.used += blocks_held(s, slot, rep.step) - blocks_held(s, slot, rep.step - 1)
        make_room(s, r)
    else:
        request.done = found * pool.hash_tokens
        pool.cached_tokens += request.done
    return True


@jit
def _pull_deferred(s: State, r: int) -> None:
    """Fill idle places with work that may wait, the most urgent first."""
    rep = s.reps[r]
    limit = s.pools[rep.pool].deferred_batch if rep.waiting == 0 else 0
    while rep.outstanding < limit:
        best = -1
        urgent = 0.0
        for w in range(len(s.workloads)):
            workload = s.workloads[w]
            if workload.deferrable == 1 and workload.head >= 0 and s.share[w, rep.pool] > 0.0:
                due = s.slots[workload.head].arrival + workload.defer_s
                if best < 0 or due < urgent:
                    best, urgent = w, due
        if best < 0 or never_fits(s, s.workloads[best].head, rep.pool) > 0:
            return
        slot = s.workloads[best].head
        s.workloads[best].head = s.slots[slot].next
        s.slots[slot].replica = r
        add_outstanding(s, r, 1)
        enqueue(s, slot, r, False)


@jit
def _chunk(s: State, slot: int, budget: int) -> tuple[int, float]:
    """Return (tokens, token pairs) of a request's next prefill chunk and put it into the step's list."""
    request = s.slots[slot]
    rep = s.reps[request.replica]
    tokens = min(budget, request.target - request.done)
    request.chunk = tokens
    request.next = -1
    if rep.list_head < 0:
        rep.list_head = slot
    else:
        s.slots[rep.list_tail].next = slot
    rep.list_tail = slot
    return tokens, float(tokens) * request.done + 0.5 * tokens * (tokens + 1.0)


@jit
def schedule(s: State, r: int, t: float, deferral: bool) -> None:
    """Plan the next step of r at time t, or the leap of steps in which nothing but the contexts changes."""
    rep = s.reps[r]
    pool = s.pools[rep.pool]
    preempted = False
    need = growth(s, r, 1, 0) if rep.n > 0 else 0
    while rep.n > 0 and rep.used + need > pool.blocks:
        _preempt_newest(s, r)
        preempted = True
        need = growth(s, r, 1, 0) if rep.n > 0 else 0
    rep.used += need
    if pool.prefix == 1 and need > 0:
        make_room(s, r)
    width = 1 + pool.draft
    budget = pool.max_step - rep.n * width
    prefill, pairs, running = 0, 0.0, rep.n
    rep.list_head = -1
    if rep.partial >= 0:
        running += 1
        if budget > 0:
            tokens, pairs = _chunk(s, rep.partial, budget)
            prefill = tokens
            budget -= tokens
            rep.partial = -1
    if deferral and not preempted and rep.state == UP:
        _pull_deferred(s, r)
    while not preempted and rep.waiting > 0 and budget > 0 and running < pool.max_batch:
        slot = _first_waiting(s, r)
        handed_over = s.slots[slot].stage == HANDED_OVER
        if (handed_over and budget < width) or not _admit(s, r, slot, t):
            break
        running += 1
        if handed_over:
            budget -= width
        else:
            tokens, more = _chunk(s, slot, budget)
            prefill += tokens
            pairs += more
            budget -= tokens
    rep.peak_used = max(rep.peak_used, rep.used)
    rep.t0 = t
    n = rep.n
    if prefill == 0 and n == 0:
        rep.planned = 0
        set_time(s, r, np.inf)
        if rep.state == DRAINING and rep.outstanding == 0:
            rep.state = OFF
            rep.up_s += t - rep.up_since
        return
    rep.base = s.tokens_s[pool.tokens_off + prefill + n * width] + pool.sequence_s * n
    contexts_s = pool.kv_s * rep.context
    if pool.win_s > 0.0:
        contexts_s += pool.win_s * rep.windowed
    rep.base += contexts_s
    if n > 0:
        rep.base += pool.draft_s
    if prefill > 0:
        rep.base += pool.pair_s * pairs + pool.prefill_s
        rep.planned = 1
        set_time(s, r, t + rep.base)
        return
    rep.slope = pool.kv_s * rep.rate
    last = s.running[r, 0].key // TIES
    if pool.win_s > 0.0:
        rep.slope += pool.win_s * rep.below
        last = min(last, rep.cross)
    k = 1 if preempted else 1 + affordable(s, r, last - rep.step - 1)  # after a step that preempted, the next one may admit again
    rep.planned = k
    set_time(s, r, t + k * rep.base + rep.slope * (0.5 * k * (k - 1.0)))


@jit
def cut(s: State, r: int, t: float) -> None:
    """Shorten the leap of r to the first step boundary at or after t."""
    rep = s.reps[r]
    if rep.planned <= 1 or rep.list_head >= 0:
        return
    left = t - rep.t0
    half = 0.5 * rep.slope
    b = rep.base - half
    k = int(left / b) if half <= 0.0 else int((2.0 * left) / (b + math.sqrt(b * b + 4.0 * half * left)))
    k = max(1, min(k, rep.planned))
    while k > 1 and (k - 1) * rep.base + rep.slope * (0.5 * (k - 1) * (k - 2.0)) >= left:
        k -= 1
    while k < rep.planned and k * rep.base + rep.slope * (0.5 * k * (k - 1.0)) < left:
        k += 1
    if k < rep.planned:
        rep.planned = k
        set_time(s, r, rep.t0 + k * rep.base + rep.slope * (0.5 * k * (k - 1.0)))


@jit
def wake(s: State, r: int, t: float, slot: int) -> None:
    """Let replica r look at a request that has just joined its queue, at its next step boundary."""
    if time_of(s, r) == np.inf:
        s.reps[r].planned = 0
        s.reps[r].list_head = -1
        set_time(s, r, t)
    elif s.reps[r].n < s.pools[s.reps[r].pool].max_batch and _first_waiting(s, r) == slot:
        cut(s, r, t)


@jit
def _note_itl(s: State, p: int, first_s: float, slope_s: float, steps: int, n: int) -> None:
    """Count every gap between tokens that n sequences see in `steps` steps, in bins of 2 %."""
    shortest = min(max(first_s, ITL_FLOOR_S), s.itl_edge[ITL_BINS])
    low = s.itl_first[(np.float64(shortest).view(np.int64) >> ITL_SHIFT) - ITL_LOWEST]
    while shortest >= s.itl_edge[low + 1] and low < ITL_BINS - 1:
        low += 1
    done = 0
    while done < steps and low < ITL_BINS - 1:
        edge = s.itl_edge[low + 1]
        upto = steps
        if first_s + slope_s * (steps - 1) >= edge and slope_s > 0.0:
            upto = int(min(steps, max(done, math.ceil((edge - first_s) / slope_s))))
        s.itl[p, low] += float(n) * (upto - done)
        done = upto
        low += 1
    if done < steps:
        s.itl[p, ITL_BINS - 1] += float(n) * (steps - done)


@jit
def _rescan_windows(s: State, r: int) -> None:
    """Add up the windows again after a sequence outgrew its window, and find the next one that will."""
    rep = s.reps[r]
    pool = s.pools[rep.pool]
    rep.windowed = 0.0
    rep.below = 0.0
    rep.cross = FAR
    for i in range(rep.n):
        request = s.slots[s.running[r, i].slot]
        context = request.context + request.rate * (rep.step - request.join)
        rep.windowed += min(context, pool.win_tokens)
        if context < pool.win_tokens:
            rep.below += request.rate
            rep.cross = min(rep.cross, rep.step + math.ceil((pool.win_tokens - context) / request.rate))


@jit
def advance(s: State, r: int, t: float) -> None:
    """Account for the planned decode steps of r, all of them done at time t; nobody leaves yet."""
    rep = s.reps[r]
    pool = s.pools[rep.pool]
    k, n = rep.planned, rep.n
    elapsed = t - rep.t0
    rep.busy_s += elapsed
    pool.steps += k
    rep.batch_s += n * elapsed
    used = rep.used
    if n > 0:
        if k > 1:
            rep.used += growth(s, r, k - 1, 1)
            if rep.used > rep.peak_used:
                rep.peak_used = rep.used
            if pool.prefix == 1:
                make_room(s, r)
        _note_itl(s, rep.pool, rep.base, rep.slope if k > 1 else 0.0, k, n)
        rep.step += k
        rep.context += rep.rate * k
        pool.decode_tokens += rep.rate * k
        if pool.win_s > 0.0:
            rep.windowed += rep.below * k
            if rep.step >= rep.cross:
                _rescan_windows(s, r)
    rep.kv_block_s += 0.5 * (used + rep.used) * elapsed
    rep.planned = 0


@jit
def settle(s: State, r: int, t: float) -> int:
    """Do what ends at the step boundary t; return the list of prompts whose KV must now move to a decode replica."""
    rep = s.reps[r]
    if rep.planned == 0:
        return -1
    pool = s.pools[rep.pool]
    advance(s, r, t)
    while rep.n > 0 and s.running[r, 0].key // TIES <= rep.step:
        _leave(s, _quit(s, r, 0), t)
    moving = last = -1
    slot = rep.list_head
    rep.list_head = -1
    while slot >= 0:
        request = s.slots[slot]
        following = request.next
        request.done += request.chunk
        pool.prefill_tokens += request.chunk
        if request.done < request.target:
            rep.partial = slot
        else:
            request.emitted += 1
            if request.first < 0.0:
                request.late = pool.first_s
                request.first = t + request.late
            if request.emitted >= request.osl:
                _leave(s, slot, t)
            elif pool.role == PREFILL:
                request.next = -1
                if moving < 0:
                    moving = slot
                else:
                    s.slots[last].next = slot
                last = slot
            else:
                join(s, slot)
        slot = following
    return moving


@jit
def stand_down(s: State, r: int) -> None:
    """Take r out of its pool's choice."""
    if s.reps[r].state == UP:
        s.pools[s.reps[r].pool].up -= 1
        set_load(s, r, BUSY_KEY)
