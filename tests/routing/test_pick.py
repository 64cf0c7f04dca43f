"""The routing function: shares, eligibility, ties, and that the compiled form is the same function."""

from __future__ import annotations

import numba
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from polysilicon import routing

compiled = numba.njit(routing.pick)


def arguments(draw_n: int, rng: np.random.Generator) -> list[np.ndarray]:
    weights = rng.choice([0.0, 0.5, 1.0, 3.0], draw_n)
    load = rng.integers(0, 4, draw_n).astype(float)
    caps = rng.choice([0.0, 2.0, 100.0], draw_n)
    price = rng.choice([1.0, 2.0, 2.5], draw_n)
    affinity = rng.choice([0.0, 0.0, 1.5], draw_n)
    return [weights, load, caps, price, affinity]


@settings(max_examples=50, deadline=None)
@given(n=st.integers(1, 9), seed=st.integers(0, 10**6), policy=st.sampled_from(sorted(routing.POLICIES.values())))
def test_compiled_and_plain_pick_alike(n: int, seed: int, policy: int) -> None:
    rng = np.random.default_rng(seed)
    credit_plain, credit_compiled = [0.0] * n, np.zeros(n)
    for _ in range(20):
        columns = arguments(n, rng)
        tie = int(rng.integers(n))
        plain = routing.pick(policy, *[c.tolist() for c in columns], credit_plain, tie)
        assert plain == compiled(policy, *columns, credit_compiled, tie)
        assert credit_plain == credit_compiled.tolist()
        weights, load, caps = columns[:3]
        eligible = (weights > 0) & (load < caps)
        assert (plain == routing.NOWHERE) == (not eligible.any())
        if plain >= 0:
            assert eligible[plain]


@settings(max_examples=30, deadline=None)
@given(weights=st.lists(st.floats(0.01, 100), min_size=1, max_size=8), picks=st.integers(1, 300))
def test_weighted_stays_within_one_request_of_its_share(weights: list[float], picks: int) -> None:
    n = len(weights)
    credit, counts = [0.0] * n, [0] * n
    for _ in range(picks):
        counts[routing.pick(routing.WEIGHTED, weights, [0.0] * n, [1.0] * n, [0.0] * n, [0.0] * n, credit)] += 1
    shares = [picks * w / sum(weights) for w in weights]
    # smooth weighted round robin is within one request for two targets, and within the number of targets in general
    assert all(abs(c - s) <= max(1.0, n - 1) + 1e-6 for c, s in zip(counts, shares, strict=True))


def test_a_target_that_was_down_does_not_come_back_with_a_burst() -> None:
    credit = [0.0, 0.0]
    zeros = [0.0, 0.0]
    for _ in range(50):
        assert routing.pick(routing.WEIGHTED, [1.0, 1.0], zeros, [1.0, 0.0], zeros, zeros, credit) == 0
    after = [routing.pick(routing.WEIGHTED, [1.0, 1.0], zeros, [1.0, 1.0], zeros, zeros, credit) for _ in range(10)]
    assert after.count(1) == 5


def test_price_first_and_sticky_falls_back() -> None:
    ones, zeros, room = [1.0] * 3, [0.0] * 3, [4.0] * 3
    assert routing.pick(routing.PRICE, ones, [1.0, 3.0, 0.0], room, [2.0, 1.0, 3.0], zeros, [0.0] * 3) == 1
    assert routing.pick(routing.PRICE, ones, [1.0, 4.0, 0.0], room, [2.0, 1.0, 2.0], zeros, [0.0] * 3) == 2
    assert routing.pick(routing.STICKY, ones, [3.0, 0.0, 0.0], room, zeros, [1.0, 0.0, 0.0], [0.0] * 3) == 0
    assert routing.pick(routing.STICKY, ones, [4.0, 2.0, 1.0], room, zeros, [1.0, 0.0, 0.0], [0.0] * 3) == 2
    assert routing.pick(routing.PREFIX, ones, [3.0, 1.0, 2.0], room, zeros, [2.5, 0.0, 0.0], [0.0] * 3) == 0
    assert routing.pick(routing.PREFIX, ones, [3.0, 1.0, 2.0], room, zeros, [1.5, 0.0, 0.0], [0.0] * 3) == 1


def test_ties_follow_the_seed() -> None:
    ones, zeros, room = [1.0] * 4, [0.0] * 4, [1.0] * 4
    assert [routing.pick(routing.LEAST_LOADED, ones, zeros, room, zeros, zeros, zeros, tie) for tie in range(4)] == [0, 1, 2, 3]
