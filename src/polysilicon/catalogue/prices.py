"""Token prices by date: what an API charged for a model on a day, and where sources disagree."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date
from typing import cast

from polysilicon.catalogue.rows import Row
from polysilicon.catalogue.schema import parse_date
from polysilicon.cloud.token_price import TokenPrice, price_on
from polysilicon.errors import InputError
from polysilicon.facts import Basis


def token_prices(rows: Iterable[Row]) -> tuple[TokenPrice, ...]:
    """Return the prices that checked rows hold.

    Raises: InputError where batch work pays another share of the input than of the output price: a price holds one.
    """
    return tuple(_price(row) for row in rows)


def _price(row: Row) -> TokenPrice:
    def number(column: str) -> float | None:
        text = row.get(column)
        return float(text) if text else None

    def count(column: str) -> int | None:
        text = row.get(column)
        return int(float(text)) if text else None

    return TokenPrice(
        model=row.get("model"),
        provider=row.get("provider"),
        usd_per_mtok_in=number("usd_per_mtok_in"),
        usd_per_mtok_out=number("usd_per_mtok_out"),
        usd_per_mtok_cached=number("usd_per_mtok_cached"),
        usd_per_mtok_write_5m=number("usd_per_mtok_cache_write"),
        usd_per_mtok_write_1h=number("usd_per_mtok_cache_write_1h"),
        batch_frac=_batch_frac(row, number("usd_per_mtok_in"), number("usd_per_mtok_out")),
        long_from_tokens=count("long_context_from_tokens"),
        usd_per_mtok_in_long=number("long_context_usd_per_mtok_in"),
        usd_per_mtok_out_long=number("long_context_usd_per_mtok_out"),
        max_input_tokens=count("max_input_tokens"),
        valid_from=row.get("valid_from"),
        valid_to=row.get("valid_to"),
        condition=row.get("condition"),
        as_of=row.get("as_of"),
        source=row.get("source"),
        basis=cast(Basis, row.get("basis")),
        note=row.get("note"),
    )


def _batch_frac(row: Row, fresh: float | None, out: float | None) -> float | None:
    """Return the share of the list price that batch work pays."""
    shares = [
        float(text) / base
        for column, base in (("usd_per_mtok_batch_in", fresh), ("usd_per_mtok_batch_out", out))
        if (text := row.get(column)) and base
    ]
    if len(shares) == 2 and abs(shares[0] - shares[1]) > 1e-3:
        message = f"batch pays {shares[0]:.0%} of the input price and {shares[1]:.0%} of the output price; one share of both is allowed"
        raise InputError(message, where=row.where("usd_per_mtok_batch_out"))
    return round(shares[0], 6) if shares else None


def conflicts_on(prices: Sequence[TokenPrice], day: date) -> tuple[TokenPrice, ...]:
    """Return what each source says for a day where they do not all say the same; empty where they agree."""
    by_source: dict[str, list[TokenPrice]] = {}
    for price in prices:
        by_source.setdefault(price.source, []).append(price)
    said = [p for group in by_source.values() if (p := price_on(group, day)) is not None]
    newest = max((parse_date(p.as_of) for p in said), default=day)
    recent = [p for p in said if p.valid_from or p.valid_to or parse_date(p.as_of) >= newest]
    return tuple(recent) if len({(p.usd_per_mtok_in, p.usd_per_mtok_out) for p in recent}) > 1 else ()
