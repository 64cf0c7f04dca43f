"""Wrong input: one clear error, or a reported refusal a request; never a hang, never a lost request."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from polysilicon import simulator
from polysilicon.application.trace import Trace
from polysilicon.application.workload import Slo
from polysilicon.errors import InputError
from polysilicon.performance import StepTimes
from polysilicon.simulator.dynamics import Happenings, Outage, PriceChange
from polysilicon.simulator.fleet import Fleet, Pool

TIMES = StepTimes(np.full(101, 0.01), 0.0, 0.0, 0.0, 0, 0.0, 1000)


def plain(n: int = 3) -> Trace:
    return Trace(np.arange(n, dtype=float), np.full(n, 10, np.int32), np.full(n, 5, np.int32))


@pytest.fixture
def pool(flat) -> Pool:
    return Pool("a", flat(), max_batch=8)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"arrival_s": np.array([0.0, 2.0, 1.0])}, "request 2 arrives at 1 s, before request 1 at 2 s"),
        ({"arrival_s": np.array([0.0, np.nan, 1.0])}, "request 1 has arrival_s nan"),
        ({"arrival_s": np.array([-1.0, 0.0, 1.0])}, "request 0 has arrival_s -1.0"),
        ({"isl_tokens": np.array([1, -5, 1], np.int32)}, "request 1 has isl_tokens -5"),
        ({"osl_tokens": np.array([1, 1], np.int32)}, "osl_tokens has 2 rows"),
        ({"priority": np.array([0, 99, 0], np.int32)}, "request 1 has priority 99"),
        ({"think_s": np.array([0.0, np.inf, 0.0])}, "request 1 has think_s inf"),
        ({"workload": np.array([0, 1, 0], np.int32)}, "request 1 has workload 1"),
        ({"session": np.array([0, -7, 0], np.int32)}, "session -7 is negative"),
        ({"block_offset": np.array([0, 2, 1, 3]), "block_hash": np.arange(3), "block_tokens": 16}, "block_offset does not run"),
        (
            {"block_offset": np.array([0, 2, 2, 2]), "block_hash": np.array([4, 4]), "block_tokens": 16, "isl_tokens": np.full(3, 40, np.int32)},
            "request 0 names one prefix block twice",
        ),
    ],
)
def test_a_trace_that_cannot_be_right_says_where(pool: Pool, change: dict, words: str) -> None:
    with pytest.raises(InputError, match=words):
        simulator.simulate(Fleet((pool,)), replace(plain(), **change))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"replicas": -1}, "replicas is -1"), ({"max_batch": 0}, "max_batch is 0"), ({"max_batch": 101}, "exceeds the step's budget of 100"),
        ({"block_tokens": 0}, "block_tokens is 0"), ({"watermark_frac": 1.0}, "watermark_frac is 1.0"), ({"role": "cook"}, 'role "cook"'),
        ({"step_times": replace(TIMES, kv_tokens=1 << 31)}, "kv_tokens is 2147483648"),
        ({"accepted_tokens": 3.0}, "accepted_tokens is 3.0"), ({"role": "prefill"}, "names its decode_pool"), ({"routing": "x"}, 'routing "x"'),
    ],
)  # fmt: skip
def test_a_pool_that_cannot_be_right_is_named(pool: Pool, change: dict, words: str) -> None:
    with pytest.raises(InputError, match=words):
        simulator.simulate(Fleet((replace(pool, **change),)), plain())


def test_all_problems_of_a_fleet_come_at_once(pool: Pool) -> None:
    bad = Fleet((replace(pool, max_batch=0, role="cook"), pool), routing="x", routes={"default": {"b": 1.0, "a": -1.0}})
    with pytest.raises(InputError) as caught:
        simulator.simulate(bad, plain())
    assert all(words in str(caught.value) for words in ("max_batch is 0", 'role "cook"', "2 times", 'routing "x"', 'pool "b"', "weight is -1"))


def test_no_replicas_no_requests_no_route_and_no_time_are_errors(pool: Pool) -> None:
    for fleet, trace, words in (
        (Fleet((replace(pool, replicas=0),)), plain(), "the fleet has no replicas"),
        (Fleet((pool,)), plain(0), "no requests"),
        (Fleet((pool,), routes={"chat": {"a": 1.0}}), plain(), 'serves workload "default"'),
    ):
        with pytest.raises(InputError, match=words):
            simulator.simulate(fleet, trace)
    with pytest.raises(InputError, match="must be above 0"):
        simulator.simulate(Fleet((pool,)), plain(), until_s=0.0)
    for happenings in (Happenings(outages=[Outage(float("nan"), "pool", "a")]), Happenings(prices=[PriceChange(0.0, "a", float("inf"))])):
        with pytest.raises(InputError):
            simulator.simulate(Fleet((pool,)), plain(), happenings=happenings)


def test_what_can_never_be_served_is_refused_by_name_and_the_rest_is_done(flat) -> None:
    pool = Pool("a", flat(kv_tokens=200), max_batch=8, context_tokens=150)
    isl, osl = [10, 140, 10, 0, 10, 2**31 - 1], [5, 20, 0, 5, 140, 2**31 - 1]
    result = simulator.simulate(Fleet((pool,)), Trace(np.zeros(6), np.array(isl, np.int32), np.array(osl, np.int32)))
    assert result.summary()["default"]["refused"] == {
        "rejected: longer than the context": 2, "rejected: no prompt or no output asked": 2,
    }  # fmt: skip
    assert result.requests["status"].tolist()[0] == 1 and result.requests["status"].tolist()[4] == 1
    small = simulator.simulate(Fleet((replace(pool, context_tokens=0),)), Trace(np.zeros(1), np.array([190], np.int32), np.array([20], np.int32)))
    assert small.summary()["default"]["refused"] == {"rejected: larger than the KV cache": 1}


def test_a_run_that_is_cut_says_what_is_in_flight(pool: Pool) -> None:
    result = simulator.simulate(Fleet((pool,)), plain(10), until_s=4.02)
    numbers = result.summary()["default"]
    assert (numbers["requests"], numbers["done"], numbers["in_flight"]) == (5, 4, 1) and result.span_s == 4.02
    assert result.requests["first_s"][4] == pytest.approx(4.01)  # what is known of it


def test_a_cut_run_judges_what_it_can(pool: Pool) -> None:
    slow = Trace(np.zeros(3), np.full(3, 10, np.int32), np.array([5, 5, 5000], np.int32))
    for limit_s, kept in ((1.0, False), (100.0, True)):
        result = simulator.simulate(Fleet((pool,)), slow, until_s=10.0, slos={"default": Slo(e2e_s=limit_s, ttft_s=0.5, tpot_s=0.1, quantile=0.95)})
        promises = result.summary()["default"]["promises"]
        assert promises["e2e_s"]["kept"] is kept and promises["ttft_s"]["kept"] and promises["tpot_s"]["kept"]


def test_prefix_blocks_that_are_not_whole_kv_blocks_are_refused(flat) -> None:
    trace = replace(plain(1), block_offset=np.array([0, 1]), block_hash=np.array([3]), block_tokens=24)
    with pytest.raises(InputError, match="24 tokens are not whole KV blocks of 16"):
        simulator.simulate(Fleet((Pool("a", flat(), max_batch=8),)), trace)
