"""F03: 60-70 % of 30 B$ is 18-21 B$; then what it covers of a gigawatt."""

from audited import covering, example, projected
from pytest import approx

from polysilicon.economics.cost import Rack, price_for_margin_usd
from polysilicon.economics.verdicts import provider_view


def test_reproduced_and_set_against_capital_cost():
    assert covering("X22")[0].recomputed == (18, 21)
    view = provider_view(example(), projected())
    assert view.facilities == approx((3.6, 4.2)) and view.gigawatt_facilities == approx((40, 60))
    assert [round(price_for_margin_usd(Rack(), m), 2) for m in (0.6, 0.7)] == [4.41, 5.88]
