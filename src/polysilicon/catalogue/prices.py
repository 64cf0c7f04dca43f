"""Token prices by date: what an API charged for a model on a day, and where sources disagree."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date

from polysilicon.catalogue.rows import Row
from polysilicon.catalogue.schema import parse_date


@dataclass(frozen=True, slots=True)
class TokenPrice:
    """A list price of one model at one provider, as one source recorded it."""

    provider: str
    model: str
    usd_per_mtok_in: float | None
    usd_per_mtok_out: float | None
    usd_per_mtok_cached: float | None = None  # input tokens read from the provider's cache
    cache_write_usd_per_mtok: float | None = None  # kept for five minutes
    cache_write_1h_usd_per_mtok: float | None = None
    batch_in_usd_per_mtok: float | None = None
    batch_out_usd_per_mtok: float | None = None
    long_context_from_tokens: int | None = None
    long_context_in_usd_per_mtok: float | None = None
    long_context_out_usd_per_mtok: float | None = None
    max_input_tokens: int | None = None
    valid_from: str = ""  # ISO date; empty: not stated
    valid_to: str = ""  # the first day on which it no longer holds
    condition: str = ""
    as_of: str = ""  # when the source said so
    source: str = ""
    basis: str = "list_price"
    note: str = ""


def token_prices(rows: Iterable[Row]) -> tuple[TokenPrice, ...]:
    """Return the prices that checked rows hold."""
    return tuple(_price(row) for row in rows)


def _price(row: Row) -> TokenPrice:
    def number(column: str) -> float | None:
        text = row.get(column)
        return float(text) if text else None

    def count(column: str) -> int | None:
        text = row.get(column)
        return int(float(text)) if text else None

    return TokenPrice(
        provider=row.get("provider"),
        model=row.get("model"),
        usd_per_mtok_in=number("usd_per_mtok_in"),
        usd_per_mtok_out=number("usd_per_mtok_out"),
        usd_per_mtok_cached=number("usd_per_mtok_cached"),
        cache_write_usd_per_mtok=number("usd_per_mtok_cache_write"),
        cache_write_1h_usd_per_mtok=number("usd_per_mtok_cache_write_1h"),
        batch_in_usd_per_mtok=number("usd_per_mtok_batch_in"),
        batch_out_usd_per_mtok=number("usd_per_mtok_batch_out"),
        long_context_from_tokens=count("long_context_from_tokens"),
        long_context_in_usd_per_mtok=number("long_context_usd_per_mtok_in"),
        long_context_out_usd_per_mtok=number("long_context_usd_per_mtok_out"),
        max_input_tokens=count("max_input_tokens"),
        valid_from=row.get("valid_from"),
        valid_to=row.get("valid_to"),
        condition=row.get("condition"),
        as_of=row.get("as_of"),
        source=row.get("source"),
        basis=row.get("basis"),
        note=row.get("note"),
    )


def price_on(prices: Sequence[TokenPrice], day: date) -> TokenPrice | None:
    """Return the price that held on a day, or None where no source reaches that far back.

    A source that states from when or until when a price holds goes before one that only saw it; among equals the later
    record wins. A price that was merely seen holds from the day it was seen. Prices bound to a condition (an hour of the
    day) are left out.
    """
    best: tuple[bool, date, date] | None = None
    found: TokenPrice | None = None
    for price in prices:
        if price.condition or (price.usd_per_mtok_in is None and price.usd_per_mtok_out is None):
            continue
        seen = parse_date(price.as_of)
        begin = parse_date(price.valid_from) if price.valid_from else (date.min if price.valid_to else seen)
        end = parse_date(price.valid_to) if price.valid_to else date.max
        if not begin <= day < end:
            continue
        rank = (bool(price.valid_from or price.valid_to), begin, seen)
        if best is None or rank > best:
            best, found = rank, price
    return found


def conflicts_on(prices: Sequence[TokenPrice], day: date) -> tuple[TokenPrice, ...]:
    """Return what each source says for a day where they do not all say the same; empty where they agree."""
    by_source: dict[str, list[TokenPrice]] = {}
    for price in prices:
        by_source.setdefault(price.source, []).append(price)
    said = [p for group in by_source.values() if (p := price_on(group, day)) is not None]
    newest = max((parse_date(p.as_of) for p in said), default=day)
    recent = [p for p in said if p.valid_from or p.valid_to or parse_date(p.as_of) >= newest]
    return tuple(recent) if len({(p.usd_per_mtok_in, p.usd_per_mtok_out) for p in recent}) > 1 else ()
