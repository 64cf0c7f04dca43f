"""Which premise would have to change, and to what, for a claim to hold.

One premise at a time is multiplied by a factor until the formula gives the stated value: by the power law where the
formula is one, else by bracketing a root over eight decades and closing in.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from polysilicon.economics.claims import Premise
from polysilicon.economics.expression import Lookup
from polysilicon.economics.quantity import parse_unit
from polysilicon.errors import PolysiliconError

Ends = Callable[[Mapping[str, float]], tuple[float, float]]
_GRID = [10 ** (k / 4) for k in range(-16, 17)]


@dataclass(frozen=True, slots=True)
class Repair:
    """A premise and the value (from low to high where the ends of a range differ) with which the claim would hold."""

    premise: str
    value: float
    unit: str
    low: float
    high: float
    factor_ratio: float  # needed value over the one used, the nearer where two differ
    end: str = "both"  # which end of a range it mends


def repairs(ends: Ends, premises: Sequence[tuple[str, Premise]], lookup: Lookup, stated: tuple[float, float], *, raw: bool) -> Iterator[Repair]:
    """Yield, for each premise that alone can make the claim hold, the value it would need."""
    for name, premise in premises:
        factors = [_factor(ends, name, end, stated[end]) for end in (0, 1)]
        moved = [_moves(ends, name, end) for end in (0, 1)]
        found = [factor for factor, does in zip(factors, moved, strict=True) if does and factor is not None]
        if not found or len(found) < sum(moved):
            continue
        now = lookup(name)
        unit = premise.unit
        value = now.value if raw or not unit else now.value * now.scale_factor / parse_unit(unit).scale_factor
        needed = sorted(float(f"{value * factor:.9g}") for factor in found)
        end = "both" if all(moved) else "low" if moved[0] else "high"
        factor = float(f"{min(found, key=lambda f: abs(math.log(f))):.9g}")
        yield Repair(name, value, unit, needed[0], needed[-1], factor, end)


def _moves(ends: Ends, name: str, end: int) -> bool:
    """Say whether one end of the formula depends on the premise at all."""
    try:
        return ends({name: 1.0})[end] != ends({name: 1.25})[end]
    except PolysiliconError:
        return True


def _factor(ends: Ends, name: str, end: int, target: float) -> float | None:
    """Return by what the premise must be multiplied for one end of the formula to reach the target."""

    def gap(factor: float) -> float:
        try:
            return ends({name: factor})[end] - target
        except PolysiliconError:
            return math.nan

    law = _power_law(gap, target)
    if law is not None:
        return law
    best: float | None = None
    values = [(k, gap(k)) for k in _GRID]
    for (a, fa), (b, fb) in pairwise(values):
        if math.isfinite(fa) and math.isfinite(fb) and fa * fb <= 0 and fa != fb:
            root = _bisect(gap, a, b, fa)
            if best is None or abs(math.log(root)) < abs(math.log(best)):
                best = root
    return best if best is not None and abs(gap(best)) <= 1e-6 * max(abs(target), 1e-12) else None


def _power_law(gap: Callable[[float], float], target: float) -> float | None:
    """Return the root where the formula is c x factor^a, which most are."""
    at_one, at_two = gap(1.0) + target, gap(2.0) + target
    if not (math.isfinite(at_one) and math.isfinite(at_two)) or at_one * at_two <= 0 or at_one * target <= 0 or at_one == at_two:
        return None
    factor = (target / at_one) ** (1 / math.log2(at_two / at_one))
    return factor if math.isfinite(factor) and factor > 0 and abs(gap(factor)) <= 1e-9 * abs(target) else None


def _bisect(gap: Callable[[float], float], low: float, high: float, at_low: float) -> float:
    for _ in range(80):
        middle = math.sqrt(low * high)
        value = gap(middle)
        if value == 0 or not math.isfinite(value):
            return middle
        if value * at_low > 0:
            low = middle
        else:
            high = middle
    return math.sqrt(low * high)
