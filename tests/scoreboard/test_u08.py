"""U08: revenue lost by months of delay."""

from pytest import approx

from polysilicon.economics.finance import delay_cost_usd


def test_closed_form():
    assert delay_cost_usd(100e6, 3) == 300e6
    assert delay_cost_usd(100e6, 3, margin_frac=0.4) == approx(120e6)
    growing = delay_cost_usd(100e6, 6, growth_per_month_frac=0.05)
    assert growing == approx(100e6 * (1.05**6 - 1) / 0.05)
