"""E01 in simulation: kWh per million output tokens, from busy and idle power."""

import numpy as np
import pytest

from polysilicon import simulator
from polysilicon.application.trace import Trace
from polysilicon.performance import StepTimes
from polysilicon.simulator.fleet import Fleet, Pool


def test_kwh_per_million_tokens_by_hand():
    tokens = np.arange(2049)
    times = StepTimes(np.where(tokens > 0, 0.01, 0.0), 0.0, 0.0, 0.0, 0, 0.0, 200_000)
    pool = Pool("a", times, 1, max_batch=8, chips_per_replica=72, busy_w_per_chip=120_000 / 72, idle_w_per_chip=500.0, pue=1.25)
    trace = Trace(np.array([0.0, 10.0]), np.array([10, 10], np.int32), np.array([100, 100], np.int32))
    totals = simulator.simulate(Fleet((pool,)), trace).totals()
    joules = (2.0 * 120_000 + 9.0 * 500 * 72) * 1.25  # busy 1 s twice, idle 9 s between
    assert totals["energy_kwh"] == pytest.approx(joules / 3.6e6)
    assert totals["kwh_per_mtok_out"] == pytest.approx(joules / 3.6e6 / 200e-6)
