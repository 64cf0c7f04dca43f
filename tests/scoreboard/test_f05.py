"""F05: 200-900 M$ at 20-30 % implies 0.67-4.5 B$ of spend; a gain is not a cut."""

from pytest import approx

from polysilicon.economics.finance import cost_cut_frac, implied_spend_usd, saving_usd


def test_saving_and_its_inverse():
    assert [x / 1e9 for x in implied_spend_usd((200e6, 900e6), (0.2, 0.3))] == approx([2 / 3, 4.5])
    assert cost_cut_frac(0.3) == approx(0.230769, abs=1e-6)
    assert saving_usd(2.7e9, 0.2) == approx(0.45e9)
