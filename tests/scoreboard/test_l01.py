"""Switching cost as an index per model: porting cost plus efficiency lost while learning, over yearly spend."""

import pytest
from toy import offer, port, tables, work, world

from polysilicon.planner import leverage


def test_l01():
    ports = (port("cuda-hopper"), port("maia", "none", cost_usd=2e6, lead_months=6.0, initial_efficiency_frac=0.5, ramp_months=12.0))
    question = tables(world([work(rps=100.0)], [offer("h100", 2.0), offer("maia200", 10.0)], ports=ports, months=12))
    row = leverage.lock_in(question)[0]
    spend = 100 * 2.0 * 8760.0
    assert row["vendor"] == "nvidia" and row["spend_usd_per_year"] == pytest.approx(spend)
    assert row["port_usd"] == 2e6 and row["efficiency_loss_usd"] == pytest.approx(spend * 0.5)
    assert row["index"] == pytest.approx((2e6 + spend * 0.5) / spend)
