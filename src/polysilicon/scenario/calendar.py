"""Planning periods, the hours of a workload's day, and the load blocks of a day."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, timedelta

import numpy as np
from numpy.typing import NDArray

from polysilicon.application.profiles import FLAT_DAY, day_curve, profile
from polysilicon.portfolio import Period
from polysilicon.scenario.schema import Horizon, WorkloadPart
from polysilicon.units import HOURS_PER_YEAR

F8 = NDArray[np.float64]
STEP_MONTHS: Mapping[str, int] = {"month": 1, "quarter": 3, "year": 12}


def add_months(day: date, months: int) -> date:
    """Return the same day so many months later; the last day of a shorter month stands in for one it lacks.

    >>> add_months(date(2026, 1, 31), 1), add_months(date(2026, 7, 1), 60)
    (datetime.date(2026, 2, 28), datetime.date(2031, 7, 1))
    """
    count = day.year * 12 + day.month - 1 + months
    year, month = divmod(count, 12)
    following = date(year + (month == 11), (month + 1) % 12 + 1, 1)
    return date(year, month + 1, min(day.day, (following - timedelta(days=1)).day))


def spans(horizon: Horizon) -> list[tuple[date, date]]:
    """Return first day and day after the last of every period."""
    step = STEP_MONTHS[horizon.period]
    return [(add_months(horizon.start, m), add_months(horizon.start, m + step)) for m in range(0, horizon.months, step)]


def growth_factor(horizon: Horizon, index: int, growth_per_year_frac: float) -> float:
    """Return a period's mean demand relative to the first period's.

    >>> from polysilicon.scenario.schema import Horizon
    >>> growth_factor(Horizon(start=date(2026, 1, 1), months=36, period="year"), 2, 1.0)
    4.0
    """
    return float((1.0 + growth_per_year_frac) ** (index * STEP_MONTHS[horizon.period] / 12))


def periods(horizon: Horizon, blocks: Sequence[tuple[str, float, float]]) -> tuple[Period, ...]:
    """Return the periods with mid-period discount factors; `blocks` are (name, hours of a day, demand over mean)."""
    out, began = [], horizon.start
    for index, (first, end) in enumerate(spans(horizon)):
        hours = (end - first).days * 24.0
        middle_years = ((first - began).days * 24.0 + hours / 2) / HOURS_PER_YEAR
        discount = (1.0 + horizon.discount_per_year_frac) ** -middle_years
        out.append(Period(index, first.isoformat(), hours, discount, tuple((n, hours * h / 24.0, d) for n, h, d in blocks)))
    return tuple(out)


def local_day(part: WorkloadPart) -> F8:
    """Return the 24 local hours of a workload relative to their mean."""
    traffic = part.traffic
    if traffic.hourly is not None:
        return day_curve(traffic.hourly, None)
    base = profile(traffic.profile).day if traffic.profile else FLAT_DAY
    return day_curve(base, traffic.peak_to_mean_ratio)


def utc_day(part: WorkloadPart) -> F8:
    """Return the 24 UTC hours of a workload relative to their mean; fractions of an hour interpolate."""
    local, shift = local_day(part), part.traffic.timezone_h
    at = (np.arange(24) + shift) % 24
    low = np.floor(at).astype(int)
    share = at - low
    curve: F8 = local[low % 24] * (1 - share) + local[(low + 1) % 24] * share
    return curve


def day_blocks(curves: F8, weights: F8, count: int) -> list[list[int]]:
    """Return the 24 hours of a UTC day in `count` runs of neighbours, so that demand varies least inside a run.

    Minimises sum over runs, hours and workloads of weight x (curve - its mean over the run)^2, exactly, over all
    starting hours. `curves` is [workloads, 24], `weights` [workloads].

    >>> night_and_day = np.array([[0.5] * 8 + [1.5] * 12 + [0.5] * 4])
    >>> day_blocks(night_and_day, np.ones(1), 2)
    [[8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19], [20, 21, 22, 23, 0, 1, 2, 3, 4, 5, 6, 7]]
    """
    if count >= 24:
        return [[h] for h in range(24)]
    best: tuple[float, list[list[int]]] = (np.inf, [])
    for start in range(24):
        order = [(start + i) % 24 for i in range(24)]
        loss, cuts = _cut(curves[:, order], weights, count)
        if loss < best[0] - 1e-12:
            best = (loss, [order[a:b] for a, b in zip(cuts, [*cuts[1:], 24], strict=True)])
    return best[1]


def _cut(curves: F8, weights: F8, count: int) -> tuple[float, list[int]]:
    """Cut 24 ordered hours into runs by dynamic programming; return the loss and where each run begins."""
    sums = np.concatenate([np.zeros((len(curves), 1)), np.cumsum(curves, axis=1)], axis=1)
    squares = np.concatenate([np.zeros((len(curves), 1)), np.cumsum(curves**2, axis=1)], axis=1)
    a, b = np.arange(25)[:, None], np.arange(25)[None, :]
    length = np.maximum(b - a, 1)
    inside = squares[:, None, :] - squares[:, :, None] - (sums[:, None, :] - sums[:, :, None]) ** 2 / length
    cost = np.where(b > a, np.tensordot(weights, inside, axes=1), np.inf)
    loss, came = cost[0].copy(), np.zeros((count, 25), int)
    for run in range(1, count):
        through = loss[:, None] + cost
        came[run] = np.argmin(through, axis=0)
        loss = np.min(through, axis=0)
    cuts, at = [], 24
    for run in range(count - 1, -1, -1):
        at = int(came[run][at]) if run else 0
        cuts.append(at)
    return float(loss[24]), cuts[::-1]


def block_name(hours: Sequence[int]) -> str:
    """Return a block's name: its hours in UTC.

    >>> block_name([20, 21, 22])
    '20-23 UTC'
    """
    return f"{hours[0]:02d}-{(hours[-1] + 1) % 24:02d} UTC"
