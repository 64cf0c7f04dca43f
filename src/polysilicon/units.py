"""Units: the name carries the unit inside; a converter stands where a datum enters.

Inside polysilicon a quantity is a plain float whose name ends in its unit. A datum from a file carries a unit in
words; `convert` turns it into the unit of its parameter, or says that it cannot.
"""

from __future__ import annotations

from polysilicon.errors import InputError, did_you_mean

SECONDS_PER_HOUR = 3600.0
HOURS_PER_YEAR = 8760.0
HOURS_PER_MONTH = HOURS_PER_YEAR / 12
BYTES_PER_GB = 1e9
BYTES_PER_GIB = 2.0**30
FLOP_PER_TFLOP = 1e12
TOKENS_PER_MTOK = 1e6
NANO_USD_PER_USD = 1_000_000_000

# Every public float ends in one of these, or is a count in the plural; a test enforces it.
SUFFIXES: tuple[str, ...] = (
    "_s", "_ms", "_h", "_hours", "_months", "_years", "_days", "_bytes", "_gb", "_gib", "_tb", "_mb", "_gb_per_s", "_tb_per_s",
    "_tok_per_s", "_rps", "_per_s", "_per_hour", "_per_day", "_per_year", "_per_month", "_flop", "_tflop_per_s", "_flop_per_s",
    "_pflop_per_s", "_w", "_kw", "_mw", "_gw", "_kwh", "_mwh", "_j_per_token", "_j", "_wh", "_usd", "_per_usd", "_usd_per_mtok",
    "_usd_per_chip_hour", "_usd_per_kwh", "_per_mwh", "_per_kwh", "_per_mtok", "_per_chip_hour", "_nano_usd", "_frac", "_tokens",
    "_chips", "_requests", "_blocks", "_params", "_bits", "_bytes_per_token", "_per_token", "_g", "_kg", "_tonnes", "_mtok",
    "_mtok_per_hour", "_mtok_in", "_mtok_out", "_mtok_cached", "_mtok_blended", "_write_5m", "_write_1h", "_in_long", "_out_long",
    "_tonne_co2", "_per_request", "_gw_year", "_by_year", "_factor_max", "_seconds", "_pue", "_quantile", "_factor", "_count",
    "_chip_hours", "_per_chip", "_cv", "_ratio", "_gb_hour", "_mtok_hour", "_per_home",
)  # fmt: skip

# dimension -> unit in words -> factor to the dimension's first unit
_UNITS: dict[str, dict[str, float]] = {
    "time": {"s": 1.0, "ms": 1e-3, "us": 1e-6, "min": 60.0, "h": 3600.0, "hour": 3600.0, "d": 86400.0, "day": 86400.0},
    "calendar": {"month": 1.0, "months": 1.0, "year": 12.0, "years": 12.0},
    "memory": {"GB": 1.0, "MB": 1e-3, "TB": 1e3, "PB": 1e6, "GiB": BYTES_PER_GIB / 1e9, "MiB": 2.0**20 / 1e9, "TiB": 2.0**40 / 1e9, "B": 1e-9},
    "bandwidth": {"GB/s": 1.0, "TB/s": 1e3, "PB/s": 1e6, "GiB/s": BYTES_PER_GIB / 1e9, "Gbit/s": 0.125, "Tbit/s": 125.0},
    "math": {"TFLOP/s": 1.0, "TFLOPS": 1.0, "TOPS": 1.0, "TOP/s": 1.0, "PFLOP/s": 1e3, "PFLOPS": 1e3, "GFLOP/s": 1e-3},
    "power": {"W": 1.0, "kW": 1e3, "MW": 1e6, "GW": 1e9},
    "energy": {"kWh": 1.0, "MWh": 1e3, "GWh": 1e6, "J": 1 / 3.6e6},
    "money": {"USD": 1.0, "$": 1.0, "kUSD": 1e3, "MUSD": 1e6, "M$": 1e6, "BUSD": 1e9, "B$": 1e9},
    "chip price": {"USD/chip-hour": 1.0, "$/chip-h": 1.0, "$/GPU-h": 1.0},
    "token price": {"USD/Mtok": 1.0, "$/Mtok": 1.0, "$/1K tok": 1e3, "USD/Ktok": 1e3, "USD/tok": 1e6, "$/tok": 1e6},
    "energy price": {"USD/kWh": 1.0, "$/kWh": 1.0, "USD/MWh": 1e-3, "$/MWh": 1e-3, "cents/kWh": 1e-2},
    "share": {"1": 1.0, "frac": 1.0, "%": 1e-2, "ratio": 1.0},
    "tokens": {"tokens": 1.0, "tok": 1.0, "Mtok": 1e6, "T tok": 1e12},
}  # fmt: skip
_DIMENSION_OF: dict[str, str] = {unit: dim for dim, units in _UNITS.items() for unit in units}


def convert(value: float, unit: str, to: str, *, where: str = "") -> float:
    """Return `value` given in `unit` expressed in `to`.

    >>> convert(3.35, "TB/s", "GB/s")
    3350.0
    >>> convert(400, "Gbit/s", "GB/s")
    50.0

    Raises: InputError when either unit is not known or the two measure different things.
    """
    for name in (unit, to):
        if name not in _DIMENSION_OF:
            raise InputError(f'unit "{name}" is not known', where=where, hint=did_you_mean(name, _DIMENSION_OF))
    dimension = _DIMENSION_OF[unit]
    if _DIMENSION_OF[to] != dimension:
        raise InputError(f'"{unit}" measures {dimension}, "{to}" measures {_DIMENSION_OF[to]}', where=where)
    factors = _UNITS[dimension]
    return value * (factors[unit] / factors[to])


def known_units() -> tuple[str, ...]:
    """Return every unit that `convert` understands."""
    return tuple(_DIMENSION_OF)
