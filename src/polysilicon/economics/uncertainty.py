"""Ranges instead of points: correlated draws of the drivers, the deal projected for each, percentiles and what matters.

Draws are quasi-random (scrambled Sobol points), shaped by each driver's distribution and tied by a Gaussian copula; one seed
gives the same numbers to the last bit. What matters: rank correlation over the draws, a tornado (one driver at a time between
its 10 % and 90 % points), and on request Sobol's total-effect indices with the drivers taken as independent.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from polysilicon.economics import finance
from polysilicon.economics.deal import Deal, DriverPart
from polysilicon.economics.projection import Projection, project
from polysilicon.economics.verdicts import legs
from polysilicon.errors import InputError

F8 = NDArray[np.float64]
RATIOS = ("return a year", "margin", "over commitments")  # outcomes that are no dollars


@dataclass(frozen=True, slots=True)
class Spread:
    """Percentiles of one outcome."""

    p10: float
    p50: float
    p90: float
    negative_frac: float  # share of draws below 0


@dataclass(frozen=True, slots=True)
class Bar:
    """How far one driver moves an outcome between its 10 % and 90 % points, the others at base."""

    driver: str
    low: float
    high: float
    rank_correlation_ratio: float
    total_effect_frac: float | None = None

    @property
    def swing(self) -> float:
        """Return the width of the bar."""
        return abs(self.high - self.low)


@dataclass(frozen=True, slots=True)
class Uncertainty:
    """All draws of a deal, summed up."""

    draws: int
    seed: int
    outcomes: Mapping[str, Spread]
    tornado: Mapping[str, tuple[Bar, ...]]  # outcome -> bars, widest first
    margin_fan: tuple[tuple[str, Spread], ...]  # the lab's gross margin by period
    budget_fan: tuple[tuple[str, Spread], ...]  # billed dollars by period


def quantile(driver: DriverPart, u: F8) -> F8:
    """Return a driver's values at probabilities: its inverse distribution.

    >>> d = DriverPart(name="slip_months", low=0, base=0, high=12)
    >>> quantile(d, np.array([0.0, 0.75, 1.0])).tolist()
    [0.0, 6.0, 12.0]
    """
    if driver.high == driver.low:
        return np.full_like(u, driver.base)
    if driver.shape == "uniform":
        return driver.low + u * (driver.high - driver.low)
    if driver.shape == "normal":
        spread = (driver.high - driver.low) / (2 * stats.norm.ppf(0.95))
        return np.asarray(driver.base + spread * stats.norm.ppf(np.clip(u, 1e-9, 1 - 1e-9)))
    span = driver.high - driver.low
    mode = (driver.base - driver.low) / span
    left = driver.low + np.sqrt(np.maximum(u * span * (driver.base - driver.low), 0.0))
    right = driver.high - np.sqrt(np.maximum((1 - u) * span * (driver.high - driver.base), 0.0))
    return np.where(u < mode, left, right)


def draw(drivers: Sequence[DriverPart], correlations: Sequence[tuple[str, str, float]], *, draws: int, seed: int) -> F8:
    """Return draws (rows) of all drivers (columns).

    Raises: InputError when the correlations contradict one another.
    """
    sampler = stats.qmc.Sobol(len(drivers), scramble=True, rng=np.random.default_rng(seed))
    points = sampler.random_base2(int(np.ceil(np.log2(draws))))[:draws]
    normal = stats.norm.ppf(np.clip(points, 1e-9, 1 - 1e-9))
    names = [driver.name for driver in drivers]
    tie = np.eye(len(drivers))
    for a, b, rho in correlations:
        tie[names.index(a), names.index(b)] = tie[names.index(b), names.index(a)] = rho
    try:
        root = np.linalg.cholesky(tie)
    except np.linalg.LinAlgError as error:
        raise InputError("the correlations contradict one another", hint="three that pull together cannot pull two of them apart") from error
    uniform = stats.norm.cdf(normal @ root.T)
    return np.column_stack([quantile(driver, uniform[:, i]) for i, driver in enumerate(drivers)])


def outcomes_of(deal: Deal, projection: Projection) -> dict[str, float]:
    """Return the numbers whose spread is reported."""
    rate = deal.discount_per_year_frac
    out: dict[str, float] = {}
    for party in deal.parties:
        flows = projection.net(party.id, with_values=True)
        if flows:
            out[f"{party.id}: net present value with what it owns"] = finance.npv_usd(flows, rate)
    for leg in legs(deal, projection):
        out[f"{leg.party}: {leg.name} leg, net present value"] = leg.npv_usd
        if leg.name == "stake":
            out[f"{leg.party}: stake, return a year"] = leg.irr_frac if leg.irr_frac is not None else -1.0
    sales, billed = sum(p.sales_usd for p in projection.periods), sum(p.billed_usd for p in projection.periods)
    if sales > 0:
        out["lab: gross margin"] = 1 - billed / sales
        out["lab: sales over commitments"] = sales / billed if billed > 0 else 0.0
    out["shortfall"] = sum(p.shortfall_usd for p in projection.periods)
    return {name: value for name, value in out.items() if not name.startswith("outside")}


def scaled(outcome: str, spread: Spread) -> tuple[str, float, float, float]:
    """Return an outcome's name and percentiles as a person reads them: dollars in billions, ratios as they are."""
    if any(word in outcome for word in RATIOS) and "net present value" not in outcome:
        return outcome, spread.p10, spread.p50, spread.p90
    return f"{outcome}, B$", spread.p10 / 1e9, spread.p50 / 1e9, spread.p90 / 1e9


def run(deal: Deal, *, draws: int | None = None, seed: int | None = None, sobol: bool = False) -> Uncertainty:
    """Return percentiles and rankings of a deal's outcomes.

    Raises: InputError when the file names no drivers.
    """
    if not deal.drivers:
        raise InputError("the deal names no drivers, so nothing is uncertain", hint="add `drivers` with low, base and high")
    count, chosen = draws or deal.draws, deal.seed if seed is None else seed
    table = draw(deal.drivers, deal.correlations, draws=count, seed=chosen)
    names = [driver.name for driver in deal.drivers]
    projections = [project(deal, dict(zip(names, map(float, row), strict=True))) for row in table]
    rows = [outcomes_of(deal, p) for p in projections]
    keys = list(rows[0])
    values = np.array([[row[key] for key in keys] for row in rows])
    effects = _total_effects(deal, keys) if sobol else {}
    ends = _ends(deal)
    tornado = {key: _tornado(key, ends, table, values[:, i], effects.get(key)) for i, key in enumerate(keys)}
    return Uncertainty(
        count,
        chosen,
        {key: spread(values[:, i]) for i, key in enumerate(keys)},
        tornado,
        _fan(projections, lambda p: p.lab_margin_frac),
        _fan(projections, lambda p: p.billed_usd),
    )


def spread(values: F8) -> Spread:
    """Return percentiles."""
    low, middle, high = (float(x) for x in np.percentile(values, [10, 50, 90]))
    return Spread(low, middle, high, float(np.mean(values < 0)))


def _fan(projections: Sequence[Projection], of: Callable[[Any], float | None]) -> tuple[tuple[str, Spread], ...]:
    out = []
    for i, period in enumerate(projections[0].periods):
        column = [value for p in projections if (value := of(p.periods[i])) is not None]
        if column:
            out.append((period.end, spread(np.array(column))))
    return tuple(out)


def _ends(deal: Deal) -> dict[str, tuple[dict[str, float], dict[str, float]]]:
    """Return all outcomes at each driver's 10 % and 90 % points, the others at base."""
    out = {}
    for driver in deal.drivers:
        low, high = (float(x) for x in quantile(driver, np.array([0.1, 0.9])))
        out[driver.name] = (outcomes_of(deal, project(deal, {driver.name: low})), outcomes_of(deal, project(deal, {driver.name: high})))
    return out


def _tornado(
    key: str, ends: Mapping[str, tuple[dict[str, float], dict[str, float]]], table: F8, values: F8, effects: Mapping[str, float] | None
) -> tuple[Bar, ...]:
    bars = []
    for i, (name, (low, high)) in enumerate(ends.items()):
        constant = np.ptp(table[:, i]) == 0 or np.ptp(values) == 0
        rank = 0.0 if constant else float(stats.spearmanr(table[:, i], values).statistic)
        bars.append(Bar(name, low[key], high[key], rank, None if effects is None else effects[name]))
    return tuple(sorted(bars, key=lambda bar: -bar.swing))


def _total_effects(deal: Deal, keys: Sequence[str], size: int = 128) -> dict[str, dict[str, float]]:
    """Return Sobol's total-effect index of each driver for each outcome (drivers independent)."""

    def evaluate(points: F8) -> F8:
        names = [driver.name for driver in deal.drivers]
        rows = []
        for column in points.T:
            at = {n: float(quantile(d, np.array([u]))[0]) for n, d, u in zip(names, deal.drivers, column, strict=True)}
            found = outcomes_of(deal, project(deal, at))
            rows.append([found[key] for key in keys])
        return np.array(rows).T

    result = stats.sobol_indices(func=evaluate, n=size, dists=[stats.uniform()] * len(deal.drivers), rng=np.random.default_rng(deal.seed))
    total = np.nan_to_num(np.atleast_2d(result.total_order))
    return {key: {d.name: float(total[i, j]) for j, d in enumerate(deal.drivers)} for i, key in enumerate(keys)}
