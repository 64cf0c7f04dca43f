"""What a token costs and earns: by kind of token, by layer, made or bought.

    c_tok = c_hour / (3.6e-3 x tok/s per chip x served share)                                    [$/Mtok]
Prefill and decode are costed apart: an input token costs the chip-seconds of prefill, an output token those of decode, a
cached one the memory that keeps its keys and values for as long as it is held between two reads.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from polysilicon.economics.cost import Rack, chip_hour
from polysilicon.economics.finance import MarginPair, margins
from polysilicon.economics.references import number_of, own_facts
from polysilicon.errors import InputError
from polysilicon.units import HOURS_PER_MONTH


def usd_per_mtok(usd_per_chip_hour: float, tok_per_s_per_chip: float, served_frac: float = 1.0) -> float:
    """Return the cost of a million tokens; served share is of peak: load over the day, failures, headroom.

    >>> round(usd_per_mtok(3.0, 1000.0, 0.5), 3)
    1.667
    """
    if tok_per_s_per_chip <= 0 or not 0 < served_frac <= 1:
        raise InputError(f"{tok_per_s_per_chip:g} tok/s and a served share of {served_frac:g} make no tokens")
    return usd_per_chip_hour / (3.6e-3 * tok_per_s_per_chip * served_frac)


@dataclass(frozen=True, slots=True)
class TokenCost:
    """Dollars per million tokens by kind."""

    input_usd_per_mtok: float
    cached_usd_per_mtok: float | None  # None: nothing says what holds the cache
    output_usd_per_mtok: float


def token_cost(
    usd_per_chip_hour: float, *, prefill_tok_per_s: float, decode_tok_per_s: float, served_frac: float = 1.0, cached_usd_per_mtok: float | None = None
) -> TokenCost:
    """Return the cost of input, cached and output tokens from the speeds of the two phases on one chip.

    >>> c = token_cost(3.0, prefill_tok_per_s=10_000, decode_tok_per_s=1000, cached_usd_per_mtok=0.01)
    >>> round(c.input_usd_per_mtok, 4), c.cached_usd_per_mtok, round(c.output_usd_per_mtok, 4)
    (0.0833, 0.01, 0.8333)
    """
    fresh = usd_per_mtok(usd_per_chip_hour, prefill_tok_per_s, served_frac)
    return TokenCost(fresh, cached_usd_per_mtok, usd_per_mtok(usd_per_chip_hour, decode_tok_per_s, served_frac))


@dataclass(frozen=True, slots=True)
class CacheCost:
    """What it costs to keep a million tokens ready to be read again, in one kind of memory."""

    memory: str  # host or hbm
    usd_per_gb_hour: float
    usd_per_mtok_hour: float
    usd_per_mtok: float  # a read
    basis: str


def cache_costs(
    kv_bytes_per_token: float, *, usd_per_chip_hour: float, hbm_gb: float, held_hours: float | None = None
) -> tuple[CacheCost, CacheCost]:
    """Return the cost of a cached token's memory: KV bytes x $ per byte-hour x hours held between two reads.

    - host: DRAM at a cloud's list price by the hour
    - hbm: the chip's own memory at its share of the chip-hour, since what it holds cannot batch

    Ignores: the way from host to chip, which overlaps with other requests' work (327 kB a token over 64 GB/s is 5 s a million).

    >>> host, hbm = cache_costs(327_680, usd_per_chip_hour=2.79, hbm_gb=186, held_hours=1.0)
    >>> round(host.usd_per_mtok, 2), round(hbm.usd_per_mtok, 2)
    (1.29, 4.92)

    Raises: InputError for a negative time or no memory.
    """
    hours = number_of("cache-lifetime", "held_hours") if held_hours is None else held_hours
    if kv_bytes_per_token <= 0 or hbm_gb <= 0 or hours < 0:
        raise InputError(f"{kv_bytes_per_token:g} bytes a token held {hours:g} hours in {hbm_gb:g} GB have no price")
    fact = next(f for f in own_facts() if f.subject == "host-memory")
    gb = kv_bytes_per_token / 1e3  # of a million tokens
    host = float(fact.value) * 1e9 / 2**30
    own = usd_per_chip_hour / hbm_gb
    return (
        CacheCost("host", host, gb * host, gb * host * hours, f"{fact.source}, {fact.as_of}"),
        CacheCost("hbm", own, gb * own, gb * own * hours, f"share of {hbm_gb:g} GB of the chip-hour"),
    )


def blended_usd_per_mtok(amounts: Sequence[tuple[float, float]]) -> float:
    """Return the mean price of (tokens, $/Mtok) pairs.

    >>> blended_usd_per_mtok([(3, 2.5), (1, 10.0)])
    4.375
    """
    tokens = sum(count for count, _ in amounts)
    if tokens <= 0:
        raise InputError("a mean price needs tokens")
    return sum(count * price for count, price in amounts) / tokens


@dataclass(frozen=True, slots=True)
class ServingDay:
    """One day of a serving fleet: what it cost, what its tokens would bring."""

    chip_hours: float
    cost_usd: float
    revenue_usd: float
    margins: MarginPair


def serving_day(*, chips: float, usd_per_chip_hour: float, sold: Sequence[tuple[float, float]]) -> ServingDay:
    """Return cost, revenue and both margins of a day; `sold` is (tokens, $/Mtok) by kind."""
    cost = chips * 24 * usd_per_chip_hour
    revenue = sum(tokens * price for tokens, price in sold) / 1e6
    return ServingDay(chips * 24, cost, revenue, margins(revenue, cost))


def deepseek_day() -> tuple[ServingDay, float]:
    """Return DeepSeek's published day, and the revenue recomputed from its rounded token counts.

    >>> day, recomputed = deepseek_day()
    >>> round(day.cost_usd, 6), day.revenue_usd, round(recomputed), str(day.margins)
    (87072.0, 562027.0, 562100, 'profit over cost 545%, gross margin 84.5%')
    """
    of = {fact.parameter: number_of("deepseek-day", fact.parameter) for fact in own_facts() if fact.subject == "deepseek-day"}
    kinds = (("cached_tokens", "usd_per_mtok_cached"), ("input_tokens", "usd_per_mtok_in"), ("output_tokens", "usd_per_mtok_out"))
    day = serving_day(chips=8 * of["nodes"], usd_per_chip_hour=of["usd_per_chip_hour"], sold=[(of[t], of[p]) for t, p in kinds])
    revenue = of["published_revenue_usd"]
    return ServingDay(day.chip_hours, day.cost_usd, revenue, margins(revenue, day.cost_usd)), day.revenue_usd


def margin_stack(
    price_usd_per_mtok: float,
    *,
    mtok_per_chip_hour: float,
    rent_usd_per_chip_hour: float,
    rack: Rack | None = None,
    supplier_take_frac: float = 0.58,
    supplier_margin_frac: float = 0.73,
    sold_frac: float | None = None,
) -> dict[str, float]:
    """Return who keeps what of a token's price, $/Mtok by layer, from energy to the lab; the layers sum to the price.

    The supplier's take is of IT and site together, as in capital-cost statements; a negative layer is a loss.

    >>> stack = margin_stack(10.0, mtok_per_chip_hour=1.0, rent_usd_per_chip_hour=3.0)
    >>> round(sum(stack.values()), 9), round(stack["lab gross margin"], 2)
    (10.0, 7.0)
    """
    rack = rack or Rack()
    cost = chip_hour(rack)
    per_hour = {"energy and carbon": cost.power_usd + cost.carbon_usd, "upkeep and staff": cost.opex_usd + cost.staff_usd}
    sold = rack.chips * 8760 * (rack.sold_frac if sold_frac is None else sold_frac)
    written_off = (rack.it_usd / rack.it_years + rack.site_usd / rack.site_years) / sold
    supplier = min(supplier_take_frac * (rack.it_usd + rack.site_usd), rack.it_usd) / rack.it_years / sold
    per_hour["chip maker's gross margin"] = supplier * supplier_margin_frac
    per_hour["chips, made"] = supplier * (1 - supplier_margin_frac)
    per_hour["other hardware and building"] = written_off - supplier
    per_hour["cost of capital"] = cost.it_usd + cost.site_usd - written_off
    per_hour["cloud's margin after capital"] = rent_usd_per_chip_hour - cost.total_usd
    stack = {name: usd / mtok_per_chip_hour for name, usd in per_hour.items()}
    stack["lab gross margin"] = price_usd_per_mtok - rent_usd_per_chip_hour / mtok_per_chip_hour
    return stack


@dataclass(frozen=True, slots=True)
class MakeOrBuy:
    """The same tokens bought by the million or served on rented chips."""

    api_usd_per_month: float
    own_usd_per_month: float
    break_even_mtok: float  # a month, from which own chips are cheaper; infinite where never
    answer: str


def make_or_buy(
    mtok_per_month: float,
    *,
    api_usd_per_mtok: float,
    usd_per_chip_hour: float,
    tok_per_s_per_chip: float,
    block_chips: int = 8,
    staff_usd_per_month: float = 0.0,
    served_frac: float = 0.4,
) -> MakeOrBuy:
    """Return what serving oneself costs against an API: chips come in blocks, people come first.

    Break-even is where API price x volume equals staff and blocks; within one block it is (staff + block) / price.

    >>> small = make_or_buy(500, api_usd_per_mtok=2.0, usd_per_chip_hour=3.0, tok_per_s_per_chip=1000, staff_usd_per_month=30_000)
    >>> small.answer, round(small.own_usd_per_month)
    ('API', 47520)
    """
    capacity = block_chips * tok_per_s_per_chip * served_frac * HOURS_PER_MONTH * 3600 / 1e6
    block = block_chips * usd_per_chip_hour * HOURS_PER_MONTH
    blocks = max(1, -(-mtok_per_month // capacity))
    own = staff_usd_per_month + blocks * block
    api = mtok_per_month * api_usd_per_mtok
    even = float("inf")
    for count in range(1, 10_001):
        volume = (staff_usd_per_month + count * block) / api_usd_per_mtok
        if volume <= count * capacity:
            even = volume
            break
        if block / capacity >= api_usd_per_mtok:
            break
    return MakeOrBuy(api, own, even, "own chips" if own < api else "API")


@dataclass(frozen=True, slots=True)
class UnitRow:
    """The economics of one application's tokens."""

    application: str
    model: str
    chip: str
    price_usd_per_mtok: float
    cost_usd_per_mtok: float
    other_usd_per_mtok: float
    transfer_usd_per_mtok: float  # what a first-party application is charged inside the house

    @property
    def margin_usd_per_mtok(self) -> float:
        """Return what is left of a million tokens."""
        return self.price_usd_per_mtok - self.cost_usd_per_mtok - self.other_usd_per_mtok

    @property
    def margin_frac(self) -> float:
        """Return the gross margin at list price."""
        return self.margin_usd_per_mtok / self.price_usd_per_mtok

    @property
    def application_margin_frac(self) -> float:
        """Return the application's own margin when it pays the transfer price instead of the list."""
        return 1 - (self.transfer_usd_per_mtok + self.other_usd_per_mtok) / self.price_usd_per_mtok
