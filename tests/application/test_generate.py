"""Generated traffic has the published statistics it says it has, is reproducible, and agrees with what sizing is told."""

import itertools
from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polysilicon.application import generate as g
from polysilicon.application.describe import describe, reuse
from polysilicon.application.profiles import PROFILES, day_curve, quantiles
from polysilicon.errors import InputError

# Published values and the share by which a day of generated traffic may differ.
# chat: Azure LLM inference 2023, conversation. coding-agent: WEKA's Claude Code sessions. long-context: Mooncake synthetic.
# batch: ServeGen deepseek-r1, rate-weighted. enterprise: Vidur's arXiv lengths. Reuse: WEKA, Mooncake (FAST 25, table 2).
PUBLISHED = {
    "chat": {
        "isl_mean_tokens": (1155, 0.07),
        "isl_p50_tokens": (1020, 0.03),
        "isl_p90_tokens": (2734, 0.03),
        "isl_p99_tokens": (4142, 0.05),
        "osl_mean_tokens": (211, 0.04),
        "osl_p50_tokens": (129, 0.04),
        "osl_p90_tokens": (424, 0.03),
        "osl_p99_tokens": (601, 0.05),
        "arrival_cv": (1.094, 0.05),
        "warm_cache_reuse_frac": (0.40, 0.05),
    },
    "coding-agent": {
        "isl_mean_tokens": (122379, 0.06),
        "isl_p50_tokens": (103659, 0.05),
        "isl_p90_tokens": (233633, 0.06),
        "isl_p99_tokens": (498519, 0.08),
        "osl_mean_tokens": (440, 0.04),
        "osl_p50_tokens": (216, 0.03),
        "osl_p90_tokens": (898, 0.04),
        "osl_p99_tokens": (3686, 0.08),
        "warm_cache_reuse_frac": (0.963, 0.01),
        "gap_p50_s": (18, 0.10),
        "gap_p90_s": (130, 0.15),
    },
    "batch": {
        "isl_mean_tokens": (1268, 0.08),
        "isl_p50_tokens": (208, 0.05),
        "osl_mean_tokens": (1527, 0.06),
        "osl_p50_tokens": (792, 0.04),
        "osl_p90_tokens": (3450, 0.04),
        "arrival_cv": (2.28, 0.06),
    },
    "long-context": {
        "isl_mean_tokens": (15325, 0.06),
        "isl_p50_tokens": (11587, 0.06),
        "isl_p90_tokens": (38611, 0.04),
        "isl_p99_tokens": (66456, 0.06),
        "osl_mean_tokens": (149, 0.06),
        "osl_p50_tokens": (69, 0.05),
        "arrival_cv": (1.011, 0.05),
        "warm_cache_reuse_frac": (0.651, 0.04),
    },
    "enterprise": {
        "isl_mean_tokens": (2588, 0.03),
        "isl_p50_tokens": (2730, 0.03),
        "isl_p99_tokens": (3933, 0.03),
        "osl_mean_tokens": (291, 0.09),
        "osl_p50_tokens": (167, 0.04),
        "osl_p90_tokens": (372, 0.05),
    },
}


@pytest.fixture(scope="module")
def day():
    """Six flat hours of each profile, so that the shape of the day does not widen the gaps."""
    return {
        name: describe(g.generate(g.Traffic(name, peak_to_mean_ratio=1.0), seconds=6 * 3600, mean_rps=3.0, seed=5, blocks=False))
        for name in PROFILES
    }


@pytest.mark.parametrize(("name", "statistic"), [(n, s) for n, table in PUBLISHED.items() for s in table])
def test_published_statistic_is_met(day, name, statistic):
    published, tolerance = PUBLISHED[name][statistic]
    assert day[name][statistic] == pytest.approx(published, rel=tolerance)


@pytest.mark.parametrize("name", PROFILES)
def test_sizing_lengths_agree_with_generated_traffic(day, name):
    told, made = g.lengths(name), day[name]
    # an agent's prompts hang together by session: six hours hold some 900 of them, so their mean wanders by 3 %
    assert told.isl_tokens == pytest.approx(made["isl_mean_tokens"], rel=0.05 if name == "coding-agent" else 0.02)
    assert told.osl_tokens == pytest.approx(made["osl_mean_tokens"], rel=0.04)
    assert told.cached_frac == pytest.approx(made.get("warm_cache_reuse_frac", 0.0), abs=0.012)


@pytest.mark.parametrize("name", PROFILES)
def test_same_seed_same_bytes_other_seed_other_bytes(name):
    make = lambda seed: g.generate(name, seconds=600, mean_rps=2.0, seed=seed, start_hour=9.5)  # noqa: E731
    a, b, c = make(3), make(3), make(4)
    for f in fields(a):
        value = getattr(a, f.name)
        if isinstance(value, np.ndarray):
            assert value.tobytes() == getattr(b, f.name).tobytes(), f.name
    assert a.arrival_s.tobytes() != c.arrival_s.tobytes()


@given(
    st.sampled_from(list(PROFILES)),
    st.floats(30, 90_000),
    st.floats(0.001, 0.05),
    st.integers(0, 2**31),
    st.floats(0, 48),
    st.floats(0.2, 12),
)
@settings(max_examples=40, deadline=None)
def test_any_window_is_a_sound_trace(name, seconds, rps, seed, start, cv):
    trace = g.generate(g.Traffic(name, arrival_cv=cv, timezone_h=5.5), seconds=seconds, mean_rps=rps, seed=seed, start_hour=start)
    n = len(trace)
    assert np.all(np.diff(trace.arrival_s) >= 0) and np.all((trace.arrival_s >= 0) & (trace.arrival_s < seconds))
    assert trace.isl_tokens.min(initial=1) >= 1 and trace.osl_tokens.min(initial=1) >= 1
    assert np.all(trace.reuse_tokens <= trace.isl_tokens)
    assert len(trace.block_offset) == n + 1 and trace.block_offset[-1] == len(trace.block_hash)
    assert np.all(np.diff(trace.block_offset) == trace.isl_tokens // trace.block_tokens)
    assert np.all(trace.block_hash >= 0)
    if len(trace.think_s):
        assert np.all(trace.think_s >= 0)


@given(st.floats(0.3, 10.0), st.sampled_from(["gamma", "weibull"]))
@settings(max_examples=15, deadline=None)
def test_burstiness_is_what_was_asked(cv, family):
    trace = g.generate(g.Traffic("batch", arrival_cv=cv, arrivals=family), seconds=36000, mean_rps=10.0, seed=2, blocks=False)
    gap = np.diff(trace.arrival_s)
    assert gap.std() / gap.mean() == pytest.approx(cv, rel=0.12)


def test_the_day_is_the_planner_s_day():
    asked = g.Traffic("enterprise", timezone_h=-5.0)
    trace = g.generate(asked, seconds=86400, mean_rps=5.0, seed=1, blocks=False)
    counted = np.bincount((trace.arrival_s // 3600).astype(int), minlength=24) / 18000
    assert len(trace) == 5 * 86400
    np.testing.assert_allclose(counted, g.hourly_profile(asked), atol=0.06)
    assert int(np.argmax(g.hourly_profile(asked))) == 10 + 5  # ten in the morning, five hours west


def test_start_hour_turns_the_clock():
    noon = g.generate("enterprise", seconds=3600, mean_rps=10.0, seed=1, start_hour=10, blocks=False)
    night = g.generate("enterprise", seconds=3600, mean_rps=10.0, seed=1, start_hour=3, blocks=False)
    assert len(noon) == round(36000 * g.hourly_profile("enterprise")[10])
    assert len(night) == round(36000 * g.hourly_profile("enterprise")[3])


@given(st.floats(1.0, 24.0))
@settings(max_examples=30, deadline=None)
def test_a_day_bends_to_any_peak(ratio):
    curve = day_curve(PROFILES["chat"].day, ratio)
    assert curve.mean() == pytest.approx(1.0)
    assert curve.max() == pytest.approx(ratio, rel=0.01)


def test_prefix_blocks_repeat_as_the_reuse_says():
    trace = g.generate(g.Traffic("coding-agent", peak_to_mean_ratio=1.0), seconds=6 * 3600, mean_rps=0.3, seed=1)
    told = reuse(trace, ())
    assert told["infinite_cache_reuse_frac"] == pytest.approx(trace.reuse_tokens.sum() / trace.isl_tokens.sum(), abs=0.06)
    # a predecessor inside the trace is found block by block
    order = np.argsort(trace.session, kind="stable")
    i, j = next(
        (a, b) for a, b in itertools.pairwise(order) if trace.session[a] == trace.session[b] and trace.reuse_tokens[b] > 50_000
    )
    shared = int(trace.reuse_tokens[j] // trace.block_tokens)
    a = trace.block_hash[trace.block_offset[i] : trace.block_offset[i] + shared]
    b = trace.block_hash[trace.block_offset[j] : trace.block_offset[j] + shared]
    assert shared > 40 and np.array_equal(a, b)


@pytest.mark.parametrize(
    ("override", "name", "value"),
    [
        ({"isl_p50_tokens": 2000.0, "isl_p99_tokens": 30_000.0}, "isl_p99_tokens", 30_000),
        ({"isl_mean_tokens": 4000.0}, "isl_mean_tokens", 4000),
        ({"osl_p50_tokens": 50.0, "osl_mean_tokens": 100.0}, "osl_mean_tokens", 100),
        ({"cached_frac": 0.7}, "warm_cache_reuse_frac", 0.7),
        ({"cached_frac": 0.15}, "warm_cache_reuse_frac", 0.15),
        ({"cached_frac": 0.03}, "warm_cache_reuse_frac", 0.03),
    ],
)
def test_lengths_and_reuse_can_be_one_s_own(override, name, value):
    traffic = g.traffic({"profile": "chat", "mean_rps": 1.0, "lengths": override})
    made = describe(g.generate(traffic, seconds=14400, mean_rps=4.0, seed=9, blocks=False))
    assert made[name] == pytest.approx(value, rel=0.06, abs=0.01)


def test_merged_workloads_stay_apart_and_in_order():
    chat = g.generate("chat", seconds=300, mean_rps=2.0, seed=1, workload="a", blocks=False)
    batch = g.generate("batch", seconds=300, mean_rps=2.0, seed=1, workload="b", blocks=False)
    both = g.merge([chat, batch, chat])
    assert len(both) == 2 * len(chat) + len(batch) and both.workload_names == ("a", "b")
    assert np.all(np.diff(both.arrival_s) >= 0)
    assert both.isl_tokens[both.workload == 1].sum() == batch.isl_tokens.sum()
    assert len(np.unique(both.session[both.session >= 0])) == 2 * len(np.unique(chat.session))
    assert np.all(both.session[both.workload == 1] == -1)


def test_merge_keeps_each_request_with_its_blocks():
    a = g.generate("chat", seconds=60, mean_rps=2.0, seed=1)
    b = g.generate("chat", seconds=60, mean_rps=2.0, seed=2)
    both = g.merge([a, b])
    of = lambda t, i: tuple(t.block_hash[t.block_offset[i] : t.block_offset[i + 1]])  # noqa: E731
    rows = sorted((t.arrival_s[i], t.isl_tokens[i], of(t, i)) for t in (a, b) for i in range(len(t)))
    assert rows == sorted((both.arrival_s[i], both.isl_tokens[i], of(both, i)) for i in range(len(both)))


def test_scale_presses_arrivals_and_leaves_the_rest():
    trace = g.generate("chat", seconds=600, mean_rps=2.0, seed=1, blocks=False)
    fast = g.scale(trace, mean_rps=20.0)
    assert len(fast) / fast.span_s == pytest.approx(20.0)
    assert fast.isl_tokens is trace.isl_tokens


def test_stream_yields_pieces_that_continue_one_clock():
    pieces = list(g.stream("chat", seconds=86400, mean_rps=0.5, seed=3, block_requests=10_000))
    assert len(pieces) == 5 and abs(sum(map(len, pieces)) - 43_200) <= 5
    arrival = np.concatenate([p.arrival_s for p in pieces])
    assert np.all(np.diff(arrival) >= 0) and arrival[-1] < 86400
    assert len({s for p in pieces for s in set(p.session.tolist())}) == sum(len(set(p.session.tolist())) for p in pieces)


@pytest.mark.parametrize(
    ("spec", "arguments", "told"),
    [
        ("chatt", {}, 'did you mean "chat"'),
        ({"profile": "chat", "isl_p50": 3}, {}, "isl_p50"),
        ("chat", {"mean_rps": float("nan")}, "mean_rps is nan"),
        ("chat", {"mean_rps": -1.0}, "positive"),
        ("chat", {"seconds": float("inf")}, "seconds is inf"),
        ("chat", {"mean_rps": 1e12}, "in one piece"),
        (g.Traffic("chat", peak_to_mean_ratio=0.5), {}, "1..24"),
        (g.Traffic("chat", arrival_cv=-1.0), {}, "arrival_cv"),
        (g.Traffic("chat", isl_p50_tokens=100.0, isl_p99_tokens=50.0), {}, "is not above"),
        (g.Traffic("chat", isl_mean_tokens=float("inf")), {}, "isl_mean_tokens is inf"),
        (g.Traffic("chat", isl_p50_tokens=100.0, isl_mean_tokens=10.0), {}, "cannot go with"),
        (g.Traffic("chat", cached_frac=1.5), {}, "cached_frac"),
    ],
)
def test_impossible_traffic_is_one_clear_error(spec, arguments, told):
    with pytest.raises(InputError) as caught:
        g.generate(spec, **{"seconds": 10.0, "mean_rps": 1.0, **arguments})
    assert told in str(caught.value)


def test_two_points_are_a_log_normal():
    q = quantiles("50:100 99:1000")
    sigma = np.log(10) / 2.3263478740408408
    assert q.at(0.9) == pytest.approx(100 * np.exp(1.2815515655446004 * sigma), rel=1e-9)
