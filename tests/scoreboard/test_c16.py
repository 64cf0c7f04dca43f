"""Execution risk: slipping a chip by two quarters changes the plan's cost, and a distribution of slips gives one of costs."""

import pytest
from toy import offer, tables, work, world

from polysilicon.planner import stress, uncertainty
from polysilicon.planner.resolve import Asker


def test_c16():
    question = tables(world([work(rps=100.0)], [offer("h100", 2.0), offer("maia200", 1.0)], months=12))
    base = Asker(question).ask()
    late = stress.slip(question, chip="maia200", months=6, base=base)
    extra = 100.0 * (2.0 - 1.0 / 2.0) * (181 * 24.0)
    assert late.delta_usd == pytest.approx(extra, rel=1e-6)
    spread = uncertainty.slip_cost(question, chip="maia200", probability_by_months={0: 0.5, 3: 0.3, 6: 0.2})
    costs = [usd for _, _, usd in spread]
    assert sum(p for _, p, _ in spread) == pytest.approx(1.0) and costs == sorted(costs) and costs[0] < costs[2]
