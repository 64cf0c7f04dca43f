"""What binds a buyer, and what it is worth not to be bound.

Leaving one supplier costs: porting (engineers and the months the port takes), efficiency lost until the port is mature, what of a
commitment would be paid for nothing, and moving data out. The index is that sum over a year's spend with the supplier.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from polysilicon.errors import InputError
from polysilicon.model.port_value import PortTerms, break_even_gain_frac, npv_usd


@dataclass(frozen=True, slots=True)
class LockIn:
    """What leaving costs, part by part."""

    porting_usd: float
    efficiency_usd: float
    stranded_usd: float
    egress_usd: float
    spend_usd_per_year: float

    @property
    def total_usd(self) -> float:
        """Return the sum of the parts."""
        return self.porting_usd + self.efficiency_usd + self.stranded_usd + self.egress_usd

    @property
    def index_frac(self) -> float:
        """Return the total over a year's spend."""
        return self.total_usd / self.spend_usd_per_year


def lock_in(
    spend_usd_per_year: float,
    *,
    terms: PortTerms | None = None,
    commitment_left_usd: float = 0.0,
    reusable_frac: float = 0.0,
    egress_tb: float = 0.0,
    egress_usd_per_gb: float = 0.0,
) -> LockIn:
    """Return what leaving a supplier costs.

    - porting: one-off cost and the double running before go-live
    - efficiency: spend moved x drop x ramp / 2, the area under a drop that fades in a straight line
    - stranded: commitment left that other work cannot use

    >>> bound = lock_in(1e9, commitment_left_usd=100e6, reusable_frac=0.4, egress_tb=1000, egress_usd_per_gb=0.05)
    >>> round(bound.porting_usd / 1e6), round(bound.efficiency_usd / 1e6), round(bound.stranded_usd / 1e6), round(bound.egress_usd)
    (100, 45, 60, 50000)
    """
    t = terms or PortTerms()
    if spend_usd_per_year <= 0 or not 0 <= reusable_frac <= 1:
        raise InputError("lock-in needs a yearly spend above 0 and a reusable share between 0 and 1")
    moved = spend_usd_per_year * t.movable_frac
    return LockIn(
        porting_usd=t.cost_usd + moved * t.overlap_years,
        efficiency_usd=moved * t.drop_frac * t.ramp_years / 2,
        stranded_usd=commitment_left_usd * (1 - reusable_frac),
        egress_usd=egress_tb * 1000 * egress_usd_per_gb,
        spend_usd_per_year=spend_usd_per_year,
    )


@dataclass(frozen=True, slots=True)
class SurfacePoint:
    """The break-even gain at one spend, cost and horizon."""

    spend_usd_per_year: float
    cost_usd: float
    horizon_years: float
    gain_frac: float | None  # None: no gain pays


def surface(
    spends: Sequence[float], costs: Sequence[float] = (25e6,), horizons: Sequence[float] = (3.0, 5.0), terms: PortTerms | None = None
) -> tuple[SurfacePoint, ...]:
    """Return the break-even gain over spend x porting cost x horizon, from the closed form that `plan` shares.

    >>> [round(p.gain_frac, 2) for p in surface([1e9])]
    [0.31, 0.19]
    """
    from dataclasses import replace

    base = terms or PortTerms()
    return tuple(
        SurfacePoint(b, c, h, break_even_gain_frac(b, horizon_years=h, terms=replace(base, cost_usd=c)))
        for c in costs
        for h in horizons
        for b in spends
    )


def heat(spends: Sequence[float], gains: Sequence[float], *, horizon_years: float = 3.0, terms: PortTerms | None = None) -> list[dict[str, float]]:
    """Return the port's net present value over spend x gain, for a heat map."""
    return [
        {"spend_usd_per_year": b, "gain_frac": g, "npv_usd": npv_usd(g, b, horizon_years=horizon_years, terms=terms)} for b in spends for g in gains
    ]


@dataclass(frozen=True, slots=True)
class PortBudget:
    """What a port has cost and saved so far, month by month."""

    cumulative_usd: tuple[float, ...]
    crosses_after_months: int | None  # the first month at whose end it has paid for itself


def port_budget(spent_usd: Sequence[float], saved_usd: Sequence[float]) -> PortBudget:
    """Return the running sum of savings less spending and when it turns positive.

    >>> port_budget([10, 10, 0, 0], [0, 0, 15, 15])
    PortBudget(cumulative_usd=(-10.0, -20.0, -5.0, 10.0), crosses_after_months=4)
    """
    running, out = 0.0, []
    for spent, saved in zip(spent_usd, saved_usd, strict=True):
        running += saved - spent
        out.append(float(running))
    crosses = next((i + 1 for i, value in enumerate(out) if value >= 0), None)
    return PortBudget(tuple(out), crosses)
