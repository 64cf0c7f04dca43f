"""What a right is worth that one may leave unused: capacity at a fixed price, a second source, an early place in the queue.

A price F moves lognormally with volatility s a year. The right to buy at K within T years is worth e^-rT E[max(F_T - K, 0)]
when it is used at the end; with an early window, at least that. Three ways that must agree: closed form, binomial tree, draws.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from polysilicon.errors import InputError
from polysilicon.units import HOURS_PER_MONTH


def _normal(x: float) -> float:
    return 0.5 * math.erfc(-x / math.sqrt(2))


def option_usd(forward_usd: float, strike_usd: float, *, volatility_frac: float, years: float, rate_frac: float) -> float:
    """Return the worth of a right to buy one unit at a strike, closed form (Black 1976): e^-rT (F N(d1) - K N(d2)).

    At volatility 0 it is the discounted gain, or 0.

    >>> round(option_usd(100, 100, volatility_frac=0.3, years=1, rate_frac=0.0), 2)
    11.92
    >>> option_usd(100, 120, volatility_frac=0.0, years=1, rate_frac=0.0)
    0.0
    """
    if min(forward_usd, strike_usd, volatility_frac, years) < 0:
        raise InputError("an option needs a forward price, a strike, a volatility and a time of 0 or more")
    discount: float = (1 + rate_frac) ** -years
    spread = volatility_frac * math.sqrt(years)
    if spread == 0 or strike_usd == 0 or forward_usd == 0:
        return discount * max(0.0, forward_usd - strike_usd)
    d1 = math.log(forward_usd / strike_usd) / spread + spread / 2
    return discount * (forward_usd * _normal(d1) - strike_usd * _normal(d1 - spread))


def priority_usd(
    chips: float,
    *,
    months: int,
    strike_usd_per_chip_hour: float,
    market_usd_per_chip_hour: float,
    volatility_frac: float,
    wait_years: float,
    rate_frac: float,
) -> float:
    """Return the worth of a right to chips at a price: an option on each month of capacity, each on that month's market price.

    >>> round(priority_usd(1000, months=12, strike_usd_per_chip_hour=3, market_usd_per_chip_hour=4, volatility_frac=0, wait_years=0, rate_frac=0))
    8760000
    """
    return sum(
        chips
        * HOURS_PER_MONTH
        * option_usd(
            market_usd_per_chip_hour, strike_usd_per_chip_hour, volatility_frac=volatility_frac, years=wait_years + m / 12, rate_frac=rate_frac
        )
        for m in range(months)
    )


@dataclass(frozen=True, slots=True)
class SecondSource:
    """A workload on a home supplier, with a second one qualified or not."""

    home_usd_per_year: float  # yearly bill at the home supplier today
    away_usd_per_year: float  # the same work at the second source today
    switch_usd: float  # each move
    home_volatility_frac: float
    away_volatility_frac: float
    correlation_frac: float
    years: float
    rate_frac: float

    @property
    def spread_volatility_frac(self) -> float:
        """Return the volatility of the ratio of the two prices."""
        a, b = self.home_volatility_frac, self.away_volatility_frac
        return math.sqrt(max(0.0, a * a + b * b - 2 * self.correlation_frac * a * b))


def second_source_usd(case: SecondSource, *, steps_per_year: int = 12) -> float:
    """Return the worth of being able to move each period, by a binomial tree on the ratio of the two prices.

    Each period the work runs where it is cheaper, moves cost `switch_usd`; the worth is against staying at home.
    With no cost of moving it is the sum of exchange options (Margrabe 1978), one a period.

    >>> flat = SecondSource(100.0, 100.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0)
    >>> second_source_usd(flat)
    0.0
    """
    count = max(1, round(case.years * steps_per_year))
    dt = case.years / count
    spread = case.spread_volatility_frac
    up = math.exp(spread * math.sqrt(dt))
    chance = 1 / (1 + up)  # the ratio is a martingale in units of the home price
    discount: float = (1 + case.rate_frac) ** -dt
    home = case.home_usd_per_year * dt
    ratio = case.away_usd_per_year / case.home_usd_per_year
    cost_home = [0.0] * (count + 2)  # expected cost to go, being at home or away, at each node of the next period
    cost_away = [0.0] * (count + 2)
    for k in range(count - 1, -1, -1):
        next_home, next_away = cost_home, cost_away
        cost_home, cost_away = [0.0] * (count + 2), [0.0] * (count + 2)
        for i in range(k + 1):
            later_home = discount * (chance * next_home[i + 1] + (1 - chance) * next_home[i])
            later_away = discount * (chance * next_away[i + 1] + (1 - chance) * next_away[i])
            stay, move = home + later_home, home * ratio * up ** (2 * i - k) + later_away
            cost_home[i] = min(stay, move + case.switch_usd)
            cost_away[i] = min(move, stay + case.switch_usd)
    never = sum(home * discount**k for k in range(count))
    return max(0.0, never - cost_home[0])


def second_source_draws_usd(case: SecondSource, *, draws: int = 20_000, seed: int = 7, steps_per_year: int = 12) -> tuple[float, float]:
    """Return the same worth without cost of moving from random paths of both prices, and its standard error.

    Raises: InputError when moves cost something: the best rule then needs the tree.
    """
    import numpy as np

    if case.switch_usd:
        raise InputError("paths are drawn for free moves only; with a cost per move use the tree")
    count = max(1, round(case.years * steps_per_year))
    dt = case.years / count
    rng = np.random.default_rng(seed)
    half = rng.standard_normal((draws // 2, count, 2))
    shocks = np.concatenate([half, -half])
    rho = case.correlation_frac
    first = shocks[:, :, 0]
    second = rho * first + math.sqrt(max(0.0, 1 - rho * rho)) * shocks[:, :, 1]
    home = _paths(case.home_usd_per_year * dt, case.home_volatility_frac, first, dt)
    away = _paths(case.away_usd_per_year * dt, case.away_volatility_frac, second, dt)
    weights = (1 + case.rate_frac) ** -(np.arange(count) * dt)
    worth = (np.maximum(home - away, 0.0) * weights).sum(axis=1)
    paired = (worth[: len(half)] + worth[len(half) :]) / 2
    return float(worth.mean()), float(paired.std(ddof=1) / math.sqrt(len(half)))


def _paths(start: float, volatility: float, shocks: Any, dt: float) -> Any:
    """Return price paths from a start; the first period is at today's price."""
    import numpy as np

    steps = volatility * math.sqrt(dt) * np.asarray(shocks) - volatility**2 * dt / 2
    walk = np.cumsum(steps, axis=1)
    return start * np.exp(np.concatenate([np.zeros((len(walk), 1)), walk[:, :-1]], axis=1))
