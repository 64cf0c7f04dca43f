"""Token prices over time: what was charged when, how fast a class of models fell or rose, and what if that went on.

A price's date is the one in the model's name, else the day it held from, else the day it was first seen. The trend of a class is
the median slope over all pairs of observations (Theil-Sen) of the logarithm of a blended price, with its 95 % band: half-life =
ln 2 / -slope. A rising class has no half-life but a doubling time. A projection is a scenario with that band, never a fact.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import pairwise

from polysilicon.catalogue.prices import TokenPrice
from polysilicon.economics.references import own_facts
from polysilicon.errors import InputError, MissingFact

CLASSES: dict[str, tuple[str, str]] = {  # class -> (provider, pattern of model names)
    "claude-opus": ("anthropic", r"claude-(?:3-)?opus(?:-[\d.-]+)?(?:-\d{8})?"),
    "claude-sonnet": ("anthropic", r"claude-(?:3(?:[.-][57])?-)?sonnet(?:-[\d.-]+)?(?:-\d{8})?"),
    "claude-haiku": ("anthropic", r"claude-(?:3(?:[.-]5)?-)?haiku(?:-[\d.-]+)?(?:-\d{8})?"),
    "gpt": ("openai", r"gpt-(?:4|4-turbo|4o|4\.1|5|5\.\d)(?:-\d{4}-\d{2}-\d{2})?"),
    "gpt-mini": ("openai", r"gpt-(?:4o|4\.1|5|5\.\d)-(?:mini|nano)(?:-\d{4}-\d{2}-\d{2})?|gpt-3\.5-turbo(?:-\d{4})?"),
    "gemini-flash": ("google", r"gemini-[\d.]+-flash"),
    "deepseek": ("deepseek", r"deepseek-(?:chat|reasoner|v\d[\w.-]*)"),
}
LAUNCHES: dict[str, tuple[str, str]] = {"gpt": ("gpt-4-launch", "gpt-4")}  # class -> (subject of data/economics.csv, model): before any record
_DATED = re.compile(r"(20\d{2})-?(\d{2})-?(\d{2})$")
DAYS_PER_MONTH = 365.25 / 12


@dataclass(frozen=True, slots=True)
class Observation:
    """A blended price on a day."""

    day: str
    model: str
    usd_per_mtok: float
    source: str


@dataclass(frozen=True, slots=True)
class Trend:
    """How a class of models moved."""

    name: str
    observations: tuple[Observation, ...]
    per_year_frac: float  # median change a year; -0.5: halves
    low_per_year_frac: float
    high_per_year_frac: float
    half_life_months: float | None  # None where the price does not fall
    half_life_low_months: float | None
    half_life_high_months: float | None  # None: the band reaches a constant or rising price
    rises: int  # changes upwards of a model's own price
    falls: int


def half_life_months(factor: float, months: float) -> float:
    """Return the time in which a price halves if it falls by a factor in so many months.

    >>> round(half_life_months(10, 12), 1)
    3.6
    """
    if factor <= 1 or months <= 0:
        raise InputError(f"a price that moves by {factor:g}x in {months:g} months has no half-life")
    return months * math.log(2) / math.log(factor)


def projected_usd_per_mtok(now_usd_per_mtok: float, months: float, half_life: float | None) -> float:
    """Return a price some months on, if the half-life held; unchanged where there is none.

    >>> projected_usd_per_mtok(8.0, 12.0, 6.0)
    2.0
    """
    return now_usd_per_mtok if half_life is None else now_usd_per_mtok * 2 ** (-months / half_life)


def blended(price: TokenPrice, input_to_output: float = 3.0) -> float | None:
    """Return the mean price of so many input tokens to one output token; None where a rate is missing."""
    if price.usd_per_mtok_in is None or price.usd_per_mtok_out is None:
        return None
    return (input_to_output * price.usd_per_mtok_in + price.usd_per_mtok_out) / (input_to_output + 1)


def history(prices: Iterable[TokenPrice], name: str) -> tuple[Observation, ...]:
    """Return the dated prices of a class: each model's first, and every change of it.

    Raises: InputError for an unknown class.
    """
    if name not in CLASSES:
        raise InputError(f'class "{name}" is not known', hint=f"classes: {', '.join(CLASSES)}")
    provider, pattern = CLASSES[name]
    rows: dict[str, list[tuple[str, float, str]]] = {}
    for price in prices:
        value = blended(price)
        if price.provider == provider and value and not price.condition and re.fullmatch(pattern, price.model):
            rows.setdefault(price.model, []).append((_whole_day(price.valid_from or price.as_of), value, price.source))
    oldest = min((day for seen in rows.values() for day, _, _ in seen), default="")
    out = _launch(name)
    for model, seen in rows.items():
        last: float | None = None
        for day, value, source in sorted(seen):
            if last is None or abs(value / last - 1) > 1e-9:
                launched = _launched(model) if last is None else None
                if launched or day > oldest or last is not None:  # undated and there from the first record on: launched unknown
                    out.append(Observation(launched or day, model, value, source))
            last = value
    return tuple(sorted(out, key=lambda o: (o.day, o.model)))


def _launch(name: str) -> list[Observation]:
    if name not in LAUNCHES:
        return []
    subject, model = LAUNCHES[name]
    rates = {fact.parameter: fact for fact in own_facts() if fact.subject == subject}
    value = (3 * float(rates["usd_per_mtok_in"].value) + float(rates["usd_per_mtok_out"].value)) / 4
    return [Observation(_whole_day(rates["usd_per_mtok_in"].as_of), model, value, rates["usd_per_mtok_in"].source)]


def _launched(model: str) -> str | None:
    match = _DATED.search(model)
    return f"{match[1]}-{match[2]}-{match[3]}" if match and "01" <= match[2] <= "12" else None


def _whole_day(text: str) -> str:
    return text if len(text) == 10 else f"{text[:7]}-15" if len(text) >= 7 else f"{text[:4]}-07-01"


def trend(prices: Sequence[TokenPrice], name: str) -> Trend:
    """Return how a class moved.

    Raises: MissingFact with fewer than four observations or less than half a year between them.
    """
    seen = history(prices, name)
    days = [date.fromisoformat(o.day).toordinal() for o in seen]
    if len(seen) < 4 or max(days) - min(days) < 180:
        raise MissingFact(name, "dated prices over half a year", needed_for="a half-life")
    from scipy import stats

    fit = stats.theilslopes([math.log(o.usd_per_mtok) for o in seen], [d / DAYS_PER_MONTH for d in days])
    middle, low, high = float(fit.slope), float(fit.low_slope), float(fit.high_slope)
    changes = [b.usd_per_mtok > a.usd_per_mtok for a, b in pairwise(seen)]
    own = _own_changes(seen)
    assert len(changes) == len(seen) - 1
    return Trend(
        name,
        seen,
        math.expm1(12 * middle),
        math.expm1(12 * low),
        math.expm1(12 * high),
        _half(middle),
        _half(low),
        _half(high),
        rises=sum(own),
        falls=len(own) - sum(own),
    )


def _own_changes(seen: Sequence[Observation]) -> list[bool]:
    """Return, for each change of one model's own price, whether it rose."""
    last: dict[str, float] = {}
    out = []
    for o in seen:
        if o.model in last and o.usd_per_mtok != last[o.model]:
            out.append(o.usd_per_mtok > last[o.model])
        last[o.model] = o.usd_per_mtok
    return out


def _half(slope: float) -> float | None:
    return math.log(2) / -slope if slope < -1e-12 else None
