"""The cost waterfall, training apart from inference, sums to the total within 0.01 %."""

import pytest
from toy import offer, port, solve, work, world

from polysilicon.cloud.contract import Contract
from polysilicon.planner.measures import waterfall


def test_m12():
    macc = Contract("macc", "azure", "committed_spend", "2026-01-01", "2027-01-01", commit_usd=4e6, eligible=("another-service-*",))
    ports = (port("cuda-hopper"), port("maia", "none", cost_usd=1e5, lead_months=3.0))
    works = [work("chat", rps=100.0), work("training", rps=20.0, batch=True)]
    found = solve(world(works, [offer("h100", 2.0), offer("maia200", 1.0)], ports=ports, months=12, contracts=(macc,)))
    parts = waterfall(found, training=("training",))
    assert sum(parts.values()) == pytest.approx(found.bill_usd + found.energy_usd + found.port_usd + found.unserved_usd, rel=1e-4)
    assert parts["training"] > 0 and parts["inference"] > parts["training"] and parts["unused commitment"] > 0 and parts["porting"] == 1e5
