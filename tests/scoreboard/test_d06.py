"""D06: an option on a gigawatt is used only where it is worth using."""

from audited import example
from pytest import approx

from polysilicon.economics.options import option_usd
from polysilicon.economics.rights import exercise


def test_used_in_some_price_scenarios_only():
    option = example().options[0]
    found = exercise(option, example().as_of)
    assert found.by_scenario == {"low": False, "middle": False, "high": True}
    assert 0.2 < found.exercised_frac < 0.6 and found.worth_usd > 0
    dear = option.model_copy(update={"strike_usd_per_gw_year": 1e15})
    assert not any(exercise(dear, example().as_of).by_scenario.values())


def test_closed_form_by_hand():
    # at the money, r = 0: F (2 N(s/2) - 1) = 100 x 0.11924
    assert option_usd(100, 100, volatility_frac=0.3, years=1, rate_frac=0) == approx(11.9235, abs=1e-3)
