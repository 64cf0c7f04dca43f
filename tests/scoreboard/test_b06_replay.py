"""B06 in simulation: a dated price tape moves traffic and is what the bill counts."""

import numpy as np
import pytest

from polysilicon import simulator
from polysilicon.application.trace import Trace
from polysilicon.performance import StepTimes
from polysilicon.simulator.dynamics import Happenings
from polysilicon.simulator.files import read_price_tape
from polysilicon.simulator.fleet import Fleet, Pool


def test_a_price_tape_is_followed_and_billed(tmp_path):
    (tmp_path / "tape.csv").write_text("at_s,pool,usd_per_chip_hour\n0,spot,1.0\n900,spot,5.0\n1800,spot,1.0\n")
    tokens = np.arange(2049)
    times = StepTimes(np.where(tokens > 0, 0.01, 0.0), 0.0, 0.0, 0.0, 0, 0.0, 200_000)
    pools = (Pool("spot", times, 2, max_batch=64), Pool("steady", times, 2, max_batch=64, usd_per_chip_hour=3.0))
    trace = Trace(np.arange(2700.0), np.full(2700, 50, np.int32), np.full(2700, 10, np.int32))
    happenings = Happenings(prices=read_price_tape(tmp_path / "tape.csv"))
    result = simulator.simulate(Fleet(pools, routing="price"), trace, happenings=happenings, until_s=2700.0)
    on_spot = result.requests["replica"] < 2
    assert on_spot[1:900].all() and not on_spot[901:1800].any() and on_spot[1801:2690].all()
    assert result.pools()["spot"]["bill_usd"] == pytest.approx(2 * 0.25 * (1 + 5 + 1))
