"""A token price made ready for the data path: whole numbers only, to the nano-dollar the bill of `cloud.token_price.nano_usd`."""

from __future__ import annotations

from operator import mul

import msgspec

from polysilicon.cloud.token_price import TokenPrice
from polysilicon.errors import MissingFact
from polysilicon.gateway.usage import Used

Rates = tuple[int, int, int, int, int]  # fresh, cached, write 5m, write 1h, output; 1e-12 $ a token; -1: not known
Tokens = tuple[int, int, int, int, int]  # of each kind, in the same order
UNKNOWN = -1


class Tariff(msgspec.Struct, frozen=True):
    """What one target charges for one model's tokens."""

    version: str  # whose price, valid from when: stated with every answer
    rates: Rates
    batch: Rates | None = None
    long: Rates | None = None
    long_from_tokens: int = 0
    discount_frac: float = 0.0  # the contract's, off the list
    factors: dict[str, float] = {}  # "tier:priority", "speed:fast", "geo:us" -> times the list price
    provisioned: bool = False  # paid for whether used or not: the next token costs nothing


def compile_price(price: TokenPrice, *, discount_frac: float = 0.0, factors: dict[str, float] | None = None, provisioned: bool = False) -> Tariff:
    """Return the tariff of a list price under a contract's discount."""
    base = (
        price.usd_per_mtok_in,
        price.usd_per_mtok_cached,
        price.usd_per_mtok_write_5m,
        price.usd_per_mtok_write_1h,
        price.usd_per_mtok_out,
    )
    long = None
    if price.long_from_tokens is not None:
        up = price.usd_per_mtok_in_long / price.usd_per_mtok_in if price.usd_per_mtok_in_long and price.usd_per_mtok_in else 1.0
        cached, w5, w1 = (rate * up if rate is not None else None for rate in base[1:4])
        long = (price.usd_per_mtok_in_long or base[0], cached, w5, w1, price.usd_per_mtok_out_long or base[4])
    return Tariff(
        version=f"{price.provider}/{price.model}@{price.valid_from or price.as_of or 'undated'}",
        rates=_rates(base, 1.0),
        batch=_rates(base, price.batch_frac) if price.batch_frac is not None else None,
        long=_rates(long, 1.0) if long else None,
        long_from_tokens=price.long_from_tokens or 0,
        discount_frac=discount_frac,
        factors=factors or {},
        provisioned=provisioned,
    )


def _rates(usd_per_mtok: tuple[float | None, ...], share: float) -> Rates:
    fresh, cached, w5, w1, out = (UNKNOWN if rate is None else round(rate * share * 1e6) for rate in usd_per_mtok)
    return fresh, cached, w5, w1, out


def meter_nano_usd(tariff: Tariff, used: Used) -> tuple[int, int, int, int, int]:
    """Return the list cost of each kind of tokens, in nano-dollars: fresh, cached, written for 5 m and 1 h, output.

    Raises: MissingFact when tokens of a kind are used whose rate is not known.
    """
    rates = tariff.rates
    if used.tier == "batch" and tariff.batch is not None:
        rates = tariff.batch
    elif tariff.long is not None and (used.fresh_tokens + used.cached_tokens + used.write_5m_tokens + used.write_1h_tokens > tariff.long_from_tokens):
        rates = tariff.long
    if (
        (rates[0] < 0 < used.fresh_tokens)
        or (rates[1] < 0 < used.cached_tokens)
        or (rates[2] < 0 < used.write_5m_tokens)
        or (rates[3] < 0 < used.write_1h_tokens)
        or (rates[4] < 0 < used.output_tokens)
    ):
        raise MissingFact(tariff.version, "a rate for the kinds of tokens used", needed_for=f"{used}")
    fresh, cached, w5, w1, out = rates
    return (
        _nano(used.fresh_tokens, fresh),
        _nano(used.cached_tokens, cached) if used.cached_tokens else 0,
        _nano(used.write_5m_tokens, w5) if used.write_5m_tokens else 0,
        _nano(used.write_1h_tokens, w1) if used.write_1h_tokens else 0,
        _nano(used.output_tokens, out),
    )


def list_nano_usd(tariff: Tariff, used: Used) -> int:
    """Return what the tokens cost at list price, in nano-dollars.

    >>> opus = compile_price(TokenPrice("opus", "anthropic", 5.0, 25.0, usd_per_mtok_cached=0.5, usd_per_mtok_write_5m=6.25))
    >>> list_nano_usd(opus, Used(1_000, 100_000, 2_000, 0, 400))
    77500000

    Raises: MissingFact when tokens of a kind are used whose rate is not known.
    """
    total = sum(meter_nano_usd(tariff, used))
    if tariff.factors:
        for key in (f"tier:{used.tier}", f"speed:{used.speed}", f"geo:{used.geo}"):
            total = round(total * tariff.factors.get(key, 1.0))
    return total


def _nano(tokens: int, rate: int) -> int:
    return tokens * rate // 1000 if rate % 1000 == 0 else round(tokens * rate / 1000)


def cost_nano_usd(tariff: Tariff, used: Used) -> int:
    """Return what the tokens cost us: list less discount, nothing where the capacity is paid for already."""
    if tariff.provisioned:
        return 0
    return discounted(tariff, list_nano_usd(tariff, used))


def discounted(tariff: Tariff, list_nano: int) -> int:
    """Return a list cost under the contract's discount; nothing where the capacity is paid for already."""
    if tariff.provisioned:
        return 0
    return list_nano if not tariff.discount_frac else round(list_nano * (1.0 - tariff.discount_frac))


class Meter:
    """A tariff at work: the same sums as `meter_nano_usd` and the two after it, with what does not depend on the request done once."""

    __slots__ = ("_cut", "_whole", "plain", "tariff")

    def __init__(self, tariff: Tariff) -> None:
        self.tariff = tariff
        whole = all(rate >= 0 and rate % 1000 == 0 for rate in tariff.rates) and tariff.long is None and not tariff.factors
        self._whole: tuple[int, ...] = tuple(rate // 1000 for rate in tariff.rates) if whole else ()  # nano-dollars a token
        self._cut = tariff.provisioned or tariff.discount_frac > 0.0
        self.plain = () if self._cut else self._whole  # nano-dollars a token where that is all there is to it, unless it is a batch's

    def price(self, used: Used, tokens: Tokens) -> tuple[tuple[int, ...], int, int]:
        """Return the list cost by kind of tokens, the list cost and what it costs us, in nano-dollars; `tokens` are those of `used`.

        Raises: MissingFact when tokens of a kind are used whose rate is not known.
        """
        tariff = self.tariff
        if self._whole and used.tier != "batch":
            fresh, cached, w5, w1, out = tokens
            a, b, c, d, e = self._whole
            meters: tuple[int, ...] = (fresh * a, cached * b, w5 * c, w1 * d, out * e)
            total = sum(meters)
        else:
            meters = meter_nano_usd(tariff, used)
            total = sum(meters) if not tariff.factors else list_nano_usd(tariff, used)
        return meters, total, discounted(tariff, total) if self._cut else total

    def cost_nano_usd(self, used: Used, tokens: Tokens) -> int:
        """Return what it costs us alone."""
        if self.plain and used.tier != "batch":
            return sum(map(mul, tokens, self.plain))
        return self.price(used, tokens)[2]


def bound_nano_usd(tariff: Tariff, prompt_tokens: int, output_tokens: int) -> int:
    """Return the most a request can cost at list price: each prompt token at the dearest rate it could be billed at."""
    rates = tariff.long if tariff.long is not None and prompt_tokens > tariff.long_from_tokens else tariff.rates
    dearest = max(rates[0], rates[2], rates[3], 0)
    total = -(-(prompt_tokens * dearest + output_tokens * max(rates[4], 0)) // 1000)
    return round(total * max(tariff.factors.values(), default=1.0)) if tariff.factors else total
