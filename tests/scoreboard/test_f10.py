"""F10: depreciation schedules and residual values."""

import pytest

from polysilicon.economics.cost import Rack, book_value_usd, vary
from polysilicon.economics.finance import depreciation_usd
from polysilicon.errors import InputError


@pytest.mark.parametrize("method", ["straight_line", "double_declining", "sum_of_years"])
def test_every_method_writes_off_cost_less_residual(method):
    amounts = depreciation_usd(1000.0, 5, residual_usd=100.0, method=method)
    assert sum(amounts) == pytest.approx(900) and min(amounts) >= 0
    assert book_value_usd(vary(Rack(), {"resale_frac": 0.1}), method)[-1] == pytest.approx(0.34e6)


def test_by_hand():
    assert depreciation_usd(100.0, 4) == [25.0] * 4
    assert depreciation_usd(100.0, 5, residual_usd=10.0, method="double_declining") == pytest.approx([40, 24, 14.4, 8.64, 2.96])
    assert depreciation_usd(60.0, 3, method="sum_of_years") == [30, 20, 10]
    with pytest.raises(InputError, match="not known"):
        depreciation_usd(1.0, 2, method="guess")
