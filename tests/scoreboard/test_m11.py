"""Training blocks are deferrable chip-hours that compete for the same chips and leave fewer for inference."""

import pytest
from toy import offer, point, work, world

from polysilicon import planner


def plan(training):
    works = [work("chat", rps=50.0), *([work("training", rps=60.0 / 3600.0, batch=True, application="training")] if training else [])]
    resolved = world(works, [offer("h100", 2.0, max_chips=100.0), offer("h100", 4.0, cloud="aws")])
    chip_hour = 1.0 / 3600.0  # one request of training is one chip-hour
    speed = {("chat", "h100"): point("chat", "h100", 1.0), ("training", "h100"): point("training", "h100", chip_hour)}
    return planner.plan(resolved, speed, gap_frac=1e-6)


def test_m11():
    alone, both = plan(False), plan(True)
    assert {p.cloud for p in alone.placements} == {"azure"}
    assert sum(p.chips for p in both.placements if p.workload == "training") == pytest.approx(60.0)
    assert sum(h.chips for h in both.holdings if h.cloud == "aws") == pytest.approx(10.0)
