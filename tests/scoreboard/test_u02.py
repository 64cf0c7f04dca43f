"""U02: a founder counts on falling prices: the same business case with a half-life (P01) and a viability price (A05)."""

import math

from pytest import approx

from polysilicon.economics.finance import viable_price_usd_per_mtok
from polysilicon.economics.price_history import projected_usd_per_mtok


def test_when_the_case_becomes_viable():
    needed = viable_price_usd_per_mtok(0.02, 20_000)
    assert needed == 1.0
    months = 10 * math.log2(4.0 / needed)
    assert projected_usd_per_mtok(4.0, months, 10.0) == approx(needed)
