"""A soft cost for depending on a rival's partner moves the plan, and is on no bill."""

import pytest
from toy import offer, tables, work, world

from polysilicon.planner import leverage


def test_g07():
    question = tables(world([work(rps=100.0)], [offer("h100", 2.0), offer("h100", 2.3, cloud="aws")]))
    none, little, high = leverage.conflict(question, "azure", weights=(0.0, 0.1, 0.5))
    assert none["share_frac"] == little["share_frac"] == pytest.approx(1.0) and high["share_frac"] == 0.0
    assert little["usd"] == pytest.approx(none["usd"]) and high["usd"] == pytest.approx(none["usd"] * 2.3 / 2.0)
