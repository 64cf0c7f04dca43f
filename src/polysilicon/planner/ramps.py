"""How fast things may change within a representative day: chips rented from an offer, megawatts drawn at a site."""

from __future__ import annotations

import numpy as np

from polysilicon.planner.arcs import site_of
from polysilicon.planner.money import power_coefficients
from polysilicon.planner.problem import F8, I8, Problem
from polysilicon.planner.program import Program, Term


def steps(tables: Problem) -> tuple[I8, I8, F8]:
    """Return (load block, the one after it, hours from middle to middle) around each period's representative days.

    The last block is followed by the first: a day is followed by one like it.
    """
    first, second, hours = [], [], []
    for y in range(len(tables.periods)):
        for slots in (s for s in tables.days(y) if len(s) > 1):
            day = 24.0 * tables.slot_hours[slots] / tables.slot_hours[slots].sum()
            follows = np.roll(np.arange(len(slots)), -1)
            first.append(slots)
            second.append(slots[follows])
            hours.append((day + day[follows]) / 2.0)
    if not first:
        return np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0)
    return np.concatenate(first), np.concatenate(second), np.concatenate(hours)


def rent(program: Program) -> None:
    """State that chips rented by the hour come and go at a limited rate: |u_t - u_t'| <= R x hours between the blocks' middles."""
    tables = program.tables
    first, second, hours = steps(tables)
    rate = np.array([np.inf if o.ramp_chips_per_hour is None else o.ramp_chips_per_hour for o in tables.offers])
    column = {(int(o), int(t)): int(label) for o, t, label in zip(program.rent_offer, program.rent_slot, program.blocks["rent"], strict=True)}
    rows = [
        (o, column[o, int(a)], column[o, int(b)], rate[o] * h)
        for o in np.flatnonzero(np.isfinite(rate)).tolist()
        for a, b, h in zip(first, second, hours, strict=True)
        if (o, int(a)) in column and (o, int(b)) in column
    ]
    if not rows:
        return
    a, b = (np.array([row[i] for row in rows], np.int64) for i in (1, 2))
    most = np.array([row[3] for row in rows]) / program.chip_unit
    every, one = np.arange(len(rows)), np.ones(len(rows))
    terms: list[Term] = [(every, a, one), (every, b, -one), (len(rows) + every, b, one), (len(rows) + every, a, -one)]
    program.constrain(
        "rent_ramp",
        terms,
        "<=",
        np.tile(most, 2),
        words=[f"the hourly ramp of {tables.offers[row[0]].id}" for row in rows] * 2,
        unit="chips between two load blocks",
        size=program.chip_unit,
    )


def power(program: Program) -> None:
    """State that a site's load changes at a limited rate: |P_t - P_t'| <= R x hours, P = idle power of what stands + work on top."""
    tables = program.tables
    sites = [s for s in tables.sites if s.ramp_mw_per_hour is not None]
    first, second, hours = steps(tables)
    if not sites or not len(first):
        return
    where = np.array([sites.index(s) if (s := site_of(tables, pool)) in sites else -1 for pool in tables.pools], np.int64)
    after, before = np.full(tables.slots, -1), np.full(tables.slots, -1)
    after[first], before[second] = np.arange(len(first)), np.arange(len(first))
    pairs, terms = len(first), []
    for pool, slot, label, watts in power_coefficients(program)[0]:
        mw = watts / 1e6
        for step, sign in ((after[slot], 1.0), (before[slot], -1.0)):
            mine = np.flatnonzero((where[pool] >= 0) & (step >= 0))
            row = where[pool[mine]] * pairs + step[mine]
            terms += [(row, label[mine], sign * mw[mine]), (len(sites) * pairs + row, label[mine], -sign * mw[mine])]
    most = np.concatenate([np.asarray(s.ramp_mw_per_hour) * hours for s in sites])
    program.constrain(
        "power_ramp",
        terms,
        "<=",
        np.tile(most, 2),
        count=2 * len(most),
        words=[f"the hourly power ramp of site {sites[r // pairs].id}" for r in range(len(most))] * 2,
        unit="MW between two load blocks",
    )
