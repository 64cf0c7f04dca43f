"""B05: a qualified second source is worth something even if it is never used: at least 0, more with volatility, by tree and by draws."""

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st
from pytest import approx

from polysilicon.economics.options import SecondSource, second_source_draws_usd, second_source_usd

CASE = SecondSource(100.0, 100.0, 0.0, 0.4, 0.3, 0.2, 3.0, 0.10)


@settings(max_examples=40, deadline=None)
@given(st.floats(0.5, 2.0), st.floats(0, 0.8), st.floats(0.05, 0.4), st.floats(0, 20))
def test_never_negative_and_rising_in_volatility(ratio, volatility, more, switch):
    case = replace(CASE, away_usd_per_year=100 * ratio, home_volatility_frac=volatility, away_volatility_frac=0.0, switch_usd=switch)
    low = second_source_usd(case)
    high = second_source_usd(replace(case, home_volatility_frac=volatility + more))
    assert low >= 0 and high >= low - 0.35  # the tree's own grain: a few tenths of a percent of the bill


def test_tree_and_draws_agree():
    for ratio in (0.8, 1.0, 1.25):
        case = replace(CASE, away_usd_per_year=100 * ratio)
        drawn, error = second_source_draws_usd(case, draws=40_000)
        assert second_source_usd(case, steps_per_year=12) == approx(drawn, abs=4 * error + 0.01 * drawn)


def test_cost_of_moving_lowers_it():
    assert second_source_usd(replace(CASE, switch_usd=10.0)) < second_source_usd(CASE)
