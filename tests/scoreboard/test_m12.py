"""The cost waterfall, training apart from inference, sums to the total within 0.01 %."""

import pytest
from toy import offer, port, solve, work, world

from polysilicon.cloud.contract import Contract
from polysilicon.report.charts import steps
from polysilicon.report.figures import waterfall


def test_m12():
    macc = Contract("macc", "azure", "committed_spend", "2026-01-01", "2027-01-01", commit_usd=4e6, eligible=("another-service-*",))
    ports = (port("cuda-hopper"), port("maia", "none", cost_usd=1e5, lead_months=3.0))
    works = [work("chat", rps=100.0), work("training", rps=20.0, batch=True)]
    found = solve(world(works, [offer("h100", 2.0), offer("maia200", 1.0)], ports=ports, months=12, contracts=(macc,)))
    parts = waterfall(found, training=("training",))
    of = {step.layer: step.usd for step in parts}
    whole = found.bill_usd + found.energy_usd + found.port_usd
    assert sum(step.usd for step in parts if not step.total) == pytest.approx(whole, rel=1e-4) == pytest.approx(of["Total"], rel=1e-4)
    assert of["Training"] > 0 and of["Inference"] > of["Training"] and of["Commitment shortfall"] > 0 and of["Ports"] == 1e5
    assert sum(step.usd for step in waterfall(found) if not step.total) == pytest.approx(whole, rel=1e-4)  # and by layer
    (bars,) = steps(parts)["datasets"].values()
    assert [v["layer"] for v in bars][:2] == ["Inference", "Training"]
