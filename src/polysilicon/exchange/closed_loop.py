"""One engine under a fixed number of requests, step by step: the protocol under which most points are measured.

`simulator.closed_loop` plays the same loop with paged cache and per-request results; this one knows the habits of measured
engines (prefill-only steps, polling, batch waits) and counts the steps that each latency is made of, so that a calibration
can move efficiencies without playing again.
"""

from __future__ import annotations

import heapq
from typing import Any

import numba as nb
import numpy as np
from numpy.typing import NDArray

# what `play` returns, by position
TTFT, TPOT, WAIT, TOKEN, MAKESPAN, RUNNING, MEDIAN_TTFT = 0, 1, slice(2, 6), slice(6, 10), 10, 11, 12
TOTAL = slice(13, 17)  # of the whole run
OUTPUTS = 17
# what WAIT, TOKEN and TOTAL hold: steps without prefill, steps with prefill, prefill tokens, prefill pairs


@nb.njit(cache=True, nogil=True)
def table_at(grid: Any, values: Any, x: float) -> Any:
    """Return a table's value between its grid points, by straight lines."""
    low, high = 0, len(grid) - 1
    if x >= grid[high]:
        return values[high] + (values[high] - values[high - 1]) / (grid[high] - grid[high - 1]) * (x - grid[high])
    while high - low > 1:
        mid = (low + high) // 2
        if grid[mid] <= x:
            low = mid
        else:
            high = mid
    return values[low] + (values[high] - values[low]) * (x - grid[low]) / (grid[high] - grid[low])


@nb.njit(cache=True, nogil=True)
def _alive(newest: Any, due: Any, decoded: int) -> int:
    """Keep those still running, in order; return how many."""
    kept = 0
    for r in newest:
        if due[r] > decoded:
            newest[kept] = r
            kept += 1
    return kept


@nb.njit(cache=True, nogil=True)
def play(isl: Any, osl: Any, concurrency: int, grid: Any, values: Any, slopes: Any, limits: Any, client: Any, out: Any) -> None:
    """Play a closed loop and fill `out`.

    slopes: sequence_s, kv_s_per_token, window_s_per_token, window_tokens, pair_s, prefill_step_s, host_token_s
    limits: step tokens, sequences, KV tokens, prefill-only steps (0/1), poll every n steps, wait iterations, wait tokens,
    scheduling ahead (0/1: a step is put together when the one before it begins), share of the outputs still to come that
    admission keeps room for (1: nobody is ever put out; below 1 the newest is put out when the cache is full, and prefilled
    anew, outputs and all, before anyone else comes in), prompts join a step whole or not at all (0/1)
    client: turnaround_s, admission_s, admission_s_per_token, first_token_s
    """
    n_requests = len(isl)
    arrived, ready = np.zeros(n_requests), np.zeros(n_requests)
    first, done_at = np.zeros(n_requests), np.zeros(n_requests)
    at_arrival, at_first = np.zeros((n_requests, 4)), np.zeros((n_requests, 4))
    counts = np.zeros(4)
    longest = 0
    for i in range(n_requests):
        longest = max(longest, osl[i])
    ring = longest + 2  # bucket b holds who finishes at decode step b modulo ring
    head, following = -np.ones(ring, np.int64), -np.ones(n_requests, np.int64)
    made, due = np.zeros(n_requests, np.int64), -np.ones(n_requests, np.int64)  # outputs when it was put out; decode step of its end
    newest, n_newest = np.zeros(2 * n_requests + 2, np.int64), 0  # in order of coming in; those gone are passed over
    out_again, n_again = np.zeros(n_requests + 1, np.int64), 0  # put out; the last one comes in first
    spare = limits[8]
    newly = np.zeros(concurrency + 2, np.int64)
    now, front, contexts, held, fresh = 0.0, 0.0, 0.0, 0.0, 0.0  # fresh: tokens of those being prefilled
    decoded, running, partial, partial_done, done, steps, waited = 0, 0, -1, 0, 0, 0, 0
    issued, taken = 0, 0  # requests are issued and taken in order
    began = 0.0  # when the last step did
    running_sum, kv_tokens = 0.0, limits[2]
    while issued < min(concurrency, n_requests):
        front += client[1] + client[2] * isl[issued]
        ready[issued] = front
        issued += 1
    while done < n_requests:
        room = int(limits[0]) - (0 if limits[3] > 0 else running)
        chunk, pairs, born = 0, 0.0, 0
        may = True
        while spare < 1.0 and running > 1 and contexts + running + fresh > kv_tokens:  # the newest makes room
            n_newest -= 1
            r = newest[n_newest]
            if due[r] <= decoded:
                continue  # gone already
            made[r] = osl[r] - (due[r] - decoded)
            bucket = due[r] % ring
            if head[bucket] == r:
                head[bucket] = following[r]
            else:
                before = head[bucket]
                while following[before] != r:
                    before = following[before]
                following[before] = following[r]
            due[r] = -1
            contexts -= isl[r] + made[r]
            held -= isl[r] + osl[r]
            running -= 1
            out_again[n_again] = r
            n_again += 1
            may = False  # as it was just short of room
        known = began if limits[7] > 0 else now  # who came later is not seen by this step
        if running > 0 and partial < 0:
            if limits[4] > 1 and steps % int(limits[4]) != 0:
                may = False
            elif limits[5] > 0 and taken < issued and ready[taken] <= known:
                waiting, j = 0.0, taken
                while j < issued and ready[j] <= known and waiting < limits[6]:
                    waiting += isl[j]
                    j += 1
                if waiting < limits[6] and waited < limits[5]:
                    waited += 1
                    may = False
        while may and room > 0:
            if partial < 0:
                again = n_again > 0
                if running + born >= limits[1] or (not again and (taken >= issued or ready[taken] > known)):
                    break
                r = out_again[n_again - 1] if again else taken
                here = contexts + fresh  # in the cache now
                more = isl[r] + made[r] + spare * (osl[r] - made[r])
                if here + spare * (held - here) + more > kv_tokens and running + born > 0:
                    break
                if limits[9] > 0 and isl[r] + made[r] > room and chunk > 0:
                    break
                partial, partial_done, waited = r, 0, 0
                held += isl[r] + osl[r]
                fresh += isl[r] + made[r]
                if again:
                    n_again -= 1
                else:
                    taken += 1
            part = min(room, isl[partial] + made[partial] - partial_done)
            pairs += part * (partial_done + part * 0.5)
            chunk += part
            room -= part
            partial_done += part
            if partial_done < isl[partial] + made[partial]:
                break
            newly[born] = partial
            born += 1
            partial = -1
        if chunk == 0 and running == 0:
            now = max(now, ready[taken])
            began = now
            continue
        decoding = running if (chunk == 0 or limits[3] == 0) else 0
        took = table_at(grid, values, float(chunk + decoding)) + slopes[0] * decoding + slopes[4] * pairs
        if decoding > 0:
            took += slopes[1] * contexts + slopes[2] * decoding * min(contexts / decoding, slopes[3])
        took = max(took, slopes[6] * decoding)
        if chunk > 0:
            took += slopes[5]
            counts[1] += 1
        else:
            counts[0] += 1
        counts[2] += chunk
        counts[3] += pairs
        began = now
        now += took
        steps += 1
        running_sum += running
        if decoding > 0:
            decoded += 1
            contexts += decoding
            bucket = decoded % ring
            r = head[bucket]
            head[bucket] = -1
            while r >= 0:
                after = following[r]
                done_at[r] = now
                done += 1
                running -= 1
                contexts -= isl[r] + osl[r]
                held -= isl[r] + osl[r]
                for z in range(4):
                    out[6 + z] += (counts[z] - at_first[r, z]) / max(osl[r] - 1, 1)
                if issued < n_requests:
                    arrived[issued] = now
                    front = max(front, now + client[0]) + client[1] + client[2] * isl[issued]
                    ready[issued] = front
                    at_arrival[issued] = counts
                    issued += 1
                r = after
        for k in range(born):
            r = newly[k]
            fresh -= isl[r] + made[r]
            if made[r] == 0:
                first[r] = now
                for z in range(4):
                    out[2 + z] += counts[z] - at_arrival[r, z]
                at_first[r] = counts
            if osl[r] > made[r] + 1:
                running += 1
                contexts += isl[r] + made[r] + 1
                due[r] = decoded + osl[r] - made[r] - 1
                bucket = due[r] % ring
                following[r] = head[bucket]
                head[bucket] = r
                if n_newest == len(newest):
                    n_newest = _alive(newest, due, decoded)
                newest[n_newest] = r
                n_newest += 1
                continue
            done_at[r] = now
            done += 1
            held -= isl[r] + osl[r]
            if issued < n_requests:
                arrived[issued] = now
                front = max(front, now + client[0]) + client[1] + client[2] * isl[issued]
                ready[issued] = front
                at_arrival[issued] = counts
                issued += 1
    for z in range(2, 10):
        out[z] /= n_requests
    for i in range(n_requests):
        out[0] += (first[i] - arrived[i]) / n_requests
        out[1] += (done_at[i] - first[i]) / max(osl[i] - 1, 1) / n_requests
    out[0] += client[3]
    out[12] = np.median(first - arrived) + client[3]
    for z in range(4):
        out[13 + z] = counts[z]
    out[10] = now
    out[11] = running_sum / steps


@nb.njit(cache=True, nogil=True)
def play_prefill(
    isl: Any,
    osl: Any,
    concurrency: int,
    servers: int,
    grid: Any,
    values: Any,
    slopes: Any,
    limits: Any,
    client: Any,
    tpot_s: float,
    hand_over_s: float,
    hand_over_s_per_token: float,
) -> float:
    """Return the mean TTFT of a pool of prefill replicas whose requests then decode elsewhere for osl x tpot.

    The loop is closed: whoever has decoded comes back. A replica takes as many waiting prompts as a step holds.
    """
    n_requests = len(isl)
    arrivals = [(0.0, 0)]
    issued = 1
    while issued < min(concurrency, n_requests):
        arrivals.append((0.0, issued))
        issued += 1
    free = [(0.0, s) for s in range(servers)]
    total, served = 0.0, 0
    while served < n_requests:
        idle, s = heapq.heappop(free)
        ready, r = heapq.heappop(arrivals)
        begin = max(idle, ready + client[0] + client[1])
        batch = [(ready, r)]
        tokens, pairs = float(isl[r]), isl[r] * isl[r] * 0.5
        while len(arrivals) > 0 and arrivals[0][0] <= begin and tokens < limits[0] and len(batch) < limits[1]:
            ready, r = heapq.heappop(arrivals)
            batch.append((ready, r))
            tokens += isl[r]
            pairs += isl[r] * isl[r] * 0.5
        chunks = max(1.0, np.ceil(tokens / limits[0]))
        took = chunks * (table_at(grid, values, tokens / chunks) + slopes[5]) + slopes[4] * pairs
        heapq.heappush(free, (begin + took / limits[2], s))
        for ready, r in batch:
            latency = begin + took + hand_over_s + hand_over_s_per_token * isl[r] + client[3] - ready
            total += latency
            served += 1
            if issued < n_requests:
                heapq.heappush(arrivals, (ready + latency + osl[r] * tpot_s, issued))
                issued += 1
    return total / n_requests


def lengths(nominal: float, count: int, *, uniform: bool, seed: int) -> NDArray[np.int64]:
    """Return request lengths: all nominal, or uniform in [0.8 L, L] as InferenceX draws them."""
    if not uniform:
        return np.full(count, max(1, round(nominal)), np.int64)
    return np.random.default_rng(seed).integers(max(1, int(0.8 * nominal)), int(nominal) + 1, count).astype(np.int64)
