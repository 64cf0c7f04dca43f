"""Many integers: relax with few port starts, decide ports one after another, round the blocks, prove against the whole.

The bound is always that of the whole program: first the relaxation's, then, where the gap is wider than asked for, that of a
search over every start that its reduced cost does not rule out.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import highspy
import numpy as np

from polysilicon.highs import INFEASIBLE, proven_bound
from polysilicon.planner.build import months_between
from polysilicon.planner.columns import Part, Root, Starts, relax
from polysilicon.planner.engine import Engine, Progress
from polysilicon.planner.problem import F8, I8
from polysilicon.planner.program import Program

Clock = Callable[[], float]  # seconds left
LAST_SECONDS = 20.0  # beyond the time given, where nothing was found in it
RESERVE_FRAC = 0.15  # of the time, for the pricing run
SEARCH_FRAC = 0.35  # of the time, kept from the relaxation for what follows
CERTAIN, SLIGHT = 0.9, 0.1  # a start above is made, a pair below is not
WHOLE = 1e-6
PERIOD_GAP_FRAC = 1e-4
SHIFTS = (0.5, 0.75)  # a fraction of a block is signed from one half on, or from a quarter on


def relax_and_fix(engine: Engine, left: Clock, gap_frac: float, tell: Progress, clock: dict[str, float]) -> tuple[F8 | None, float, bool]:
    """Return (plan or None, proven bound, whether the search finished)."""
    began, total = time.monotonic(), left()
    starts = Starts(engine)
    blocks = _columns(engine, ("sign", "rent_blocks"))
    others = np.setdiff1d(np.setdiff1d(engine.integer_columns, blocks), starts.columns)
    root = relax(engine, starts, lambda: left() - SEARCH_FRAC * total, gap_frac / 20)
    clock["relaxation"] = time.monotonic() - began
    if root.part is None:
        if root.status in INFEASIBLE:
            return None, -np.inf, True
        return (*_last_resort(engine, starts), False)
    tell(0.3, "relaxation solved")

    def spare() -> float:
        return left() - RESERVE_FRAC * total

    plan, loose, bound = None, None, root.bound_usd / engine.program.usd_unit
    if _decide_ports(root.part, starts, root.inside, spare) and _decide_others(root.part, others, gap_frac, spare):
        loose = root.part.point()
    clock["ports"] = time.monotonic() - began - clock["relaxation"]
    tell(0.6, "ports decided")
    if loose is not None:
        plan = _round_blocks(root.part, enough=_enough(bound, root.part.solver.objective, gap_frac), seconds=max(2.0, min(10.0, 0.5 * spare())))
    clock["blocks"] = time.monotonic() - began - clock["relaxation"] - clock["ports"]
    if spare() > 1.0 and (plan is None or _cost(engine, plan) - bound > gap_frac * abs(bound)):
        plan, bound = _prove(engine, starts, root, (plan, loose), gap_frac, spare)
        tell(0.9, "bound raised")
        clock["proof"] = time.monotonic() - began - sum(clock.get(k, 0.0) for k in ("relaxation", "ports", "blocks"))
    if plan is None:
        plan, proven = _last_resort(engine, starts)
        return plan, max(bound, proven), False
    return plan, bound, left() > 0


def _decide_ports(part: Part, starts: Starts, inside: I8, spare: Clock) -> bool:
    """Make every port start of a part whole, one guess a step, each followed by the relaxation of what is left.

    Starts near one are made and pairs near nil dropped along the way; the guess is the pair nearest to a whole port. A guess
    that leaves no plan is turned round once. Where time ends, all that is touched is started. Return whether a plan was found.
    """
    columns, pair = starts.columns[inside], starts.pair[inside]
    low, high = np.zeros(len(inside)), np.ones(len(inside))
    z, slowest = part.point()[columns], 0.0
    while ((z > WHOLE) & (z < 1 - WHOLE)).any():
        before = low.copy(), high.copy()
        hurry = spare() < 3.0 * slowest
        guess = _fix_starts(z, pair, low, high, all_of_them=hurry)
        began = time.monotonic()
        part.bounds(columns, low, high)
        status = part.solver.run(max(1.0, spare()))
        if status in INFEASIBLE and not hurry:
            low, high = before
            _turn_round(z, pair, low, high, guess)
            part.bounds(columns, low, high)
            status = part.solver.run(max(1.0, spare()))
        if status != highspy.HighsModelStatus.kOptimal:
            return False
        slowest = max(slowest, time.monotonic() - began)
        z = part.point()[columns]
    fixed = np.round(z)
    part.bounds(columns, fixed, fixed)
    return True


def _fix_starts(z: F8, pair: I8, low: F8, high: F8, *, all_of_them: bool) -> int:
    """Fix starts that are settled, and one pair that is not; return that pair, -1 where all are fixed."""
    open_pairs = []
    for p in np.unique(pair):
        mine = np.flatnonzero(pair == p)
        if not (high[mine] > low[mine]).any():
            continue
        if z[mine].max() > CERTAIN:
            _start(mine, int(mine[z[mine].argmax()]), low, high)
        elif z[mine].sum() < SLIGHT:
            high[mine] = 0.0
        elif all_of_them:
            _start(mine, int(mine[z[mine].argmax()]), low, high)
        else:
            open_pairs.append((float(z[mine].sum()), int(p)))
    if not open_pairs:
        return -1
    surest, least = max(open_pairs), min(open_pairs)
    guess = surest[1] if surest[0] > 0.5 else least[1]
    mine = np.flatnonzero(pair == guess)
    if surest[0] > 0.5:
        _start(mine, int(mine[z[mine].argmax()]), low, high)
    else:
        high[mine] = 0.0
    return guess


def _start(mine: I8, k: int, low: F8, high: F8) -> None:
    low[mine] = high[mine] = 0.0
    low[k] = high[k] = 1.0


def _turn_round(z: F8, pair: I8, low: F8, high: F8, guess: int) -> None:
    """Take the other side of a guess that left no plan; with no guess, start what is touched."""
    for p in np.unique(pair) if guess < 0 else [guess]:
        mine = np.flatnonzero(pair == p)
        if not (high[mine] > low[mine]).any() or z[mine].sum() < WHOLE:
            continue
        if guess >= 0 and z[mine].sum() > 0.5:
            high[mine] = 0.0
        else:
            _start(mine, int(mine[z[mine].argmax()]), low, high)


def _decide_others(part: Part, others: I8, gap_frac: float, spare: Clock) -> bool:
    """Make whole what is neither port nor block (contracts taken, tiers), the ports being fixed, and solve the rest again."""
    if not len(others):
        return True
    part.integrality(others, integer=True)
    part.solver.options(solver="choose", mip_rel_gap=gap_frac / 4)
    part.solver.run(max(1.0, 0.5 * spare()))
    part.integrality(others, integer=False)
    if not part.solver.found:
        return False
    fixed = np.round(part.point()[others])
    part.bounds(others, fixed, fixed)
    part.solver.options(solver="simplex")
    return part.solver.run(max(1.0, spare())) == highspy.HighsModelStatus.kOptimal


def _prove(engine: Engine, starts: Starts, root: Root, found: tuple[F8 | None, F8 | None], gap_frac: float, spare: Clock) -> tuple[F8 | None, float]:
    """Return the better plan and the higher bound of a search over every start that could still be part of a better plan.

    A start whose reduced cost lifts the bound above a known plan's cost is in no better plan. Blocks are continuous at first;
    where that does not close the gap they are whole from the start.
    """
    plan, loose = found
    blocks = _columns(engine, ("sign", "rent_blocks"))
    whole = np.setdiff1d(engine.integer_columns, blocks)
    most = _cost(engine, loose) if loose is not None else np.inf
    part = _worth_it(engine, starts, root, most)
    part.integrality(whole, integer=True)
    part.solver.options(solver="choose", mip_rel_gap=gap_frac / 2)
    if loose is not None:
        part.start_from(loose)
    part.solver.run(max(1.0, 0.5 * spare()))
    bound = max(root.bound_usd / engine.program.usd_unit, min(proven_bound(part.solver.highs), most))
    if part.solver.found and (loose is None or part.solver.objective < most * (1 - 1e-4)):
        fixed = np.round(part.point()[whole])
        part.integrality(whole, integer=False)
        part.bounds(whole, fixed, fixed)
        part.solver.options(solver="simplex")
        if part.solver.run(max(2.0, spare())) == highspy.HighsModelStatus.kOptimal:
            better = _round_blocks(part, enough=_enough(bound, part.solver.objective, gap_frac), seconds=max(2.0, min(10.0, spare())))
            plan = better if better is not None and (plan is None or _cost(engine, better) < _cost(engine, plan)) else plan
    most = _cost(engine, plan) if plan is not None else np.inf
    if spare() <= 1.0 or most - bound <= gap_frac * abs(bound):
        return plan, bound
    part = _worth_it(engine, starts, root, most)
    part.integrality(engine.integer_columns, integer=True)
    part.solver.options(solver="choose", mip_rel_gap=gap_frac)
    if plan is not None:
        part.start_from(plan)
    part.solver.run(spare())
    bound = max(bound, min(proven_bound(part.solver.highs), most))
    return (part.point() if part.solver.found and part.solver.objective < most else plan), bound


def _worth_it(engine: Engine, starts: Starts, root: Root, most: float) -> Part:
    """Return the part of the program without the starts that no plan cheaper than `most` can have."""
    inside = np.union1d(np.flatnonzero(root.bound_usd / engine.program.usd_unit + root.reduced <= most), root.inside)
    return Part(engine, *starts.part(engine, inside))


def _last_resort(engine: Engine, starts: Starts) -> tuple[F8 | None, float]:
    """Return a plan that starts no port, or the first of each pair, or serves nothing, and the bound that its relaxation proves.

    Never nothing where a plan exists. Its duals price what was held fixed: a pair is started once at most, a row served once.
    """
    ports, serve = starts.columns, engine.column_of[engine.program.blocks["serve"]]
    firsts = np.zeros(len(ports))
    firsts[np.unique(starts.pair, return_index=True)[1]] = 1.0
    engine.solver.integrality(engine.integer_columns, integer=False)
    engine.solver.options(solver="choose")
    found, bound = None, -np.inf
    for started, nothing in ((np.zeros(len(ports)), False), (firsts, False), (np.zeros(len(ports)), True)):
        engine.solver.bounds(ports, started, started)
        if nothing:
            engine.solver.bounds(serve, np.zeros(len(serve)), np.zeros(len(serve)))
        status = engine.solver.run(LAST_SECONDS)
        if engine.solver.found:
            found = engine.solver.point()
            if status == highspy.HighsModelStatus.kOptimal:
                bound = _freed(engine, starts, started, serve if nothing else serve[:0])
            break
    engine.reset_bounds(serve)
    engine.reset_bounds(ports)
    if found is not None:
        blocks = _columns(engine, ("sign", "rent_blocks"))
        found[blocks] = np.minimum(np.ceil(found[blocks] - 1e-7), engine.upper[blocks])
    engine.solver.integrality(engine.integer_columns, integer=True)
    return found, bound


def _freed(engine: Engine, starts: Starts, started: F8, serve: I8) -> float:
    """Return the bound of the whole that an optimum proves in which port starts, and service perhaps, were held fixed.

    optimum - sum of d z + sum over pairs of min(0, least d) + sum over demand rows of min(0, least d): d the reduced costs.
    """
    reduced = np.asarray(engine.solver.highs.getSolution().col_dual, float)
    ports, flows = np.zeros(int(starts.pair.max(initial=-1)) + 1), np.zeros(len(engine.program.demand_requests))
    np.minimum.at(ports, starts.pair, reduced[starts.columns])
    if len(serve):
        np.minimum.at(flows, engine.program.flows.row, reduced[serve])
    return float(engine.solver.objective - reduced[starts.columns] @ started + ports.sum() + flows.sum())


def _enough(bound: float, loose: float, gap_frac: float) -> float:
    """Return what whole blocks may cost: within the gap of the bound, or a quarter of it above continuous ones, where more is open."""
    return max(bound + gap_frac * abs(bound), loose + 0.25 * gap_frac * abs(loose))


def _round_blocks(part: Part, *, enough: float, seconds: float) -> F8 | None:
    """Make the blocks of a solved part whole, all else that is whole being fixed.

    Period by period settles it if that costs no more than `enough`; else a search does, within the seconds.
    """
    blocks = _columns(part.engine, ("sign", "rent_blocks"))
    best, cost, loose = None, np.inf, part.solver.objective
    began = time.monotonic()
    for shift in SHIFTS:
        part.solver.options(solver="simplex")
        left = began + seconds - time.monotonic()
        if _period_by_period(part, shift, max(2.0, left)) and part.solver.objective < cost:
            best, cost = part.point(), part.solver.objective
        part.reset_bounds(blocks)
        if cost <= enough or left < 0:
            break
    left = began + seconds - time.monotonic()
    if cost > enough and (best is None or left > 1.0):
        part.integrality(blocks, integer=True)
        part.solver.options(solver="choose", mip_rel_gap=max(1e-3, 0.5 * (enough - loose) / max(abs(enough), 1e-12)))
        if best is not None:
            part.start_from(best)
        part.solver.run(max(2.0, left))
        if part.solver.found and part.solver.objective < cost:
            best = part.point()
        part.integrality(blocks, integer=False)
    return best


def _period_by_period(part: Part, shift: float, seconds: float) -> bool:
    """Round what is signed in a period, solve again, go on to the next: later terms and hourly chips make up for what is off.

    Where a rounded period leaves no plan it is raised instead, then searched. Hourly blocks come last, all raised.
    """
    engine, program, began = part.engine, part.engine.program, time.monotonic()
    sign = engine.column_of[program.blocks["sign"]]
    point = part.point()
    for y in np.unique(program.sign_period):
        mine = sign[program.sign_period == y]
        count = point[mine]
        part.bounds(mine, np.round(count), np.round(count))
        if (np.abs(count - np.round(count)) < WHOLE).all():
            continue
        late, room = time.monotonic() - began > seconds, _room(program, int(y), point[sign])
        for whole in (np.ceil(count - WHOLE), np.floor(count + WHOLE)) if late else (np.floor(count + shift), np.ceil(count - WHOLE)):
            part.bounds(mine, np.minimum(whole, room), np.minimum(whole, room))
            if part.solver.run(seconds) == highspy.HighsModelStatus.kOptimal:
                break
        else:
            if not _period_searched(part, mine, count, room, seconds):
                return False
        point = part.point()
    rent = _columns(engine, ("rent_blocks",))
    if len(rent):
        whole = np.minimum(np.ceil(point[rent] - WHOLE), engine.upper[rent])
        part.bounds(rent, whole, whole)
    return part.solver.run(seconds) == highspy.HighsModelStatus.kOptimal


def _period_searched(part: Part, mine: I8, count: F8, room: F8, seconds: float) -> bool:
    """Search the roundings of one period's signings, where a limit lets neither all be rounded nor all be raised."""
    part.bounds(mine, np.floor(count + WHOLE), np.minimum(np.ceil(count - WHOLE), room))
    part.integrality(mine, integer=True)
    part.solver.options(solver="choose", mip_rel_gap=PERIOD_GAP_FRAC)
    part.solver.run(seconds)
    whole = np.round(part.point()[mine]) if part.solver.found else np.floor(count + WHOLE)
    part.integrality(mine, integer=False)
    part.solver.options(solver="simplex")
    part.bounds(mine, whole, whole)
    return part.solver.run(seconds) == highspy.HighsModelStatus.kOptimal


def _room(program: Program, y: int, signed: F8) -> F8:
    """Return how many blocks of each offer may still be signed in a period, by what it can give and what is in force by then."""
    tables, periods = program.tables, program.sign_period
    room = []
    for o in program.sign_offer[periods == y]:
        offer = tables.offers[o]
        term = max(offer.min_term_months, 1) - 0.05
        force = [j for j in np.flatnonzero((program.sign_offer == o) & (periods < y)) if months_between(tables, int(periods[j]), y) < term]
        most = np.inf if offer.max_chips is None else offer.max_chips - max(tables.existing.get(offer.id, ()), default=0.0)
        room.append(np.floor(most / max(1, offer.block_chips) - signed[force].sum() + WHOLE))
    return np.asarray(np.maximum(np.array(room), 0.0))


def port_columns(engine: Engine) -> I8:
    """Return the columns that stay whole when blocks are relaxed: ports, contracts taken, tiers."""
    return np.setdiff1d(engine.integer_columns, _columns(engine, ("sign", "rent_blocks")))


def _columns(engine: Engine, names: tuple[str, ...]) -> I8:
    blocks = engine.program.integers
    labels = np.concatenate([*(blocks[n] for n in names if n in blocks), np.empty(0, np.int64)]).astype(np.int64)
    return engine.column_of[labels]


def _cost(engine: Engine, point: F8) -> float:
    return float(engine.cost @ point)
