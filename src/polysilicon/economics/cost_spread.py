"""The cost of a chip-hour as a range, and what moves it: draws over sourced ranges, rank correlations, tornado.

The ends of every range are facts of data/economics.csv (subject `cost-range`), each with its source or marked as assumed; the
most likely value is the rack's own. What a caller states is taken as known and has no range.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from scipy import stats

from polysilicon.economics.cost import Rack, chip_hour, vary
from polysilicon.economics.deal import DriverPart
from polysilicon.economics.references import own_facts
from polysilicon.economics.uncertainty import Bar, Spread, quantile, spread
from polysilicon.errors import InputError
from polysilicon.facts import Fact

SUBJECT, PUBLISHED = "cost-range", "published-chip-hour"


@dataclass(frozen=True, slots=True)
class CostSpread:
    """The range of a cost, and what moves it."""

    draws: int
    seed: int
    usd_per_chip_hour: Spread
    bars: tuple[Bar, ...]
    ranges: tuple[DriverPart, ...]


def ranges_of(rack: Rack, stated: Collection[str] = ()) -> tuple[DriverPart, ...]:
    """Return the range of every number of a rack that has one, around the rack's own value, triangular.

    A value outside its range stretches it. What is stated has none.
    """
    ends: dict[str, dict[str, Fact]] = {}
    for fact in own_facts():
        if fact.subject == SUBJECT:
            name, _, end = fact.parameter.rpartition(".")
            ends.setdefault(name, {})[end] = fact
    out = []
    for name, pair in ends.items():
        base = float(getattr(rack, name))
        low, high = (float(pair[end].value) for end in ("low", "high"))
        if name not in stated:
            told = "; ".join(dict.fromkeys("assumed" if f.basis == "assumed" else f"{f.source} ({f.as_of})" for f in pair.values()))
            out.append(DriverPart(name=name, low=min(low, base), base=base, high=max(high, base), source=told))
    return tuple(out)


def published() -> Spread:
    """Return the percentiles of another study of the same rack, to set beside ours."""
    of = {fact.parameter[:3]: float(fact.value) for fact in own_facts() if fact.subject == PUBLISHED}
    return Spread(of["p10"], of["p50"], of["p90"], 0.0)


def cost_spread(rack: Rack, *, draws: int = 4096, seed: int = 7, stated: Collection[str] = ()) -> CostSpread:
    """Return percentiles of the cost of a sold chip-hour and the drivers, most important first; one seed, one answer.

    Raises: InputError for fewer than 64 draws, or where everything is stated.
    """
    if draws < 64:
        raise InputError(f"{draws} draws; 64 or more say something")
    ranges = ranges_of(rack, stated)
    if not ranges:
        raise InputError("every number with a range is stated, so nothing is uncertain")
    sampler = stats.qmc.Sobol(len(ranges), scramble=True, rng=np.random.default_rng(seed))
    points = sampler.random_base2(int(np.ceil(np.log2(draws))))[:draws]
    columns = [quantile(driver, points[:, i]) for i, driver in enumerate(ranges)]
    names = [driver.name for driver in ranges]
    costs = np.array([chip_hour(vary(rack, dict(zip(names, map(float, row), strict=True)))).total_usd for row in np.column_stack(columns)])
    bars = []
    for column, driver in zip(columns, ranges, strict=True):
        ends = [chip_hour(vary(rack, {driver.name: float(x)})).total_usd for x in quantile(driver, np.array([0.1, 0.9]))]
        bars.append(Bar(driver.name, ends[0], ends[1], float(stats.spearmanr(column, costs).statistic)))
    return CostSpread(draws, seed, spread(costs), tuple(sorted(bars, key=lambda b: -abs(b.rank_correlation_ratio))), ranges)
