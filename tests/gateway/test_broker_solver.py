"""A solver that refuses or fails is never taken at its word: the broker runs it again, or says so."""

from __future__ import annotations

import highspy
import numpy as np
import pytest

from polysilicon.errors import Infeasible, PolysiliconError
from polysilicon.gateway.broker import dispatch
from polysilicon.gateway.broker.dispatch import Lane

LANES = [Lane(0, 0, 0, "aws", 2.0), Lane(0, 1, 1, "gcp", 1.0, cap_frac=0.25)]


def test_another_part_of_the_process_may_have_set_the_pool_of_threads() -> None:
    highspy.Highs.resetGlobalScheduler(True)
    other = highspy.Highs()
    other.setOptionValue("output_flag", False)
    other.setOptionValue("threads", 2)
    other.addVars(1, np.zeros(1), np.ones(1))
    assert other.run() == highspy.HighsStatus.kOk
    alone = highspy.Highs()
    alone.setOptionValue("output_flag", False)
    alone.setOptionValue("threads", 1)
    alone.addVars(1, np.zeros(1), np.ones(1))
    assert alone.run() == highspy.HighsStatus.kError  # the refusal is real
    found = dispatch(LANES, [1.0])
    assert found.shares == (0.75, 0.25) and found.usd_per_s == pytest.approx(1.75)


@pytest.mark.parametrize("failure", ["refused", "kTimeLimit", "kSolveError", "kNotset", "kUnknown"])
def test_a_failed_run_is_never_a_solution(monkeypatch: pytest.MonkeyPatch, failure: str) -> None:
    runs = []

    def run(_solver: object) -> highspy.HighsStatus:
        runs.append(failure)
        return highspy.HighsStatus.kError if failure == "refused" else highspy.HighsStatus.kOk

    monkeypatch.setattr(highspy.Highs, "run", run)
    if failure != "refused":
        monkeypatch.setattr(highspy.Highs, "getModelStatus", lambda _solver: getattr(highspy.HighsModelStatus, failure))
    with pytest.raises(PolysiliconError) as error:
        dispatch(LANES, [1.0])
    assert not isinstance(error.value, Infeasible)  # nothing is known of the limits
    assert len(runs) == (1 if failure == "kTimeLimit" else 2)  # tried once more: the pool made anew, or cold by the simplex method


def test_bounds_without_room_are_infeasible() -> None:
    with pytest.raises(Infeasible, match="leave no room"):
        dispatch([Lane(0, 0, 0, "aws", 2.0, low_frac=0.7), Lane(0, 1, 1, "gcp", 1.0, low_frac=0.7)], [1.0])
