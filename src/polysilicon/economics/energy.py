"""Gigawatts, racks, chips, tokens, homes: one into the other, each with the number it rests on."""

from __future__ import annotations

from dataclasses import dataclass

from polysilicon.errors import InputError
from polysilicon.units import HOURS_PER_YEAR

SECONDS_PER_MONTH = HOURS_PER_YEAR / 12 * 3600


@dataclass(frozen=True, slots=True)
class Capacity:
    """A stretch of power as racks, chips and tokens."""

    facility_gw: float
    it_gw: float
    racks: float
    chips: float
    tokens_per_month: float | None = None


def capacity(facility_gw: float, *, rack_kw: float, rack_chips: float, pue: float = 1.0, tok_per_s_per_chip: float | None = None) -> Capacity:
    """Return what facility power carries: IT = facility / PUE; racks = IT / kW a rack; chips = racks x chips a rack.

    Press gigawatts are often facility power; at PUE 1.0 the two are the same.

    >>> c = capacity(1.0, rack_kw=120, rack_chips=72)
    >>> round(c.racks), round(c.chips)
    (8333, 600000)
    >>> round(capacity(1.0, rack_kw=120, rack_chips=72, pue=1.2).chips)
    500000
    """
    if facility_gw < 0 or rack_kw <= 0 or rack_chips <= 0 or pue < 1:
        raise InputError(
            f"{facility_gw:g} GW, {rack_kw:g} kW and {rack_chips:g} chips a rack, PUE {pue:g}: power cannot be negative, PUE is 1 or more"
        )
    it_gw = facility_gw / pue
    racks = it_gw * 1e6 / rack_kw
    chips = racks * rack_chips
    tokens = None if tok_per_s_per_chip is None else chips * tok_per_s_per_chip * SECONDS_PER_MONTH
    return Capacity(facility_gw, it_gw, racks, chips, tokens)


def facility_gw_for_chips(chips: float, *, rack_kw: float, rack_chips: float, pue: float = 1.0) -> float:
    """Return the facility power that chips need.

    >>> round(facility_gw_for_chips(600_000, rack_kw=120, rack_chips=72), 6)
    1.0
    """
    return chips / rack_chips * rack_kw * pue / 1e6


def home_kw(kwh_per_year: float) -> float:
    """Return a home's mean power.

    >>> round(home_kw(10_715), 3)
    1.223
    """
    return kwh_per_year / HOURS_PER_YEAR


def homes(mw: float, *, kw_per_home: float) -> float:
    """Return how many homes use as much; the answer means nothing without the kilowatts per home it assumes.

    >>> homes(60, kw_per_home=1.5)
    40000.0
    """
    if kw_per_home <= 0:
        raise InputError(f"{kw_per_home:g} kW per home; it must be above 0")
    return mw * 1000 / kw_per_home


def kwh_per_mtok(chip_w: float, tok_per_s_per_chip: float, *, pue: float = 1.0) -> float:
    """Return facility energy per million tokens: W x PUE / (tok/s) x 1e6 / 3.6e6.

    >>> round(kwh_per_mtok(1667, 1000, pue=1.2), 4)
    0.5557
    """
    if tok_per_s_per_chip <= 0:
        raise InputError("energy per token needs tokens per second above 0")
    return chip_w * pue / tok_per_s_per_chip / 3.6


def carbon_g_per_mtok(kwh: float, g_co2_per_kwh: float) -> float:
    """Return grams of CO2 per million tokens, location-based."""
    return kwh * g_co2_per_kwh


def carbon_usd_per_mtok(kwh: float, g_co2_per_kwh: float, usd_per_tonne_co2: float) -> float:
    """Return what a carbon price adds to a million tokens.

    >>> carbon_usd_per_mtok(0.5, 400, 100)
    0.02
    """
    return kwh * g_co2_per_kwh / 1e6 * usd_per_tonne_co2


def tflop_per_j(tflop_per_s: float, watts: float) -> float:
    """Return math per energy, TFLOP/J; the same as TFLOP/s per watt.

    >>> round(tflop_per_j(4000, 350), 1), tflop_per_j(10000, 1000)
    (11.4, 10.0)
    """
    return tflop_per_s / watts


def usd_per_gw_year(usd: float, gw: float, years: float) -> float:
    """Return a deal's price in the one unit that compares deals of any size.

    >>> usd_per_gw_year(100e9, 5, 10) / 1e9
    2.0
    """
    if gw <= 0 or years <= 0:
        raise InputError(f"{gw:g} GW over {years:g} years has no price per GW-year")
    return usd / gw / years


def ramp_mw(racks_by_quarter: list[float], *, rack_kw: float, pue: float = 1.0) -> list[float]:
    """Return facility megawatts by quarter of a build-out given in racks.

    >>> ramp_mw([500, 1000], rack_kw=120)
    [60.0, 120.0]
    """
    return [racks * rack_kw * pue / 1000 for racks in racks_by_quarter]
