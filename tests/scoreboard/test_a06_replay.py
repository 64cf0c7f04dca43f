"""A06: a million requests are simulated, each accounted for; benchmarks/simulator.py says how fast."""

import numpy as np

from polysilicon import simulator
from polysilicon.application.trace import Trace
from polysilicon.performance import StepTimes
from polysilicon.simulator.fleet import Fleet, Pool


def test_a_million_requests_are_replayed_in_one_process():
    n = 1_000_000
    rng = np.random.default_rng(0)
    tokens = np.arange(8193)
    times = StepTimes(np.where(tokens > 0, 0.006 + 2e-5 * tokens, 0.0), 1e-5, 2e-8, 0.0, 0, 1e-9, 500_000)
    isl, osl = rng.integers(16, 2274, n, np.int32), rng.integers(1, 424, n, np.int32)
    result = simulator.simulate(Fleet((Pool("a", times, 64),)), Trace(np.cumsum(rng.exponential(1 / 64, n)), isl, osl))
    assert result.done.all() and (result.requests["id"] == np.arange(n)).all()
    assert result.totals()["output_mtok"] * 1e6 == osl.sum()
    assert result.requests.itemsize <= 200  # bytes a request beyond its trace
