"""C16 in simulation: a chip that comes late is an outage from the start; a spread of slips gives a spread of latencies."""

import numpy as np

from polysilicon import simulator
from polysilicon.application.trace import Trace
from polysilicon.performance import StepTimes
from polysilicon.simulator.dynamics import Happenings, Outage
from polysilicon.simulator.fleet import Fleet, Pool


def test_the_longer_the_slip_the_longer_people_wait():
    tokens = np.arange(2049)
    times = StepTimes(np.where(tokens > 0, 0.01, 0.0), 0.0, 0.0, 0.0, 0, 0.0, 200_000)
    fleet = Fleet((Pool("hopper", times, 1, max_batch=4), Pool("maia", times, 2, chip="MAIA200", max_batch=4)), routing="least-loaded")
    rng = np.random.default_rng(0)
    trace = Trace(np.cumsum(rng.exponential(0.05, 4000)), np.full(4000, 50, np.int32), np.full(4000, 50, np.int32))
    waits = []
    for slip_s in (0.0, 30.0, 90.0):
        late = [Outage(0.0, "chip", "MAIA200", slip_s, "slip")] if slip_s else []
        result = simulator.simulate(fleet, trace, happenings=Happenings(outages=late))
        assert result.done.all()
        waits.append(float(result.ttft_s.mean()))
    assert waits[0] < waits[1] < waits[2]
