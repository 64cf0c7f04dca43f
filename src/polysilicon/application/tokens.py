"""Token prices applied to requests: the book by date, blended prices."""

from __future__ import annotations

from collections.abc import Iterable

from polysilicon.application.workload import Lengths
from polysilicon.cloud.token_price import TokenPrice, TokenUse, nano_usd
from polysilicon.errors import InputError, MissingFact, did_you_mean
from polysilicon.units import TOKENS_PER_MTOK

__all__ = ["TokenPrice", "TokenUse", "blended_usd_per_mtok", "nano_usd", "price_on", "request_usd"]


def price_on(prices: Iterable[TokenPrice], model: str, *, on: str, provider: str = "") -> TokenPrice:
    """Return the price of a model that holds on an ISO date: the newest that started no later.

    >>> book = [TokenPrice("m", "p", 15, 75, valid_from="2025-05-22"), TokenPrice("m", "p", 5, 25, valid_from="2025-11-24")]
    >>> price_on(book, "m", on="2025-11-23").usd_per_mtok_in, price_on(book, "m", on="2025-11-24").usd_per_mtok_in
    (15, 5)

    Raises: InputError when the model is not in the book; MissingFact when no price of it had started by then.
    """
    book = [p for p in prices if not provider or p.provider == provider]
    own = [p for p in book if p.model == model]
    if not own:
        raise InputError(f'model "{model}" has no token price', hint=did_you_mean(model, {p.model for p in book}))
    held = [p for p in own if (p.valid_from or p.as_of or "0000") <= on]
    if not held:
        raise MissingFact(model, "token price", needed_for=f"a request on {on}")
    return max(held, key=lambda p: (p.valid_from or p.as_of, p.as_of))


def request_usd(price: TokenPrice, lengths: Lengths, *, batch: bool = False) -> float:
    """Return the mean dollars of a request of this shape: fresh input, cache reads and output.

    Ignores: cache writes, whose share the lengths do not tell; where they are billed apart, price a `TokenUse` instead.
    """
    cached = lengths.isl_tokens * lengths.cached_frac
    rates = (
        (lengths.isl_tokens - cached, "usd_per_mtok_in", price.usd_per_mtok_in),
        (cached, "usd_per_mtok_cached", price.usd_per_mtok_cached),
        (lengths.osl_tokens, "usd_per_mtok_out", price.usd_per_mtok_out),
    )
    subject = f"{price.provider}/{price.model}"
    usd = 0.0
    for tokens, name, rate in rates:
        if tokens and rate is None:
            raise MissingFact(subject, name, needed_for="the price of a request")
        usd += tokens * (rate or 0.0) / TOKENS_PER_MTOK
    if not batch:
        return usd
    if price.batch_frac is None:
        raise MissingFact(subject, "batch_frac", needed_for="a batch request")
    return usd * price.batch_frac


def blended_usd_per_mtok(price: TokenPrice, lengths: Lengths, *, batch: bool = False) -> float:
    """Return dollars per million tokens in and out together, for requests of this shape.

    blended = request_usd / (isl + osl) x 1e6

    >>> p = TokenPrice("m", "p", 3.0, 15.0, usd_per_mtok_cached=0.3)
    >>> blended_usd_per_mtok(p, Lengths(900.0, 100.0))
    4.2
    """
    return request_usd(price, lengths, batch=batch) / (lengths.isl_tokens + lengths.osl_tokens) * TOKENS_PER_MTOK
