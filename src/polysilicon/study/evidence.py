"""From a study to what the report shows."""

from __future__ import annotations

import math
from collections.abc import Sequence

from polysilicon.catalogue import Catalogue
from polysilicon.report import (
    Alternative,
    ContractEvidence,
    Distribution,
    EnergyUse,
    Evidence,
    Round,
    Section,
    Series,
    WhatIf,
    WorkloadEvidence,
)
from polysilicon.report.asked import Asked
from polysilicon.report.words import money
from polysilicon.study.proof import PROBABILITIES, Measured
from polysilicon.study.run import StudyResult

STALE_DAYS = 180
MOST_DRAWN = 2  # workloads whose replay is drawn over time


def evidence_of(
    result: StudyResult,
    catalogue: Catalogue,
    *,
    alternatives: Sequence[Alternative] = (),
    what_ifs: Sequence[WhatIf] = (),
    asked: Asked | None = None,
    sections: Sequence[Section] = (),
    command: str = "",
) -> Evidence:
    """Return everything a report shows of a study; what was not done stays empty."""
    scenario, resolved = result.scenario, result.resolved
    return Evidence(
        plan=result.plan,
        title=scenario.name,
        description=scenario.description,
        workloads=tuple(
            WorkloadEvidence(
                w.id,
                w.model,
                w.slo,
                w.lengths,
                w.mean_rps,
                w.application,
                w.usd_per_mtok_in,
                w.usd_per_mtok_cached,
                w.usd_per_mtok_out,
            )
            for w in resolved.workloads
        ),
        rounds=tuple(
            Round(
                r.number,
                {**dict.fromkeys((w.id for w in resolved.workloads), 0.0), **r.headroom_frac},
                r.missed,
                r.objective_usd,
                r.seconds,
            )
            for r in result.rounds
        ),
        distributions=_distributions(result),
        proven=result.proven,
        proof_words=proof_words(result),
        contracts=tuple(
            ContractEvidence(c.id, c.cloud, c.kind, c.start, c.end, c.commit_usd or None, c.signed, c.draw_schedule, c.source)
            for c in resolved.contracts
        ),
        alternatives=tuple(alternatives),
        what_ifs=tuple(what_ifs),
        asked=asked or Asked(),
        energy=_energy(result),
        series=_series(result),
        vendors={chip.id: chip.vendor for chip in resolved.chips.values()},
        offer_models={o.id: o.cloud for o in resolved.offers if o.kind == "per_token"},
        sources=dict(catalogue.sources),
        warnings=(*_warnings(result), *(asked.unanswered if asked is not None else ())),
        made_on=max((o.quoted_on for o in resolved.offers if o.quoted_on), default=""),
        sections=tuple(sections),
        command=command,
    )


def proof_words(result: StudyResult) -> str:
    """Say exactly what was replayed, at which scale, and what the truth cost."""
    if not result.rounds:
        return ""
    last = result.rounds[-1]
    live = [m for m in last.measured if m.held_replicas]
    days = [result.resolved.periods[p].start for p in dict.fromkeys(m.period for m in last.measured)]
    requests = sum(m.requests for m in last.measured)
    words = f"Replayed {requests:,} requests: the busiest hour of every workload in the periods from {' and '.join(days)}"
    if live:
        held, used = sum(m.held_replicas for m in live), sum(m.replicas for m in live)
        load = f"each asked {math.floor(100 * min(1.0, *(m.load_frac for m in live)))} % of its planned load at least"
        scale = f"on {used:,} of {held:,} replicas, {load}" if used < held else f"on all {held:,} replicas, {load}"
        words += f", {scale}, caches warm, after a fifth of each window"
    if any(not m.held_replicas for m in last.measured):
        words += "; work that may wait as three days of requests in order into what is idle hour by hour"
    cost = f" Keeping the promises costs {money(result.truth_usd)} more than trusting the serving points." if abs(result.truth_usd) >= 1 else ""
    return f"{words}. {len(result.rounds)} round{'s' if len(result.rounds) > 1 else ''} of plan and proof.{cost}"


def _distributions(result: StudyResult) -> tuple[Distribution, ...]:
    """Return each workload's latencies in its worse period, with the promise."""
    if not result.rounds:
        return ()
    worst: dict[tuple[str, str], tuple[float, Measured]] = {}
    for measured in result.rounds[-1].measured:
        limits = {p.measure: p for p in measured.promises}
        for name, curve in measured.latencies.items():
            promise = limits.get(name) or (limits.get("deadline_s") if name == "e2e_s" else None)
            badness = promise.attained_s / promise.limit_s if promise else 0.0
            key = (measured.workload, name)
            if curve and (key not in worst or badness > worst[key][0]):
                worst[key] = (badness, measured)
    out = []
    for (workload, name), (_, measured) in worst.items():
        promise = next((p for p in measured.promises if p.measure == name or (name == "e2e_s" and p.measure == "deadline_s")), None)
        if promise is None and name == "e2e_s":
            continue
        out.append(Distribution(
            workload, name.removesuffix("_s"), PROBABILITIES, measured.latencies[name], promise.limit_s if promise else None,
            promise.quantile if promise else 0.95, promise.attained_s if promise else None, measured.requests,
        ))  # fmt: skip
    return tuple(out)


def _series(result: StudyResult) -> tuple[Series, ...]:
    """Return the replay over time of the workloads with most tokens/s, each in the busier of its periods."""
    best: dict[str, tuple[float, Measured]] = {}
    for measured in result.rounds[-1].measured if result.rounds else ():
        lengths = result.resolved.workload(measured.workload).lengths
        load = measured.planned_rps * (lengths.isl_tokens + lengths.osl_tokens)
        if measured.series and load > best.get(measured.workload, (0.0, measured))[0]:
            best[measured.workload] = (load, measured)
    drawn = sorted(best.values(), key=lambda item: -item[0])[:MOST_DRAWN]
    return tuple(series for _, measured in drawn for series in measured.series)


def _energy(result: StudyResult) -> tuple[EnergyUse, ...]:
    """Return energy by pool over the horizon: busy chips at their serving point's power, facility included."""
    plan, resolved = result.plan, result.resolved
    sites = {(s.cloud, s.region): s for s in resolved.sites}
    hours = {p.index: p.hours for p in plan.periods}
    total_h = sum(hours.values())
    it_wh: dict[str, float] = {}
    grams: dict[str, float] = {}
    starts = {p.index: p.start for p in plan.periods}
    mtok: dict[str, float] = {}
    place: dict[str, tuple[str, str]] = {}
    for q in plan.placements:
        watts = sum(busy * each for _, _, busy, each in plan.watts(q)) if q.chip else float("nan")
        if watts != watts:
            continue
        lengths = resolved.workload(q.workload).lengths
        it_wh[q.pool] = it_wh.get(q.pool, 0.0) + watts * hours[q.period]
        mtok[q.pool] = mtok.get(q.pool, 0.0) + q.mtok * lengths.osl_tokens / (lengths.isl_tokens + lengths.osl_tokens)
        place[q.pool] = (q.cloud, q.region)
        site = sites.get(place[q.pool])
        if site is not None:
            kwh_of_it = watts * hours[q.period] / 1000.0
            grams[q.pool] = grams.get(q.pool, 0.0) + kwh_of_it * site.pue * site.power_on(starts[q.period])[1]
    out = []
    for pool, wh in sorted(it_wh.items(), key=lambda item: -item[1]):
        site = sites.get(place[pool])
        kwh = wh / 1000.0 * (site.pue if site else 1.0)
        carbon = grams[pool] / 1000.0 if grams.get(pool) else None
        out.append(EnergyUse(pool, wh / total_h / 1e6, kwh, carbon, mtok[pool]))
    return tuple(out)


def _warnings(result: StudyResult) -> tuple[str, ...]:
    resolved, plan = result.resolved, result.plan
    used = {h.offer for h in plan.holdings} | {q.pool for q in plan.placements if not q.chip}
    assumed = sorted(o.id for o in resolved.offers if o.id in used and o.basis == "assumed")
    out = [*resolved.notes, *result.table.notes]
    if assumed:
        out.append(f"{len(assumed)} prices in use are assumed by the scenario, not published: {', '.join(assumed)}")
    start = plan.periods[0].start
    old = sorted(o.id for o in resolved.offers if o.id in used and o.quoted_on and _days(o.quoted_on, start) > STALE_DAYS)
    if old:
        out.append(f"{len(old)} quotes in use are more than {STALE_DAYS} days older than the first day planned: {', '.join(old[:6])}")
    unsure = sorted({p.chip for p in plan.points if p.basis not in ("measured", "calibrated")})
    if unsure:
        out.append(f"no measurement calibrates {', '.join(unsure)}: their speed is from the datasheet, {_band(result, unsure)}")
    bought = sorted({q.workload for q in plan.placements if not q.chip})
    if bought and result.rounds:
        names = ", ".join(bought)
        out.append(f"what {names} buys by the token is not replayed: there the promise rests on the provider")
    return tuple(out)


def _band(result: StudyResult, chips: Sequence[str]) -> str:
    widest = 1.0 + max(p.error_frac for p in result.plan.points if p.chip in chips)
    return f"in 80 % of cases {1.0 / widest:.0%} to {widest:.0%} of what is said"


def _days(earlier: str, later: str) -> int:
    from datetime import date

    parts = (earlier + "-01-01").split("-")[:3] if len(earlier) <= 7 else earlier.split("-")
    try:
        first = date(int(parts[0]), int(parts[1]), int(parts[2][:2]))
    except (ValueError, IndexError):
        return 0
    return (date.fromisoformat(later) - first).days
