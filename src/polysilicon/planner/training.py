"""Training blocks: chips they keep busy compete with inference for the same pools."""

from __future__ import annotations

import numpy as np

from polysilicon.planner.problem import F8, I8
from polysilicon.planner.program import Program, Term


def train(program: Program) -> None:
    """State that a block has its chips wherever it stands: sum of k over its pools = chips, each period it touches.

    A block that must stand in one place chooses it once, x in {0, 1}: k = chips x, sum of x = 1.
    Ignores: that spot chips would interrupt it; after a failure it pauses, and gives its chips to who is left.
    """
    tables = program.tables
    rows = [(r, p, y) for r, run in enumerate(tables.training) for p in run.pools for y in run.periods]
    table = np.array(rows, np.int64).reshape(-1, 3)
    program.train_run, program.train_pool, program.train_period = table[:, 0], table[:, 1], table[:, 2]
    label = program.variables("train", len(rows))
    needs = [(r, y) for r, run in enumerate(tables.training) for y in run.periods]
    if not needs:
        return
    row_of = {need: i for i, need in enumerate(needs)}
    size = np.array([tables.training[r].chips for r, _ in needs]) / program.chip_unit
    program.constrain(
        "training",
        [(np.array([row_of[r, y] for r, _, y in rows], np.int64), label, np.ones(len(rows)))],
        "=",
        size,
        count=len(needs),
        words=[f"the chips of training {tables.training[r].id}" for r, _ in needs],
        unit="chips",
        size=program.chip_unit,
    )
    _one_place(program, label)


def _one_place(program: Program, label: I8) -> None:
    tables = program.tables
    places = [(r, p) for r, run in enumerate(tables.training) if run.one_place and len(run.pools) > 1 for p in run.pools]
    if not places:
        return
    at = program.variables("train_place", len(places), binary=True)
    runs = sorted({r for r, _ in places})
    program.constrain("training_place", [(np.array([runs.index(r) for r, _ in places], np.int64), at, np.ones(len(places)))], "=", 1.0)
    of = {place: i for i, place in enumerate(places)}
    tied = [(i, of[int(r), int(p)]) for i, (r, p) in enumerate(zip(program.train_run, program.train_pool, strict=True)) if (int(r), int(p)) in of]
    flow, place = np.array(tied, np.int64).T
    chips = np.array([tables.training[r].chips for r in program.train_run[flow]]) / program.chip_unit
    every = np.arange(len(tied))
    program.constrain("training_whole", [(every, label[flow], np.ones(len(tied))), (every, at[place], -chips)], "=", 0.0)


def busy(program: Program) -> tuple[I8, I8, I8]:
    """Return (pool, slot, label) of the chips that training keeps busy, day and night."""
    slots = program.tables.slot_period
    pairs = [(i, t) for i, y in enumerate(program.train_period) for t in np.flatnonzero(slots == y)]
    index: I8 = np.array(pairs, np.int64).reshape(-1, 2)
    return program.train_pool[index[:, 0]], index[:, 1], program.blocks["train"][index[:, 0]]


def capacity_terms(program: Program, cap: float) -> list[Term]:
    """Return what training takes of pools: whole chips, so cap x k of what may be busy."""
    pool, slot, label = busy(program)
    return [(pool * program.tables.slots + slot, label, np.full(len(label), cap))] if len(label) else []


def chips(program: Program, values: F8) -> list[tuple[int, int, int, float]]:
    """Return (run, pool, period, chips) of every block where it stands."""
    held = values[program.blocks["train"]] * program.chip_unit
    rows = zip(program.train_run, program.train_pool, program.train_period, held, strict=True)
    return [(int(r), int(p), int(y), float(k)) for r, p, y, k in rows if k > 1e-6]
