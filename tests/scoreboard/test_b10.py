"""B10: limits on migration and hysteresis: a noisy feed moves nothing to and fro; a real move goes at most so many points a minute."""

from random import Random

from polysilicon.gateway.broker.steer import Steer
from polysilicon.gateway.config import BrokerPart


def test_no_oscillation_and_a_bounded_ramp() -> None:
    random = Random(4)
    steer = Steer(BrokerPart(), [0.5, 0.5])
    for t in range(0, 4 * 3600, 10):
        price = [10 * random.uniform(0.95, 1.05) for _ in range(2)]
        wanted = [1.0, 0.0] if price[0] < price[1] else [0.0, 1.0]
        steer.step(float(t), wanted, price, [1.0, 1.0])
        assert steer.switches <= 1 + t / 3600
    fresh = Steer(BrokerPart(ramp_per_minute_frac=0.20), [1.0, 0.0])
    last = 0.0
    for t in range(0, 400, 10):
        now = fresh.step(float(t), [0.0, 1.0], [13.0, 10.0], [1.0, 1.0])[1]
        assert now - last <= 0.20 * 10 / 60 + 1e-9
        last = now
    assert last == 1.0
