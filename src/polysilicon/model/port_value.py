"""When does leaving an engine pay? The closed form: pure arithmetic over months."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PortTerms:
    """What a port costs, how long it takes, and what of the spend can move.

    The defaults are assumptions, not facts: nobody publishes them. The press says 6 to 12 months and a drop of 30 to 50 %.
    """

    cost_usd: float = 25e6
    upkeep_usd_per_year: float = 8e6
    lead_years: float = 0.75
    drop_frac: float = 0.30  # of throughput lost on the first day
    ramp_years: float = 1.0  # until nothing of the drop is left
    movable_frac: float = 0.3  # of the model's spend
    overlap_years: float = 0.25  # old and new run side by side before go-live
    discount_per_year_frac: float = 0.10
    growth_per_year_frac: float = 0.0
    may_wait: bool = False  # True: traffic stays while the new engine, still learning, is the dearer one


def efficiency_frac(age_years: float, terms: PortTerms) -> float:
    """Return throughput relative to maturity, so long after go-live: eta = 1 - drop max(0, 1 - age / ramp).

    >>> efficiency_frac(0.5, PortTerms(drop_frac=0.3, ramp_years=1.0))
    0.85
    """
    left = max(0.0, 1.0 - age_years / terms.ramp_years) if terms.ramp_years > 0 else 0.0
    return 1.0 - terms.drop_frac * left


def npv_usd(gain_frac: float, spend_usd_per_year: float, *, horizon_years: float = 3.0, terms: PortTerms | None = None) -> float:
    """Return what a port is worth today, for a gain in performance per dollar at maturity.

    NPV = -C - overlap B s / (1 + g) + sum over months after go-live of d [B s (1 + gr)^t (1 - 1 / ((1 + g) eta)) - M],
    d = (1 + r)^-t at mid-month. A gain of g is a cost of 1 / (1 + g): 30 % more per dollar is 23.1 % less cost.

    Ignores: that a port is also an option and a threat; see `negotiate` and the value of optionality.

    >>> round(npv_usd(0.30, 1e9) / 1e6, 1), round(npv_usd(0.31, 1e9) / 1e6, 1)
    (-3.3, 0.7)
    """
    t = terms or PortTerms()
    moved = spend_usd_per_year * t.movable_frac
    total: float = -t.cost_usd
    doubled = t.overlap_years * moved / (1.0 + gain_frac)
    total -= doubled * (1.0 + t.discount_per_year_frac) ** -(t.lead_years - t.overlap_years / 2.0)
    for month in range(round(12 * horizon_years)):
        years = (month + 0.5) / 12.0
        age = years - t.lead_years
        if age > 0:
            saved = moved * (1.0 + t.growth_per_year_frac) ** years * (1.0 - 1.0 / ((1.0 + gain_frac) * efficiency_frac(age, t)))
            saved = max(0.0, saved) if t.may_wait else saved
            total += (saved - t.upkeep_usd_per_year) / 12.0 * (1.0 + t.discount_per_year_frac) ** -years
    return total


def break_even_gain_frac(
    spend_usd_per_year: float, *, horizon_years: float = 3.0, terms: PortTerms | None = None, most_frac: float = 20.0
) -> float | None:
    """Return the gain at which the port's worth is nil; None where no gain up to `most_frac` pays.

    >>> [round(100 * break_even_gain_frac(b)) for b in (0.1e9, 0.2e9, 0.5e9, 1e9, 3e9, 10e9)]
    [317, 88, 42, 31, 24, 22]
    >>> [round(100 * break_even_gain_frac(b, horizon_years=5.0)) for b in (0.1e9, 0.2e9, 0.5e9, 1e9, 3e9, 10e9)]
    [136, 52, 26, 19, 14, 13]
    >>> [round(100 * break_even_gain_frac(b, terms=PortTerms(drop_frac=0.0))) for b in (0.1e9, 1e9, 10e9)]
    [286, 21, 13]
    >>> [round(100 * break_even_gain_frac(b, terms=PortTerms(drop_frac=0.5))) for b in (0.1e9, 1e9, 10e9)]
    [350, 41, 32]
    >>> [round(100 * break_even_gain_frac(b, terms=PortTerms(overlap_years=0.0))) for b in (0.1e9, 1e9, 10e9)]
    [274, 17, 10]
    >>> break_even_gain_frac(0.05e9) is None
    True
    """
    low, high = -0.9, most_frac
    if npv_usd(high, spend_usd_per_year, horizon_years=horizon_years, terms=terms) < 0:
        return None
    if npv_usd(low, spend_usd_per_year, horizon_years=horizon_years, terms=terms) >= 0:
        return low
    for _ in range(60):
        middle = (low + high) / 2.0
        below = npv_usd(middle, spend_usd_per_year, horizon_years=horizon_years, terms=terms) < 0
        low, high = (middle, high) if below else (low, middle)
    return high


def break_even_spend_usd_per_year(
    gain_frac: float, *, horizon_years: float = 3.0, terms: PortTerms | None = None, most_usd: float = 1e12
) -> float | None:
    """Return the yearly spend from which a given gain pays; None where no spend does. The worth is linear in spend.

    >>> round(break_even_spend_usd_per_year(0.30) / 1e9, 2)
    1.09
    """
    at_nil = npv_usd(gain_frac, 0.0, horizon_years=horizon_years, terms=terms)
    # over one dollar the slope would drown in the digits of the cost: take it over the largest spend
    slope = (npv_usd(gain_frac, most_usd, horizon_years=horizon_years, terms=terms) - at_nil) / most_usd
    spend = -at_nil / slope if slope > 0 else None
    return spend if spend is not None and spend <= most_usd else None
