"""The price of tokens: one dated row a model and provider, which row holds on a day, and the exact bill of a request."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date

from polysilicon.errors import InputError, MissingFact
from polysilicon.facts import Basis


@dataclass(frozen=True, slots=True)
class TokenPrice:
    """What a provider charges for one model's tokens from a day on, in dollars per million, as one source recorded it.

    A rate that is not published is None. `long_from_tokens` is the prompt length above which the `_long` rates hold,
    for the whole request.
    """

    model: str
    provider: str
    usd_per_mtok_in: float | None
    usd_per_mtok_out: float | None
    usd_per_mtok_cached: float | None = None  # cache read
    usd_per_mtok_write_5m: float | None = None  # cache write, kept five minutes
    usd_per_mtok_write_1h: float | None = None
    batch_frac: float | None = None  # share of the list price that batch work pays
    long_from_tokens: int | None = None
    usd_per_mtok_in_long: float | None = None
    usd_per_mtok_out_long: float | None = None
    valid_from: str = ""  # ISO date the price holds from; empty: unknown
    valid_to: str = ""  # the first day on which it no longer holds; empty: not stated
    condition: str = ""  # an hour of the day, a tier: a price that holds for some only
    max_input_tokens: int | None = None
    as_of: str = ""  # when the source said so
    source: str = ""
    basis: Basis = "list_price"
    note: str = ""


def price_on(prices: Iterable[TokenPrice], day: date) -> TokenPrice | None:
    """Return the price of a model that held on a day, or None where no source reaches that far back.

    A source that states from when or until when a price holds goes before one that only saw it; among equals the later
    record wins. A price that was merely seen holds from the day it was seen. Prices bound to a condition (an hour of the
    day) are left out.

    >>> book = [TokenPrice("m", "p", 15, 75, valid_from="2025-05-22"), TokenPrice("m", "p", 5, 25, valid_from="2025-11-24")]
    >>> price_on(book, date(2025, 11, 23)).usd_per_mtok_in, price_on(book, date(2025, 11, 24)).usd_per_mtok_in
    (15, 5)
    """
    best: tuple[bool, date, date] | None = None
    found: TokenPrice | None = None
    for price in prices:
        if price.condition or (price.usd_per_mtok_in is None and price.usd_per_mtok_out is None):
            continue
        seen = first_day(price.as_of)
        begin = first_day(price.valid_from) if price.valid_from else (date.min if price.valid_to else seen)
        end = first_day(price.valid_to) if price.valid_to else date.max
        rank = (bool(price.valid_from or price.valid_to), begin, seen)
        if begin <= day < end and (best is None or rank > best):
            best, found = rank, price
    return found


def first_day(text: str) -> date:
    """Return the first day of an ISO year, month or day; of nothing, the first of all.

    >>> first_day("2025-02"), first_day("2025")
    (datetime.date(2025, 2, 1), datetime.date(2025, 1, 1))
    """
    year, month, day = (int(part or 1) for part in (f"{text}---".split("-"))[:3])
    return date(year, month, day) if text else date.min


@dataclass(frozen=True, slots=True)
class TokenUse:
    """The tokens of one request, each counted in one place only."""

    fresh_tokens: int  # prompt tokens neither read from nor written to the cache
    cached_tokens: int = 0  # read from the cache
    write_5m_tokens: int = 0
    write_1h_tokens: int = 0
    output_tokens: int = 0

    @property
    def prompt_tokens(self) -> int:
        """Return all prompt tokens, the ones a long-context tier is decided by."""
        return self.fresh_tokens + self.cached_tokens + self.write_5m_tokens + self.write_1h_tokens


def nano_usd(price: TokenPrice, use: TokenUse, *, batch: bool = False) -> int:
    """Return what a request costs, in whole billionths of a dollar.

    cost = sum over kinds of tokens x rate / 1e6. A rate in dollars per million with at most three decimals times a whole
    number of tokens is a whole number of nano-dollars, so sums of bills are exact; finer rates are rounded once a kind.

    >>> p = TokenPrice("opus", "anthropic", 5.0, 25.0, usd_per_mtok_cached=0.5, usd_per_mtok_write_5m=6.25, batch_frac=0.5)
    >>> nano_usd(p, TokenUse(1_000, cached_tokens=100_000, write_5m_tokens=2_000, output_tokens=400))  # $0.0775
    77500000
    >>> nano_usd(p, TokenUse(1_000, output_tokens=400), batch=True)
    7500000

    Raises: MissingFact when tokens of a kind are used whose rate is not known; InputError on a negative count.
    """
    long = price.long_from_tokens is not None and use.prompt_tokens > price.long_from_tokens
    rates = (
        (use.fresh_tokens, "usd_per_mtok_in", _tier(price.usd_per_mtok_in, price.usd_per_mtok_in_long, long)),
        (use.cached_tokens, "usd_per_mtok_cached", _scaled(price, price.usd_per_mtok_cached, long)),
        (use.write_5m_tokens, "usd_per_mtok_write_5m", _scaled(price, price.usd_per_mtok_write_5m, long)),
        (use.write_1h_tokens, "usd_per_mtok_write_1h", _scaled(price, price.usd_per_mtok_write_1h, long)),
        (use.output_tokens, "usd_per_mtok_out", _tier(price.usd_per_mtok_out, price.usd_per_mtok_out_long, long)),
    )
    subject = f"{price.provider}/{price.model}"
    if batch and price.batch_frac is None:
        raise MissingFact(subject, "batch_frac", needed_for="a batch request")
    share = price.batch_frac if batch and price.batch_frac is not None else 1.0
    total = 0
    for tokens, name, rate in rates:
        if tokens < 0:
            raise InputError(f"{tokens} tokens priced by {name}; a count of tokens is 0 or more")
        if tokens and rate is None:
            raise MissingFact(subject, name, needed_for=f"{tokens} tokens")
        total += round(tokens * round((rate or 0.0) * share * 1e6) / 1000)
    return total


def _tier(rate: float | None, long_rate: float | None, long: bool) -> float | None:
    return long_rate if long and long_rate is not None else rate


def _scaled(price: TokenPrice, rate: float | None, long: bool) -> float | None:
    """Cache rates of the long tier rise with the input rate, as every published list does."""
    if not long or rate is None or not price.usd_per_mtok_in or price.usd_per_mtok_in_long is None:
        return rate
    return rate * price.usd_per_mtok_in_long / price.usd_per_mtok_in
