"""What the closed-loop fit leaves: reach of chips measured otherwise, prefill pools, and the error bands of every kind of number."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from polysilicon.catalogue import Catalogue
from polysilicon.errors import PolysiliconError
from polysilicon.exchange import cases as case_module
from polysilicon.exchange import validate
from polysilicon.exchange.coverage import band, band_of_chip
from polysilicon.exchange.fitting import Calibration, as_csv, unit_of
from polysilicon.exchange.leaving_out import MANY
from polysilicon.exchange.points import Point, newest_day
from polysilicon.exchange.reference import Lookup
from polysilicon.performance.efficiency import COLUMNS, FAMILY_BANDS

Array = NDArray[np.float64]
Rows = list[dict[str, str]]
Job = tuple[Rows, str, list[Point], Catalogue]
Reach = tuple[float, float, float]  # factors on bandwidth, arithmetic, launches
REACH = tuple(float(x) for x in np.geomspace(0.25, 1.6, 8))
FINER = (0.88, 1.0, 1.14)  # around the best of those
APART = (0.5, 0.71, 1.0, 1.41, 2.0)  # arithmetic from bandwidth, launches from the best of their own
LAUNCH = (1.0, 2.0, 4.0, 8.0)
BUSY = (0.6, 0.7, 0.8, 0.9)
HAND_OVER_S = (0.03, 0.07, 0.12, 0.2)
LEAST_POINTS = 8
FITTED = ("cuda-hopper", "cuda-blackwell")  # by the fit itself
SCALE = 0.15  # errors below it count as squares, above ever less
PULL = 0.3  # a chip's reach differs from its family's by so much before it costs as much as one unit of error


def extend(done: Calibration, points: Sequence[Point], known: Catalogue, *, each: Callable[[float], None] | None = None) -> Rows:
    """Return a calibration's table with the reach of chips it did not fit, its prefill pools, and the bands of every kind of number.

    A chip outside the fit gets factors on bandwidth, on arithmetic and on launches, the best of a grid; its family the mean
    of its chips'. A band holds 80 % of runs left out of the fit, or of points where nothing was fitted to them.
    """
    tell = each or (lambda _done: None)
    lookup = Lookup(known)
    table = list(done.rows)
    by_chip = _by_chip(points, lookup)
    with TemporaryDirectory() as name:
        folder = Path(name)
        blind = _check(table, points, known, folder)  # before any chip outside the fit is known
        table += _pools(table, points, known, folder)
        tell(0.2)
        others = {chip: found for chip, found in sorted(by_chip.items()) if found[0] not in FITTED and len(found[1]) >= LEAST_POINTS}
        best = _reaches([(table, chip, members, known) for chip, (_, members) in others.items()])
        reached = {chip: (family, len(members), at) for (chip, (family, members)), at in zip(others.items(), best, strict=True)}
        tell(0.8)
        chips, families = _reach_rows(reached)
        away = _left_out_chips(table, reached, by_chip, known, folder)
        checked = _check([*table, *chips, *families], points, known, folder)
    day = newest_day(points)  # what stands in the table is as old as what was measured
    days = {chip: newest_day(members, day) for chip, (_, members) in by_chip.items()}
    return [{**r, "as_of": days.get(r["subject"], day)} for r in [*table, *chips, *families, *_bands(checked, blind, away, done, known)]]


def _by_chip(points: Sequence[Point], lookup: Lookup) -> dict[str, tuple[str, list[Point]]]:
    """Return family and points of every chip, those made with speculation apart: their acceptance is not known."""
    found: dict[str, tuple[str, list[Point]]] = {}
    for point in points:
        try:
            chip = lookup.chip(point.chip)
            if case_module.of(point, lookup).accepted_tokens > 1.0:
                continue
        except PolysiliconError:
            continue
        found.setdefault(chip.id, (chip.family, []))[1].append(point)
    return found


def _check(table: Sequence[dict[str, str]], points: Sequence[Point], known: Catalogue, folder: Path) -> list[validate.Checked]:
    path = folder / f"{len(list(folder.iterdir()))}.csv"  # a new name each time: tables are remembered by name
    path.write_bytes(as_csv(table))
    return validate.check(points, known, path=str(path))[0]


def _miss(checked: Sequence[validate.Checked], kinds: Sequence[str] = tuple(FAMILY_BANDS)) -> float:
    """Return the mean over kinds of number of the median size of the error, each by its points, TTFT at a third of them."""
    sizes = []
    for kind in kinds:
        mine = [abs(float(np.log1p(c.error_frac))) for c in checked if c.point.kind == kind]
        if mine:
            sizes.append((len(mine) / 3.0 if kind == "ttft" else float(len(mine)), float(np.median(mine))))
    return float(sum(w * s for w, s in sizes) / sum(w for w, _ in sizes)) if sizes else float("inf")


def _spread(checked: Sequence[validate.Checked]) -> float:
    """Return the mean over kinds of number of the error's size, large ones with a bounded pull, TTFT at a third of its points."""
    total = weights = 0.0
    for kind in FAMILY_BANDS:
        signed = np.array([np.log1p(c.error_frac) for c in checked if c.point.kind == kind])
        if len(signed):
            weight = len(signed) * (0.33 if kind == "ttft" else 1.0)
            total += weight * float(np.mean(np.sqrt(1.0 + (signed / SCALE) ** 2) - 1.0))
            weights += weight
    return total / weights if weights else float("inf")


def _reaches(jobs: Sequence[Job]) -> list[Reach]:
    """Return the reach of several chips, on every core where they have many points."""
    workers = min(os.cpu_count() or 1, len(jobs))
    if workers < 2 or sum(len(members) for _, _, members, _ in jobs) < MANY:
        return [_reach_of(job) for job in jobs]
    with ProcessPoolExecutor(workers) as pool:
        return list(pool.map(_reach_of, jobs))


def _reach_of(job: Job) -> Reach:
    table, chip, members, known = job
    with TemporaryDirectory() as name:
        return _reach(table, chip, members, known, Path(name))


def _reach(table: Rows, chip: str, points: Sequence[Point], known: Catalogue, folder: Path) -> Reach:
    """Return the factors on bandwidth, arithmetic and launches under which a chip's points are predicted best, each held near 1.

    Bandwidth and arithmetic move together first, then apart.
    """

    def cost(at: Reach) -> float:
        checked = _check([*table, *_factors(chip, at, 0, "")], points, known, folder)
        pull = (np.log(at[0]) / PULL) ** 2 + (np.log(at[1] / at[0]) / PULL) ** 2 + np.log(at[2]) ** 2
        return _spread(checked) + float(0.1 * pull / len(points) ** 0.5)

    at: Reach = min(((x, x, 1.0) for x in REACH), key=cost)
    at = min(((at[0], at[1], x) for x in LAUNCH), key=cost)
    at = min(((at[0] * x, at[1] * x, at[2]) for x in FINER), key=cost)
    at = min(((at[0], at[1] * x, at[2]) for x in APART), key=cost)
    at = min(((at[0] * x, at[1], at[2]) for x in FINER), key=cost)
    return min(((at[0], at[1], at[2] * x) for x in APART), key=cost)


def _factors(subject: str, at: Reach, points: int, note: str) -> Rows:
    values = dict(zip(("memory_factor", "math_factor", "chip_launch_factor"), at, strict=True))
    return [_row(subject, name, value, points, note) for name, value in values.items()]


def _reach_rows(reached: dict[str, tuple[str, int, Reach]], without: str = "") -> tuple[Rows, Rows]:
    """Return the factors of chips, and those of their families as the mean over chips (one left out, if named)."""
    chips = [r for chip, (_, n, at) in reached.items() for r in _factors(chip, at, n, "least error")]
    families: Rows = []
    for family in sorted({f for f, *_ in reached.values()}):
        own = [(n, at) for chip, (f, n, at) in reached.items() if f == family and chip != without]
        if own:
            memory, math, launch = (float(x) for x in np.exp(np.mean([np.log(at) for _, at in own], axis=0)))
            families += _factors(family, (memory, math, launch), sum(n for n, _ in own), f"mean over {len(own)} chips")
    return chips, families


def _left_out_chips(
    table: Rows, reached: dict[str, tuple[str, int, Reach]], by_chip: dict[str, tuple[str, list[Point]]], known: Catalogue,
    folder: Path,
) -> list[validate.Checked]:  # fmt: skip
    """Return the points of each chip predicted as if only its family's other chips were known."""
    found = []
    for chip in reached:
        _, families = _reach_rows(reached, without=chip)
        found += _check([*table, *families], by_chip[chip][1], known, folder)
    return found


def _pools(table: Rows, points: Sequence[Point], known: Catalogue, folder: Path) -> Rows:
    """Return, by engine, how busy prefill pools are kept and what a hand-over costs: the best of a grid for TTFT."""
    rows: Rows = []
    for engine in sorted({p.engine for p in points}):
        mine = [p for p in points if p.engine == engine and "disagg" in p.parallelism and p.kind == "ttft"]
        if len(mine) < LEAST_POINTS:
            continue

        def cost(busy: float, hand_over_s: float, mine: list[Point] = mine, engine: str = engine) -> float:
            extra = _pool_rows(engine, busy, hand_over_s, len(mine))
            return _miss(_check([*table, *extra], mine, known, folder), ("ttft",))

        hand_over_s = min(HAND_OVER_S, key=lambda x: cost(BUSY[-1], x))  # light loads tell it; they are most
        busy = min(BUSY, key=lambda x: cost(x, hand_over_s))
        rows += _pool_rows(engine, busy, hand_over_s, len(mine))
    return rows


def _pool_rows(engine: str, busy: float, hand_over_s: float, points: int) -> Rows:
    values = {"pool_busy_frac": busy, "hand_over_s": hand_over_s}
    return [{**_row("*", name, value, points, "least median error of TTFT"), "engine": engine} for name, value in values.items()]


def _bands(
    checked: Sequence[validate.Checked], blind: Sequence[validate.Checked], away: Sequence[validate.Checked], done: Calibration,
    known: Catalogue,
) -> Rows:  # fmt: skip
    """Return the factor within which 80 % of measurements lie: by chip, by family for its other chips, and for any chip."""
    own: dict[tuple[str, str], list[float]] = {}
    for chip, name, size in _sizes(checked, done, known):
        own.setdefault((chip, name), []).append(size)
    others: dict[tuple[str, str], list[float]] = {}
    unknown: dict[str, list[float]] = {}
    for subject, name, size in _unseen(blind, away, done, known):
        if subject:
            others.setdefault((subject, name), []).append(size)
        else:
            unknown.setdefault(name, []).append(size)
    rows: Rows = []
    for (chip, name), sizes in sorted(own.items()):
        family = known.chips[chip].family if chip in known.chips else ""
        mates = [s for (c, n), values in own.items() if n == name and c in known.chips and known.chips[c].family == family for s in values]
        if len(sizes) >= LEAST_POINTS:
            rows.append(_row(chip, name, band_of_chip(sizes, mates), len(sizes), "80 % of runs left out lie within"))
    for (family, name), sizes in sorted(others.items()):
        if len(sizes) >= LEAST_POINTS:
            rows.append(_row(family, name, band(sizes), len(sizes), "80 % of runs on chips left out lie within"))
    for name, sizes in sorted(unknown.items()):
        rows.append({**_row("*", name, band(sizes), len(sizes), "as chips pretended unknown fared"), "basis": "assumed"})
    return rows


def _sizes(checked: Sequence[validate.Checked], done: Calibration, known: Catalogue) -> Iterator[tuple[str, str, float]]:
    """Yield chip, band and size of error of every point; of fitted runs the error when left out."""
    left = _errors_left_out(done, "fifth")
    lookup = Lookup(known)
    for c in checked:
        key = (case_module.of(c.point, lookup).key, c.point.kind)
        yield c.chip, FAMILY_BANDS[c.point.kind], left.get(key, abs(float(np.log1p(c.error_frac))))


def _unseen(
    blind: Sequence[validate.Checked], away: Sequence[validate.Checked], done: Calibration, known: Catalogue
) -> Iterator[tuple[str, str, float]]:
    """Yield family (empty for any), band and size of error of points on chips pretended unknown."""
    for c in away:
        chip = known.chips.get(c.chip)
        if chip is not None:
            yield chip.family, FAMILY_BANDS[c.point.kind], abs(float(np.log1p(c.error_frac)))
    for c in blind:
        chip = known.chips.get(c.chip)
        if chip is not None and chip.family not in FITTED:
            yield "", FAMILY_BANDS[c.point.kind], abs(float(np.log1p(c.error_frac)))
    if "chip" not in done.errors:
        return
    for run, tpot, ttft in zip(done.fitted, *done.errors["chip"], strict=True):
        if np.isfinite(tpot):
            yield run.case.chip.family, FAMILY_BANDS["throughput" if run.kind == "offline" else "tpot"], abs(float(tpot))
        if np.isfinite(ttft):
            yield run.case.chip.family, FAMILY_BANDS["ttft"], abs(float(ttft))


def _errors_left_out(done: Calibration, who: str) -> dict[tuple[str, str], float]:
    found: dict[tuple[str, str], float] = {}
    if who in done.errors:
        for run, tpot, ttft in zip(done.fitted, *done.errors[who], strict=True):
            if np.isfinite(tpot):
                found[run.case.key, "throughput" if run.kind == "offline" else "tpot"] = abs(float(tpot))
            if np.isfinite(ttft):
                found[run.case.key, "ttft"] = abs(float(ttft))
    return found


def _row(subject: str, parameter: str, value: float, points: int, note: str) -> dict[str, str]:
    cells = (subject, "*", "*", parameter, f"{value:.5g}", unit_of(parameter), "measured points", date.today().isoformat(), "calibrated")
    return dict(zip(COLUMNS, (*cells, str(points), "", note), strict=True))
