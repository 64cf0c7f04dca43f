"""Cost against resilience, concentration and carbon: the same question under a limit that tightens step by step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from polysilicon.parallel import run_all
from polysilicon.planner.money import energy_rates, power_coefficients
from polysilicon.planner.problem import Problem
from polysilicon.planner.resolve import Answer, Asker
from polysilicon.scenario.schema import SurvivePart


@dataclass(frozen=True, slots=True)
class Step:
    """One point of a frontier; `usd` is None where no plan keeps the limit and serves what must be served."""

    axis: str
    limit: str
    value: float
    usd: float | None
    unserved_frac: float


def resilience(
    tables: Problem, *, kind: str = "cloud", shares: Sequence[float] = (0.0, 0.5, 0.75, 0.9), from_month: int = 0, workers: int = 1
) -> list[Step]:
    """Return the cost of surviving the loss of any one supplier of a kind for more and more of interactive demand.

    Steps are independent; more workers are processes that share them out.
    """
    jobs = []
    for share in shares:
        part = SurvivePart.model_validate({"kind": kind, "demand_frac": share, "from_month": from_month})
        limits = tables.limits.model_copy(update={"survive_loss_of": (part,) if share > 0 else ()})
        jobs.append((replace(tables, limits=limits), f"resilience:{kind}", f"{share:.0%} of interactive demand survives", share))
    return run_all(_step, jobs, workers=workers)


def concentration(tables: Problem, *, kind: str = "vendor", caps: Sequence[float] = (1.0, 0.8, 0.6, 0.5), workers: int = 1) -> list[Step]:
    """Return the cost of giving no chip vendor, or cloud, more than a share of any period's spend; `workers` as above."""
    field = {"vendor": "vendor_share_max_frac", "cloud": "cloud_share_max_frac", "family": "chip_family_share_max_frac"}[kind]
    jobs = [
        (replace(tables, limits=tables.limits.model_copy(update={field: cap})), f"concentration:{kind}", f"at most {cap:.0%} of spend", cap)
        for cap in caps
    ]
    return run_all(_step, jobs, workers=workers)


def carbon(tables: Problem, *, shares: Sequence[float] = (1.0, 0.8, 0.6), workers: int = 1) -> list[Step]:
    """Return the cost of emitting at most a share of what the cheapest plan emits; empty where no site states its carbon."""
    asker = Asker(replace(tables, limits=tables.limits.model_copy(update={"co2_tonnes_per_year": None})))
    tonnes = tonnes_per_year(asker, asker.ask())
    if not tonnes or max(tonnes.values()) <= 0:
        return []
    most = max(tonnes.values())
    jobs = [
        (replace(tables, limits=tables.limits.model_copy(update={"co2_tonnes_per_year": most * s})), "carbon", f"at most {most * s:,.0f} t a year", s)
        for s in shares
    ]
    return run_all(_step, jobs, workers=workers)


def tonnes_per_year(asker: Asker, answer: Answer) -> dict[int, float]:
    """Return tonnes of CO2 by calendar year, scaled to whole years, where sites state their carbon."""
    tables = asker.tables
    _, per_kwh = energy_rates(tables)
    found: dict[int, float] = {}
    hours: dict[int, float] = {}
    for period in tables.periods:
        year = int(period.start[:4])
        hours[year] = hours.get(year, 0.0) + period.hours
    for pool, slot, label, watts in power_coefficients(asker.program)[0]:
        tonnes = watts / 1000.0 * tables.slot_hours[slot] * per_kwh[pool, tables.slot_period[slot]] * answer.values[label]
        for t, y in zip(tonnes, tables.slot_period[slot], strict=True):
            year = int(tables.periods[y].start[:4])
            found[year] = found.get(year, 0.0) + float(t)
    return {year: t / min(1.0, hours[year] / 8760.0) for year, t in found.items()}


def _step(job: tuple[Problem, str, str, float]) -> Step:
    tables, axis, limit, value = job
    asker = Asker(tables)
    answer = asker.ask() if not asker.program.impossible else None
    if answer is None or not np.isfinite(answer.usd) or not answer.is_priced:
        return Step(axis, limit, value, None, 1.0)
    return Step(axis, limit, value, answer.usd, answer.unserved_frac)
