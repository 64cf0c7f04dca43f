"""What a whole block is worth, where a first chip alone would be bought: nodes, racks and pods are sold whole."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from polysilicon.planner.engine import Engine
from polysilicon.planner.problem import F8, I8
from polysilicon.planner.program import Program, contracted
from polysilicon.planner.solution import WHOLE_INTEGERS, Solution
from polysilicon.planner.thresholds import LEAST_USD, Threshold, chip_hour_usd

NEAR_FRAC = 1e-6
GAP_FRAC = 1e-5
SECONDS = 10.0


def whole_blocks(program: Program, solution: Solution, entries: Sequence[Threshold]) -> list[Threshold]:
    """Return entry prices with those that the margin of the plan cannot tell found by asking again.

    An offer that asks less than its first chip is worth, and is not bought, is kept out by its block: most of it would idle.
    Its threshold is then what one block saves, in the period where its chips are worth most, per chip-hour of the block:

        (cost of the plan - cost with one block more, for nothing) / (block chips x hours)

    Small programs are searched again, and for every offer, since whole blocks of what is held hide what a chip more is worth;
    in large ones every other port and block stays as it is.
    """
    tables, engine = program.tables, Engine(program)
    worth, index = chip_hour_usd(program, solution), {o.id: i for i, o in enumerate(tables.offers)}
    small = len(engine.integer_columns) <= WHOLE_INTEGERS
    found = []
    for entry in entries:
        o = index[entry.what]
        counts, best = _counts(program, worth, o)
        told = entry.threshold <= entry.now * (1 + NEAR_FRAC) and not small
        if told or not len(counts) or entry.now <= 0:
            found.append(entry)
            continue
        usd = _block_worth_usd(engine, solution, o, int(counts[best]), small=small)
        size = tables.offers[o].block_chips
        words = f"{entry.what} is bought from {usd:.3g} $/chip-hour down; it asks {entry.now:.3g}"
        if size > 1:
            words += f", and is sold by {size}: its first chip alone would be worth {entry.threshold:.3g}"
        found.append(replace(entry, threshold=usd, words=words))
    return sorted(found, key=lambda t: t.now / max(t.threshold, 1e-9))


def _counts(program: Program, worth: F8, o: int) -> tuple[I8, int]:
    """Return the labels that count an offer's blocks, and the place of the one whose chips are worth most."""
    tables = program.tables
    offer, pool = tables.offers[o], tables.pool_of[o]
    if contracted(offer.kind, offer.min_term_months):
        mine = np.flatnonzero(program.sign_offer == o)
        ahead = [float(worth[pool, tables.slot_period >= y].sum()) for y in program.sign_period[mine]]
        return program.blocks["sign"][mine], int(np.argmax(ahead)) if len(mine) else 0
    if "rent_blocks" not in program.blocks:
        return np.empty(0, np.int64), 0
    mine = np.flatnonzero(program.rent_offer == o)
    return program.blocks["rent_blocks"][mine], int(np.argmax(worth[pool, program.rent_slot[mine]])) if len(mine) else 0


def _block_worth_usd(engine: Engine, solution: Solution, o: int, count: int, *, small: bool) -> float:
    """Return what one block saves, undiscounted dollars per chip-hour; `count` is the label that counts it."""
    program = engine.program
    mine = program.spend.label[program.spend.offer == o]
    columns, one = engine.column_of[mine].astype(np.int32), engine.column_of[[count]]
    fixed = one if small else engine.integer_columns
    values = np.round(solution.values[engine.columns[fixed]])
    values[fixed == one[0]] = 1.0
    cost = np.array(engine.solver.highs.getLp().col_cost_)[columns]
    engine.solver.integrality(engine.integer_columns, integer=small)
    engine.solver.options(mip_rel_gap=GAP_FRAC)
    engine.solver.bounds(fixed, values, values)
    engine.solver.highs.changeColsCost(len(columns), columns, np.zeros(len(columns)))
    engine.solver.run(SECONDS)
    fits, usd = engine.solver.found, engine.solver.objective * program.usd_unit
    chips = engine.solver.point()[columns] if fits else cost
    engine.solver.highs.changeColsCost(len(columns), columns, cost)
    engine.reset_bounds(fixed)
    if not fits:  # a block more breaks another limit: it is worth nothing
        return 0.0
    hours = float(program.cost_usd()[mine] @ chips) / float(program.tables.offers[o].usd_per_chip_hour or np.inf)  # discounted, as dollars are
    worth = (solution.objective_usd - usd - float(program.constant_usd)) / hours if hours > 0 else 0.0
    return worth if worth > LEAST_USD else 0.0
