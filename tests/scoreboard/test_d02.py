"""D02: stake = cash / post-money; 15-20 % for 5 B$ means 25-33 B$."""

from audited import covering, example
from pytest import approx

from polysilicon.economics.finance import implied_post_money_usd, stake_frac
from polysilicon.economics.verdicts import lab_view


def test_stake_and_what_a_stake_implies():
    assert stake_frac(5e9, 350e9) == approx(1 / 70)
    assert [implied_post_money_usd(5e9, s) / 1e9 for s in (0.2, 0.15)] == approx([25, 100 / 3])
    assert lab_view(example()).stakes["microsoft"] == approx((1 / 70, 350e9))


def test_it_is_flagged_against_the_valuation():
    assert covering("X02")[0].verdict == "contradicted_by_source"
