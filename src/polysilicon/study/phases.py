"""Serving points of prefill and decode alone, for pools that a scenario's links join."""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping
from dataclasses import replace
from itertools import product
from typing import Literal

from polysilicon import performance
from polysilicon.application.workload import Slo, Workload
from polysilicon.errors import DoesNotFit, MissingFact
from polysilicon.performance import ServingPoint
from polysilicon.scenario import Resolved
from polysilicon.scenario.schema import LinkPart
from polysilicon.study.promises import engine_of, stricter

Key = tuple[str, str, str]
LINK_FRAC = 0.6  # of a wire's rate that KV reaches; as the performance model's links


def phase_points(resolved: Resolved, *, margin_quantile: float, strictness: Mapping[str, float] | None = None) -> dict[Key, ServingPoint]:
    """Return the best point of each phase on each chip that a link reaches, by (workload, chip, phase).

    Prefill keeps the time to first token. The first token leaves from there; the hand-over falls into the gap before the
    second, so decode keeps TPOT less what the slowest link to it takes, spread over the answer:
    tpot <= promise - (latency + prompt KV / wire) / (OSL - 1).
    """
    part = resolved.disaggregation
    found: dict[Key, ServingPoint] = {}
    if part is None:
        return found
    for work in resolved.workloads:
        if work.slo.deferrable or (part.workloads and work.id not in part.workloads):
            continue
        slo = stricter(work.slo, (strictness or {}).get(work.id, 1.0))
        late: dict[str, float] = {}
        for link in part.links:
            first = {chip: p for chip in _ends(resolved, work, link.prefill) if (p := _point(resolved, work, chip, slo, "prefill", margin_quantile))}
            found |= {(work.id, chip, "prefill"): point for chip, point in first.items()}
            for chip, point in product(_ends(resolved, work, link.decode), first.values()):
                late[chip] = max(late.get(chip, 0.0), hand_over_s(resolved, work, point, link))
        for chip, seconds in late.items():
            left = None if slo.tpot_s is None else slo.tpot_s - seconds / max(1.0, work.lengths.osl_tokens - 1.0)
            second = _point(resolved, work, chip, replace(slo, tpot_s=left), "decode", margin_quantile) if left is None or left > 0 else None
            if second is not None:
                found[work.id, chip, "decode"] = second
    return found


def hand_over_s(resolved: Resolved, work: Workload, prefill: ServingPoint, link: LinkPart) -> float:
    """Return the seconds a whole prompt's KV takes over a link: latency + bytes / (wire of a chip x chips that hold shards)."""
    model = resolved.models[work.model]
    gb = model.kv_bytes_per_token(prefill.layout.kv_precision) * work.lengths.isl_tokens / 1e9
    return float(link.latency_s + gb / (link.gb_per_s_per_chip * LINK_FRAC * prefill.layout.tp))


def _ends(resolved: Resolved, work: Workload, patterns: tuple[str, ...]) -> list[str]:
    """Return the chips on offer at one end of a link that a workload may run on."""
    places = {(o.chip, f"{o.chip}@{o.cloud}/{o.region}") for o in resolved.offers if o.chip}
    chips = {chip for chip, name in places if any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)}
    return sorted(chip for chip in chips if not work.chips or chip in work.chips)


def _point(
    resolved: Resolved, work: Workload, chip: str, slo: Slo, phase: Literal["prefill", "decode"], margin_quantile: float
) -> ServingPoint | None:
    port = engine_of(resolved, work, chip)
    if port is None:
        return None
    slowest = min(port.efficiency_frac, port.initial_efficiency_frac or port.efficiency_frac)
    try:
        point = performance.phase_best(
            resolved.models[work.model],
            resolved.chips[chip],
            work.lengths,
            slo,
            phase,
            margin_quantile=margin_quantile,
            efficiency_frac=slowest,
            efficiency_path=str(resolved.scenario.file_beside(resolved.scenario.efficiency)) if resolved.scenario.efficiency else "",
        )
    except (DoesNotFit, MissingFact):
        return None  # the same chip says why among the points that do both
    if point is None:
        return None
    return replace(
        point,
        workload=work.id,
        requests_per_s=point.requests_per_s / slowest,
        tok_per_s_per_chip=point.tok_per_s_per_chip / slowest,
        j_per_token=point.j_per_token * slowest,
    )
