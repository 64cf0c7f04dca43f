"""The cost of a chip-hour as a range, and what moves it: draws over stated ranges, rank correlations, tornado.

The ranges are assumptions of ours around the sourced base (data/economics.csv): utilisation triangular 0.55, 0.80, 0.95; life
of IT 3.5 to 6 years; cost of capital 7 to 14 %; rack 3.0, 3.4, 3.8 M$; electricity 30, 70, 110 $/MWh; PUE 1.1 to 1.3.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats

from polysilicon.economics.cost import Rack, chip_hour, vary
from polysilicon.economics.deal import DriverPart
from polysilicon.economics.uncertainty import Bar, Spread, quantile, spread
from polysilicon.errors import InputError

RANGES: tuple[DriverPart, ...] = (
    DriverPart(name="sold_frac", low=0.55, base=0.80, high=0.95),
    DriverPart(name="it_years", low=3.5, base=5.0, high=6.0, shape="uniform"),
    DriverPart(name="capital_frac", low=0.07, base=0.10, high=0.14, shape="uniform"),
    DriverPart(name="rack_usd", low=3.0e6, base=3.4e6, high=3.8e6),
    DriverPart(name="energy_usd_per_mwh", low=30.0, base=70.0, high=110.0),
    DriverPart(name="pue", low=1.1, base=1.2, high=1.3, shape="uniform"),
)


@dataclass(frozen=True, slots=True)
class CostSpread:
    """The range of a cost, and what moves it."""

    draws: int
    seed: int
    usd_per_chip_hour: Spread
    bars: tuple[Bar, ...]


def cost_spread(rack: Rack, *, draws: int = 4096, seed: int = 7, ranges: tuple[DriverPart, ...] = RANGES) -> CostSpread:
    """Return percentiles of the cost of a sold chip-hour and the drivers, most important first; one seed, one answer.

    Raises: InputError for fewer than 64 draws.
    """
    if draws < 64:
        raise InputError(f"{draws} draws; 64 or more say something")
    sampler = stats.qmc.Sobol(len(ranges), scramble=True, rng=np.random.default_rng(seed))
    points = sampler.random_base2(int(np.ceil(np.log2(draws))))[:draws]
    columns = [quantile(driver, points[:, i]) for i, driver in enumerate(ranges)]
    names = [driver.name for driver in ranges]
    costs = np.array([chip_hour(vary(rack, dict(zip(names, map(float, row), strict=True)))).total_usd for row in np.column_stack(columns)])
    bars = []
    for column, driver in zip(columns, ranges, strict=True):
        ends = [chip_hour(vary(rack, {driver.name: float(x)})).total_usd for x in quantile(driver, np.array([0.1, 0.9]))]
        bars.append(Bar(driver.name, ends[0], ends[1], float(stats.spearmanr(column, costs).statistic)))
    return CostSpread(draws, seed, spread(costs), tuple(sorted(bars, key=lambda b: -abs(b.rank_correlation_ratio))))
