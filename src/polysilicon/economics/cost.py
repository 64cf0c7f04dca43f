"""What a chip costs its owner an hour, and what must be charged for it.

    C_rack = (I - R/(1+r)^n) CRF(r, n) + S CRF(r, m) + facility kW x 8760 x $/kWh + opex            [$/yr]
    c_hour = C_rack / (chips x 8760 x sold share)                                                  [$ per sold chip-hour]

I and n: price and life of IT and network; S and m: of the building; R: resale value; r: cost of capital.
The accounting view writes I and S off in equal parts, charges no cost of capital and takes every hour as sold: that is
what a reported gross margin is computed on. The two views stand side by side; neither is called "the" cost.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from polysilicon.economics.finance import capital_recovery_per_year, depreciation_usd
from polysilicon.errors import InputError
from polysilicon.units import HOURS_PER_YEAR


@dataclass(frozen=True, slots=True)
class Rack:
    """One rack with its share of building, power and people. Base values: GB200 NVL72, sources in data/economics.csv."""

    rack_usd: float = 3.4e6  # chips, hosts, scale-up network
    network_usd: float = 0.0  # scale-out network where it is not in rack_usd
    site_usd: float = 2.5e6  # building, power and cooling plant
    chips: float = 72
    rack_kw: float = 120.0
    pue: float = 1.2
    energy_usd_per_mwh: float = 70.0
    ppa_frac: float = 0.0  # share of energy under a power purchase agreement
    ppa_usd_per_mwh: float = 0.0
    carbon_kg_per_mwh: float = 0.0
    carbon_usd_per_tonnes: float = 0.0
    staff_usd: float = 0.0  # a year
    opex_frac: float = 0.03  # a year, of rack and site
    capital_frac: float = 0.10  # cost of capital a year
    it_years: float = 5.0
    site_years: float = 15.0
    resale_frac: float = 0.0  # of rack and network, at the end of it_years
    sold_frac: float = 0.85

    def __post_init__(self) -> None:
        """Refuse what no rack can be."""
        for name in ("chips", "rack_kw", "it_years", "site_years", "sold_frac"):
            if getattr(self, name) <= 0:
                raise InputError(f"{name} is {getattr(self, name):g}; it must be above 0")
        if self.sold_frac > 1 or self.pue < 1 or not 0 <= self.ppa_frac <= 1 or not 0 <= self.resale_frac <= 1:
            raise InputError("sold_frac, ppa_frac and resale_frac are shares of 1, PUE is 1 or more")

    @property
    def it_usd(self) -> float:
        """Return what is bought with the life of IT."""
        return self.rack_usd + self.network_usd


@dataclass(frozen=True, slots=True)
class ChipHour:
    """The cost of a sold chip-hour by layer, and the accounting view of it."""

    it_usd: float
    site_usd: float
    power_usd: float
    carbon_usd: float
    opex_usd: float
    staff_usd: float
    accounting_usd: float  # straight-line, no cost of capital, every hour taken
    cash_usd: float  # of it power, opex and staff
    full_usd: float  # with cost of capital, every hour taken

    @property
    def total_usd(self) -> float:
        """Return the sum of the layers."""
        return self.it_usd + self.site_usd + self.power_usd + self.carbon_usd + self.opex_usd + self.staff_usd


def yearly_usd(rack: Rack) -> dict[str, float]:
    """Return what a rack costs a year by layer, with cost of capital."""
    resale = rack.it_usd * rack.resale_frac * (1 + rack.capital_frac) ** -rack.it_years
    mwh = rack.rack_kw / 1000 * rack.pue * HOURS_PER_YEAR
    price = rack.ppa_frac * rack.ppa_usd_per_mwh + (1 - rack.ppa_frac) * rack.energy_usd_per_mwh
    return {
        "it": (rack.it_usd - resale) * capital_recovery_per_year(rack.capital_frac, rack.it_years),
        "site": rack.site_usd * capital_recovery_per_year(rack.capital_frac, rack.site_years),
        "power": mwh * price,
        "carbon": mwh * rack.carbon_kg_per_mwh / 1000 * rack.carbon_usd_per_tonnes,
        "opex": rack.opex_frac * (rack.it_usd + rack.site_usd),
        "staff": rack.staff_usd,
    }


def chip_hour(rack: Rack) -> ChipHour:
    """Return the cost of a sold chip-hour.

    >>> cost = chip_hour(Rack())
    >>> [round(x, 2) for x in (cost.it_usd, cost.site_usd, cost.power_usd, cost.opex_usd, cost.total_usd)]
    [1.67, 0.61, 0.16, 0.33, 2.78]
    >>> [round(x, 2) for x in (cost.full_usd, cost.accounting_usd, cost.cash_usd)]
    [2.36, 1.76, 0.42]
    """
    year = yearly_usd(rack)
    hours = rack.chips * HOURS_PER_YEAR
    sold = hours * rack.sold_frac
    cash = year["power"] + year["carbon"] + year["opex"] + year["staff"]
    resale = rack.it_usd * rack.resale_frac
    accounting = (rack.it_usd - resale) / rack.it_years + rack.site_usd / rack.site_years + cash
    layers = {f"{name}_usd": usd / sold for name, usd in year.items()}
    return ChipHour(**layers, accounting_usd=accounting / hours, cash_usd=cash / hours, full_usd=sum(year.values()) / hours)


@dataclass(frozen=True, slots=True)
class PriceRow:
    """What a price per chip-hour means to the one who charges it."""

    usd_per_chip_hour: float
    accounting_margin_frac: float
    economic_margin_frac: float  # after cost of capital, every hour taken
    chips: float  # that a budget rents for the term
    profit_over_cost_frac: float  # by accounts; no margin, and stands beside it so that the two are not mixed up


def price_table(rack: Rack, prices: list[float], *, budget_usd: float = 30e9, years: float = 5.0) -> list[PriceRow]:
    """Return margins by price.

    >>> row = price_table(Rack(), [3.0])[0]
    >>> round(row.accounting_margin_frac, 2), round(row.economic_margin_frac, 2), round(row.chips, -3)
    (0.41, 0.21, 228000.0)
    """
    cost = chip_hour(rack)
    return [
        PriceRow(p, 1 - cost.accounting_usd / p, 1 - cost.full_usd / p, budget_usd / (p * years * HOURS_PER_YEAR), p / cost.accounting_usd - 1)
        for p in prices
    ]


def price_for_margin_usd(rack: Rack, gross_margin_frac: float) -> float:
    """Return the price per chip-hour that gives an accounting gross margin.

    >>> [round(price_for_margin_usd(Rack(), m), 2) for m in (0.6, 0.7)]
    [4.41, 5.88]
    """
    if not gross_margin_frac < 1:
        raise InputError("no price gives a gross margin of 100 %")
    return chip_hour(rack).accounting_usd / (1 - gross_margin_frac)


def floor_usd_per_chip_hour(rack: Rack, *, age_years: float, resale_usd: float = 0.0) -> float:
    """Return below which price a written-off rack is better switched off: cash cost plus what its sale would bring.

    Tokens served by chips past their book life cost this; it is the floor under tier-two prices.

    >>> round(floor_usd_per_chip_hour(Rack(), age_years=6), 3)
    0.421
    """
    cost = chip_hour(rack)
    if age_years < rack.it_years:
        book = rack.it_usd * (1 - age_years / rack.it_years) / (rack.it_years - age_years)
        return cost.cash_usd + book / (rack.chips * HOURS_PER_YEAR)
    return cost.cash_usd + resale_usd * rack.capital_frac / (rack.chips * HOURS_PER_YEAR)


def book_value_usd(rack: Rack, method: str = "straight_line") -> list[float]:
    """Return the book value of the IT of a rack at the end of each year of its life."""
    spent, out = 0.0, []
    for amount in depreciation_usd(rack.it_usd, round(rack.it_years), residual_usd=rack.it_usd * rack.resale_frac, method=method):
        spent += amount
        out.append(rack.it_usd - spent)
    return out


def vary(rack: Rack, changes: Mapping[str, float]) -> Rack:
    """Return a rack with some of its numbers changed.

    Raises: InputError for a name that a rack does not have.
    """
    unknown = [name for name in changes if name not in Rack.__dataclass_fields__]
    if unknown:
        raise InputError(f"a rack has no {', '.join(unknown)}", hint=f"it has {', '.join(Rack.__dataclass_fields__)}")
    return replace(rack, **changes)
