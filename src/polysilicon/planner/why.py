"""Why a workload runs where it runs, in words: what one more token costs here, and at the next best place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from polysilicon.planner.problem import F8
from polysilicon.planner.program import Program
from polysilicon.planner.solution import Solution

LITTLE_CHIPS = 1e-6
FREE_USD_PER_MTOK = 1e-4  # below this a token is paid for already: the cheapest on sale costs a hundred times as much
SAME_FRAC = 1e-3  # closer costs are printed alike


@dataclass(frozen=True, slots=True)
class Margins:
    """What one more request costs on each service variable, in undiscounted dollars; infinite where nothing can be had."""

    usd_per_request: F8  # [flow]
    cheapest: dict[tuple[int, int], float]  # (arc, demand row) -> least over its load blocks


def margins(program: Program, solution: Solution) -> Margins:
    """Return the marginal cost of a request on every flow, in the very load blocks in which it would run.

    chips held: busy chips x dual of their capacity (0 while some are idle: they are paid for);
    none held: busy chips x hours x least price asked there / utilisation cap; by the token: its price. Energy is added.

    Ignores: what a commitment not yet used up takes off the price of new chips.
    """
    flows, tables = program.flows, program.tables
    requests = program.demand_requests[flows.row]
    discount = program.discount[flows.period]
    dual, held, asked = _duals(program, solution), _held(program, solution), _asked(program)
    flow, pool, chips = flows.seats()
    slot = flows.slot[flow]
    has = held[pool, slot] > LITTLE_CHIPS
    paid = chips * dual[pool, slot] / discount[flow]
    rented = chips * program.chip_unit * flows.hours[flow] * asked[pool, slot] / tables.limits.utilisation_max_frac
    energy = program.cost_usd()[flows.label] / discount  # of two phases apart, the wire's charge as well
    seats = np.zeros(len(flows.arc))
    np.add.at(seats, flow, np.where(has, paid, rented))
    token = np.array([arc.usd_per_request if arc.pool < 0 else 0.0 for arc in tables.arcs])
    usd = np.where(flows.pool >= 0, (seats + energy) / requests, token[flows.arc])
    cheapest: dict[tuple[int, int], float] = {}
    for arc, row, each in zip(flows.arc.tolist(), flows.row.tolist(), usd.tolist(), strict=True):
        cheapest[arc, row] = min(each, cheapest.get((arc, row), np.inf))
    return Margins(usd, cheapest)


def why(program: Program, solution: Solution, found: Margins, *, members: Sequence[int]) -> str:
    """Say why the flows `members`, those of one workload at one place in one period, run there."""
    flows, tables = program.flows, program.tables
    j = np.asarray(members, np.int64)
    weight = solution.values[flows.label[j]] * program.demand_requests[flows.row[j]]
    weight = weight / weight.sum()
    w, own = int(flows.workload[j[0]]), {int(a) for a in flows.arc[j]}
    per_mtok = max(tables.mtok(w, 1.0), 1e-30)
    here = float(weight @ found.usd_per_request[j]) / per_mtok
    place = {_place(program, a) for a in own}
    others: list[tuple[float, str]] = []
    for a, arc in enumerate(tables.arcs):
        if arc.workload != w or arc.port >= 0 or _place(program, a) in place:
            continue
        usd = sum(f * found.cheapest.get((a, r), np.inf) for f, r in zip(weight.tolist(), flows.row[j].tolist(), strict=True))
        if np.isfinite(usd):
            others.append((usd / per_mtok, _place(program, a)))
    return words(here, sorted(others))


def words(here: float, others: Sequence[tuple[float, str]]) -> str:
    """Return the reason, from $/Mtok at the margin here and elsewhere, the cheapest first.

    >>> words(0.0, [(0.4, "b")])
    'already paid for: one more token costs nothing until it is full; the next best place, b, would cost 0.4 $/Mtok'
    >>> words(0.0, [(0.0, "b"), (0.4, "c")])
    'already paid for: one more token costs nothing until it is full; so is b; the next best place, c, would cost 0.4 $/Mtok'
    >>> words(0.2, [(0.4, "b")])
    'one more token here costs 0.2 $/Mtok; the next best place, b, would cost 0.4'
    >>> words(0.2, [(0.2, "b")])
    'one more token costs 0.2 $/Mtok here and at the next best place, b, alike'
    >>> words(0.2, [(0.1, "b")])
    'one more token here costs 0.2 $/Mtok; cheaper places are full, capped, or sold in larger blocks or for longer terms only: b at 0.1'
    >>> words(0.2, [(0.0, "b")])
    'one more token here costs 0.2 $/Mtok; b is already paid for, but a limit of the plan keeps more of this work from it'
    >>> words(0.2, [])
    'the only place where it may run and keep its promise'
    """
    if not others:
        return "the only place where it may run and keep its promise"
    best, name = others[0]
    if here <= FREE_USD_PER_MTOK:
        told = "already paid for: one more token costs nothing until it is full"
        if best <= FREE_USD_PER_MTOK:
            told += f"; so is {name}"
        dearer = next(((usd, other) for usd, other in others if usd > FREE_USD_PER_MTOK), None)
        return told + (f"; the next best place, {dearer[1]}, would cost {dearer[0]:.3g} $/Mtok" if dearer else "")
    if abs(here - best) <= SAME_FRAC * here:
        return f"one more token costs {here:.3g} $/Mtok here and at the next best place, {name}, alike"
    told = f"one more token here costs {here:.3g} $/Mtok; "
    if here < best:
        return told + f"the next best place, {name}, would cost {best:.3g}"
    if best <= FREE_USD_PER_MTOK:
        return told + f"{name} is already paid for, but a limit of the plan keeps more of this work from it"
    return told + f"cheaper places are full, capped, or sold in larger blocks or for longer terms only: {name} at {best:.3g}"


def _place(program: Program, a: int) -> str:
    arc, tables = program.tables.arcs[a], program.tables
    if arc.decode is not None:
        return f"{tables.pools[arc.pool].id} with {tables.pools[arc.decode.pool].id} decoding"
    return tables.pools[arc.pool].id if arc.pool >= 0 else tables.token_offers[arc.offer].id


def _duals(program: Program, solution: Solution) -> F8:
    """Return what a chip unit of each pool is worth in each load block, discounted."""
    worth = np.zeros((len(program.tables.pools), program.tables.slots))
    rows = program.rows.get("capacity")
    if rows is not None:
        worth[rows.meta["pool"], rows.meta["slot"]] = np.maximum(-solution.duals[rows.labels], 0.0)
    return worth


def _held(program: Program, solution: Solution) -> F8:
    """Return chips there are in each pool and load block, rented, signed or given."""
    tables, values, unit = program.tables, solution.values, program.chip_unit
    chips = np.zeros((len(tables.pools), tables.slots))
    pool_of = np.array(tables.pool_of, np.int64)
    np.add.at(chips, (pool_of[program.rent_offer], program.rent_slot), values[program.blocks["rent"]] * unit)
    signed = zip(pool_of[program.hold_offer], program.hold_period, values[program.blocks["hold"]], strict=True)
    came = zip(program.given_pool, program.given_period, values[program.blocks["given"]], strict=True)
    for p, y, held in (*signed, *came):
        chips[p, tables.slot_period == y] += held * unit
    return chips


def _asked(program: Program) -> F8:
    """Return the least price of a chip-hour in each pool and load block; infinite where none is on sale."""
    tables = program.tables
    least = np.full((len(tables.pools), tables.slots), np.inf)
    price = [np.inf if o.usd_per_chip_hour is None else o.usd_per_chip_hour for o in tables.offers]
    for o, t in zip(program.rent_offer, program.rent_slot, strict=True):
        least[tables.pool_of[o], t] = min(least[tables.pool_of[o], t], price[o])
    for o, y in zip(program.hold_offer, program.hold_period, strict=True):
        on = tables.slot_period == y
        least[tables.pool_of[o], on] = np.minimum(least[tables.pool_of[o], on], price[o])
    return least
