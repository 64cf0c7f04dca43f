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
from typing import NamedTuple

from polysilicon.cloud.token_price import TokenPrice
from polysilicon.economics.references import own_facts
from polysilicon.errors import InputError, MissingFact


class PriceClass(NamedTuple):
    """Models of one provider that succeed one another at one place in its range."""

    provider: str
    pattern: str  # of model names
    tier: str  # frontier, middle, small: how good it means to be among its provider's models


CLASSES: dict[str, PriceClass] = {
    "claude-opus": PriceClass("anthropic", r"claude-(?:3-)?opus(?:-[\d.-]+)?(?:-\d{8})?", "frontier"),
    "claude-sonnet": PriceClass("anthropic", r"claude-(?:3(?:[.-][57])?-)?sonnet(?:-[\d.-]+)?(?:-\d{8})?", "middle"),
    "claude-haiku": PriceClass("anthropic", r"claude-(?:3(?:[.-]5)?-)?haiku(?:-[\d.-]+)?(?:-\d{8})?", "small"),
    "gpt": PriceClass("openai", r"gpt-(?:4|4-turbo|4o|4\.1|5|5\.\d)(?:-\d{4}-\d{2}-\d{2})?", "frontier"),
    "gpt-mini": PriceClass("openai", r"gpt-(?:4o|4\.1|5|5\.\d)-(?:mini|nano)(?:-\d{4}-\d{2}-\d{2})?|gpt-3\.5-turbo(?:-\d{4})?", "small"),
    "gemini-flash": PriceClass("google", r"gemini-[\d.]+-flash", "middle"),
    "deepseek": PriceClass("deepseek", r"deepseek-(?:chat|reasoner|v\d[\w.-]*)", "frontier"),
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
    tier: str
    observations: tuple[Observation, ...]
    per_year_frac: float  # median change a year; -0.5: halves
    low_per_year_frac: float
    high_per_year_frac: float
    half_life_months: float | None  # None where the price does not fall
    half_life_low_months: float | None
    half_life_high_months: float | None  # None: the band reaches a constant or rising price
    rises: int  # changes upwards of a model's own price
    falls: int
    class_rises: int  # a newer model, or the same one, dearer than the one before
    class_falls: int
    last_year_frac: float | None  # from the newest price of twelve months before to the newest; None: not so old

    def projected(self, months: float) -> tuple[float, float, float]:
        """Return the newest price some months on at the low, the median and the high rate of the band: scenarios, rises included."""
        now = self.observations[-1].usd_per_mtok
        rates = (self.low_per_year_frac, self.per_year_frac, self.high_per_year_frac)
        low, middle, high = (now * (1 + rate) ** (months / 12) for rate in rates)
        return low, middle, high


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
    provider, pattern, _ = CLASSES[name]
    rows: dict[str, list[tuple[str, float, str]]] = {}
    for price in prices:
        value = blended(price)
        if price.provider == provider and value and not price.condition and re.fullmatch(pattern, price.model):
            rows.setdefault(price.model, []).append((_whole_day(price.valid_from or price.as_of), value, price.source))
    oldest = min((day for seen in rows.values() for day, _, _ in seen), default="")
    dated = {(_release(model), value) for model, seen in rows.items() if _launched(model) for _, value, _ in seen}
    out = _launch(name)
    for model, seen in rows.items():
        launched, last = _launched(model), None
        for day, value, source in sorted(seen):
            if last is None or abs(value / last - 1) > 1e-9:
                alias = launched is None and (_release(model), value) in dated  # told under its dated name
                known = launched is not None or day > oldest or last is not None  # undated and there from the first record on: launch unknown
                if known and not alias:
                    out.append(Observation(launched if launched and last is None else day, model, value, source))
            last = value
    return tuple(sorted(out, key=lambda o: (o.day, o.model)))


def _release(model: str) -> str:
    """Return a model's name without its date: `4-0` and `4`, `3.5` and `3-5` are the same."""
    return _DATED.sub("", model).rstrip("-").replace(".", "-").removesuffix("-0")


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
    moves = [b.usd_per_mtok / a.usd_per_mtok for a, b in pairwise(seen)]
    own = _own_changes(seen)
    return Trend(
        name,
        CLASSES[name].tier,
        seen,
        math.expm1(12 * middle),
        math.expm1(12 * low),
        math.expm1(12 * high),
        _half(middle),
        _half(low),
        _half(high),
        rises=sum(own),
        falls=len(own) - sum(own),
        class_rises=sum(m > 1 for m in moves),
        class_falls=sum(m < 1 for m in moves),
        last_year_frac=_last_year(seen),
    )


def _last_year(seen: Sequence[Observation]) -> float | None:
    """Return the change from the newest price a year before the newest one."""
    newest = date.fromisoformat(seen[-1].day)
    before = [o for o in seen if (newest - date.fromisoformat(o.day)).days >= 365]
    return seen[-1].usd_per_mtok / before[-1].usd_per_mtok - 1 if before else None


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
