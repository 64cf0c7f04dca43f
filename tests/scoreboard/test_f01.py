"""F01: break-even for 30 B$ at 50 %: 60 B$, 1 B$ a month, 66.7 T tokens at 15 $, 333 T at 3 $."""

import pytest
from audited import example

from polysilicon.economics.finance import price_needed_usd_per_mtok, revenue_needed_usd, tokens_per_month
from polysilicon.economics.verdicts import lab_view
from polysilicon.errors import InputError


def test_volume_price_margin_and_term():
    revenue = revenue_needed_usd(30e9, 0.5)
    assert revenue == 60e9 and revenue / 60 == 1e9
    assert [round(tokens_per_month(revenue, 60, p) / 1e12, 1) for p in (15, 3)] == [66.7, 333.3]
    assert price_needed_usd_per_mtok(revenue, 60, tokens_per_month(revenue, 60, 7.0)) == pytest.approx(7.0)
    assert [round(x / 1e12, 1) for x in lab_view(example()).break_even_tokens_per_month] == [66.7, 333.3]


def test_a_margin_of_one_is_refused():
    with pytest.raises(InputError, match="leaves no cost"):
        revenue_needed_usd(1.0, 1.0)
