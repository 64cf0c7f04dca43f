"""Exclusive terms close every other cloud while they run."""

from toy import offer, solve, work, world

from polysilicon.cloud.contract import Contract


def clouds(exclusive):
    terms = Contract("only-us", "azure", "committed_spend", "2026-01-01", "2026-07-01", exclusive=exclusive)
    found = solve(world([work(rps=100.0)], [offer("h100", 2.0), offer("h100", 1.0, cloud="aws")], months=12, contracts=(terms,)))
    return [{p.cloud for p in found.placements if p.period == y} for y in range(4)]


def test_d14():
    assert clouds(False) == [{"aws"}] * 4
    assert clouds(True) == [{"azure"}] * 2 + [{"aws"}] * 2
