"""Error bands from residuals, and one factor a family for chips measured outside closed loops."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from polysilicon.catalogue import Catalogue
from polysilicon.errors import PolysiliconError
from polysilicon.exchange import validate
from polysilicon.exchange.fitting import as_csv
from polysilicon.exchange.points import Point
from polysilicon.exchange.reference import Lookup
from polysilicon.performance.efficiency import COLUMNS, FAMILY_BANDS

FACTORS = (0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.25, 1.4)
LEAST_POINTS = 8
FITTED = ("cuda-hopper", "cuda-blackwell")  # by the closed-loop fit itself
COVER = 0.8


def extend(
    rows: Sequence[dict[str, str]], points: Sequence[Point], known: Catalogue, *, each: Callable[[float], None] | None = None
) -> list[dict[str, str]]:
    """Return a table with a reach factor for every other family that has points, and bands of every kind of number.

    The factor scales memory and math alike and is the best of ten by median error; closed-loop kinds of fitted chips keep
    the bands of runs left out.
    """
    lookup = Lookup(known)
    table = list(rows)
    by_family: dict[str, list[Point]] = {}
    for point in points:
        try:
            by_family.setdefault(lookup.chip(point.chip).family, []).append(point)
        except PolysiliconError:
            continue
    with TemporaryDirectory() as folder:
        for n, (family, members) in enumerate(sorted(by_family.items())):
            if family not in FITTED and len(members) >= LEAST_POINTS:
                factor = _best_factor(table, family, members, known, Path(folder))
                names = ("memory_factor", "math_factor")
                table.extend(_row(family, name, factor, len(members), "best of ten by median error") for name in names)
            if each is not None:
                each((n + 1) / len(by_family))
        return table + _bands(table, points, known, Path(folder))


def _check(table: Sequence[dict[str, str]], points: Sequence[Point], known: Catalogue, folder: Path) -> list[validate.Checked]:
    path = folder / f"{len(list(folder.iterdir()))}.csv"  # a new name each time: tables are remembered by name
    path.write_bytes(as_csv(table))
    return validate.check(points, known, path=str(path))[0]


def _best_factor(table: list[dict[str, str]], family: str, points: Sequence[Point], known: Catalogue, folder: Path) -> float:
    errors = []
    for factor in FACTORS:
        extra = [_row(family, name, factor, 0, "") for name in ("memory_factor", "math_factor")]
        checked = _check([*table, *extra], points, known, folder)
        errors.append(float(np.median([abs(np.log1p(c.error_frac)) for c in checked if c.point.kind != "ttft"] or [np.inf])))
    return FACTORS[int(np.argmin(errors))]


def _bands(table: Sequence[dict[str, str]], points: Sequence[Point], known: Catalogue, folder: Path) -> list[dict[str, str]]:
    """Return the factor within which 80 % of measurements lie, by chip (or family where a chip has few), and kind."""
    have = {(r["subject"], r["parameter"]) for r in table}
    sizes: dict[tuple[str, str], list[float]] = {}
    everything: dict[str, list[float]] = {}
    for c in _check(table, points, known, folder):
        chip = known.chips.get(c.chip)
        for subject in (c.chip, chip.family if chip else ""):
            sizes.setdefault((subject, FAMILY_BANDS[c.point.kind]), []).append(abs(float(np.log1p(c.error_frac))))
        if chip is not None and chip.family not in FITTED:
            everything.setdefault(FAMILY_BANDS[c.point.kind], []).append(abs(float(np.log1p(c.error_frac))))
    found = [
        _row(subject, name, float(np.expm1(np.quantile(values, COVER))), len(values), "80 % of points lie within")
        for (subject, name), values in sorted(sizes.items())
        if subject and len(values) >= LEAST_POINTS and (subject, name) not in have
    ]
    for name, values in sorted(everything.items()):
        band = float(np.expm1(np.quantile(values, COVER)))
        found.append({**_row("*", name, band, len(values), "as chips outside the fit fared"), "basis": "assumed"})
    return found


def _row(subject: str, parameter: str, value: float, points: int, note: str) -> dict[str, str]:
    cells = (subject, "*", "*", parameter, f"{value:.5g}", "1", "measured points", date.today().isoformat(), "calibrated")
    return dict(zip(COLUMNS, (*cells, str(points), "", note), strict=True))
