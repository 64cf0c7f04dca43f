"""B06 in simulation: a dated price tape moves traffic and is what the bill counts."""

import numpy as np
import pytest

from polysilicon import catalogue, simulator
from polysilicon.application.trace import Trace
from polysilicon.exchange import price_feed
from polysilicon.performance import StepTimes
from polysilicon.simulator.dynamics import Availability, Happenings, PriceChange
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


def test_historic_price_lists_are_replayed_as_a_feed(tmp_path):
    head = "InstanceType,AcceleratorName,AcceleratorCount,vCPUs,MemoryGiB,GpuInfo,Price,SpotPrice,Region,AvailabilityZone\n"
    for day, price, spot in (("2026-01-10", 55.04, 22.0), ("2026-02-10", 55.04, 62.0), ("2026-03-10", 66.0, "")):
        (tmp_path / f"{day}-vms.csv").write_text(f"{head}p5.48xlarge,H100,8,192,2048,,{price},{spot},us-east-1,us-east-1a\n")
    feed = list(price_feed.replay(price_feed.history(tmp_path, "aws", catalogue.load()), seconds_per_day=10.0))
    tokens = np.arange(2049)
    times = StepTimes(np.where(tokens > 0, 0.01, 0.0), 0.0, 0.0, 0.0, 0, 0.0, 200_000)
    offers = {"spot": next(p.offer for _, p in feed if "spot" in p.offer), "on-demand": next(p.offer for _, p in feed if "on-demand" in p.offer)}
    pools = tuple(Pool(name, times, 1, max_batch=64) for name in offers.values())
    happenings = Happenings(
        prices=[PriceChange(t, p.offer, p.usd_per_chip_hour) for t, p in feed if p.usd_per_chip_hour is not None],
        availability=[Availability(t, p.offer, 0) for t, p in feed if p.usd_per_chip_hour is None],
    )
    trace = Trace(np.arange(1.0, 900.0), np.full(899, 50, np.int32), np.full(899, 10, np.int32))
    rows = simulator.simulate(Fleet(pools, routing="price"), trace, happenings=happenings).requests
    took = rows["replica"]
    assert rows["status"].min() == rows["status"].max() == 1
    assert (took[:300] == 0).all() and (took[312:] == 1).all()  # 31 days at the spot price, then it is dearer, then it is gone
