"""Routing: one function that picks a target, the same source in the simulator's compiled loop and in the live gateway.

A target is whatever the caller chooses between: a pool, a door of a provider, a replica. All arguments are plain
indexable sequences of equal length (lists are fastest in CPython, arrays in compiled code), so the function needs no
library and compiles as it stands.
"""

from __future__ import annotations

from collections.abc import MutableSequence, Sequence

WEIGHTED = 0  # shares as planned, spread as evenly as whole requests allow
LEAST_LOADED = 1  # fewest outstanding per unit of weight
STICKY = 2  # where the session was before, else least loaded
PREFIX = 3  # least loaded, less what the target's prefix cache saves
PRICE = 4  # cheapest with room, equal prices by load

POLICIES: dict[str, int] = {
    "weighted": WEIGHTED, "least-loaded": LEAST_LOADED, "sticky": STICKY, "prefix": PREFIX, "price": PRICE,
}  # fmt: skip
NOWHERE = -1
_APART = 1e18  # puts every target without affinity behind every target with it


def pick(
    policy: int,
    weights: Sequence[float],
    load: Sequence[float],
    caps: Sequence[float],
    price: Sequence[float],
    affinity: Sequence[float],
    credit: MutableSequence[float],
    tie: int = 0,
) -> int:
    """Return the index of the target for the next request, or NOWHERE (-1) when none is eligible.

    A target is eligible when `weights[i] > 0` and `load[i] < caps[i]`; one that is down or must not be used has cap 0.
    Among the eligible the lowest score wins; equals go to the first at or after position `tie` (0 <= tie < n; pass a
    seeded number to spread them, 0 for always the first):

    - WEIGHTED      -credit[i], after credit[i] += weights[i]; the winner then pays the sum of eligible weights
                    (smooth weighted round robin: of two targets each is always within one request of its share)
    - LEAST_LOADED  load[i] / weights[i]
    - STICKY        load[i] / weights[i] among targets with affinity[i] > 0; all others only if there is none
    - PREFIX        load[i] / weights[i] - affinity[i], affinity in units of load (how many requests a hit is worth)
    - PRICE         price[i], then load[i] / weights[i]

    `credit` is the caller's memory between calls and changes in place under WEIGHTED only; start it with zeros. A
    target that is not eligible earns no credit, so it does not come back with a burst. The result depends on nothing
    but the arguments: equal calls give equal routes.

    >>> credit = [0.0, 0.0]
    >>> ones, zeros, room = [1.0, 1.0], [0.0, 0.0], [9.0, 9.0]
    >>> [pick(WEIGHTED, [3.0, 1.0], zeros, room, zeros, zeros, credit) for _ in range(4)]
    [0, 0, 1, 0]
    >>> pick(LEAST_LOADED, ones, [2.0, 1.0], room, zeros, zeros, credit)
    1
    >>> pick(PRICE, ones, [2.0, 9.0], room, [5.0, 1.0], zeros, credit)  # the cheap one is full
    0
    """
    n = len(weights)
    best = -1
    best_score = best_load = total = 0.0
    if policy == WEIGHTED and tie == 0:  # the gateway's usual case, as the general one below has it
        for i in range(n):
            weight = weights[i]
            if weight > 0.0 and load[i] < caps[i]:
                total += weight
                score = credit[i] + weight
                credit[i] = score
                if best < 0 or score > best_score:
                    best = i
                    best_score = score
        if best >= 0:
            credit[best] -= total
        return best
    for offset in range(n):
        i = tie + offset
        if i >= n:
            i -= n
        weight = weights[i]
        if weight <= 0.0 or load[i] >= caps[i]:
            continue
        relative = load[i] / weight
        if policy == WEIGHTED:
            total += weight
            credit[i] += weight
            score = -credit[i]
            relative = 0.0
        elif policy == LEAST_LOADED:
            score = relative
        elif policy == STICKY:
            score = relative if affinity[i] > 0.0 else relative + _APART
        elif policy == PREFIX:
            score = relative - affinity[i]
        else:
            score = price[i]
        if best < 0 or score < best_score or (score == best_score and relative < best_load):
            best = i
            best_score = score
            best_load = relative
    if policy == WEIGHTED and best >= 0:
        credit[best] -= total
    return best
