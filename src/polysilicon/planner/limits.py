"""Limits beyond prices: power, supplier shares, budgets, carbon, utilisation floors, ports in work at once."""

from __future__ import annotations

import numpy as np

from polysilicon.errors import MissingFact
from polysilicon.planner import training
from polysilicon.planner.arcs import site_of
from polysilicon.planner.build import months_between
from polysilicon.planner.holdings import spot_usable
from polysilicon.planner.money import chips_by_slot, energy_rates, net_usd, power_coefficients
from polysilicon.planner.problem import I8
from polysilicon.planner.program import Program, Term

ANGLES = 24  # of a quarter circle, for the length of a pair
ROUNDING = 20.0  # blocks a pool may round up by for each whole demand it serves: one from a twentieth on


def power(program: Program) -> None:
    """State that what stands at a site fits its power: sum of all-in watts x (u + K) <= IT megawatts [$/MW]."""
    tables = program.tables
    sites = [s for s in tables.sites if s.it_mw is not None or s.ramp_mw]
    if not sites:
        return
    here = {p: sites.index(s) for p, pool in enumerate(tables.pools) if (s := site_of(tables, pool)) in sites}
    index = np.array([here.get(p, -1) for p in range(len(tables.pools))], np.int64)
    watts = np.zeros(len(tables.pools))
    for p in here:
        chip = tables.pools[p].chip
        if chip.all_in_w is None:
            raise MissingFact(chip.id, "all_in_w", needed_for=f"the power limit of site {sites[here[p]].id}")
        watts[p] = chip.all_in_w
    terms: list[Term] = []
    for pool, slot, label in chips_by_slot(program):
        mine = np.flatnonzero(index[pool] >= 0) if len(pool) else np.empty(0, np.int64)
        terms.append((index[pool[mine]] * tables.slots + slot[mine], label[mine], watts[pool[mine]] * program.chip_unit / 1e6))
    if not any(len(t[0]) for t in terms):
        return
    limit = np.array([_mw(site, tables.calendar[y].start) for site in sites for y in tables.slot_period])
    rows = np.arange(len(limit))
    words = [f"the power of site {sites[r // tables.slots].id}" for r in rows]
    program.power_sites = sites
    program.constrain("power", terms, "<=", limit, count=len(rows), words=words, unit="MW", site=rows // tables.slots, slot=rows % tables.slots)


def _mw(site: object, day: str) -> float:
    ramp = sorted(getattr(site, "ramp_mw", ()))
    most = getattr(site, "it_mw", None)
    top = np.inf if most is None else float(most)
    if not ramp:
        return top
    reached = [mw for when, mw in ramp if when <= day]
    return min(top, reached[-1] if reached else 0.0)


def shares(program: Program) -> None:
    """State that no supplier gets more than its share of a period's spend: S_v <= cap x sum of S [premium for diversity]."""
    limits = program.tables.limits
    for short, words, cap in (
        ("vendor", "chip vendor", limits.vendor_share_max_frac),
        ("cloud", "cloud", limits.cloud_share_max_frac),
        ("family", "chip family", limits.chip_family_share_max_frac),
        ("region", "region", limits.region_share_max_frac),
    ):
        if cap is None or cap >= 1.0 or not len(program.spend.offer):
            continue
        names, spent = _spent(program, short)
        periods, rows = len(program.tables.periods), np.arange(len(spent))
        terms: list[Term] = [(rows, spent, np.ones(len(rows)))]
        terms += [(rows, spent[n * periods + rows % periods], np.full(len(rows), -cap)) for n in range(len(names))]
        program.constrain(
            f"{short}_share",
            terms,
            "<=",
            0.0,
            words=[f"the {cap:.0%} cap on {words} {names[r // periods]}" for r in rows],
            unit="$ of spend",
            size=program.usd_unit,
            period=rows % periods,
        )


def concentration(program: Program) -> None:
    """State that squared shares of a period's spend add up to at most H: sum of S_v^2 <= H (sum of S)^2 [price of dispersion].

    A cone: |S| <= sqrt(H) x sum of S. The norm is built of pairs, r >= a cos t + b sin t for K + 1 angles t, which is short
    of the true one by at most 1 / cos(pi / 4K) a level; the right side is cut by as much, so the limit itself always holds
    and costs at most 0.5 % of H (K = 24, four levels). Source: Ben-Tal and Nemirovski, polyhedral cones.
    """
    limits = program.tables.limits
    for short, words, most in (("vendor", "chip vendors", limits.vendor_hhi_max_frac), ("cloud", "clouds", limits.cloud_hhi_max_frac)):
        if most is None or most >= 1.0 or not len(program.spend.offer):
            continue
        names, spent = _spent(program, short)
        periods = len(program.tables.periods)
        level, levels = [spent[n * periods : (n + 1) * periods] for n in range(len(names))], 0
        while len(level) > 1:
            names_of = [f"{short}_norm_{levels}_{i}" for i in range(len(level))]
            level = [_norm(program, names_of[i], *level[i : i + 2]) if i + 1 < len(level) else level[i] for i in range(0, len(level), 2)]
            levels += 1
        every = np.arange(periods)
        reach = np.sqrt(most) * np.cos(np.pi / 4.0 / ANGLES) ** levels
        terms: list[Term] = [(every, level[0], np.ones(periods))]
        terms += [(every, spent[n * periods + every], np.full(periods, -reach)) for n in range(len(names))]
        program.constrain(
            f"{short}_hhi",
            terms,
            "<=",
            0.0,
            words=[f"the HHI limit of {most:.3g} over {words}"] * periods,
            unit="$ of spend",
            size=program.usd_unit,
            period=every,
        )


def needed(program: Program) -> None:
    """State that where suppliers' shares of spend are capped, chips are paid for to be used [price of not padding a share].

    With U = sum over a period's load blocks of (busy / cap + training + B) of a pool: hourly chips, summed over the blocks, <= U;
    a signed block's chips <= U summed over its term. B rounds up to whole blocks where work is done: block x 20 x s. Else a cap
    would be kept by paying other suppliers for chips that serve nothing. Not stated where failures must be survived: chips may
    wait for them.
    """
    tables, limits, flows = program.tables, program.tables.limits, program.flows
    caps = (
        limits.vendor_share_max_frac, limits.cloud_share_max_frac, limits.chip_family_share_max_frac, limits.region_share_max_frac,
        limits.vendor_hhi_max_frac, limits.cloud_hhi_max_frac,
    )  # fmt: skip
    if limits.survive_loss_of or all(c is None or c >= 1.0 for c in caps):
        return
    periods, pools = len(tables.periods), np.array(tables.pool_of, np.int64)
    blocks = np.array([max(1, o.block_chips) for o in tables.offers], float) / program.chip_unit
    largest = np.zeros(len(tables.pools))
    np.maximum.at(largest, pools, np.where(blocks * program.chip_unit > 1.5, blocks, 0.0))
    used = program.variables("used", len(tables.pools) * periods)
    rows = np.arange(len(used))
    flow, seat, chips = flows.seats()
    work = chips / limits.utilisation_max_frac + ROUNDING * largest[seat]
    terms: list[Term] = [(rows, used, np.ones(len(used))), (seat * periods + flows.period[flow], flows.label[flow], -work)]
    if len(program.train_run):
        pool, slot, label = training.busy(program)
        terms.append((pool * periods + tables.slot_period[slot], label, -np.ones(len(label))))
    program.constrain("used_sum", terms, "<=", 0.0)
    if len(program.rent_offer):
        offer = program.rent_offer
        usable = np.array([spot_usable(o) for o in tables.offers])[offer]
        rented = (pools[offer] * periods + tables.slot_period[program.rent_slot], program.blocks["rent"], usable)
        needed_rows: list[Term] = [rented, (rows, used, -np.ones(len(used)))]
        program.constrain("needed_by_the_hour", needed_rows, "<=", 0.0, unit="chips", size=program.chip_unit)
    if len(program.sign_offer):
        within = [
            (j, int(pools[o]) * periods + later)
            for j, (o, y) in enumerate(zip(program.sign_offer, program.sign_period, strict=True))
            for later in range(int(y), periods)
            if months_between(tables, int(y), later) < tables.offers[o].lead_time_months + max(tables.offers[o].min_term_months, 1) - 0.05
        ]
        index = np.array(within, np.int64)
        signed = (np.arange(len(program.sign_offer)), program.blocks["sign"], blocks[program.sign_offer])
        term = [signed, (index[:, 0], used[index[:, 1]], -np.ones(len(index)))]
        program.constrain("needed_in_its_term", term, "<=", 0.0, unit="chips", size=program.chip_unit)


def _norm(program: Program, name: str, a: I8, b: I8) -> I8:
    """Add r, at least the length of (a, b) as far as the angles tell, for each period."""
    r = program.variables(name, len(a))
    angles = np.linspace(0.0, np.pi / 2.0, ANGLES + 1)
    rows = np.arange(len(a) * len(angles))
    at, angle = rows // len(angles), angles[rows % len(angles)]
    program.constrain(f"{name}_rows", [(rows, a[at], np.cos(angle)), (rows, b[at], np.sin(angle)), (rows, r[at], -np.ones(len(rows)))], "<=", 0.0)
    return r


def _spent(program: Program, short: str) -> tuple[list[str], I8]:
    """Return the suppliers of a kind, and labels of each one's spend in each period, [supplier x periods + period]."""
    tables, table, periods = program.tables, program.spend, len(program.tables.periods)
    pools = [tables.pools[p] for p in tables.pool_of]
    owner = {
        "vendor": [p.chip.vendor for p in pools] + [f"api {o.cloud}" for o in tables.token_offers],
        "cloud": [p.cloud for p in pools] + [o.cloud for o in tables.token_offers],
        "family": [p.chip.family for p in pools] + [f"api {o.cloud}" for o in tables.token_offers],
        "region": [f"{p.cloud}/{p.region}" for p in pools] + [f"{o.cloud}/{o.region}" for o in tables.token_offers],
    }[short]
    names = sorted(set(owner))
    if f"{short}_spend" in program.blocks:
        return names, program.blocks[f"{short}_spend"]
    of_offer = np.array([names.index(o) for o in owner], np.int64)
    group = of_offer[table.offer] * periods + table.period
    spent = program.variables(f"{short}_spend", len(names) * periods)
    rows = np.arange(len(spent))
    usd = net_usd(program) / program.usd_unit
    program.constrain(f"{short}_sum", [(group, table.label, usd), (rows, spent, -np.ones(len(rows)))], "=", 0.0)
    return names, spent


def budgets(program: Program) -> None:
    """State that a calendar year's bills stay within its budget: sum of spend, fixed payments, shortfalls and ports <= budget."""
    tables, table = program.tables, program.spend
    budget = list(tables.limits.budget_usd_per_year)
    if not budget:
        return
    year_of = np.array([int(p.start[:4]) for p in tables.periods])
    usd, terms, rhs = net_usd(program), [], []
    for r, (year, most) in enumerate(budget):
        inside = np.flatnonzero(year_of == year)
        mine = np.flatnonzero(np.isin(table.period, inside)) if len(table.period) else np.empty(0, np.int64)
        terms.append((np.full(len(mine), r), table.label[mine], usd[mine] / program.usd_unit))
        late = np.flatnonzero(np.isin(program.shortfall_period, inside))
        terms.append((np.full(len(late), r), program.blocks["shortfall"][late], np.ones(len(late))))
        for label, energy, period in program.energy:
            here = np.flatnonzero(np.isin(period, inside))
            terms.append((np.full(len(here), r), label[here], energy[here] / program.usd_unit))
        for label, candidate in zip(program.blocks["port"], tables.candidates, strict=True):
            due = candidate.cost_usd if candidate.start in inside else 0.0
            due += sum(candidate.upkeep_usd_per_year * program.period_hours[y] / 8760.0 for y in inside if y >= candidate.live)
            terms.append((np.array([r]), np.array([label]), np.array([due / program.usd_unit])))
        fixed = sum(c.fixed_usd(tables.calendar[y]) for c in tables.contracts if c.signed for y in inside)
        rhs.append((most - fixed) / program.usd_unit)
    program.constrain(
        "budget",
        terms,
        "<=",
        np.array(rhs),
        count=len(rhs),
        words=[f"the budget of {year}" for year, _ in budget],
        unit="$ a year",
        size=program.usd_unit,
        year=np.array([y for y, _ in budget], np.int64),
    )


def carbon(program: Program) -> None:
    """State that a calendar year's energy emits at most so much: sum of watts x hours x PUE x g/kWh <= tonnes [$/t]."""
    tables, most = program.tables, program.tables.limits.co2_tonnes_per_year
    if most is None:
        return
    _, tonnes_per_kwh = energy_rates(tables)
    years = sorted({int(p.start[:4]) for p in tables.periods})
    year_of = np.array([years.index(int(p.start[:4])) for p in tables.periods])
    terms = [
        (year_of[tables.slot_period[slot]], label, watts / 1000.0 * tables.slot_hours[slot] * tonnes_per_kwh[pool, tables.slot_period[slot]] / 1000.0)
        for pool, slot, label, watts in power_coefficients(program)[0]
    ]
    share = np.array([sum(p.hours for p in tables.periods if p.start[:4] == str(y)) / 8760.0 for y in years])
    program.constrain(
        "carbon",
        terms,
        "<=",
        most * np.minimum(share, 1.0) / 1000.0,
        count=len(years),
        words=[f"the carbon cap of {y}" for y in years],
        unit="t CO2 a year",
        size=1000.0,
    )


def utilisation(program: Program) -> None:
    """State that chips held are used: mean busy chips of a period >= floor x chips held, over all pools together."""
    tables, flows = program.tables, program.flows
    floor = tables.limits.utilisation_min_frac
    if not floor:
        return
    on, _, chips = flows.seats()
    scale = program.period_hours[flows.period[on]]
    terms: list[Term] = [(flows.period[on], flows.label[on], chips * flows.mean_frac[on] * flows.hours[on] / scale)]
    for _, slot, label in [training.busy(program)] if len(program.train_run) else []:
        y = tables.slot_period[slot]
        terms.append((y, label, tables.slot_hours[slot] / program.period_hours[y]))
    for _, slot, label in chips_by_slot(program):
        y = tables.slot_period[slot]
        terms.append((y, label, -floor * tables.slot_hours[slot] / program.period_hours[y]))
    words = [f"the {floor:.0%} utilisation floor"] * len(tables.periods)
    program.constrain("utilisation_floor", terms, ">=", 0.0, count=len(tables.periods), words=words, unit="chips", size=program.chip_unit)


def ports_at_once(program: Program) -> None:
    """State that only so many ports are in work in a period: sum of z started and not yet live <= limit."""
    tables, most = program.tables, program.tables.limits.ports_at_once
    if most is None or not tables.candidates:
        return
    pairs = [(y, k) for k, c in enumerate(tables.candidates) for y in range(c.start, max(c.live, c.start + 1))]
    index: I8 = np.array(pairs, np.int64)
    program.constrain(
        "ports_at_once",
        [(index[:, 0], program.blocks["port"][index[:, 1]], np.ones(len(index)))],
        "<=",
        float(most),
        count=len(tables.periods),
        words=[f"at most {most} ports in work at once"] * len(tables.periods),
        unit="ports",
    )
