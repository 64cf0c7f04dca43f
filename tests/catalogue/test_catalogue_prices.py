"""Token prices by date: what held on a day, and where sources disagree."""

from __future__ import annotations

from datetime import date

import pytest

from polysilicon.catalogue import load
from polysilicon.catalogue.prices import conflicts_on
from polysilicon.cloud.token_price import TokenPrice, price_on

KNOWN = load()


@pytest.mark.parametrize(
    ("model", "day", "usd_in", "usd_out"),
    [
        ("claude-opus-4-1", date(2025, 11, 1), 15, 75),
        ("claude-sonnet-4-5", date(2025, 11, 1), 3, 15),
        ("claude-haiku-4-5", date(2025, 11, 1), 1, 5),
        ("claude-opus-5-5", date(2026, 11, 22), 4, 20),
        ("claude-sonnet-5", date(2026, 8, 31), 2, 10),
        ("claude-sonnet-5", date(2026, 9, 1), 3, 15),
        ("gpt-5.6-luna", date(2026, 7, 29), 1, 6),
        ("gpt-5.6-luna", date(2026, 7, 30), 0.2, 1.2),
    ],
)
def test_price_on_a_day(model, day, usd_in, usd_out):
    price = KNOWN.price(model, on=day)
    assert (price.usd_per_mtok_in, price.usd_per_mtok_out) == (usd_in, usd_out)
    assert price.source in KNOWN.sources


def test_no_price_before_anybody_recorded_one():
    assert KNOWN.price("claude-opus-5-5", on=date(2025, 1, 1)) is None
    assert KNOWN.price("no-such-model") is None


def test_cached_input_is_no_longer_always_a_tenth():
    price = KNOWN.price("claude-opus-5-5", on=date(2026, 11, 22))
    assert price.usd_per_mtok_cached / price.usd_per_mtok_in == pytest.approx(0.05)
    assert KNOWN.price("claude-opus-4-1", on=date(2025, 11, 1)).usd_per_mtok_cached == 1.5


def test_sources_that_disagree_are_shown():
    said = KNOWN.price_conflicts("claude-sonnet-5", on=date(2026, 11, 22))
    assert {p.usd_per_mtok_in for p in said} == {2.0, 3.0}
    assert KNOWN.price_conflicts("claude-haiku-4-5", on=date(2026, 11, 22)) == ()


def test_every_price_is_dated():
    assert len(KNOWN.token_prices) > 1000
    assert all(p.as_of for p in KNOWN.token_prices)


def _price(usd, *, begin="", end="", as_of="2026-01-01", source="a", condition=""):
    return TokenPrice("p", "m", usd, usd, valid_from=begin, valid_to=end, as_of=as_of, source=source, condition=condition)


def test_a_stated_interval_goes_before_what_was_merely_seen():
    prices = [_price(1, begin="2026-01-01"), _price(2, as_of="2026-06-01")]
    assert price_on(prices, date(2026, 7, 1)).usd_per_mtok_in == 1


def test_a_price_for_an_hour_of_the_day_is_left_out():
    assert price_on([_price(1, condition="UTC 00:30:00Z-16:30:00Z")], date(2026, 7, 1)) is None


def test_the_first_day_without_a_price_is_its_end():
    prices = [_price(1, end="2026-02-01"), _price(2, begin="2026-02-01")]
    assert price_on(prices, date(2026, 1, 31)).usd_per_mtok_in == 1
    assert price_on(prices, date(2026, 2, 1)).usd_per_mtok_in == 2
    assert conflicts_on(prices, date(2026, 2, 1)) == ()
