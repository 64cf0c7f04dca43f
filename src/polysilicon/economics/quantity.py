"""A number with a unit, and arithmetic that refuses to mix what must not be mixed.

Used where a person writes a formula (claims, deal files' assumptions); the rest of polysilicon keeps units in names.
Counting nouns (chip, rack, token, home) are dimensions too: $/chip-h is not $/rack-h, and chips per rack x racks is chips.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

from polysilicon.errors import InputError, did_you_mean

SOFT = "~"  # marks a noun that comes with a fact: GB of a chip may be read as GB or as GB/chip
Dimensions = tuple[tuple[str, Fraction], ...]  # sorted (base, power), no zero powers

COUNTS: frozenset[str] = frozenset(
    ["chip", "rack", "token", "param", "home", "tier", "rank", "cloud", "platform", "request", "deal", "facility", "date", "call", "person", "site"]
)
_TIME = {
    "s": 1.0,
    "ms": 1e-3,
    "us": 1e-6,
    "min": 60.0,
    "h": 3600.0,
    "hour": 3600.0,
    "hours": 3600.0,
    "day": 86400.0,
    "days": 86400.0,
    "month": 8760 * 300.0,
    "months": 8760 * 300.0,
    "quarter": 8760 * 900.0,
    "yr": 8760 * 3600.0,
    "year": 8760 * 3600.0,
    "years": 8760 * 3600.0,
}
_MONEY = {"$": 1.0, "USD": 1.0, "usd": 1.0, "k$": 1e3, "K$": 1e3, "M$": 1e6, "B$": 1e9, "T$": 1e12, "cents": 1e-2}
_DATA = {
    "B": 1.0,
    "kB": 1e3,
    "MB": 1e6,
    "GB": 1e9,
    "TB": 1e12,
    "PB": 1e15,
    "KiB": 2.0**10,
    "MiB": 2.0**20,
    "GiB": 2.0**30,
    "TiB": 2.0**40,
    "bit": 0.125,
    "Gbit": 0.125e9,
    "Tbit": 0.125e12,
}
_FLOP = {"FLOP": 1.0, "GFLOP": 1e9, "TFLOP": 1e12, "PFLOP": 1e15, "EFLOP": 1e18}
_RATES = {"FLOPS": 1.0, "TFLOPS": 1e12, "PFLOPS": 1e15, "PF": 1e15, "TF": 1e12}
_ENERGY = {"J": 1.0, "Wh": 3600.0, "kWh": 3.6e6, "MWh": 3.6e9, "GWh": 3.6e12, "TWh": 3.6e15}
_POWER = {"W": 1.0, "kW": 1e3, "MW": 1e6, "GW": 1e9, "TW": 1e12}
_NOUNS = {
    "chip": "chip",
    "chips": "chip",
    "GPU": "chip",
    "GPUs": "chip",
    "TPU": "chip",
    "TPUs": "chip",
    "H100": "chip",
    "rack": "rack",
    "racks": "rack",
    "tok": "token",
    "token": "token",
    "tokens": "token",
    "param": "param",
    "params": "param",
    "home": "home",
    "homes": "home",
    "tier": "tier",
    "rank": "rank",
    "cloud": "cloud",
    "clouds": "cloud",
    "platform": "platform",
    "request": "request",
    "requests": "request",
    "deal": "deal",
    "facility": "facility",
    "facilities": "facility",
    "date": "date",
    "call": "call",
    "calls": "call",
    "person": "person",
    "site": "site",
}
_MULTIPLIERS = {"k": 1e3, "K": 1e3, "1K": 1e3, "1k": 1e3, "M": 1e6, "1M": 1e6, "B": 1e9, "bn": 1e9, "T": 1e12}


def _dims(**powers: int) -> Dimensions:
    return tuple(sorted((base, Fraction(power)) for base, power in powers.items() if power))


def _table() -> dict[str, tuple[float, Dimensions]]:
    table: dict[str, tuple[float, Dimensions]] = {"1": (1.0, ()), "x": (1.0, ()), "%": (0.01, ()), "frac": (1.0, ()), "ratio": (1.0, ())}
    families: tuple[tuple[Mapping[str, float], Dimensions], ...] = (
        (_TIME, _dims(s=1)),
        (_MONEY, _dims(usd=1)),
        (_DATA, _dims(byte=1)),
        (_FLOP, _dims(flop=1)),
        (_RATES, _dims(flop=1, s=-1)),
        (_ENERGY, _dims(joule=1)),
        (_POWER, _dims(joule=1, s=-1)),
        ({"g": 1.0, "kg": 1e3, "t": 1e6, "tonne": 1e6}, _dims(gram=1)),
        ({"nm": 1.0}, _dims(nanometre=1)),
        ({"L": 1.0, "l": 1.0, "litre": 1.0}, _dims(litre=1)),
    )
    for units, dims in families:
        table.update({name: (factor, dims) for name, factor in units.items()})
    table.update({name: (1.0, _dims(**{base: 1})) for name, base in _NOUNS.items()})
    table["Mtok"] = (1e6, _dims(token=1))
    table["Ktok"] = (1e3, _dims(token=1))
    return table


UNITS: Mapping[str, tuple[float, Dimensions]] = _table()


@dataclass(frozen=True, slots=True)
class Unit:
    """A parsed unit: how many of the base units it is, and of which kind."""

    text: str
    scale_factor: float
    dims: Dimensions


@lru_cache(maxsize=4096)
def parse_unit(text: str, *, where: str = "", lenient: bool = False) -> Unit:
    """Return the unit that a text like `B$/yr`, `$/GPU-h`, `T tok/month` or `%` names.

    With `lenient`, a text that is not understood is a kind of its own, compatible with nothing but itself.

    >>> parse_unit("$/GPU-h").dims == parse_unit("USD/chip-hour").dims
    True
    >>> parse_unit("T tok/month").scale_factor / parse_unit("Mtok/month").scale_factor
    1000000.0

    Raises: InputError when a part is not a known unit.
    """
    scale, powers = 1.0, dict[str, Fraction]()
    try:
        for place, part in enumerate(text.strip().split("/")):
            sign = 1 if place == 0 else -1
            for factor, dims in _product(part, where=where):
                scale *= factor**sign
                for base, power in dims:
                    powers[base] = powers.get(base, Fraction(0)) + sign * power
    except InputError:
        if not lenient:
            raise
        return Unit(text, 1.0, ((text.strip().casefold(), Fraction(1)),))
    return Unit(text, scale, _tidy(powers))


def _product(part: str, *, where: str) -> list[tuple[float, Dimensions]]:
    words = [word for word in re.split(r"[\s*·-]+", part.strip()) if word]
    found: list[tuple[float, Dimensions]] = []
    for i, word in enumerate(words):
        if word in _MULTIPLIERS and i + 1 < len(words):
            found.append((_MULTIPLIERS[word], ()))
        elif word in UNITS:
            found.append(UNITS[word])
        elif re.fullmatch(r"\d+(e\d+)?", word) and float(word) > 0 and len(word) < 8:
            found.append((float(word), ()))  # "1e9 params"
        else:
            raise InputError(f'unit "{word}" is not known', where=where, hint=did_you_mean(word, UNITS))
    if not found:
        raise InputError("a unit is empty", where=where, hint='write "1" for a plain number')
    return found


def _tidy(powers: Mapping[str, Fraction]) -> Dimensions:
    """Return powers in order; a soft noun ("~chip", of a fact that is per chip) is cancelled by a hard one (chip)."""
    left = dict(powers)
    for soft in [base for base in left if base.startswith(SOFT)]:
        hard = left.get(soft[1:], Fraction(0))
        if hard * left[soft] < 0:
            size = min(abs(hard), abs(left[soft]))
            left[soft[1:]] -= size if hard > 0 else -size
            left[soft] -= size if left[soft] > 0 else -size
    return tuple(sorted((base, power) for base, power in left.items() if power))


def compatible(a: Dimensions, b: Dimensions) -> bool:
    """Say whether two dimensions agree, where a soft noun may count as the hard one or as nothing.

    >>> per_chip = parse_unit("GB").dims + (("~chip", Fraction(-1)),)
    >>> compatible(per_chip, parse_unit("TB/chip").dims), compatible(per_chip, parse_unit("TB").dims)
    (True, True)
    """
    return a == b or not _readings(a).isdisjoint(_readings(b))


def _readings(dims: Dimensions) -> set[Dimensions]:
    readings: set[Dimensions] = set()
    soft = [(base, power) for base, power in dims if base.startswith(SOFT)]
    hard = {base: power for base, power in dims if not base.startswith(SOFT)}
    for choice in range(1 << len(soft)):
        powers = dict(hard)
        for i, (base, power) in enumerate(soft):
            if choice >> i & 1:
                powers[base[1:]] = powers.get(base[1:], Fraction(0)) + power
        readings.add(_tidy(powers))
    return readings


def without_soft(dims: Dimensions) -> Dimensions:
    """Return dimensions without soft nouns."""
    return tuple((base, power) for base, power in dims if not base.startswith(SOFT))


def describe(dims: Dimensions) -> str:
    """Return dimensions in words.

    >>> describe(parse_unit("$/GPU-h").dims)
    'usd/chip/s'
    """
    dims = without_soft(dims)
    top = [_power(b, p) for b, p in sorted(dims, key=lambda d: d[0] != "usd") if p > 0]
    bottom = [_power(b, -p) for b, p in dims if p < 0]
    if not top and not bottom:
        return "a plain number"
    return "/".join(["·".join(top) or "1", *bottom])


def _power(base: str, power: Fraction) -> str:
    return base if power == 1 else f"{base}^{power}"


@dataclass(frozen=True, slots=True)
class Quantity:
    """A number, the dimensions it measures, and the scale it is written in (1 once it is in base units)."""

    value: float
    dims: Dimensions = ()
    scale_factor: float = 1.0

    @property
    def plain(self) -> bool:
        """Say whether it is a plain number."""
        return not without_soft(self.dims) and self.scale_factor == 1.0

    def times(self, other: Quantity, sign: int = 1) -> Quantity:
        """Return the product, or with sign -1 the quotient."""
        powers = dict(self.dims)
        for base, power in other.dims:
            powers[base] = powers.get(base, Fraction(0)) + sign * power
        value = self.value * other.value if sign > 0 else self.value / other.value
        return Quantity(value, _tidy(powers), self.scale_factor * other.scale_factor**sign)

    def same_kind(self, other: Quantity) -> bool:
        """Say whether the two can be added or compared: same dimensions, same scale."""
        return compatible(self.dims, other.dims) and abs(self.scale_factor / other.scale_factor - 1) < 1e-12

    def to(self, unit: str, *, where: str = "") -> float:
        """Return the value in a unit.

        >>> round(Quantity(72e9, parse_unit("B").dims).to("GB"), 6)
        72.0

        Raises: InputError when the unit measures something else.
        """
        target = parse_unit(unit, where=where)
        if not compatible(target.dims, self.dims):
            raise InputError(f'the result measures {describe(self.dims)}, "{unit}" measures {describe(target.dims)}', where=where)
        return self.value * self.scale_factor / target.scale_factor


def quantity(value: float, unit: str = "1", *, where: str = "", raw: bool = False) -> Quantity:
    """Return a quantity in base units; with `raw`, the number stays as written and the scale is remembered.

    >>> quantity(5.76, "PB").to("TB")
    5760.0
    """
    parsed = parse_unit(unit, where=where, lenient=raw)
    if raw:
        return Quantity(value, parsed.dims, parsed.scale_factor)
    return Quantity(value * parsed.scale_factor, parsed.dims)


def without_counts(dims: Dimensions) -> Dimensions:
    """Return dimensions with the counting nouns left out: GB/chip and GB agree in this sense."""
    return tuple((base, power) for base, power in dims if base.removeprefix(SOFT) not in COUNTS)
