"""Speculative decoding: how many steps an answer takes when each step accepts some of its drafts and adds a token.

A draft is accepted with probability p, the first refusal ends the step: a step yields 1 + j tokens with probability
p^j (1 - p), and 1 + drafts with what is left. Each step of each request is drawn; the draws depend on the seed, the
request and the step alone, so where and when it is served changes nothing.
"""

# mypy: disable-error-code="no-any-return, arg-type, return-value"
# (records and arrays are untyped to mypy; numba infers them)
from __future__ import annotations

import math

import numpy as np

from polysilicon.simulator.compiled import jit
from polysilicon.simulator.state import State


def acceptance_frac(draft_tokens: int, accepted_tokens: float) -> float:
    """Return the chance p of one draft for which a step yields so many tokens on average: (1 - p^(d+1)) / (1 - p).

    >>> round(acceptance_frac(1, 1.6), 4), round(acceptance_frac(2, 1.75), 4)  # 1 + 0.5 + 0.25
    (0.6, 0.5)

    Ignores: that a request's drafts are accepted more or less alike throughout (code more than prose).
    """
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2.0
        if sum(middle**j for j in range(draft_tokens + 1)) < accepted_tokens:
            low = middle
        else:
            high = middle
    return (low + high) / 2.0


@jit
def _mixed(word: int) -> int:
    """Return 64 well mixed bits of a word (the finaliser of SplitMix64)."""
    x = np.uint64(word)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


@jit
def decode_steps(s: State, slot: int, left: int) -> int:
    """Return how many decode steps yield the `left` tokens that a request still needs."""
    request = s.slots[slot]
    pool = s.pools[s.reps[request.replica].pool]
    if pool.plain == 1:
        return left
    if pool.accept_frac < 0.0:
        return math.ceil(left / pool.accept)
    stream = _mixed(np.uint64(request.id) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(pool.seed))
    steps = tokens = 0
    while tokens < left:
        at = np.uint64(request.emitted + tokens) * np.uint64(0xD1342543DE82EF95)
        u = np.float64(_mixed(stream + at) >> np.uint64(11)) * (1.0 / 9007199254740992.0)
        tokens += 1
        steps += 1
        chance = pool.accept_frac
        for _ in range(pool.draft):
            if u >= chance:
                break
            tokens += 1
            chance *= pool.accept_frac
    return steps
