"""Money over time: small pure formulas, each with a number to redo by hand.

Dates are years from the first day as floats; a flow in is positive, a flow out negative. Rates are effective per year.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from polysilicon.errors import InputError

Flows = Sequence[tuple[float, float]]  # (years from start, $)


def capital_recovery_per_year(rate_frac: float, years: float) -> float:
    """Return the yearly payment per dollar that repays it with interest: CRF = r / (1 - (1+r)^-n), and 1/n at r = 0.

    >>> round(capital_recovery_per_year(0.10, 5), 5), capital_recovery_per_year(0.0, 5)
    (0.2638, 0.2)

    Raises: InputError when the life is not above 0 or the rate not above -1.
    """
    if years <= 0 or rate_frac <= -1:
        raise InputError(f"a life of {years:g} years at a rate of {rate_frac:g} per year has no annuity")
    if abs(rate_frac * years) < 1e-9:
        return (1 + rate_frac * (years + 1) / 2) / years
    return rate_frac / -math.expm1(-years * math.log1p(rate_frac))


def npv_usd(flows: Flows, rate_frac: float) -> float:
    """Return the net present value: sum of usd x (1+r)^-t.

    >>> round(npv_usd([(0, -100.0), (1, 110.0)], 0.10), 9)
    0.0
    """
    force = math.log1p(rate_frac)
    return math.fsum([usd * math.exp(-t * force) for t, usd in flows])


def irr_frac(flows: Flows) -> float | None:
    """Return the internal rate of return: the rate at which the net present value is 0; None where there is none.

    Of several, the smallest above -99 % a year is returned.

    >>> round(irr_frac([(0, -100.0), (1, 60.0), (2, 60.0)]), 4)
    0.1307
    >>> irr_frac([(0, 100.0), (1, 10.0)]) is None
    True
    """
    if not any(usd > 0 for _, usd in flows) or not any(usd < 0 for _, usd in flows):
        return None
    grid = [-0.99, -0.9, -0.75, -0.5, -0.3, -0.2, -0.1, -0.05, 0.0, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1, 1.5, 2, 3, 5, 10, 30, 100, 1000]
    values = [(r, npv_usd(flows, r)) for r in grid]
    for (low, at_low), (high, at_high) in pairwise(values):
        if at_low == 0:
            return low
        if at_low * at_high < 0:
            return _root(flows, low, high, at_low)
    return None


def _root(flows: Flows, low: float, high: float, at_low: float) -> float:
    """Return the rate between two of opposite value, by false position that halves a stuck end's weight (Illinois)."""
    at_high, stuck = npv_usd(flows, high), 0
    for _ in range(100):
        middle = low + (high - low) * at_low / (at_low - at_high)
        value = npv_usd(flows, middle)
        if value == 0 or high - low < 1e-14:
            return middle
        if value * at_low > 0:
            moved = middle - low
            low, at_low = middle, value
            at_high, stuck = (at_high / 2 if stuck == 1 else at_high), 1
        else:
            moved = high - middle
            high, at_high = middle, value
            at_low, stuck = (at_low / 2 if stuck == -1 else at_low), -1
        if moved < 1e-13 * (1 + abs(middle)):
            return middle
    return (low + high) / 2


def payback_years(flows: Flows, rate_frac: float = 0.0) -> float | None:
    """Return when the (discounted) running sum turns positive for good, linear between dates; None if it does not.

    >>> payback_years([(0, -100.0), (1, 50.0), (2, 100.0)])
    1.5
    """
    running, points = 0.0, []
    for t, usd in sorted(flows):
        running += float(usd * (1 + rate_frac) ** -t)
        points.append((t, running))
    if not points or running < 0:
        return None
    last_negative = max((i for i, (_, value) in enumerate(points) if value < 0), default=None)
    if last_negative is None:
        return points[0][0]
    (t0, v0), (t1, v1) = points[last_negative], points[last_negative + 1]
    return t0 + (t1 - t0) * -v0 / (v1 - v0)


def discounted(usd: float, years: float, rate_frac: float) -> float:
    """Return the present value of one payment."""
    return float(usd * (1 + rate_frac) ** -years)


def revenue_needed_usd(cost_usd: float, gross_margin_frac: float) -> float:
    """Return the revenue at which a cost leaves the margin: cost / (1 - margin).

    >>> revenue_needed_usd(30e9, 0.5) / 1e9
    60.0
    """
    if not gross_margin_frac < 1:
        raise InputError(f"a gross margin of {gross_margin_frac:.0%} leaves no cost; it must be below 100 %")
    return cost_usd / (1 - gross_margin_frac)


def tokens_per_month(revenue_usd: float, months: float, usd_per_mtok: float) -> float:
    """Return the tokens a month that bring a revenue at a price.

    >>> [round(tokens_per_month(60e9, 60, p) / 1e12, 1) for p in (15, 3)]
    [66.7, 333.3]
    """
    if usd_per_mtok <= 0 or months <= 0:
        raise InputError(f"{usd_per_mtok:g} $/Mtok over {months:g} months brings no revenue")
    return revenue_usd / months / usd_per_mtok * 1e6


def price_needed_usd_per_mtok(revenue_usd: float, months: float, volume_tokens_per_month: float) -> float:
    """Return the price at which a volume brings a revenue.

    >>> price_needed_usd_per_mtok(60e9, 60, 200e12)
    5.0
    """
    return revenue_usd / months / volume_tokens_per_month * 1e6


def growth_factors(now: tuple[float, float], then: tuple[float, float]) -> tuple[float, float]:
    """Return the least and most growth between two ranges: low then over high now, high then over low now.

    >>> growth_factors((0.2, 0.5), (4, 20))
    (8.0, 100.0)
    """
    return then[0] / now[1], then[1] / now[0]


def growth_per_year_frac(factor: float, years: float) -> float:
    """Return the yearly growth that gives a factor over some years.

    >>> round(growth_per_year_frac(10, 3), 3), growth_per_year_frac(4, 2)
    (1.154, 1.0)
    """
    return float(factor ** (1 / years) - 1)


def implied_post_money_usd(cash_usd: float, stake_frac: float) -> float:
    """Return what a company is worth after an investment that bought a stake.

    >>> [round(implied_post_money_usd(5e9, s) / 1e9, 1) for s in (0.20, 0.15)]
    [25.0, 33.3]
    """
    if not 0 < stake_frac <= 1:
        raise InputError(f"a stake of {stake_frac:.1%} implies no valuation; it must be above 0 and at most 100 %")
    return cash_usd / stake_frac


def stake_frac(cash_usd: float, post_money_usd: float) -> float:
    """Return the share of a company that cash buys: cash / post-money.

    >>> round(stake_frac(5e9, 350e9), 4)
    0.0143
    """
    if cash_usd > post_money_usd:
        raise InputError(f"{cash_usd / 1e9:g} B$ is more than the post-money value of {post_money_usd / 1e9:g} B$")
    return cash_usd / post_money_usd


def runway_months(cash_usd: float, burn_usd_per_month: float, inflow_usd_by_month: Sequence[float] = ()) -> float:
    """Return how many months cash lasts; inflows arrive at the start of their month; infinite where nothing is burnt.

    >>> round(runway_months(5e9, 5.2e9 / 12), 1), runway_months(10.0, 5.0, [0.0, 0.0, 5.0])
    (11.5, 2.0)
    """
    if burn_usd_per_month <= 0:
        return math.inf
    cash = cash_usd
    for month, inflow in enumerate(inflow_usd_by_month):
        if month > 0 and cash <= 0:
            break
        cash += inflow
        if cash < burn_usd_per_month:
            return month + max(0.0, cash) / burn_usd_per_month
        cash -= burn_usd_per_month
    else:
        return len(inflow_usd_by_month) + cash / burn_usd_per_month
    return float(month)


def delay_cost_usd(revenue_usd_per_month: float, months: float, growth_per_month_frac: float = 0.0, margin_frac: float = 1.0) -> float:
    """Return the revenue (or margin) lost when a launch slips: m x sum of R (1+g)^k over the months at the far end of the plan.

    With growth g a slip does not lose the first months but leaves every later month that far behind.
    Without growth that is R x months.

    >>> delay_cost_usd(100e6, 3), round(delay_cost_usd(100.0, 2, 0.10), 2)
    (300000000.0, 210.0)
    """
    if growth_per_month_frac == 0:
        return margin_frac * revenue_usd_per_month * months
    growth = math.expm1(months * math.log1p(growth_per_month_frac)) / growth_per_month_frac
    return margin_frac * revenue_usd_per_month * growth


def saving_usd(spend_usd: float, gain_frac: float) -> float:
    """Return what a gain in performance per dollar saves at equal work: spend x (1 - 1/(1+g)).

    >>> round(saving_usd(100.0, 0.30), 2)
    23.08
    """
    return spend_usd * cost_cut_frac(gain_frac)


def cost_cut_frac(gain_frac: float) -> float:
    """Return the fall in cost that a gain in performance per dollar is; the same fall in performance cancels it.

    >>> round(cost_cut_frac(0.30), 4)
    0.2308
    """
    if gain_frac <= -1:
        raise InputError(f"a gain of {gain_frac:.0%} leaves no performance")
    return 1 - 1 / (1 + gain_frac)


def implied_spend_usd(saving: tuple[float, float], gain_frac: tuple[float, float]) -> tuple[float, float]:
    """Return the least and most yearly spend at which a saving is that share of spend: low saving at high gain, and the reverse.

    >>> [round(s / 1e9, 2) for s in implied_spend_usd((200e6, 900e6), (0.2, 0.3))]
    [0.67, 4.5]
    """
    return saving[0] / gain_frac[1], saving[1] / gain_frac[0]


def anchor_volume_chips(programme_usd: float, bought_usd_per_chip: float, own_usd_per_chip: float) -> float:
    """Return how many chips pay for a chip programme: one-off cost / saving per chip; infinite without a saving.

    >>> anchor_volume_chips(500e6, 30_000, 5_000)
    20000.0
    """
    saving = bought_usd_per_chip - own_usd_per_chip
    return programme_usd / saving if saving > 0 else math.inf


def viable_price_usd_per_mtok(value_per_task_usd: float, task_tokens: float, other_cost_per_task_usd: float = 0.0) -> float:
    """Return the token price at which an application breaks even: (value - other cost) / tokens of a task.

    >>> viable_price_usd_per_mtok(0.05, 20_000, 0.01)
    2.0
    """
    return max(0.0, value_per_task_usd - other_cost_per_task_usd) / task_tokens * 1e6


def depreciation_usd(cost_usd: float, years: int, *, residual_usd: float = 0.0, method: str = "straight_line") -> list[float]:
    """Return yearly depreciation; it sums to cost less residual value under every method.

    - straight_line: (cost - residual) / n
    - double_declining: 2/n of the book value, never below the residual, the rest in the last year
    - sum_of_years: (cost - residual) x (n, n-1, ... 1) / (n (n+1) / 2)

    >>> depreciation_usd(100.0, 4, method="double_declining"), depreciation_usd(60.0, 3, method="sum_of_years")
    ([50.0, 25.0, 12.5, 12.5], [30.0, 20.0, 10.0])

    Raises: InputError for an unknown method, a life below a year or a residual outside 0..cost.
    """
    if years < 1 or not 0 <= residual_usd <= cost_usd:
        raise InputError(f"{cost_usd:g} $ over {years} years down to {residual_usd:g} $ is no depreciation")
    base = cost_usd - residual_usd
    if method == "straight_line":
        return [base / years] * years
    if method == "sum_of_years":
        return [base * (years - k) / (years * (years + 1) / 2) for k in range(years)]
    if method != "double_declining":
        raise InputError(f'depreciation method "{method}" is not known', hint="straight_line, double_declining or sum_of_years")
    book, out = cost_usd, []
    for k in range(years):
        amount = book - residual_usd if k == years - 1 else min(2 / years * book, book - residual_usd)
        out.append(amount)
        book -= amount
    return out


@dataclass(frozen=True, slots=True)
class MarginPair:
    """The two ratios people mix up, always together."""

    profit_over_cost_frac: float
    gross_margin_frac: float

    def __str__(self) -> str:
        """Return both in words."""
        return f"profit over cost {self.profit_over_cost_frac:.0%}, gross margin {self.gross_margin_frac:.1%}"


def margins(revenue_usd: float, cost_usd: float) -> MarginPair:
    """Return profit over cost and gross margin; the first is no margin.

    >>> str(margins(562_027.0, 87_072.0))
    'profit over cost 545%, gross margin 84.5%'
    """
    if revenue_usd <= 0 or cost_usd <= 0:
        raise InputError(f"a revenue of {revenue_usd:g} $ and a cost of {cost_usd:g} $ have no margin; both must be above 0")
    return MarginPair((revenue_usd - cost_usd) / cost_usd, (revenue_usd - cost_usd) / revenue_usd)
