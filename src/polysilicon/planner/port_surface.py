"""Where a port starts to pay, by program and by closed form, over gain, volume, cost and horizon."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import highspy
import numpy as np

from polysilicon.highs import new_solver, run_to_optimum
from polysilicon.model.port_value import PortTerms, npv_usd
from polysilicon.planner.ports import Candidate
from polysilicon.planner.problem import F8


def terms_of(candidate: Candidate, *, movable_frac: float | None = None) -> PortTerms:
    """Return the closed form's terms of a port that could be started; what moves is `movable_frac` of the spend, else the default.

    As in the plan, traffic may wait on the old engine while the new one, still learning, is the dearer one.
    """
    p = candidate.port
    first = p.initial_efficiency_frac if p.initial_efficiency_frac is not None else p.efficiency_frac
    terms = PortTerms(
        cost_usd=candidate.cost_usd,
        upkeep_usd_per_year=candidate.upkeep_usd_per_year,
        lead_years=(p.lead_months or 0.0) / 12.0,
        drop_frac=max(0.0, 1.0 - first / p.efficiency_frac),
        ramp_years=p.ramp_months / 12.0,
        may_wait=True,
    )
    return terms if movable_frac is None else replace(terms, movable_frac=movable_frac)


class PortProgram:
    """The port question alone as a mixed-integer program: one model, a home pool, a target pool, months, one port.

    min sum of d [ home spend (1 - s_t) + s_t home spend / ((1 + g) eta_t) + upkeep z ] + (cost + overlap) z,
    s_t <= movable z, z in {0, 1}.
    It is written directly for HiGHS, so that a surface of hundreds of points takes seconds: volume, gain and costs only change
    coefficients of the objective.
    """

    def __init__(self, horizon_years: float = 3.0, terms: PortTerms | None = None) -> None:
        self.terms = terms or PortTerms()
        self.months = round(12 * horizon_years)
        self.highs = new_solver()
        self.highs.setOptionValue("mip_rel_gap", 0.0)
        count = self.months
        self.highs.addVars(count + 1, np.zeros(count + 1), np.ones(count + 1))
        self.highs.changeColIntegrality(count, highspy.HighsVarType.kInteger)
        for t in range(count):  # s_t <= movable z; without leave to wait, s_t = movable z from the first live month
            live = (t + 0.5) / 12.0 > self.terms.lead_years and not self.terms.may_wait
            self.highs.addRow(
                0.0 if live else -highspy.kHighsInf,
                0.0,
                2,
                np.array([t, count], np.int32),
                np.array([1.0, -self.terms.movable_frac]),
            )

    def saving_usd(self, gain_frac: float, spend_usd_per_year: float) -> float:
        """Return what the best decision saves against staying: nil where the port does not pay."""
        cost = self._cost(gain_frac, spend_usd_per_year)
        self.highs.changeColsCost(len(cost), np.arange(len(cost), dtype=np.int32), cost / 1e6)
        run_to_optimum(self.highs, "the port question")
        return -float(self.highs.getInfo().objective_function_value) * 1e6

    def starts(self, gain_frac: float, spend_usd_per_year: float) -> bool:
        """Return whether the program starts the port."""
        saving = self.saving_usd(gain_frac, spend_usd_per_year)
        return saving > 0 and self.highs.getSolution().col_value[self.months] > 0.5

    def switch_gain_frac(self, spend_usd_per_year: float, *, most_frac: float = 20.0) -> float | None:
        """Return the gain at which the program starts the port, by bisection; None where not even `most_frac` pays."""
        low, high = 0.0, most_frac
        if not self.starts(high, spend_usd_per_year):
            return None
        for _ in range(30):
            middle = (low + high) / 2
            low, high = (low, middle) if self.starts(middle, spend_usd_per_year) else (middle, high)
        return high

    def _cost(self, gain_frac: float, spend_usd_per_year: float) -> F8:
        """Return dollars per unit of s_1 .. s_n, z. Traffic moves only where the new engine is live and cheaper."""
        t = self.terms
        cost = np.zeros(self.months + 1)
        fixed = t.cost_usd
        for month in range(self.months):
            years = (month + 0.5) / 12.0
            discount = (1.0 + t.discount_per_year_frac) ** -years
            age = years - t.lead_years
            if age <= 0:
                cost[month] = 1e9
                continue
            eta = 1.0 - t.drop_frac * max(0.0, 1.0 - age / t.ramp_years) if t.ramp_years > 0 else 1.0
            spend = spend_usd_per_year / 12.0 * (1.0 + t.growth_per_year_frac) ** years
            cost[month] = discount * spend * (1.0 / ((1.0 + gain_frac) * eta) - 1.0)
            fixed += discount * t.upkeep_usd_per_year / 12.0
        overlap = t.overlap_years * spend_usd_per_year * t.movable_frac / (1.0 + gain_frac)
        cost[self.months] = fixed + overlap * (1.0 + t.discount_per_year_frac) ** -(t.lead_years - t.overlap_years / 2.0)
        return cost


def surface(
    gains_frac: Sequence[float],
    spends_usd_per_year: Sequence[float],
    *,
    horizon_years: float = 3.0,
    terms: PortTerms | None = None,
) -> F8:
    """Return the closed form's worth in dollars, [gain, spend]: all movable traffic moves on the first day the engine is live."""
    return np.array([[npv_usd(g, b, horizon_years=horizon_years, terms=terms) for b in spends_usd_per_year] for g in gains_frac])


def program_surface(
    gains_frac: Sequence[float],
    spends_usd_per_year: Sequence[float],
    *,
    horizon_years: float = 3.0,
    terms: PortTerms | None = None,
) -> F8:
    """Return the program's saving in dollars, [gain, spend]: the closed form where that is positive, nil where it is not."""
    program = PortProgram(horizon_years, terms)
    return np.array([[program.saving_usd(g, b) for b in spends_usd_per_year] for g in gains_frac])
