"""What is replayed: the plan's own load on the plan's own replicas, with warm caches, and a queue that loses nothing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_scenarios import TINY

from polysilicon import catalogue as catalogues
from polysilicon import performance, simulator, study
from polysilicon.application.workload import Lengths, Slo, Workload
from polysilicon.model.layout import Layout
from polysilicon.performance import StepTimes
from polysilicon.scenario import load_text
from polysilicon.simulator import simulate
from polysilicon.simulator.fleet import Fleet, Pool
from polysilicon.study.deferral import queue
from polysilicon.study.fleet import fleet_of, parts_of, prefill_s
from polysilicon.study.proof import LOAD_FRAC, Replay, quantiles, replay
from polysilicon.study.traffic import WARM_UP, peak_window


@pytest.fixture(scope="module")
def planned():
    catalogue = catalogues.load()
    text = TINY.replace("mean_rps: 60", "mean_rps: 4000").replace("3.0}", "3.0, block_chips: 4}")
    return study.run(load_text(text, "s.yaml", catalogue), catalogue, proof=False)


def test_parts_carry_the_busiest_hour_and_the_spare_share(planned):
    work = planned.resolved.workloads[0]
    (part,) = parts_of(planned.resolved, planned.plan, planned.table.points, work, 0)
    assert part.rps == pytest.approx(planned.resolved.peak_rps["chat"].max())
    assert part.rps == pytest.approx(4000 * 1.2, rel=1e-3)
    busy_frac = part.rps_per_replica / part.point.requests_per_s
    assert 0.8 < busy_frac <= 0.85 + 1e-9


@pytest.mark.parametrize("scale", [0.01, 0.2, 1.0])
@pytest.mark.parametrize("extra", [0.0, 0.5])
def test_a_scaled_fleet_keeps_the_load_of_each_replica(planned, scale, extra):
    resolved, work = planned.resolved, planned.resolved.workloads[0]
    parts = parts_of(resolved, planned.plan, planned.table.points, work, 0)
    scaled = fleet_of(resolved, planned.plan, work, parts, period=0, scale=scale, extra_frac=extra, margin_quantile=0.5)
    fleet, rps, count = scaled.fleet, scaled.rps, scaled.replicas
    assert rps / count == pytest.approx(parts[0].rps_per_replica / (1 + extra))
    assert fleet.pools[0].replicas == count == max(2, round(parts[0].replicas * scale))
    assert set(fleet.routes) == {"chat", WARM_UP}


def test_a_small_pool_is_scaled_down_less_and_weighs_less(planned):
    resolved, work = planned.resolved, planned.resolved.workloads[0]
    (large,) = parts_of(resolved, planned.plan, planned.table.points, work, 0)
    small = replace(large, placement=replace(large.placement, pool="pilot"), replicas=2, rps=2 * large.rps_per_replica)
    scaled = fleet_of(resolved, planned.plan, work, [large, small], period=0, scale=0.05, extra_frac=0.0, margin_quantile=0.5)
    routes = scaled.fleet.routes[work.id]
    assert routes["pilot"] / scaled.rps > 1.9 * small.rps / (small.rps + large.rps)  # over-represented in what is replayed
    stands_for = {pool: scaled.weights[pool] * routes[pool] for pool in routes}
    assert stands_for == pytest.approx({large.placement.pool: large.rps, "pilot": small.rps})  # and weighed back


def test_quantiles_weigh_requests_and_count_what_never_came():
    values, weights = np.array([5.0, 1.0, np.nan, 2.0]), np.array([1.0, 6.0, 1.0, 2.0])
    assert quantiles(values, weights, (0.5, 0.6, 0.61, 0.8, 0.9, 0.91)) == (1.0, 1.0, 2.0, 2.0, 5.0, np.inf)
    assert quantiles(np.empty(0), np.empty(0), (0.5,)) == (0.0,)


def test_chips_beside_bought_tokens_get_what_the_plan_sends_them_and_not_the_mean_share_of_the_peak(planned):
    """Tokens take the peak: chips that serve 70 % over the year are planned for half of the busiest hour, and get no more."""
    resolved, work = planned.resolved, planned.resolved.workloads[0]
    (whole,) = parts_of(resolved, planned.plan, planned.table.points, work, 0)
    (chips,) = (p for p in planned.plan.placements if p.period == 0)
    some = [replace(chips, share_frac=0.7, peak_chips=chips.peak_chips / 2)]
    bought = replace(chips, chip="", pool="api", share_frac=0.3, peak_chips=0.0)
    plan = replace(planned.plan, placements=(*some, bought))
    (part,) = parts_of(resolved, plan, planned.table.points, work, 0)
    assert part.rps == pytest.approx(whole.rps / 2, rel=1e-6)
    (alone,) = parts_of(resolved, replace(planned.plan, placements=tuple(some)), planned.table.points, work, 0)
    assert alone.rps == pytest.approx(0.7 * whole.rps, rel=1e-3)  # nobody else takes it: never less than the demand


def test_a_careful_margin_replays_slower_chips(planned):
    resolved, work = planned.resolved, planned.resolved.workloads[0]
    parts = parts_of(resolved, planned.plan, planned.table.points, work, 0)
    steps = [
        fleet_of(resolved, planned.plan, work, parts, period=0, scale=0.1, extra_frac=0.0, margin_quantile=q).fleet.pools[0].step_times
        for q in (0.5, 0.9)
    ]
    assert steps[1].tokens_s[100] == pytest.approx(steps[0].tokens_s[100] * (1 + parts[0].point.error_frac))


def workload(**changes):
    facts = {"id": "w", "model": "m", "slo": Slo(ttft_s=1.0), "lengths": Lengths(1000.0, 200.0), "mean_rps": 10.0}
    return Workload(**{**facts, **changes})


def test_sessions_under_way_are_warmed_up_before_anything_is_measured():
    window = peak_window(workload(traffic={"profile": "coding-agent"}), rps=5.0, seconds=100.0, prefill_s=lambda n: n / 1e6, seed=1)
    trace = window.trace
    warm = trace.workload == trace.workload_names.index(WARM_UP)
    assert trace.workload_names == ("w", WARM_UP)
    assert warm.any()
    assert (trace.osl_tokens[warm] == 1).all()
    assert set(trace.session[warm]) <= set(trace.session[~warm])
    worked_off_s = trace.isl_tokens[warm].sum() / 1e6
    assert not trace.arrival_s[warm].any()
    assert trace.arrival_s[~warm].min() >= 2.0 * worked_off_s
    assert window.measured_from_s == pytest.approx(2.0 * worked_off_s + 20.0)
    assert window.measured_until_s == pytest.approx(2.0 * worked_off_s + 100.0)
    assert (~warm).sum() == 500
    assert trace.block_offset[-1] == len(trace.block_hash)
    assert (np.diff(trace.arrival_s) >= 0).all()


def test_replicas_share_the_warm_up_and_hold_what_is_wanted_first():
    """Sessions that all sat on the first replicas would lose each other's prefixes, and the proof would ask for chips nobody needs."""
    times = StepTimes(np.linspace(0.0, 0.1, 8193), 0.0, 0.0, 0.0, 0, 0.0, kv_tokens=4_000_000)
    fleet = Fleet((Pool("p", times, replicas=6, max_batch=64, routing="sticky"),), {"w": {"p": 1.0}, WARM_UP: {"p": 1.0}}, routing="sticky")
    window = peak_window(
        workload(traffic={"profile": "coding-agent"}), rps=1.5, seconds=120.0, prefill_s=lambda n: prefill_s(fleet, "w", n), seed=1
    )
    result = simulate(fleet, window.trace, seed=1)
    rows = result.requests
    warm = rows["workload"] == result.workload_names.index(WARM_UP)
    shares = np.bincount(rows["replica"][warm], minlength=6)
    assert shares.max() <= shares.min() + 1
    assert rows["first_s"][warm].max() < window.trace.arrival_s[~warm].min()
    early = ~warm & (rows["arrival_s"] < window.measured_from_s)
    assert rows["cached_tokens"][early].sum() > 0.95 * window.trace.reuse_tokens[early].sum()


@pytest.mark.parametrize(("replicas", "share"), [(4, 1.0), (4, 0.25), (1, 0.5)])
def test_a_prompt_keeps_the_busiest_pool_for_its_steps_and_its_attention(replicas, share):
    times = StepTimes(np.linspace(0.0, 0.1, 101), 0.0, 0.0, 0.0, 0, 1e-6, kv_tokens=1_000_000, prefill_step_s=0.01)
    pools = (Pool("slow", times, replicas=replicas), Pool("idle", times, replicas=100))
    fleet = Fleet(pools, {"w": {"slow": share, "idle": 1.0 - share}})
    alone = 10 * (0.1 + 0.01) + 1e-6 * 1000 * 1001 / 2  # ten full steps, and each token attends to those before it
    assert prefill_s(fleet, "w", np.array([1000.0])) == pytest.approx(alone * share / replicas)


def test_lengths_alone_make_traffic_of_those_means():
    asked = Lengths(1000.0, 200.0, 0.25, 1.5, 0.8)
    window = peak_window(workload(lengths=asked, traffic={"arrival_cv": 2.0}), rps=200.0, seconds=100.0, prefill_s=lambda n: n / 1e6, seed=1)
    trace = window.trace
    assert len(trace) == 20_000
    assert trace.isl_tokens.mean() == pytest.approx(1000.0, rel=0.05)
    assert trace.osl_tokens.mean() == pytest.approx(200.0, rel=0.05)
    gaps = np.diff(trace.arrival_s)
    assert gaps.std() / gaps.mean() == pytest.approx(2.0, rel=0.05)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.floats(0.0, 86_400.0), min_size=1, max_size=30),
    st.lists(st.integers(0, 50).map(lambda n: n / 10), min_size=24, max_size=24).filter(lambda s: sum(s) > 0.5),
    st.floats(0.1, 500.0),
)
def test_the_queue_is_causal_in_order_and_works_no_faster_than_its_speed(arrivals, speed, size):
    arrival, speeds = np.sort(arrivals), np.array(speed)
    done = queue(arrival, np.full(len(arrival), size), speeds)
    assert (done >= arrival - 1e-6).all()
    assert (np.diff(done) >= -1e-6).all()
    assert done[-1] - arrival[0] >= size * len(arrival) / speeds.max() - 1e-3


def test_a_queue_waits_for_the_night():
    speed = np.array([2.0] * 6 + [0.0] * 12 + [2.0] * 6)
    morning = queue(np.array([8 * 3600.0]), np.array([3600.0]), speed)
    assert morning[0] == pytest.approx((18 + 0.5) * 3600.0)
    assert queue(np.array([0.0]), np.array([1.0]), np.zeros(24))[0] == np.inf


def test_a_replica_of_many_ranks_steps_with_the_budget_its_serving_point_assumed():
    # 16 ranks share a step of 16 x 8,192 tokens; with one rank's budget the same replica would serve less than half as much
    known = catalogues.load()
    model, chip, layout = known.model("deepseek-r1"), known.chip("GB200"), Layout("fp8", "fp8", tp=1, dp=16, ep=16)
    points = performance.table(model, chip, Lengths(6000, 100, isl_cv=0.0, osl_cv=0.0), Slo(), layouts=[layout])
    point = next(p for p in points if p.batch == 512)
    times = performance.step_times(model, chip, layout)
    assert len(times.tokens_s) - 1 == performance.step_budget_tokens(layout) == 16 * 8192
    rng, n = np.random.default_rng(0), 8 * point.batch
    isl, osl = rng.integers(3000, 9001, n), rng.integers(50, 151, n)
    done_s = np.sort(simulator.closed_loop(times, isl, osl, point.batch).requests["done_s"])
    rps = 0.5 * n / (done_s[3 * n // 4] - done_s[n // 4])
    assert 0.9 < rps / point.requests_per_s < 1.1


def test_the_replays_of_a_study_step_with_that_budget_too(planned):
    resolved, work = planned.resolved, planned.resolved.workloads[0]
    parts = parts_of(resolved, planned.plan, planned.table.points, work, 0)
    wide = [replace(p, point=replace(p.point, layout=replace(p.point.layout, dp=2))) for p in parts]
    for held, ranks in ((parts, 1), (wide, 2)):
        fleet = fleet_of(resolved, planned.plan, work, held, period=0, scale=0.1, extra_frac=0.0, margin_quantile=0.5).fleet
        assert fleet.pools[0].max_step_tokens == ranks * 8192 == performance.step_budget_tokens(held[0].point.layout)


@pytest.fixture(scope="module")
def agents():
    """A plan for agents, whose sessions wait for each answer."""
    catalogue = catalogues.load()
    text = TINY.replace("profile: chat, mean_rps: 60", "profile: coding-agent, mean_rps: 6").replace("ttft_s: 1.0", "ttft_s: 10.0")
    return study.run(load_text(text, "s.yaml", catalogue), catalogue, proof=False)


def job_of(found):
    return Replay(found.resolved, found.plan, found.table.points, requests=800, seed=1, margin_quantile=0.5)


def test_sessions_that_wait_for_answers_are_joined_by_more_until_the_planned_load_is_asked(agents, monkeypatch):
    work = agents.resolved.workloads[0]
    found = replay(job_of(agents), work, 0, extra_frac=0.25)
    assert LOAD_FRAC <= found.load_frac < 1.02
    assert found.rps == pytest.approx(found.load_frac * found.planned_rps * found.replicas / found.held_replicas / 1.25, rel=0.1)
    monkeypatch.setattr("polysilicon.study.proof.LOAD_TRIES", 1)
    light = replay(job_of(agents), work, 0, extra_frac=0.25)
    assert light.load_frac < LOAD_FRAC
    assert light.promises[0].attained_s < 0.6 * found.promises[0].attained_s  # a little less load would have looked much faster


def test_a_fleet_whose_sessions_never_ask_the_planned_load_keeps_nothing(agents):
    work = agents.resolved.workloads[0]
    found = replay(job_of(agents), replace(work, slo=Slo(e2e_s=1e9)), 0)
    assert all(promise.kept for promise in found.promises)
    assert not found.kept
    assert not found.kept_with_room()
    assert [words for words in found.missed if "of its load came through" in words]
