"""From measured points to an efficiency table: which runs are used, how the fit is judged, what is written."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polysilicon.catalogue import Catalogue
from polysilicon.errors import InputError, PolysiliconError
from polysilicon.exchange import cases as case_module
from polysilicon.exchange import coverage, leaving_out
from polysilicon.exchange.calibrate import ENGINES, Cell, Fitter, cells, folds
from polysilicon.exchange.cases import Case
from polysilicon.exchange.points import Point, newest_day
from polysilicon.exchange.reference import Lookup
from polysilicon.performance.efficiency import ANY, COLUMNS

Array = NDArray[np.float64]
LEAST_RUNS = 20
MOST_MFU = 0.6  # of dense peak: no engine in the data reaches it over a whole run
_CURRENT = ("cuda-hopper", "cuda-blackwell")


@dataclass(frozen=True, slots=True)
class Run:
    """One closed-loop run: its case, its measured latencies, the rule that sets it aside if any."""

    case: Case
    source: str
    tpot_s: float
    ttft_s: float
    aside: str = ""

    @property
    def kind(self) -> str:
        """Return closed, disaggregated, or offline (then tpot_s is the run's length over its output tokens)."""
        return "offline" if self.case.queued_requests else self.case.protocol


@dataclass(frozen=True, slots=True)
class Judgement:
    """How well runs left out are predicted by a fit of the others."""

    left_out: str  # model, chip, source, or fifth; of closed loops, or of another kind named
    runs: int
    tpot_median_frac: float
    tpot_mean_frac: float
    tpot_p90_frac: float
    tpot_within_20_frac: float
    ttft_median_frac: float
    ttft_within_20_frac: float


def gather(points: Sequence[Point], known: Catalogue) -> list[Run]:
    """Return the closed-loop runs among the points, each with the rule that sets it aside, if one does.

    Rules: the weights exceed the memory of the chips named; the run implies more than 60 % of dense peak over its whole
    length (prompts were cached); a token took less than 0.6 times as long as at a smaller concurrency of the same run.
    """
    lookup = Lookup(known)
    found: dict[str, tuple[Case, dict[str, Point]]] = {}
    for point in points:
        try:
            case = case_module.of(point, lookup)
        except PolysiliconError:
            continue
        plain = case.accepted_tokens == 1.0 and not point.metric.endswith(("p99", "itl_p50"))
        used = plain and case.protocol in ("closed", "disaggregated")
        if (used or case.queued_requests) and case.chip.family in _CURRENT:
            found.setdefault(case.key, (case, {}))[1][point.kind] = point
    runs = []
    for case, kinds in found.values():
        if case.queued_requests and "throughput" in kinds:
            point = kinds["throughput"]
            runs.append(Run(case, point.source, case.queued_requests / _total_rate(point), float("nan")))
        if "tpot" not in kinds:
            continue
        tpot = kinds["tpot"]
        if case.protocol == "disaggregated":  # its TTFT is the prefill pool's
            runs.append(Run(case, tpot.source, tpot.seconds, float("nan")))
            continue
        first = kinds["ttft"].seconds if "ttft" in kinds else float("nan")
        runs.append(Run(case, tpot.source, tpot.seconds, first, _impossible(case, tpot.seconds, first)))
    return _monotone(runs)


def _total_rate(point: Point) -> float:
    """Return the output tokens a second of all chips of a run."""
    return point.value * (point.n_chips if point.metric.endswith("_per_gpu") else 1)


def _impossible(case: Case, tpot_s: float, ttft_s: float) -> str:
    if case.model.weight_bytes(case.layout.precision) / 1e9 > (case.chip.hbm_gb or 0.0) * case.layout.chips:
        return "the weights exceed the memory of the chips named"
    cycle = (0.0 if np.isnan(ttft_s) else ttft_s) + case.osl_tokens * tpot_s
    flop = 2.0 * (case.model.active_params - case.model.embedding_params / 2) * (case.isl_tokens + case.osl_tokens) * case.concurrency
    peak = max(case.chip.dense_tflop_per_s.get(p, 0.0) for p in (case.layout.precision, "bf16")) * 1e12 * case.layout.chips
    return "implies over 60 % of dense peak" if flop / cycle > MOST_MFU * peak else ""


def _monotone(runs: Sequence[Run]) -> list[Run]:
    """Set aside runs faster per token than the same configuration under less load."""
    by: dict[tuple[object, ...], list[Run]] = {}
    for r in runs:
        c = r.case
        if r.kind != "closed":
            by.setdefault((c.key,), []).append(r)
            continue
        by.setdefault((c.model.id, c.chip.id, c.layout, c.engine, c.isl_tokens, c.osl_tokens), []).append(r)
    found = []
    for members in by.values():
        for r in members:
            lighter = [o.tpot_s for o in members if o.case.concurrency <= r.case.concurrency / 2 and not o.aside]
            fast = bool(lighter) and r.tpot_s < 0.6 * max(lighter)
            found.append(Run(r.case, r.source, r.tpot_s, r.ttft_s, r.aside or ("faster than under less load" if fast else "")))
    return found


@dataclass(frozen=True, slots=True)
class Calibration:
    """A finished fit: constants, errors on runs left out, and the rows of its table."""

    runs: int
    aside: Mapping[str, int]
    judgements: tuple[Judgement, ...]
    rows: tuple[dict[str, str], ...]
    fitted: tuple[Run, ...]
    coverage: tuple[coverage.Coverage, ...]  # of bands learnt on one half of the runs, by the other
    errors: Mapping[str, Any]  # by who is left out: signed log errors of TPOT and of TTFT, one a run


def calibrate(
    points: Sequence[Point],
    known: Catalogue,
    *,
    judge: bool = True,
    each: Callable[[float], None] | None = None,
) -> Calibration:
    """Fit the efficiencies to measured points and judge them on runs left out.

    Raises: InputError when there are too few closed-loop runs on chips of current families.
    """
    runs = gather(points, known)
    good = np.array([not r.aside for r in runs], dtype=bool)
    if int(good.sum()) < LEAST_RUNS:
        raise InputError(f"{int(good.sum())} closed-loop runs with TPOT can be used; a fit needs {LEAST_RUNS}")
    tell = each or (lambda _done: None)
    cases = [r.case for r in runs]
    families = sorted({c.chip.family for c in cases})
    chips = sorted({c.chip.id for c in cases})
    fitter = Fitter(cases, np.array([r.tpot_s for r in runs]), np.array([r.ttft_s for r in runs]), cells(families, chips))
    rows = np.nonzero(good)[0]
    theta = fitter.fit(rows, each=lambda done: tell(0.2 * done))
    fitter.play(theta)
    judged: list[Judgement] = []
    errors: dict[str, Any] = {}
    plans = {
        "fifth": [str(i % 5) for i in range(len(runs))],
        "model": [c.model.id for c in cases],
        "chip": [c.chip.id for c in cases],
        "source": [r.source for r in runs],
    }
    for n, (name, keys) in enumerate((plans if judge else {"fifth": plans["fifth"]}).items()):
        errors[name] = _left_out(fitter, theta, good, keys, fresh=name != "fifth")
        for kind in ("closed", "disaggregated", "offline"):
            mine = np.array([r.kind == kind for r in runs])
            if np.isfinite(errors[name][0][mine]).any():
                label = name if kind == "closed" else f"{name}, {kind}"
                judged.append(_judged(label, errors[name][0][mine], errors[name][1][mine]))
        if name == "chip":  # also one by one
            for chip in chips:
                mine = np.array([r.kind == "closed" and r.case.chip.id == chip for r in runs])
                if np.isfinite(errors[name][0][mine]).any():
                    judged.append(_judged(f"chip {chip}", errors[name][0][mine], errors[name][1][mine]))
        tell(0.2 + 0.6 * (n + 1) / len(plans))
    held = coverage.check(fitter, good) if judge else []
    aside: dict[str, int] = {}
    for r in runs:
        if r.aside:
            aside[r.aside] = aside.get(r.aside, 0) + 1
    return Calibration(int(good.sum()), aside, tuple(judged), tuple(_rows(fitter, theta, runs, newest_day(points))), tuple(runs), tuple(held), errors)


def _left_out(fitter: Fitter, theta: Array, good: NDArray[np.bool_], keys: Sequence[str], *, fresh: bool) -> tuple[Array, Array]:
    """Return signed log errors of TPOT and TTFT of runs that a fit without their group predicts, played anew."""
    tpot, ttft = np.full(len(good), np.nan), np.full(len(good), np.nan)
    pairs = [(np.nonzero(~group & good)[0], np.nonzero(group & good)[0]) for _, group in folds(keys)]
    tasks = [(rows, held, None if fresh else theta) for rows, held in pairs if len(rows) >= LEAST_RUNS and len(held)]
    for (_, held, _), found in zip(tasks, leaving_out.each(leaving_out.without, fitter, tasks), strict=True):
        tpot[held], ttft[held] = found.T
    return tpot, ttft


def _judged(name: str, tpot: Array, ttft: Array) -> Judgement:
    a = np.abs(np.expm1(tpot[np.isfinite(tpot)]))
    b = np.abs(np.expm1(ttft[np.isfinite(ttft)]))
    if not len(a):
        a = np.array([np.nan])
    if not len(b):
        b = np.array([np.nan])
    return Judgement(
        name,
        len(a),
        float(np.median(a)),
        float(a.mean()),
        float(np.quantile(a, 0.9)),
        float(np.mean(a <= 0.2)),
        float(np.median(b)),
        float(np.mean(b <= 0.2)),
    )


def _rows(fitter: Fitter, theta: Array, runs: Sequence[Run], measured_until: str) -> list[dict[str, str]]:
    """Return the table: fitted cells and engine-blind means of them."""
    values = fitter.prior * np.exp(theta)
    source = " + ".join(sorted({r.source for r in runs}))
    used = sum(1 for r in runs if not r.aside)
    table = []

    def add(cell: Cell, value: float, note: str, points: int) -> None:
        table.append(
            dict(
                zip(
                    COLUMNS,
                    (
                        cell.subject,
                        cell.precision,
                        cell.engine,
                        cell.parameter,
                        f"{value:.5g}",
                        unit_of(cell.parameter),
                        source,
                        measured_until,
                        "calibrated",
                        str(points),
                        "",
                        note,
                    ),
                    strict=True,
                )
            )
        )

    for cell, value in zip(fitter.cells, values, strict=True):
        add(cell, float(value), f"prior {cell.prior:.3g}", used)
    for (name, subject), members in _by_engine(fitter.cells, values).items():
        add(Cell(name, subject=subject), float(np.exp(np.mean(np.log(members)))), "mean over engines", used)
    return table


def _by_engine(layout: Sequence[Cell], values: Array) -> dict[tuple[str, str], list[float]]:
    found: dict[tuple[str, str], list[float]] = {}
    for cell, value in zip(layout, values, strict=True):
        if cell.engine in ENGINES:
            found.setdefault((cell.parameter, cell.subject), []).append(float(value))
    return found


def unit_of(parameter: str) -> str:
    """Return the unit of an efficiency parameter.

    >>> unit_of("layer_s"), unit_of("gemm_math_frac"), unit_of("gemm_pad_tokens")
    ('s', '1', 'tokens')
    """
    if parameter.endswith("_s"):
        return "s"
    if parameter.endswith("_s_per_token"):
        return "s/tok"
    return "tokens" if parameter.endswith("_tokens") else "1"


def as_csv(rows: Sequence[Mapping[str, str]]) -> bytes:
    """Return an efficiency table as a file's content."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


__all__ = ["ANY", "Calibration", "Judgement", "Run", "as_csv", "calibrate", "gather", "unit_of"]
