"""D12: the return of a stake as a distribution over growth."""

from audited import example

from polysilicon.economics.uncertainty import run


def test_distribution_of_returns():
    deal = example()
    spread = run(deal, draws=256).outcomes["microsoft: stake, return a year"]
    growth = next(d for d in deal.drivers if d.name == "valuation_growth_frac")
    assert growth.low <= spread.p10 < spread.p50 < spread.p90 <= growth.high
    assert 0 < spread.negative_frac < 0.5
