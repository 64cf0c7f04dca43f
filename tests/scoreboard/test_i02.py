"""I02: four back ends, a price feed that changes: the measured share follows the broker's weights within one control interval."""

import json
import time
from pathlib import Path

from live import ask, endpoint, post, running

from polysilicon.gateway.config import BrokerPart, QuotePart
from polysilicon.gateway.controller import Controller


def test_traffic_follows_a_price_step(tmp_path: Path) -> None:
    feed = tmp_path / "quotes.json"
    feed.write_text("[]")
    doors = [endpoint("a", "claude"), endpoint("b", "bedrock"), endpoint("c", "vertex"), endpoint("d", "foundry")]
    with running(tmp_path / "s", doors, weights=[0.4, 0.3, 0.2, 0.1]) as rig:
        settings = BrokerPart(mode="plan", quotes=(QuotePart(file=str(feed), every_s=0.01),), ramp_per_minute_frac=1000.0, dwell_s=0.0,
                              dwell_large_gain_s=0.0)  # fmt: skip
        controller = Controller(rig.wiring, broker=settings)

        def shares(n: int = 100) -> dict[str, float]:
            got = [post(rig, ask())[1]["x-polysilicon-target"] for _ in range(n)]
            return {t: got.count(t) / n for t in "abcd"}

        controller.read_feeds()
        controller.tick()
        planned = shares()
        assert all(abs(planned[t] - w) <= 0.05 for t, w in zip("abcd", (0.4, 0.3, 0.2, 0.1), strict=True))
        feed.write_text(json.dumps([{"target": "a", "factor": 1.5}]))
        began = time.process_time()
        controller.read_feeds(time.time() + 1)
        directive = controller.tick()  # one interval: what it wrote is in every worker's next request
        assert time.process_time() - began < 1.0
        measured = shares()
        assert directive.weights[0][0] == 0.0
        assert all(abs(measured[t] - w) <= 0.05 for t, w in zip("abcd", directive.weights[0], strict=True))
        controller.close()
