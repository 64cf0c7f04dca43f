"""F02: 200-500 B to 4-20 T is 8-100x; 10-20x gives 2-10 T."""

from pytest import approx

from polysilicon.economics.finance import growth_factors, growth_per_year_frac


def test_growth_between_ranges():
    assert growth_factors((0.2, 0.5), (4, 20)) == approx((8, 100))
    assert (10 * 0.2, 20 * 0.5) == (2.0, 10.0)
    assert growth_per_year_frac(8, 3) == approx(1.0) and (1 + growth_per_year_frac(100, 4)) ** 4 == approx(100)
