"""What a plan should say of itself beside its numbers: demand left, commitments that cannot be filled, chips bought for nothing."""

from __future__ import annotations

import numpy as np

from polysilicon.cloud.contract import Contract
from polysilicon.planner import answer, training
from polysilicon.planner.holdings import held_by_pool
from polysilicon.planner.problem import F8
from polysilicon.planner.program import UNLIMITED_CHIPS, Program
from polysilicon.planner.solution import Solution

SMALL_FRAC = 1e-4  # of the plan's cost: smaller sums are not worth a sentence


def of(program: Program, solution: Solution) -> tuple[str, ...]:
    """Return every sentence that applies."""
    priced = [] if solution.is_priced else ["the pricing run had no optimum: nothing is said of what limits are worth"]
    implied = [f"{limit} follows from {harder}" for limit, harder in program.implied.items()]
    return (*priced, *implied, *unserved(program, solution), *unfilled(program, solution), *for_nothing(program, solution))


def unserved(program: Program, solution: Solution) -> list[str]:
    """Say how much of each workload goes unserved."""
    share, requests = answer.unserved_frac(program, solution), program.demand_requests
    found = []
    for w, work in enumerate(program.tables.workloads):
        mine = program.demand_workload == w
        lost = float((share[mine] * requests[mine]).sum())
        if lost > 1e-6 * max(float(requests[mine].sum()), 1e-12):
            share_frac, mtok = lost / float(requests[mine].sum()), program.tables.mtok(w, lost)
            starts = sorted({program.tables.periods[y].start for y in program.demand_period[mine & (share > 1e-6)]})
            when = f"in the period from {starts[0]}" if len(starts) == 1 else f"in {len(starts)} periods, from {starts[0]} to {starts[-1]}"
            found.append(f"{share_frac * 100:.2g}% of {work.id} goes unserved, {when} ({_short(mtok)} Mtok)")
    return found


def unfilled(program: Program, solution: Solution) -> list[str]:
    """Say which commitments are paid for nothing in part, and where no use of all that is eligible could fill them."""
    tables = program.tables
    found = []
    short = solution.values[program.blocks["shortfall"]] * program.usd_unit
    for c in sorted({int(c) for c in program.shortfall_contract}):
        lost = float(short[program.shortfall_contract == c].sum())
        contract = tables.contracts[c]
        if lost <= SMALL_FRAC * max(abs(solution.objective_usd), 1.0):
            continue
        most = _most_usd(program, c, contract)
        words = f"{_usd(lost)} of commitment {contract.id} are paid for nothing"
        if np.isfinite(most) and most < max(usd for _, usd in contract.milestones(tables.calendar)):
            words += f": all that is eligible, rented day and night to its limit, comes to {_usd(most)} within the horizon"
        elif caps := _binding_caps(program, solution):
            words += f"; what binds meanwhile: {', '.join(caps)}"
        found.append(words)
    return found


def _binding_caps(program: Program, solution: Solution) -> list[str]:
    """Return the caps on shares of spend that bind in some period, in their own words."""
    rows = [program.rows[name] for short in ("vendor", "cloud", "family", "region") if (name := f"{short}_share") in program.rows]
    return sorted({text for each in rows for text, dual in zip(each.words, solution.duals[each.labels], strict=True) if abs(dual) > 1e-6})


def _usd(usd: float) -> str:
    """Return dollars the way they are read.

    >>> _usd(3_106_345_861.0), _usd(512.4)
    ('3.11 B$', '512 $')
    """
    for size, unit in ((1e9, "B$"), (1e6, "M$")):
        if abs(usd) >= 0.9995 * size:
            return f"{_short(usd / size)} {unit}"
    return f"{usd:,.0f} $"


def _short(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _most_usd(program: Program, c: int, contract: Contract) -> float:
    """Return what a contract's eligible offers come to at most; infinite where one has no limit."""
    tables, total = program.tables, 0.0
    for o, offer in enumerate(program.all_offers):
        periods = np.flatnonzero(program.contract_of[o] == c)
        if not len(periods):
            continue
        if o >= len(tables.offers) or offer.max_chips is None or offer.max_chips >= UNLIMITED_CHIPS:
            return float("inf")
        total += offer.max_chips * (offer.usd_per_chip_hour or 0.0) * float(program.period_hours[periods].sum())
    return total * (1.0 - contract.base_discount_frac())


def for_nothing(program: Program, solution: Solution) -> list[str]:
    """Say what chips rented by the hour cost that serve nothing: no price asks for them, so a limit must.

    idle = rented - (busy / utilisation cap + training - held under terms), where that is positive, at the pool's least price.
    """
    tables = program.tables
    if program.integer_rent or not len(program.rent_offer):
        return []
    pool_of = np.array(tables.pool_of, np.int64)[program.rent_offer]
    price = np.array([o.usd_per_chip_hour or 0.0 for o in tables.offers])[program.rent_offer]
    steady = np.array([o.interruptions_per_hour <= 0 for o in tables.offers], bool)[program.rent_offer]  # spot loses hours as it is
    rented, least = np.zeros((len(tables.pools), tables.slots)), np.full((len(tables.pools), tables.slots), np.inf)
    np.add.at(rented, (pool_of, program.rent_slot), solution.values[program.blocks["rent"]] * steady)
    np.minimum.at(least, (pool_of, program.rent_slot), price)
    idle = np.maximum(0.0, rented - np.maximum(_needed(program, solution.values), 0.0)) * program.chip_unit
    usd = float((idle * np.where(np.isfinite(least), least, 0.0) * tables.slot_hours).sum())
    if usd <= max(1.0, 10 * SMALL_FRAC * abs(solution.objective_usd)):
        return []
    return [f"chips rented by the hour that serve nothing cost {_usd(usd)}: a cap on shares or a commitment asks for the spending, not the work"]


def _needed(program: Program, values: F8) -> F8:
    """Return the chips that must be rented in each pool and load block for what it serves, [pool, slot]."""
    tables, flows = program.tables, program.flows
    need = np.zeros((len(tables.pools), tables.slots))
    flow, seat, chips = flows.seats()
    np.add.at(need, (seat, flows.slot[flow]), values[flows.label[flow]] * chips / tables.limits.utilisation_max_frac)
    pool, slot, label = training.busy(program, spot=False)
    np.add.at(need, (pool, slot), values[label])
    for held_pool, period, labels in held_by_pool(program):
        for p, y, each in zip(held_pool, period, labels, strict=True):
            need[p, tables.slot_period == y] -= values[each]
    return need
