"""Validation: predict every measured point under its own protocol, and say how wrong, in which direction, where."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from polysilicon.catalogue import Catalogue
from polysilicon.errors import PolysiliconError
from polysilicon.exchange import cases as case_module
from polysilicon.exchange.cases import Case
from polysilicon.exchange.points import Point
from polysilicon.exchange.predict import Outcome, columns, embedded, outcomes, reached
from polysilicon.exchange.reference import Lookup
from polysilicon.performance.efficiency import FAMILY_BANDS

GROUPINGS = ("metric", "chip", "model", "source", "engine")


@dataclass(frozen=True, slots=True)
class Checked:
    """One point with its prediction, both in the point's own unit."""

    point: Point
    chip: str
    model: str
    predicted: float
    error_frac: float  # signed: predicted / measured - 1
    band_frac: float  # half-width of the stated 80 % band: measured and predicted differ by at most this factor
    protocol: str = ""

    @property
    def covered(self) -> bool:
        """Return whether the measurement lies in the stated band around the prediction."""
        return bool(abs(np.log(self.predicted / self.point.value)) <= np.log1p(self.band_frac))


@dataclass(frozen=True, slots=True)
class Refused:
    """One point that could not be predicted, and why."""

    row: int
    model: str
    chip: str
    metric: str
    reason: str


@dataclass(frozen=True, slots=True)
class Group:
    """How well the points of one kind are predicted."""

    by: str
    key: str
    rows: int
    predicted: int
    median_abs_error_frac: float
    mean_abs_error_frac: float
    p90_abs_error_frac: float
    bias_frac: float  # median of predicted / measured - 1
    within_20_frac: float
    band_80_coverage_frac: float


def check(
    points: Sequence[Point],
    known: Catalogue,
    *,
    path: str = "",
    each: Callable[[float], None] | None = None,
) -> tuple[list[Checked], list[Refused]]:
    """Return every point predicted, and those refused with reason."""
    lookup = Lookup(known)
    found: dict[str, tuple[Case, list[Point]]] = {}
    refused: list[Refused] = []
    for point in points:
        try:
            case = case_module.of(point, lookup)
        except PolysiliconError as error:
            refused.append(Refused(point.row, point.model, point.chip, point.metric, error.message))
            continue
        found.setdefault(case.key, (case, []))[1].append(point)
    if not found:
        return [], refused
    cols = columns([case for case, _ in found.values()])
    eff = embedded(cols, path=path)
    results = outcomes(cols, reached(cols, eff), path=path, each=each)
    bands = {k: np.broadcast_to(np.asarray(getattr(eff[0], n)).reshape(-1), (len(found),)) for k, n in FAMILY_BANDS.items()}
    checked = []
    for i, ((case, members), outcome) in enumerate(zip(found.values(), results, strict=True)):
        for point in members:
            value, band = in_unit(point, case, outcome), float(bands[point.kind][i])
            checked.append(Checked(point, case.chip.id, case.model.id, value, value / point.value - 1.0, band, case.protocol))
    return checked, refused


def in_unit(point: Point, case: Case, outcome: Outcome) -> float:
    """Return a prediction in the unit of its point."""
    if point.kind == "tpot":
        value = outcome.tpot_tail_s if point.metric.endswith("p99") else outcome.tpot_s
    elif point.kind == "ttft":
        value = outcome.ttft_tail_s if point.metric.endswith("p99") else outcome.ttft_s
        if "p50" in point.metric and outcome.ttft_median_s:
            value = outcome.ttft_median_s
    else:
        return _rate(point, case, outcome)
    return value / {"ms": 1e-3, "us": 1e-6}.get(point.unit, 1.0)


def _rate(point: Point, case: Case, outcome: Outcome) -> float:
    if "prefill" in point.metric:
        total = outcome.prompt_tok_per_s
    elif point.metric.startswith("total"):
        total = outcome.output_tok_per_s + outcome.prompt_tok_per_s
    else:
        total = outcome.output_tok_per_s
    chips = case.layout.chips * case.replicas
    if "node of" in point.unit or "per_node" in point.metric:
        return total / chips * 8
    if "GPU" in point.unit or "chip" in point.unit or point.metric.endswith(("_per_gpu", "_per_chip")):
        return total / chips
    return total


def groups(checked: Iterable[Checked], refused: Iterable[Refused], by: str) -> list[Group]:
    """Return accuracy by metric, chip, model, source or engine."""
    errors: dict[str, list[tuple[float, bool]]] = {}
    rows: dict[str, int] = {}
    for c in checked:
        key = _key(c, by)
        errors.setdefault(key, []).append((c.error_frac, c.covered))
        rows[key] = rows.get(key, 0) + 1
    for r in refused:
        key = {"metric": Point.kind.fget(_stub(r)), "chip": r.chip, "model": r.model}.get(by, "refused")  # type: ignore[attr-defined]
        rows[key] = rows.get(key, 0) + 1
    return [_group(by, key, rows[key], errors.get(key, [])) for key in sorted(rows)]


def _stub(r: Refused) -> Point:
    return Point(r.row, "", r.model, 0, 0, "", r.chip, 1, "", "", "", "", r.metric, 1.0, "", "", "", "", "")


def _key(c: Checked, by: str) -> str:
    return {
        "metric": c.point.kind,
        "chip": c.chip,
        "model": c.model,
        "source": c.point.source.split(" closed")[0].split(",")[0],
        "engine": c.point.engine,
    }[by]


def _group(by: str, key: str, rows: int, errors: list[tuple[float, bool]]) -> Group:
    if not errors:
        nan = float("nan")
        return Group(by, key, rows, 0, nan, nan, nan, nan, nan, nan)
    signed = np.array([e for e, _ in errors])
    size = np.abs(signed)
    return Group(
        by,
        key,
        rows,
        len(errors),
        float(np.median(size)),
        float(size.mean()),
        float(np.quantile(size, 0.9)),
        float(np.median(signed)),
        float(np.mean(size <= 0.2)),
        float(np.mean([inside for _, inside in errors])),
    )


def as_json(group_list: Sequence[Group], refused: Sequence[Refused]) -> dict[str, Any]:
    """Return the document that `polysilicon validate --json` prints."""
    return {"groups": [asdict(g) for g in group_list], "refused": [asdict(r) for r in refused]}
