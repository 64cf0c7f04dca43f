"""The table the planner chooses from: every workload on every chip on offer, through the engine that would run there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from polysilicon import performance
from polysilicon.application.workload import Slo, Workload
from polysilicon.errors import DoesNotFit, MissingFact
from polysilicon.performance import ServingPoint
from polysilicon.performance.measured import Own
from polysilicon.scenario import Resolved
from polysilicon.study.own import own_of
from polysilicon.study.phases import phase_points
from polysilicon.study.promises import engine_of, stricter

Progress = Callable[[float, str], None]


@dataclass(frozen=True, slots=True)
class Table:
    """Serving points by (workload, chip), and why a pair has none."""

    points: Mapping[tuple[str, str], ServingPoint]
    absent: Mapping[tuple[str, str], str]
    notes: tuple[str, ...] = ()  # what became of the user's own points
    phases: Mapping[tuple[str, str, str], ServingPoint] = field(default_factory=dict)  # (workload, chip, prefill or decode)

    def why_nowhere(self, workload: str) -> str:
        """Return, chip by chip, why a workload has no serving point at all; empty where it has one."""
        if any(key[0] == workload for key in self.points) or {p for w, _, p in self.phases if w == workload} == {"prefill", "decode"}:
            return ""
        return "; ".join(f"{chip}: {reason}" for (name, chip), reason in sorted(self.absent.items()) if name == workload)


def serving_table(
    resolved: Resolved,
    *,
    margin_quantile: float,
    strictness: Mapping[str, float] | None = None,
    progress: Progress | None = None,
) -> Table:
    """Return the best point that keeps each workload's promise on each chip it may run on.

    A ported engine slows every step by its efficiency, so the promise is checked at that pace; the rate kept in the
    point is the chip's own, because the planner multiplies by the engine's efficiency, which may rise with age.
    `strictness` below 1 asks a workload's latencies to be that much shorter than promised, so that bursts fit in.
    """
    points: dict[tuple[str, str], ServingPoint] = {}
    absent: dict[tuple[str, str], str] = {}
    chips = sorted({o.chip for o in resolved.offers if o.chip} | {c.chip for c in resolved.contracts if c.chip})
    pairs = [(w, chip) for w in resolved.workloads for chip in chips if not w.chips or chip in w.chips]
    own, notes = own_of(resolved)
    known: dict[tuple[object, ...], ServingPoint | str] = {}  # workloads that differ in place alone share their points
    for done, (work, chip) in enumerate(pairs):
        if progress is not None:
            progress(done / len(pairs), f"{work.id} on {chip}")
        slo = stricter(work.slo, (strictness or {}).get(work.id, 1.0))
        key = (work.model, chip, work.lengths, slo)
        if key not in known:
            known[key] = _point(resolved, work, chip, margin_quantile, slo, own)
        found = known[key]
        if isinstance(found, str):
            absent[work.id, chip] = found
        else:
            points[work.id, chip] = replace(found, workload=work.id)
    return Table(points, absent, notes, phase_points(resolved, margin_quantile=margin_quantile, strictness=strictness))


def _point(resolved: Resolved, work: Workload, chip_id: str, margin_quantile: float, slo: Slo, own: Own) -> ServingPoint | str:
    model, chip = resolved.models[work.model], resolved.chips[chip_id]
    port = engine_of(resolved, work, chip_id)
    if port is None:
        return f"no engine is known to run {model.family} on {chip.family}"
    slowest = min(port.efficiency_frac, port.initial_efficiency_frac or port.efficiency_frac)
    try:
        point = performance.best(
            model,
            chip,
            work.lengths,
            slo,
            own=own,
            margin_quantile=margin_quantile,
            efficiency_frac=slowest,
        )
    except DoesNotFit as error:
        return error.message
    except MissingFact as error:
        return error.message
    if point is None:
        return _nearest(resolved, work, chip_id, slowest, own)
    return replace(
        point,
        requests_per_s=point.requests_per_s / slowest,
        tok_per_s_per_chip=point.tok_per_s_per_chip / slowest,
        j_per_token=point.j_per_token * slowest,
    )


def _nearest(resolved: Resolved, work: Workload, chip_id: str, efficiency_frac: float, own: Own) -> str:
    """Say how close the fastest point of a chip comes to a promise that none keeps."""
    model, chip = resolved.models[work.model], resolved.chips[chip_id]
    points = performance.table(model, chip, work.lengths, work.slo, own=own, efficiency_frac=efficiency_frac)
    slo, words = work.slo, []
    for name, promise in (("ttft_s", slo.ttft_s), ("tpot_s", slo.tpot_s)):
        least = min((getattr(p, name) for p in points), default=float("inf"))
        if promise is not None and least > promise:
            words.append(f"{name} is {least:.3g} at best, {promise:.3g} is promised")
    return ", ".join(words) or "no point keeps both latencies at once"
