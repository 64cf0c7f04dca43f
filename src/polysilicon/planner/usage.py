"""From a solution to usage, and from usage to bills: the judge of the objective."""

from __future__ import annotations

import numpy as np

from polysilicon.cloud.contract import Invoices, Usage, UsageLine, invoices
from polysilicon.planner.problem import F8
from polysilicon.planner.program import Program
from polysilicon.planner.solution import Solution


def usage_of(program: Program, values: F8) -> Usage:
    """Return every metered line of a solution: chip-hours of offers and of contracts, requests' tokens of per-token offers."""
    tables = program.tables
    lines: list[UsageLine] = []
    table = program.spend
    if len(table.offer):
        usd = table.usd * values[table.label]
        keys = table.offer * len(tables.periods) + table.period
        total = np.bincount(keys, usd, minlength=len(program.all_offers) * len(tables.periods))
        for key in np.flatnonzero(np.abs(total) > 1e-9):
            offer, period = program.all_offers[key // len(tables.periods)], int(key % len(tables.periods))
            price = offer.usd_per_chip_hour if offer.kind != "per_token" else None
            if price:
                lines.append(UsageLine(period, offer.id, offer.cloud, float(total[key] / price), "chip-hour", price))
            else:
                lines.append(UsageLine(period, offer.id, offer.cloud, float(total[key]), "USD", 1.0))
    for c, y, label in zip(program.given_contract, program.given_period, program.blocks["given"], strict=True):
        contract = tables.contracts[c]
        hours = float(values[label]) * program.chip_unit * tables.calendar[y].hours
        if hours > 1e-9:
            lines.append(UsageLine(int(y), contract.id, contract.cloud, hours, "chip-hour", contract.usd_per_chip_hour or 0.0))
    return Usage(tables.calendar, tuple(lines))


def taken(program: Program, values: F8) -> tuple[str, ...]:
    """Return the unsigned contracts a solution takes."""
    return tuple(
        program.tables.contracts[c].id for c, label in zip(program.take_contract, program.blocks["take"], strict=True) if values[label] > 0.5
    )


def bills(program: Program, values: F8) -> Invoices:
    """Return the bills of a solution, under signed contracts first and then those taken."""
    chosen = taken(program, values)
    live = [c for c in program.tables.contracts if c.signed] + [c for c in program.tables.contracts if c.id in chosen]
    return invoices(live, usage_of(program, values))


def by_period_usd(program: Program, values: F8) -> dict[str, F8]:
    """Return dollars by period of what is not on any bill: energy, ports and unserved demand."""
    tables, periods = program.tables, len(program.tables.periods)
    energy, port, unserved = np.zeros(periods), np.zeros(periods), np.zeros(periods)
    for label, usd, period in program.energy:
        energy += np.bincount(period, usd * values[label], minlength=periods)
    for label, candidate in zip(program.blocks["port"], tables.candidates, strict=True):
        if values[label] > 0.5:
            port[candidate.start] += candidate.cost_usd
            for y in range(candidate.live, periods):
                port[y] += candidate.upkeep_usd_per_year * program.period_hours[y] / 8760.0
    if len(program.demand_period):
        unserved += np.bincount(program.demand_period, program.unserved_usd * values[program.blocks["unserved"]], minlength=periods)
    return {"energy": energy, "port": port, "unserved": unserved}


def recomputed_usd(program: Program, solution: Solution) -> float:
    """Return the discounted total that the bills, energy, ports and unserved demand add up to."""
    factor = program.discount
    total = sum(line.total_usd * factor[line.period] for bill in bills(program, solution.values).bills for line in bill.lines)
    return float(total + sum((usd * factor).sum() for usd in by_period_usd(program, solution.values).values()))
