"""A term sheet's target price is the indifference price, and that is the plan's shadow price within 1 %."""

import pytest
from toy import offer, tables, work, world

from polysilicon import planner
from polysilicon.planner import leverage
from polysilicon.planner.answer import plan_of


def test_w12():
    blocks = (("peak", 8.0, 1.5), ("rest", 16.0, 0.75))
    offers = [offer("gb200", 5.0, max_chips=20.0), offer("h100", 2.0)]
    question = tables(world([work(rps=100.0, peak=1.5)], offers, months=6, blocks=blocks))
    program, solution, _ = planner.solved(question, gap_frac=1e-6)
    prices = [p.usd for p in plan_of(program, solution, seconds={}).shadow_prices if p.limit == "chip-hour:gb200@azure/eastus"]
    sheet = leverage.term_sheet(question, "gb200@azure/eastus", chips=0.5)
    assert sheet["indifference_usd_per_chip_hour"] == pytest.approx(sum(prices) / len(prices), rel=0.01)
    assert sheet["indifference_usd_per_chip_hour"] == pytest.approx(6.0, rel=0.01)
