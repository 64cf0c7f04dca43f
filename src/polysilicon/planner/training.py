"""Training blocks: chips they keep busy compete with inference for the same pools; spot chips lose hours to interruptions."""

from __future__ import annotations

from math import ceil, exp, expm1, sqrt

import numpy as np

from polysilicon.planner.build import offer_opens
from polysilicon.planner.holdings import held_by_pool, spot_usable
from polysilicon.planner.problem import F8, I8, Run
from polysilicon.planner.program import Program, Term

LEAST_FRAC = 0.01  # a block that makes less progress is not put there


def efficiency(interruptions_per_hour: float, *, every_hours: float | None, checkpoint_hours: float, restart_hours: float) -> float:
    """Return the share of its time that an interrupted block makes progress.

    e = T L exp(-R L) / (exp((T + C) L) - 1): L interruptions an hour, T hours of work between checkpoints, C hours a checkpoint
    takes, R hours to restart; without interruptions T / (T + C). T left out is Young's sqrt(2 C / L), which loses nearly least.

    Ignores: interruptions in bursts, and a restart that must wait for chips; both cost more.
    Source: J. T. Daly, A higher order estimate of the optimum checkpoint interval for restart dumps, FGCS 22 (2006), eq. 20;
    J. W. Young, A first order approximation to the optimum checkpoint interval, CACM 17 (1974).

    >>> round(efficiency(0.1, every_hours=1.0, checkpoint_hours=0.05, restart_hours=0.25), 4)
    0.881
    >>> efficiency(0.0, every_hours=1.0, checkpoint_hours=0.25, restart_hours=9.0)
    0.8
    """
    rate = interruptions_per_hour if interruptions_per_hour > 1e-12 else 0.0
    work = every_hours if every_hours is not None else sqrt(2.0 * checkpoint_hours / rate) if rate > 0 else float("inf")
    if rate <= 0:
        return 1.0 if work == float("inf") else work / (work + checkpoint_hours)
    if work <= 0:  # checkpoints that cost nothing are taken all the time
        return exp(-restart_hours * rate)
    if (work + checkpoint_hours) * rate > 700.0:
        return 0.0
    return work * rate * exp(-restart_hours * rate) / expm1((work + checkpoint_hours) * rate)


def on_spot(program: Program, run: Run, o: int) -> float:
    """Return a run's efficiency on a spot offer: losing any one of its purchasable blocks stops it all, L = rate x blocks."""
    offer = program.tables.offers[o]
    blocks = ceil(run.chips / max(1, offer.block_chips))
    return efficiency(offer.interruptions_per_hour * blocks, every_hours=run.checkpoint_every_hours,
                      checkpoint_hours=run.checkpoint_hours, restart_hours=run.restart_hours)  # fmt: skip


def train(program: Program) -> None:
    """State that a block has its chips wherever it stands: sum of k + sum of e q = chips, each period it touches.

    k stands on chips that stay, q on spot chips that are reclaimed now and then, of which only e makes progress: to do the
    same work a block takes 1 / e as many. A block that must stand in one place chooses it once, x in {0, 1}: the sum there is
    chips x, and the sum of x is 1.
    Ignores: after a failure it pauses, and gives its chips to who is left.
    """
    tables = program.tables
    reclaimed = [o for o, offer in enumerate(tables.offers) if offer.kind == "spot" and offer.interruptions_per_hour > 0]
    rows = [(r, p, y, -1, 1.0) for r, run in enumerate(tables.training) for p in run.pools for y in run.periods]
    for r, run in enumerate(tables.training):
        shares = {o: e for o in reclaimed if tables.pool_of[o] in run.pools and (e := on_spot(program, run, o)) > LEAST_FRAC}
        rows += [(r, tables.pool_of[o], y, o, e) for o, e in shares.items() for y in run.periods if offer_opens(tables, o, y)]
    table = np.array([row[:4] for row in rows], np.int64).reshape(-1, 4)
    program.train_run, program.train_pool, program.train_period, program.train_offer = table.T
    program.train_yield = np.array([row[4] for row in rows])
    label = program.variables("train", len(rows))
    needs = [(r, y) for r, run in enumerate(tables.training) for y in run.periods]
    if not needs:
        return
    row_of = {need: i for i, need in enumerate(needs)}
    size = np.array([tables.training[r].chips for r, _ in needs]) / program.chip_unit
    program.constrain(
        "training",
        [(np.array([row_of[r, y] for r, _, y, *_ in rows], np.int64), label, program.train_yield)],
        "=",
        size,
        count=len(needs),
        words=[f"the chips of training {tables.training[r].id}" for r, _ in needs],
        unit="chips",
        size=program.chip_unit,
    )
    _one_place(program, label)
    if reclaimed:
        _stands_on(program, label)


def _stands_on(program: Program, label: I8) -> None:
    """State that what stays stands on chips that stay, sum of k <= sum of K + u, and the rest on its spot offer, sum of q <= u."""
    tables, slots = program.tables, program.tables.slots
    pool, slot, each = busy(program, spot=False)
    terms: list[Term] = [(pool * slots + slot, each, np.ones(len(each)))]
    reclaimed = np.array([o.kind == "spot" and o.interruptions_per_hour > 0 for o in tables.offers], bool)
    pool_of = np.array(tables.pool_of, np.int64)
    o, t = program.rent_offer, program.rent_slot
    steady = ~reclaimed[o]
    terms.append((pool_of[o[steady]] * slots + t[steady], program.blocks["rent"][steady], -np.ones(int(steady.sum()))))
    for there, period, held in held_by_pool(program):
        at = np.array([(j, s) for j, y in enumerate(period) for s in np.flatnonzero(tables.slot_period == y)], np.int64).reshape(-1, 2)
        terms.append((there[at[:, 0]] * slots + at[:, 1], held[at[:, 0]], -np.ones(len(at))))
    program.constrain("training_stays", terms, "<=", 0.0, count=len(tables.pools) * slots)
    rented = {(int(a), int(b)): i for i, (a, b) in enumerate(zip(o, t, strict=True))}
    on = [
        (rented[int(program.train_offer[i]), int(s)], int(i))
        for i in np.flatnonzero(program.train_offer >= 0)
        for s in np.flatnonzero(tables.slot_period == program.train_period[i])
    ]
    if on:
        row, mine = (np.array([pair[i] for pair in on], np.int64) for i in (0, 1))
        used = np.unique(row)
        rent: Term = (np.arange(len(used)), program.blocks["rent"][used], -np.ones(len(used)))
        program.constrain("training_spot", [(np.searchsorted(used, row), label[mine], np.ones(len(mine))), rent], "<=", 0.0)


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
    key = place * len(tables.periods) + program.train_period[flow]  # one row a place and period, whatever it stands on there
    _, first, row = np.unique(key, return_index=True, return_inverse=True)
    every = np.arange(len(first))
    chips = np.array([tables.training[r].chips for r in program.train_run[flow[first]]]) / program.chip_unit
    terms: list[Term] = [(row, label[flow], program.train_yield[flow]), (every, at[place[first]], -chips)]
    program.constrain("training_whole", terms, "=", 0.0)


def busy(program: Program, *, spot: bool | None = None) -> tuple[I8, I8, I8]:
    """Return (pool, slot, label) of the chips that training keeps busy, day and night: all, or those on spot offers or not."""
    slots = program.tables.slot_period
    wanted = np.ones(len(program.train_offer), bool) if spot is None else (program.train_offer >= 0) == spot
    pairs = [(i, t) for i, y in enumerate(program.train_period) if wanted[i] for t in np.flatnonzero(slots == y)]
    index: I8 = np.array(pairs, np.int64).reshape(-1, 2)
    return program.train_pool[index[:, 0]], index[:, 1], program.blocks["train"][index[:, 0]]


def capacity_terms(program: Program, cap: float) -> list[Term]:
    """Return what training takes of pools: whole chips, so cap x k of what may be busy; of spot what inference could have used."""
    found = []
    for spot in (False, True):
        pool, slot, label = busy(program, spot=spot)
        if len(label):
            place = np.searchsorted(program.blocks["train"], label)
            size = np.array([spot_usable(program.tables.offers[o]) if spot else 1.0 for o in program.train_offer[place]])
            found.append((pool * program.tables.slots + slot, label, cap * size))
    return found


def chips(program: Program, values: F8) -> list[tuple[int, int, int, float]]:
    """Return (run, pool, period, chips) of every block where it stands, what interruptions cost it included."""
    held: dict[tuple[int, int, int], float] = {}
    rows = zip(program.train_run, program.train_pool, program.train_period, values[program.blocks["train"]], strict=True)
    for r, p, y, k in rows:
        held[int(r), int(p), int(y)] = held.get((int(r), int(p), int(y)), 0.0) + float(k) * program.chip_unit
    return [(*key, k) for key, k in held.items() if k > 1e-6]


def spot_runs(program: Program, values: F8) -> list[tuple[str, str, float]]:
    """Return (run, offer, efficiency) of every block that stands on chips that are reclaimed."""
    there = values[program.blocks["train"]] * (program.train_offer >= 0) > 1e-6
    tables = program.tables
    found = {(tables.training[program.train_run[i]].id, tables.offers[program.train_offer[i]].id, float(program.train_yield[i])): None
             for i in np.flatnonzero(there)}  # fmt: skip
    return list(found)
