"""Everything there is to say of the cost of compute, worked out once: for tables, JSON, pages and workbooks."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from polysilicon.economics import energy
from polysilicon.economics.cost import (
    ChipHour,
    PriceRow,
    Rack,
    book_value_usd,
    chip_hour,
    floor_usd_per_chip_hour,
    price_for_margin_usd,
    price_table,
)
from polysilicon.economics.cost_spread import CostSpread, cost_spread, published
from polysilicon.economics.references import number_of, own_facts
from polysilicon.economics.tokens import (
    CacheCost,
    MakeOrBuy,
    ServingDay,
    TokenCost,
    cache_costs,
    deepseek_day,
    make_or_buy,
    margin_stack,
    token_cost,
    usd_per_mtok,
)
from polysilicon.economics.uncertainty import Spread

PRICES = (2.0, 2.5, 3.0, 4.0, 5.0, 6.0)
METHODS = ("straight_line", "double_declining", "sum_of_years")


@dataclass(frozen=True, slots=True)
class Cache:
    """Whose keys and values are kept, and for how long."""

    model: str
    kv_bytes_per_token: float
    hbm_gb: float
    held_hours: float | None = None  # None: the shortest lifetime on sale


@dataclass(frozen=True, slots=True)
class Market:
    """A price of tokens, and how many of them a month."""

    usd_per_mtok: float
    mtok_per_month: float = 1000.0


@dataclass(frozen=True, slots=True)
class Homes:
    """A power as homes; it means nothing without the kilowatts a home it rests on."""

    count: float
    kw_per_home: float
    source: str


@dataclass(frozen=True, slots=True)
class CostAnswer:
    """The cost of a chip-hour and of tokens from every side."""

    rack: Rack
    chip_hour: ChipHour
    prices: tuple[PriceRow, ...]
    price_for_margin_usd: Mapping[str, float]
    range: CostSpread
    published: Spread
    floor_usd_per_chip_hour: float
    power: energy.Capacity
    homes: Homes
    book_value_usd_by_year: Mapping[str, Sequence[float]]
    usd_per_mtok: float | None
    floor_usd_per_mtok: float | None
    token_cost: TokenCost | None
    cache: tuple[CacheCost, ...]
    cache_model: str
    storage_on_sale_usd_per_mtok_hour: Mapping[str, float]
    margin_stack_usd_per_mtok: Mapping[str, float] | None
    make_or_buy: MakeOrBuy | None
    published_day: ServingDay  # a provider's own figures, to set beside
    published_day_recomputed_usd: float  # its revenue from its rounded token counts

    def as_json(self) -> dict[str, Any]:
        """Return what `--json` prints."""
        out = asdict(self)
        out["chip_hour"]["total_usd"] = self.chip_hour.total_usd
        out["range"]["ranges"] = [{k: getattr(d, k) for k in ("name", "low", "base", "high", "shape", "source")} for d in self.range.ranges]
        return out


def storage_on_sale() -> dict[str, float]:
    """Return what providers charge to hold a million tokens in a context cache for an hour, by model."""
    return {f.subject.removesuffix("-cache"): float(f.value) for f in own_facts() if f.parameter == "storage_usd_per_mtok_hour"}


def whole(
    rack: Rack,
    *,
    stated: Collection[str] = (),
    prices: Sequence[float] = PRICES,
    speeds: tuple[float | None, float | None] = (None, None),
    gw: float = 1.0,
    market: Market | None = None,
    cache: Cache | None = None,
    seeded: tuple[int, int] = (4096, 7),
) -> CostAnswer:
    """Return the cost of a rack from every side; speeds are tokens per second and chip of input and of output."""
    fresh, out = speeds
    cost = chip_hour(rack)
    home = next(f for f in own_facts() if f.subject == "us-home")
    kw = energy.home_kw(number_of("us-home", "kwh_per_year"))
    floor = floor_usd_per_chip_hour(rack, age_years=rack.it_years)
    kept = () if cache is None else cache_costs(
        cache.kv_bytes_per_token, usd_per_chip_hour=cost.total_usd, hbm_gb=cache.hbm_gb, held_hours=cache.held_hours
    )  # fmt: skip
    cheapest = min((c.usd_per_mtok for c in kept), default=None)
    return CostAnswer(
        rack=rack,
        chip_hour=cost,
        prices=tuple(price_table(rack, list(prices))),
        price_for_margin_usd={f"{m:.0%}": price_for_margin_usd(rack, m) for m in (0.6, 0.7)},
        range=cost_spread(rack, draws=seeded[0], seed=seeded[1], stated=stated),
        published=published(),
        floor_usd_per_chip_hour=floor,
        power=energy.capacity(gw, rack_kw=rack.rack_kw, rack_chips=rack.chips, pue=rack.pue, tok_per_s_per_chip=out),
        homes=Homes(energy.homes(gw * 1000, kw_per_home=kw), kw, f"{home.source}: {home.value:,.0f} kWh a year"),
        book_value_usd_by_year={how: book_value_usd(rack, how) for how in METHODS},
        usd_per_mtok=None if out is None else usd_per_mtok(cost.total_usd, out),
        floor_usd_per_mtok=None if out is None else usd_per_mtok(floor, out),
        token_cost=None
        if fresh is None or out is None
        else token_cost(cost.total_usd, prefill_tok_per_s=fresh, decode_tok_per_s=out, cached_usd_per_mtok=cheapest),
        cache=kept,
        cache_model=cache.model if cache else "",
        storage_on_sale_usd_per_mtok_hour=storage_on_sale(),
        margin_stack_usd_per_mtok=None
        if market is None or out is None
        else margin_stack(market.usd_per_mtok, mtok_per_chip_hour=3.6e-3 * out, rent_usd_per_chip_hour=cost.total_usd, rack=rack),
        published_day=deepseek_day()[0],
        published_day_recomputed_usd=deepseek_day()[1],
        make_or_buy=None
        if market is None or out is None
        else make_or_buy(market.mtok_per_month, api_usd_per_mtok=market.usd_per_mtok, usd_per_chip_hour=cost.total_usd, tok_per_s_per_chip=out),
    )
