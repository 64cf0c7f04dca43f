"""Margin per million tokens by model, chip and application, redone by hand."""

import pytest
from toy import offer, solve, work, world

from polysilicon.planner.measures import unit_economics


def test_f12():
    chat = work(rps=100.0, application="assistant", usd_per_mtok_in=1.0, usd_per_mtok_out=4.0)
    resolved = world([chat], [offer("h100", 2.0)])
    (row,) = unit_economics(solve(resolved), [chat])
    cost = 2.0 / (3600 * 200 / 1e6)
    income = (1000 * 1.0 + 200 * 4.0) / 200
    assert (row.model, row.chip, row.application) == ("m", "h100", "assistant")
    assert row.cost_usd_per_mtok == pytest.approx(cost) and row.margin_frac == pytest.approx(1 - cost / income)
