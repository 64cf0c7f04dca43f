"""B07 in simulation: a back end is lost and re-routed around; spot is reclaimed; nobody gets an error."""

import numpy as np

from polysilicon import simulator
from polysilicon.application.trace import Trace
from polysilicon.performance import StepTimes
from polysilicon.simulator.dynamics import Happenings, Outage
from polysilicon.simulator.fleet import Fleet, Pool


def test_a_lost_supplier_costs_no_request_and_bounded_time():
    tokens = np.arange(2049)
    times = StepTimes(np.where(tokens > 0, 0.01, 0.0), 0.0, 0.0, 0.0, 0, 0.0, 200_000)
    fleet = Fleet(tuple(Pool(c, times, 4, cloud=c, max_batch=32) for c in ("azure", "aws")), routing="least-loaded")
    rng = np.random.default_rng(0)
    trace = Trace(np.cumsum(rng.exponential(0.02, 5000)), np.full(5000, 100, np.int32), np.full(5000, 40, np.int32))
    calm = simulator.simulate(fleet, trace)
    lost = [Outage(30.0, "cloud", "azure", 20.0), Outage(60.0, "replica", "aws#0", 5.0, "reclaim")]
    storm = simulator.simulate(fleet, trace, happenings=Happenings(outages=lost))
    assert storm.done.all() and storm.requests["retries"].sum() > 0
    away = (storm.requests["start_s"] > 30.0) & (storm.requests["start_s"] < 50.0)
    assert (storm.requests["replica"][away] >= 4).all()
    assert np.nanmax(storm.e2e_s) < 2 * np.nanmax(calm.e2e_s) + 1.0  # started again elsewhere at once
