"""A bound that needs no solver: what the demand costs at the least price anybody asks, nothing else being in the way.

Used where time ended before any relaxation was solved: a plan is never handed out beside a bound that says nothing.
"""

from __future__ import annotations

import numpy as np

from polysilicon.planner.engine import Engine
from polysilicon.planner.problem import F8, I8
from polysilicon.planner.program import Program

ROUNDING = 1e-9


def floor(engine: Engine) -> float:
    """Return a lower bound of the whole program in money units, without its constant.

    Duals in closed form: a chip-hour of a pool is worth the least price of its offers after the largest discount, chips that
    a contract delivers are worth as much, a demand row the cheapest way to serve it (or its price for going unserved):

        m = min over offers of price x (1 - discount) ; mu = m h / cap ; lambda = min over ways of (own cost + sum of c mu)

    Ignores: ports, terms' lengths, blocks, limits: all of them only make a plan dearer.
    """
    program = engine.program
    duals = np.zeros(len(engine.row_of))
    _discounts(program, duals)
    _chip_hours(engine, duals)
    _delivered_only(engine, duals)
    _deliveries(engine, duals)
    _cheapest_way(engine, duals)
    return lagrangian(engine, duals[engine.row_labels])


def lagrangian(engine: Engine, duals: F8) -> float:
    """Return the bound that any duals prove: sum of y b + sum over columns of the least (c - A'y) x within its bounds.

    Minus infinity where a dual has the wrong sign for its row, or a column without bound would pay for itself.
    """
    side = np.where(duals > 0, engine.row_lower, engine.row_upper)
    reduced = engine.cost - engine.matrix.T @ duals
    size = np.abs(engine.cost) + abs(engine.matrix).T @ np.abs(duals)
    reduced = np.where(np.abs(reduced) <= ROUNDING * size, 0.0, reduced)
    end = np.where(reduced > 0, engine.lower, engine.upper)
    used, moved = duals != 0, reduced != 0
    if not (np.isfinite(side[used]).all() and np.isfinite(end[moved]).all()):
        return -np.inf
    return float(duals[used] @ side[used] + reduced[moved] @ end[moved])


def _discounts(program: Program, duals: F8) -> None:
    """Let every dollar earn the largest discount or rebate that its contract has."""
    unit = program.usd_unit
    cost = program.cost_usd() / unit
    if "tier_sum" in program.rows:
        steps = program.model.constraints["tier_sum"]
        duals[program.rows["tier_sum"].labels] = _least_cost(steps, cost, program.blocks["tier"])
    for name in [n for n in program.rows if n.startswith("drawn_spend_")]:
        labels = program.blocks[name.replace("drawn_spend_", "drawn_")]
        duals[program.rows[name].labels] = cost[labels]  # one row a period, in the order of its column


def _least_cost(steps: object, cost: F8, tiers: I8) -> F8:
    """Return, for each row, the least cost of the tiers in it."""
    labels = np.asarray(steps.vars.values)  # type: ignore[attr-defined]
    inside = np.isin(labels, tiers)
    return np.asarray(np.minimum(np.where(inside, cost[np.maximum(labels, 0)], 0.0).min(axis=1), 0.0))


def _chip_hours(engine: Engine, duals: F8) -> None:
    """Price a busy chip-hour of each pool and period at the least that its offers ask."""
    program = engine.program
    rows = program.rows.get("capacity")
    if rows is None:
        return
    tables = program.tables
    asked = np.zeros(len(engine.column_of))
    asked[engine.columns] = engine.cost - engine.matrix.T @ duals[engine.row_labels]
    pool_of, periods = np.array(tables.pool_of, np.int64), len(tables.periods)
    least = np.full((len(tables.pools), periods), np.inf)
    for offer, period, label, hours in (
        (program.rent_offer, tables.slot_period[program.rent_slot], program.blocks["rent"], tables.slot_hours[program.rent_slot]),
        (program.hold_offer, program.hold_period, program.blocks["hold"], program.period_hours[program.hold_period]),
    ):
        np.minimum.at(least, (pool_of[offer], period), asked[label] / hours)
    slot = rows.meta["slot"]
    price = least[rows.meta["pool"], tables.slot_period[slot]]
    worth = np.where(np.isfinite(price), np.maximum(price, 0.0), 0.0) * tables.slot_hours[slot] / tables.limits.utilisation_max_frac
    duals[rows.labels] = -worth


def _delivered_only(engine: Engine, duals: F8) -> None:
    """Price chips that no offer sells, a contract's alone, at what the cheapest other way to do their work costs."""
    program, flows, rows = engine.program, engine.program.flows, engine.program.rows
    if "capacity" not in rows or "demand" not in rows or not len(program.given_pool):
        return
    place = np.full((len(program.tables.pools), program.tables.slots), -1)
    place[rows["capacity"].meta["pool"], rows["capacity"].meta["slot"]] = rows["capacity"].labels
    flow, seat, chips = flows.seats()
    row = place[seat, flows.slot[flow]]
    alone = (row >= 0) & (duals[row] == 0.0)
    reduced = np.zeros(len(engine.column_of))
    reduced[engine.columns] = engine.cost - engine.matrix.T @ duals[engine.row_labels]
    least = reduced[program.blocks["unserved"]]
    others = np.setdiff1d(np.arange(len(flows.label)), flow[alone])
    np.minimum.at(least, flows.row[others], reduced[flows.label[others]])
    dear = np.maximum(least[flows.row[flow[alone]]] - reduced[flows.label[flow[alone]]], 0.0) / chips[alone]
    np.minimum.at(duals, row[alone], -dear)


def _deliveries(engine: Engine, duals: F8) -> None:
    """Charge chips that contracts deliver what they are worth in the dearest pool they may stand in."""
    program = engine.program
    if not len(program.given_pool):
        return
    reduced = np.zeros(len(engine.column_of))
    reduced[engine.columns] = engine.cost - engine.matrix.T @ duals[engine.row_labels]
    for name in ["delivered", *(n for n in program.rows if n.startswith("take_chips_"))]:
        if name not in program.rows:
            continue
        labels = program.rows[name].labels
        part = engine.matrix[engine.row_of[labels]].tocoo()
        given = np.isin(engine.columns[part.col], program.blocks["given"])
        least = np.zeros(len(labels))
        np.minimum.at(least, part.row[given], reduced[engine.columns[part.col[given]]] / part.data[given])
        duals[labels] = least


def _cheapest_way(engine: Engine, duals: F8) -> None:
    """Price each demand row at the cheapest of all that could fill it."""
    rows = engine.program.rows.get("demand")
    if rows is None:
        return
    reduced = engine.cost - engine.matrix.T @ duals[engine.row_labels]
    part = engine.matrix[engine.row_of[rows.labels]].tocoo()
    least = np.full(len(rows.labels), np.inf)
    np.minimum.at(least, part.row, reduced[part.col] / part.data)
    duals[rows.labels] = np.where(np.isfinite(least), np.maximum(least, 0.0), 0.0)
