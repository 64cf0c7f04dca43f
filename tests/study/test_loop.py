"""The loop: a plan that keeps its promises is left alone, one that does not gets headroom, one that cannot says so."""

from __future__ import annotations

import pytest
from small_scenarios import BUSY, IMPOSSIBLE, NIGHTLY, NOWHERE, TINY, TOO_FEW

from polysilicon import catalogue as catalogues
from polysilicon import study
from polysilicon.errors import Infeasible, InputError, PromiseNotKept
from polysilicon.scenario import load_text
from polysilicon.study.evidence import evidence_of, proof_words
from polysilicon.study.proof import Measured, Promise, needed_headroom


@pytest.fixture(scope="module")
def catalogue():
    return catalogues.load()


def run(text, catalogue, **options):
    return study.run(load_text(text, "s.yaml", catalogue), catalogue, **options)


def test_a_plan_that_keeps_its_promises_needs_one_round(catalogue):
    plans = []
    result = run(TINY, catalogue, on_plan=plans.append)
    assert result.proven is True
    assert len(result.rounds) == len(plans) == 1
    assert result.rounds[0].missed == ()
    assert result.truth_usd == 0.0
    (measured,) = result.rounds[0].measured
    assert measured.requests > 1000
    assert {p.measure for p in measured.promises} == {"ttft_s", "tpot_s"}
    assert all(0 < p.attained_s <= p.limit_s for p in measured.promises)


def test_a_promise_that_is_missed_raises_headroom_until_the_replay_keeps_it(catalogue):
    """The serving point knows TTFT and TPOT; the whole request's time is found out by the replay alone."""
    loose = run(BUSY, catalogue).rounds[0].measured[0]
    e2e_s = 0.9 * next(p.attained_s for p in loose.promises if p.measure == "e2e_s")
    result = run(BUSY.replace("e2e_s: 1000", f"e2e_s: {e2e_s}"), catalogue)
    first, last = result.rounds[0], result.rounds[-1]
    assert not first.kept
    assert any("E2E" in words for words in first.missed)
    assert last.kept
    assert result.proven is True
    assert last.headroom_frac["chat"] > 0
    assert result.plan.headroom_frac["chat"] == last.headroom_frac["chat"]
    assert result.truth_usd > 0
    assert "costs" in proof_words(result)


def test_a_promise_that_cannot_be_kept_is_named_with_what_would_hold(catalogue):
    scenario = load_text(IMPOSSIBLE, "s.yaml", catalogue)
    with pytest.raises(PromiseNotKept) as caught:
        study.run(scenario, catalogue)
    assert caught.value.exit_code == 4
    assert "E2E" in str(caught.value)
    assert "100 ms promised" in str(caught.value)
    assert "if loosened" in caught.value.hint
    assert "$" in caught.value.hint
    shown = study.explore(scenario, catalogue)
    assert shown.failure is not None
    assert shown.proven is False
    assert shown.plan.placements


def test_limits_that_leave_no_plan_and_promises_that_no_chip_keeps_are_infeasible(catalogue):
    with pytest.raises(Infeasible) as too_few:
        run(TOO_FEW, catalogue)
    assert "mine" in str(too_few.value)
    with pytest.raises(Infeasible) as nowhere:
        run(NOWHERE, catalogue)
    assert "ttft_s is" in str(nowhere.value)
    assert "at best" in str(nowhere.value)


def test_work_that_may_wait_is_proven_by_replaying_the_queue(catalogue):
    result = run(NIGHTLY, catalogue)
    (measured,) = result.rounds[-1].measured
    (promise,) = measured.promises
    assert promise.measure == "deadline_s"
    assert promise.kept
    assert "hour by hour" in proof_words(result)


def test_the_same_seed_gives_the_same_study_and_another_seed_another_replay(catalogue):
    first, again, other = (run(TINY, catalogue, seed=s).rounds[0].measured[0] for s in (3, 3, 4))
    assert first == again
    assert first.latencies["ttft_s"] != other.latencies["ttft_s"]


def test_a_careful_margin_never_makes_the_plan_cheaper(catalogue):
    trusting, careful = (run(TINY, catalogue, margin_quantile=q, proof=False).plan.objective_usd for q in (0.5, 0.9))
    assert careful > trusting
    with pytest.raises(InputError, match="quantile between 0 and 1"):
        run(TINY, catalogue, margin_quantile=1.0)


def test_evidence_holds_what_was_measured_and_nothing_that_was_not(catalogue):
    proven = evidence_of(run(TINY, catalogue), catalogue)
    assert {(d.workload, d.measure) for d in proven.distributions} == {("chat", "ttft"), ("chat", "tpot")}
    assert all(d.kept for d in proven.distributions)
    assert all(list(d.value_s) == sorted(d.value_s) for d in proven.distributions)
    assert any("assumed" in words for words in proven.warnings)
    assert {s.name for s in proven.series} == {"waiting", "batch", "kv", "ttft"}
    assert all(0 < len(s.time_s) == len(s.value) <= 60 and min(s.value) >= 0 for s in proven.series)
    (ttft,) = [s for s in proven.series if s.name == "ttft"]
    assert ttft.promise_s == 1.0
    assert max(s for series in proven.series if series.name == "kv" for s in series.value) <= 1.0
    unproven = evidence_of(run(TINY, catalogue, proof=False), catalogue)
    assert unproven.proven is None
    assert unproven.series == ()
    assert unproven.distributions == ()
    assert unproven.proof_words == ""


def _fake(least: float, calls: list[float]):
    def one(job, work, period, *, extra_frac=0.0):
        calls.append(extra_frac)
        attained = 0.5 if extra_frac >= least else 2.0
        return Measured("w", 0, (Promise("ttft_s", 1.0, 0.95, attained),), 1000, 1.0, 1.0, 1, 1, 1.0, 0.0)

    return one


@pytest.mark.parametrize("least", [0.02, 0.1, 0.37, 0.9, 1.7])
def test_the_search_finds_the_least_headroom_to_a_few_percent_in_few_replays(least):
    calls: list[float] = []
    found = needed_headroom(None, None, 0, one=_fake(least, calls))
    assert found is not None
    assert least <= found <= max(0.1, least + 0.07 * (1 + least))
    assert len(calls) <= 10


def test_the_search_gives_up_where_capacity_does_not_help():
    assert needed_headroom(None, None, 0, one=_fake(99.0, [])) is None
