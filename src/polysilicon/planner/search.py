"""Many integers: relax, decide the ports the relaxation touches, round the blocks, then prove against the whole."""

from __future__ import annotations

import time
from collections.abc import Callable

import highspy
import numpy as np

from polysilicon.highs import INFEASIBLE, proven_bound
from polysilicon.planner.problem import F8, I8
from polysilicon.planner.solution import Engine, Progress

LAST_SECONDS = 20.0  # beyond the time given, where nothing was found in it
TOUCHED = 0.02  # a port that the relaxation starts by so much is a candidate


def relax_and_fix(
    engine: Engine, left: Callable[[], float], gap_frac: float, tell: Progress, clock: dict[str, float]
) -> tuple[F8 | None, float, bool]:
    """Return (plan or None, proven bound, whether the search finished)."""
    program = engine.program
    blocks = _columns(engine, ("sign", "rent_blocks"))
    binaries = np.setdiff1d(engine.integer_columns, blocks)
    began = time.monotonic()
    engine.integrality(engine.integer_columns, integer=False)
    engine.options(solver="ipm" if len(engine.columns) > 20_000 else "choose")
    status = engine.run(left())
    if status in INFEASIBLE:
        return None, -np.inf, True
    if status != highspy.HighsModelStatus.kOptimal:
        return _last_resort(engine), -np.inf, False
    relaxed, bound = engine.point(), engine.objective
    clock["relaxation"] = time.monotonic() - began
    tell(0.2, "relaxation solved")

    closed = binaries[relaxed[binaries] < TOUCHED]
    closed = closed[np.isin(engine.columns[closed], program.blocks.get("port", np.empty(0, np.int64)))]
    engine.bounds(closed, np.zeros(len(closed)), np.zeros(len(closed)))
    engine.integrality(binaries, integer=True)
    engine.options(solver="choose", mip_rel_gap=gap_frac / 4)
    engine.run(max(1.0, 0.35 * left()))
    first = engine.point() if engine.found else None
    engine.reset_bounds(closed)
    clock["ports"] = time.monotonic() - began - clock["relaxation"]
    tell(0.5, "ports decided")

    start = first if first is not None else _ceil(relaxed, binaries)
    enough = bound + gap_frac * abs(bound)
    plan, proven = _round_blocks(engine, start, binaries, blocks, enough=enough, seconds=max(2.0, min(10.0, 0.3 * left())))
    bound = max(bound, proven) if not len(binaries) else bound  # with ports fixed it would be a bound of those ports only
    best = _cost(engine, plan) if plan is not None else np.inf
    clock["blocks"] = time.monotonic() - began - clock["relaxation"] - clock["ports"]
    if best - bound > gap_frac * abs(best) and left() > 1.0 and len(binaries):
        engine.integrality(blocks, integer=False)
        engine.integrality(binaries, integer=True)
        if first is not None:
            engine.start_from(first)
        engine.options(mip_rel_gap=gap_frac / 2)
        engine.run(left())
        bound = max(bound, proven_bound(engine.highs))
        tell(0.9, "bound raised")
        if engine.found and (first is None or engine.objective < _cost(engine, first) * (1 - 1e-4)):
            enough = bound + gap_frac * abs(bound)
            better, _ = _round_blocks(engine, engine.point(), binaries, blocks, enough=enough, seconds=10.0)
            if better is not None and _cost(engine, better) < best:
                plan, best = better, _cost(engine, better)
    engine.integrality(engine.integer_columns, integer=True)
    return plan, bound, left() > 0


def _last_resort(engine: Engine) -> F8 | None:
    """Return the plan that starts no port and leaves to the price of unserved demand what it must: never nothing."""
    ports = engine.column_of[engine.program.blocks["port"]]
    engine.bounds(ports, np.zeros(len(ports)), np.zeros(len(ports)))
    engine.options(solver="choose")
    engine.run(LAST_SECONDS)
    if not engine.found:
        serve = engine.column_of[engine.program.blocks["serve"]]
        engine.bounds(serve, np.zeros(len(serve)), np.zeros(len(serve)))
        engine.run(LAST_SECONDS)
        engine.reset_bounds(serve)
    found = engine.point() if engine.found else None
    engine.reset_bounds(ports)
    if found is not None:
        blocks = _columns(engine, ("sign", "rent_blocks"))
        found[blocks] = np.minimum(np.ceil(found[blocks] - 1e-7), engine.upper[blocks])
    engine.integrality(engine.integer_columns, integer=True)
    return found


def _round_blocks(engine: Engine, point: F8, binaries: I8, blocks: I8, *, enough: float, seconds: float) -> tuple[F8 | None, float]:
    """Fix the ports of a plan and make its blocks whole; return it with the bound that the search proved for these ports.

    Rounding settles it if that costs no more than `enough`; else a short search does. Rounding up is nearly always possible;
    dropping small fractions is often cheaper, as hourly chips fill the gap.
    """
    fixed = np.round(point[binaries])
    engine.bounds(binaries, fixed, fixed)
    engine.integrality(engine.integer_columns, integer=False)
    engine.options(solver="simplex")
    best, cost, proven = None, np.inf, -np.inf
    for whole in _whole(engine, point, blocks):
        engine.bounds(blocks, whole, whole)
        engine.run(max(seconds, 5.0))
        if engine.found and engine.objective < cost:
            best, cost = engine.point(), engine.objective
    engine.reset_bounds(blocks)
    if cost > enough:
        engine.integrality(blocks, integer=True)
        engine.options(solver="choose", mip_rel_gap=1e-3)
        if best is not None:
            engine.start_from(best)
        engine.run(seconds)
        proven = proven_bound(engine.highs)
        if engine.found and engine.objective < cost:
            best = engine.point()
        engine.integrality(blocks, integer=False)
    engine.reset_bounds(binaries)
    return best, proven


def _whole(engine: Engine, point: F8, blocks: I8) -> list[F8]:
    """Return ways to make blocks whole: what was signed up to each period raised, or rounded; then each signing raised.

    Raising every signing apart would buy up to a block too many a period; raising their running sum buys at most one in all.
    """
    program = engine.program
    up = np.ceil(point[blocks] - 1e-7)
    column_of_sign = engine.column_of[program.blocks["sign"]]
    place = np.searchsorted(np.sort(blocks), column_of_sign)
    order = np.argsort(blocks)[place] if len(column_of_sign) else np.empty(0, np.int64)
    found = []
    for shift in (1.0 - 1e-7, 0.75, 0.5):
        whole = up.copy()
        for o in np.unique(program.sign_offer):
            mine = np.flatnonzero(program.sign_offer == o)
            mine = mine[np.argsort(program.sign_period[mine])]
            reached = np.floor(np.cumsum(point[column_of_sign[mine]]) + shift)
            whole[order[mine]] = np.diff(reached, prepend=0.0)
        found.append(whole)
    return [*found, up]


def port_columns(engine: Engine) -> I8:
    """Return the columns that stay whole when blocks are relaxed: ports, contracts taken, tiers."""
    return np.setdiff1d(engine.integer_columns, _columns(engine, ("sign", "rent_blocks")))


def _columns(engine: Engine, names: tuple[str, ...]) -> I8:
    blocks = engine.program.integers
    labels = np.concatenate([*(blocks[n] for n in names if n in blocks), np.empty(0, np.int64)]).astype(np.int64)
    return engine.column_of[labels]


def _ceil(point: F8, columns: I8) -> F8:
    raised = point.copy()
    raised[columns] = np.ceil(point[columns] - 0.5)
    return raised


def _cost(engine: Engine, point: F8) -> float:
    return float(np.array(engine.highs.getLp().col_cost_) @ point)
