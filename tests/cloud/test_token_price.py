"""Token prices: exact bills, tiers, dates."""

from datetime import date
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polysilicon import catalogue
from polysilicon.cloud.token_price import TokenPrice, TokenUse, nano_usd, price_on
from polysilicon.errors import InputError, MissingFact

LONG = TokenPrice("m", "p", 3.0, 15.0, 0.3, 3.75, 6.0, 0.5, 200_000, 6.0, 22.5)
COUNT = st.integers(0, 100_000)


@given(COUNT, COUNT, COUNT, COUNT, COUNT)
def test_a_bill_is_exact(fresh, cached, five, hour, out):
    use = TokenUse(fresh, cached, five, hour, out)
    long = use.prompt_tokens > 200_000
    rate = (
        [Fraction(x) for x in ("6", "0.6", "7.5", "12", "22.5")]
        if long
        else [Fraction(x) for x in ("3", "0.3", "3.75", "6", "15")]
    )
    by_hand = sum(n * r for n, r in zip((fresh, cached, five, hour, out), rate, strict=True)) * 1000
    assert nano_usd(LONG, use) == by_hand


@given(st.lists(st.tuples(COUNT, COUNT), max_size=20))
def test_bills_of_one_tier_add_up(uses):
    price = TokenPrice("m", "p", 1.25, 10.0, 0.125)
    total = sum(nano_usd(price, TokenUse(a, output_tokens=b)) for a, b in uses)
    assert total == nano_usd(price, TokenUse(sum(a for a, _ in uses), output_tokens=sum(b for _, b in uses)))


def test_the_long_tier_holds_for_the_whole_request():
    assert nano_usd(LONG, TokenUse(200_000)) == 600_000_000
    assert nano_usd(LONG, TokenUse(200_001)) == 1_200_006_000


def test_batch_pays_its_share_and_unknown_rates_are_said():
    assert nano_usd(LONG, TokenUse(1000, output_tokens=10), batch=True) * 2 == nano_usd(LONG, TokenUse(1000, output_tokens=10))
    with pytest.raises(MissingFact):
        nano_usd(TokenPrice("m", "p", 3.0, None), TokenUse(1, output_tokens=1))
    with pytest.raises(MissingFact):
        nano_usd(TokenPrice("m", "p", 3.0, 1.0), TokenUse(1), batch=True)
    with pytest.raises(InputError):
        nano_usd(LONG, TokenUse(-1))


def test_prices_by_date():
    book = [TokenPrice("m", "p", 15, 75, valid_from="2025-05-22"), TokenPrice("m", "p", 5, 25, valid_from="2025-11-24")]
    assert price_on(book, date(2026, 1, 1)).usd_per_mtok_in == 5
    assert price_on(book, date(2025, 1, 1)) is None
    night = TokenPrice("m", "p", 1, 5, valid_from="2026-01-01", condition="23:00 to 07:00")
    assert price_on([*book, night], date(2026, 1, 2)).usd_per_mtok_in == 5


def test_the_catalogue_holds_the_prices_that_bill():
    book = [p for p in catalogue.load().token_prices if p.provider == "anthropic" and p.usd_per_mtok_cached and p.batch_frac]
    assert book and {p.batch_frac for p in book} == {0.5}
    price = book[-1]
    use = TokenUse(1_000_000, cached_tokens=1_000_000, output_tokens=1_000_000)
    assert nano_usd(price, use) == round((price.usd_per_mtok_in + price.usd_per_mtok_cached + price.usd_per_mtok_out) * 1e9)
