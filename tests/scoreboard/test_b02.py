"""What share of a supplier's traffic could move within an hour, 30 days and 6 months, by hand."""

import pytest
from toy import offer, port, tables, work, world

from polysilicon.planner import leverage


def test_b02():
    ports = (port("cuda-hopper"), port("neuron", "none", cost_usd=1e9, lead_months=5.0))
    offers = [offer("h100", 2.0), offer("h100", 3.0, cloud="aws", max_chips=25.0),
              offer("h100", 3.5, cloud="aws", id="aws-terms", kind="reserved", min_term_months=12, max_chips=25.0), offer("trn3", 3.0, cloud="aws")]
    question = tables(world([work(rps=100.0)], offers, ports=ports, months=24))
    azure = next(s for s in leverage.negotiate(question) if s.name == "azure")
    assert azure.token_share_frac == pytest.approx(1.0)
    assert azure.movable_frac == pytest.approx({"1 hour": 0.25, "30 days": 0.5, "6 months": 1.0})
