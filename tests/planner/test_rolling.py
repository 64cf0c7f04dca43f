"""Plans made again as the future shows itself: what was signed stays, foresight is never beaten, and where it runs changes nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from test_uncertainty import tables
from world import offer, table, work, world

from polysilicon import planner
from polysilicon.errors import InputError
from polysilicon.planner import rolling as r
from polysilicon.planner import uncertainty as u
from polysilicon.planner.futures import Doubt
from polysilicon.planner.resolve import Asker

COMMAND = str(Path(sys.executable).with_name("polysilicon"))


def test_what_was_signed_stays_and_foresight_costs_no_more():
    views = [u.scaled(tables(), "v", 1.0, demand=d).tables for d in (0.5, 0.5, 1.0)]
    found = r.roll(views)
    truth = Asker(views[-1]).ask().usd
    assert found.usd >= truth * (1 - 1e-3) and len(found.steps_count) == 3
    assert all(key[2] == k for k, step in enumerate(found.steps_count) for key in step)


def test_without_surprise_planning_again_changes_nothing():
    question = tables()
    same = [question] * len(question.periods)
    best = Asker(question).ask().usd
    assert r.roll(same).usd == pytest.approx(best, rel=1e-3)
    assert r.keep(question, question).usd == pytest.approx(best, rel=1e-6)


def test_terms_signed_for_a_demand_that_went_away_are_paid_for_all_the_same():
    """A year's terms at 1 $ for 10 chips' worth of demand that halves from the second quarter: half of them idle, none given back."""
    resolved = world([work(rps=100.0)], [offer("h100", 1.0, kind="reserved", min_term_months=12, id="terms")], months=12)
    first = planner.problem(resolved, table(resolved.workloads))
    truth = r._demanded(first, np.array([1.0, 0.5, 0.5, 0.5]))
    again = r.roll([first, truth, truth, truth])
    assert again.usd == pytest.approx(Asker(first).ask().usd, rel=1e-6)
    assert again.usd > Asker(truth).ask().usd * (1 - 1e-9)


def test_walks_are_drawn_from_the_seed_known_up_to_now_and_expected_to_stay():
    question, doubt = tables(), Doubt(demand_volatility_frac=0.4)
    one, same, other = (r.walks(question, count=400, seed=s, doubt=doubt) for s in (1, 1, 2))
    factor = np.array([[view.demand_rps[0] / question.demand_rps[0] for view in views] for views in one])  # [walk, view, slot]
    again = np.array([views[-1].demand_rps[0] for views in same])
    assert np.array_equal(factor[:, -1] * question.demand_rps[0], again)
    assert not np.allclose(again, [views[-1].demand_rps[0] for views in other])
    assert factor[:, 0] == pytest.approx(1.0)
    periods = question.slot_period
    for k in range(len(question.periods)):
        assert factor[:, k][:, periods <= k] == pytest.approx(factor[:, -1][:, periods <= k])
        now = factor[:, -1][:, periods == k][:, :1]
        assert factor[:, k][:, periods > k] - now == pytest.approx(0.0, abs=1e-9)
    truth = factor[:, -1]
    years = periods * 0.25
    assert truth.mean(axis=0) == pytest.approx(1.0, abs=0.06)
    assert np.log(truth).std(axis=0) == pytest.approx(0.4 * np.sqrt(years), rel=0.12)


def test_neither_planning_again_nor_keeping_a_plan_beats_knowing():
    found = r.rolling(tables(), count=4, seed=5, doubt=Doubt(demand_volatility_frac=0.8))
    once, again, known = found.courses
    assert (once.name, again.name, known.name) == (r.ONCE, r.AGAIN, r.KNOWING)
    assert known.expected_usd <= min(once.expected_usd, again.expected_usd) * (1 + 1e-3)
    assert [c.stuck for c in found.courses] == [0, 0, 0]
    assert found.again_saves_usd == once.expected_usd - again.expected_usd and found.regret_usd == again.expected_usd - known.expected_usd
    assert all(c.cvar_usd >= c.expected_usd * (1 - 1e-9) for c in found.courses)
    assert any(d.least_count < d.most_count for d in found.decisions)
    assert all(d.least_count <= d.mean_count <= d.most_count for d in found.decisions)


def test_a_walk_that_leaves_no_plan_within_the_limits_is_counted_not_averaged():
    """A floor on use that demand falls below: what was signed must stay, and may not idle."""
    resolved = world([work(rps=100.0)], [offer("h100", 1.0, kind="reserved", min_term_months=12, id="terms")], months=12)
    resolved.limits = resolved.limits.model_copy(update={"utilisation_min_frac": 0.6})
    first = planner.problem(resolved, table(resolved.workloads))
    gone = r._demanded(first, np.array([1.0, 0.1, 0.1, 0.1]))
    assert np.isinf(r.keep(first, gone).usd)
    stopped = r.roll([first, gone, gone, gone])
    assert np.isinf(stopped.usd) and len(stopped.steps_count) < 4


def test_a_kept_plan_that_leaves_demand_nobody_priced_tells_no_dollars():
    """Terms alone, no hourly chips: more demand than was signed for goes unserved at no stated loss; one who plans again signs more."""
    resolved = world([work(rps=100.0)], [offer("h100", 1.0, kind="reserved", min_term_months=12, id="terms")], months=24)
    found = r.rolling(planner.problem(resolved, table(resolved.workloads)), count=2, seed=1, doubt=Doubt(demand_volatility_frac=0.5))
    once, _, known = found.courses
    assert once.unserved_frac > 0 and once.expected_usd is None and found.again_saves_usd is None
    assert known.unserved_frac < once.unserved_frac


def test_where_it_runs_cannot_change_the_result():
    assert r.rolling(tables(), count=2, seed=3, workers=2) == r.rolling(tables(), count=2, seed=3)


def test_a_horizon_of_one_period_has_nothing_to_plan_again():
    resolved = world([work(rps=10.0)], [offer("h100", 2.0)], months=3)
    with pytest.raises(InputError, match="one period"):
        r.rolling(planner.problem(resolved, table(resolved.workloads)), count=1, seed=1)


def test_the_command_tells_a_person_and_a_program_the_same(tmp_path):
    from polysilicon.scenario import embedded_text

    (tmp_path / "s.yaml").write_text(embedded_text("minimal"))
    ask = [COMMAND, "roll", "s.yaml", "--walks", "2", "--seed", "3"]
    told, again = (subprocess.run([*ask, *more], cwd=tmp_path, capture_output=True, text=True) for more in ((), ("--json",)))
    assert told.returncode == 0 and again.returncode == 0, told.stderr + again.stderr
    found = json.loads(again.stdout)
    assert (found["walks"], found["seed"]) == (2, 3) and [c["name"] for c in found["courses"]] == [r.ONCE, r.AGAIN, r.KNOWING]
    assert found["regret_usd"] == pytest.approx(found["courses"][1]["expected_usd"] - found["courses"][2]["expected_usd"])
    assert "planned again" in told.stdout and "planning again " in told.stderr and "not to have known costs $" in told.stderr
