"""Duals in the words of the domain: what one more unit of a limit is worth, in undiscounted dollars."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from polysilicon.planner.program import Program
from polysilicon.planner.solution import Solution
from polysilicon.portfolio import ShadowPrice
from polysilicon.units import HOURS_PER_MONTH

SMALL_USD = 1e-7


def shadow_prices(program: Program, solution: Solution) -> tuple[ShadowPrice, ...]:
    """Return every price of the pricing run that is not nil, largest stakes first within a kind.

    Duals are those of the linear program with integers fixed: what a *small* change is worth. Discrete questions are
    answered by solving again.
    """
    found: list[ShadowPrice] = []
    clouded = _clouded(program, solution)
    for kind in (_chip_hours, _tokens, _commitments, _power, _scarcity, _shares, _dispersion, _budgets, _carbon, _ports, _links, _resilience):
        found += [
            replace(p, usd=float(p.usd), is_priced=p.period not in clouded if p.period is not None else not clouded)
            for p in kind(program, solution)
            if abs(p.usd) > SMALL_USD
        ]
    return tuple(found)


def _clouded(program: Program, solution: Solution) -> frozenset[int]:
    """Return the periods in which demand goes unserved that nobody priced: duals there echo our own deterrent."""
    nobody = np.array([program.tables.unserved_usd_per_mtok[w] is None for w in program.demand_workload], bool)
    lost = solution.values[program.blocks["unserved"]] > 1e-6
    return frozenset(int(y) for y in program.demand_period[nobody & lost])


def _discount(program: Program, y: int) -> float:
    return float(program.discount[y])


def _chip_hours(program: Program, solution: Solution) -> Iterator[ShadowPrice]:
    """Yield the worth of one more chip-hour in each pool and period: the mean over its hours, and 0 where nothing runs on it."""
    tables, rows = program.tables, program.rows.get("capacity")
    if rows is None:
        return
    dual = -solution.duals[rows.labels] / program.chip_unit * tables.limits.utilisation_max_frac
    worth = np.zeros((len(tables.pools), len(tables.periods)))
    for pool, slot, usd in zip(rows.meta["pool"], rows.meta["slot"], dual, strict=True):
        y = int(tables.slot_period[slot])
        worth[pool, y] += usd / _discount(program, y) / program.period_hours[y]
    for pool, y in zip(*np.nonzero(worth > SMALL_USD), strict=True):
        where = tables.pools[pool]
        yield ShadowPrice(
            f"chip-hour:{where.id}",
            f"one more hour of a {where.chip.id} in {where.cloud} {where.region}",
            float(worth[pool, y]),
            "chip-hour",
            int(y),
        )


def _tokens(program: Program, solution: Solution) -> Iterator[ShadowPrice]:
    """Yield the marginal cost of a million tokens of each workload, by period."""
    tables, rows = program.tables, program.rows.get("demand")
    if rows is None:
        return
    value: dict[tuple[int, int], list[float]] = {}
    for row, usd in zip(rows.meta["row"], solution.duals[rows.labels], strict=True):
        w, y = int(program.demand_workload[row]), int(program.demand_period[row])
        sums = value.setdefault((w, y), [0.0, 0.0])
        sums[0] += usd / _discount(program, y)
        sums[1] += tables.mtok(w, float(program.demand_requests[row]))
    for (w, y), (usd, mtok) in value.items():
        yield ShadowPrice(f"tokens:{tables.workloads[w].id}", f"one more million tokens of {tables.workloads[w].id}", usd / mtok, "Mtok", y)


def _commitments(program: Program, solution: Solution) -> Iterator[ShadowPrice]:
    tables, rows = program.tables, program.rows.get("take_or_pay")
    if rows is None:
        return
    for c, y, usd in zip(rows.meta["contract"], rows.meta["period"], solution.duals[rows.labels], strict=True):
        name = tables.contracts[c].id
        yield ShadowPrice(
            f"commitment:{name}",
            f"one dollar less to spend under {name}",
            usd / program.usd_unit / _discount(program, int(y)),
            "$ of commitment",
            int(y),
        )


def _power(program: Program, solution: Solution) -> Iterator[ShadowPrice]:
    tables, rows = program.tables, program.rows.get("power")
    if rows is None:
        return
    worth: dict[tuple[int, int], float] = {}
    for site, slot, usd in zip(rows.meta["site"], rows.meta["slot"], -solution.duals[rows.labels], strict=True):
        y = int(tables.slot_period[slot])
        worth[int(site), y] = worth.get((int(site), y), 0.0) + usd / _discount(program, y)
    for (s, y), usd in worth.items():
        site = program.power_sites[s]
        months = program.period_hours[y] / HOURS_PER_MONTH
        yield ShadowPrice(f"power:{site.id}", f"one more megawatt at {site.id} for a month", usd / months, "MW-month", y)


def _scarcity(program: Program, solution: Solution) -> Iterator[ShadowPrice]:
    tables = program.tables
    for name in ("offer_limit", "terms_limit"):
        rows = program.rows.get(name)
        if rows is None:
            continue
        worth: dict[tuple[int, int], float] = {}
        periods = rows.meta["period"] if "period" in rows.meta else tables.slot_period[rows.meta["slot"]]
        for o, y, usd in zip(rows.meta["offer"], periods, -solution.duals[rows.labels] / program.chip_unit, strict=True):
            worth[int(o), int(y)] = worth.get((int(o), int(y)), 0.0) + usd / _discount(program, int(y)) / program.period_hours[y]
        for (o, y), usd in worth.items():
            yield ShadowPrice(
                f"allocation:{tables.offers[o].id}",
                f"one more chip from {tables.offers[o].id}, above its price",
                usd,
                "chip-hour",
                y,
            )


def _shares(program: Program, solution: Solution) -> Iterator[ShadowPrice]:
    for short in ("vendor", "cloud", "family", "region"):
        rows = program.rows.get(f"{short}_share")
        if rows is None:
            continue
        spent = solution.values[program.blocks[f"{short}_spend"]].reshape(-1, len(program.tables.periods)).sum(axis=0) * program.usd_unit
        for text, y, usd in zip(rows.words, rows.meta["period"], -solution.duals[rows.labels] / program.usd_unit, strict=True):
            worth = usd * 0.01 * spent[y] / _discount(program, int(y))
            yield ShadowPrice(
                f"{short}-share:{text.rsplit(' ', 1)[-1]}",
                f"one percentage point more under {text}",
                worth,
                "percentage point",
                int(y),
            )


def _dispersion(program: Program, solution: Solution) -> Iterator[ShadowPrice]:
    """Yield what the HHI limit costs: a change of H by 0.01 moves the cone's reach sqrt(H) x S by 0.005 S / sqrt(H)."""
    limits = program.tables.limits
    for short, most in (("vendor", limits.vendor_hhi_max_frac), ("cloud", limits.cloud_hhi_max_frac)):
        rows = program.rows.get(f"{short}_hhi")
        if rows is None or most is None:
            continue
        spent = solution.values[program.blocks[f"{short}_spend"]].reshape(-1, len(program.tables.periods)).sum(axis=0) * program.usd_unit
        for text, y, usd in zip(rows.words, rows.meta["period"], -solution.duals[rows.labels] / program.usd_unit, strict=True):
            worth = usd * 0.005 * spent[y] / np.sqrt(most) / _discount(program, int(y))
            yield ShadowPrice(f"{short}-hhi", f"0.01 more under {text}", worth, "0.01 of HHI", int(y))


def _budgets(program: Program, solution: Solution) -> Iterator[ShadowPrice]:
    rows = program.rows.get("budget")
    if rows is not None:
        for year, usd in zip(rows.meta["year"], -solution.duals[rows.labels] / program.usd_unit, strict=True):
            yield ShadowPrice(f"budget:{year}", f"one more dollar of budget in {year}", float(usd), "$ of budget")


def _carbon(program: Program, solution: Solution) -> Iterator[ShadowPrice]:
    rows = program.rows.get("carbon")
    if rows is not None:
        for text, usd in zip(rows.words, -solution.duals[rows.labels] / rows.size, strict=True):
            yield ShadowPrice(f"carbon:{text.rsplit(' ', 1)[-1]}", f"one more tonne under {text}", float(usd), "t CO2")


def _ports(program: Program, solution: Solution) -> Iterator[ShadowPrice]:
    """Yield what a port's traffic is worth: the sum of its rows' duals is what the engine saves, to be set against its cost."""
    tables, rows = program.tables, program.rows.get("port_live")
    if rows is None:
        return
    worth = np.bincount(rows.meta["port"], -solution.duals[rows.labels], minlength=len(tables.candidates))
    best: dict[tuple[str, str], tuple[float, int]] = {}
    for k, usd in enumerate(worth):
        best[tables.candidates[k].key] = max(best.get(tables.candidates[k].key, (0.0, k)), (float(usd), k))
    for (family, chip), (usd, k) in best.items():
        candidate = tables.candidates[k]
        yield ShadowPrice(
            f"port:{family}:{chip}",
            f"an engine for {family} on {chip} live by {tables.periods[candidate.live].start}, before its cost",
            usd,
            "port",
            candidate.start,
        )


def _links(program: Program, solution: Solution) -> Iterator[ShadowPrice]:
    """Yield what one more GB/s between pools that share a workload would save a month."""
    tables, rows = program.tables, program.rows.get("link")
    if rows is None:
        return
    worth: dict[tuple[int, int], float] = {}
    for link, slot, usd in zip(rows.meta["link"], rows.meta["slot"], -solution.duals[rows.labels], strict=True):
        y = int(tables.slot_period[slot])
        worth[int(link), y] = worth.get((int(link), y), 0.0) + usd / _discount(program, y)
    for (i, y), usd in worth.items():
        months = program.period_hours[y] / HOURS_PER_MONTH
        yield ShadowPrice(f"link:{tables.links[i].id}", f"one more GB/s on the wire {tables.links[i].id} for a month", usd / months, "GB/s-month", y)


def _resilience(program: Program, solution: Solution) -> Iterator[ShadowPrice]:
    rows = program.rows.get("survive_demand")
    if rows is None:
        return
    worth: dict[str, float] = {}
    text_of: dict[int, str] = {}
    for text, failure, usd in zip(rows.words, rows.meta["failure"], solution.duals[rows.labels], strict=True):
        worth[text] = worth.get(text, 0.0) + usd * 0.01
        text_of[int(failure)] = text
    engines = program.rows.get("survive_port")
    if engines is not None:  # an engine carries at most the share, so its row moves with the share, too
        meta = zip(engines.meta["failure"], engines.meta["port"], engines.meta["period"], solution.duals[engines.labels], strict=True)
        for failure, port, y, usd in meta:
            started = solution.values[program.blocks["port"][list(program.alike[int(port), int(y)])]].sum()
            worth[text_of[int(failure)]] += usd * float(started) * 0.01
    for text, usd in worth.items():
        yield ShadowPrice(f"resilience:{text}", f"one percentage point less of {text}", usd, "percentage point")
