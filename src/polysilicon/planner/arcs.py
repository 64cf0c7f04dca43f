"""Every way to serve that is feasible and legal: engines there or to be ported, one pool or prefill and decode apart, tokens bought."""

from __future__ import annotations

import fnmatch
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from itertools import product
from typing import Any

from polysilicon.application.workload import Workload
from polysilicon.cloud.offer import Offer
from polysilicon.cloud.site import Site
from polysilicon.errors import MissingFact
from polysilicon.performance import ServingPoint
from polysilicon.planner import ports as engines
from polysilicon.planner.problem import Arc, DecodeSeat, Pool, Problem, efficiency
from polysilicon.portfolio import Period, apart
from polysilicon.silicon.chip import Chip, System
from polysilicon.units import HOURS_PER_MONTH


def with_arcs(draft: Problem, resolved: Any, starts: Sequence[float]) -> Problem:
    """Return the tables with every way to serve that is feasible and legal, and why the rest is closed."""
    arcs: list[Arc] = []
    excluded: dict[str, tuple[str, ...]] = {}
    systems: Mapping[str, System] = getattr(resolved, "systems", {})
    closed = [_air_only(pool, draft, systems) for pool in draft.pools]
    for w, work in enumerate(draft.workloads):
        reasons: Counter[str] = Counter()
        pins = work.pins
        barred = [
            closed[p] or pins.refuses(region=pool.region, cloud=pool.cloud, tags=pool.tags, chip=pool.chip.id) for p, pool in enumerate(draft.pools)
        ]
        for p, reason in enumerate(barred):
            if not reason:
                found, reason = _pool_arcs(draft, w, p, resolved.ports, starts)
                arcs += found
            if reason:
                reasons[reason] += 1
        arcs += split_arcs(draft, w, [not b for b in barred], resolved, starts)
        for o, offer in enumerate(draft.token_offers):
            reason = pins.refuses(region=offer.region, cloud=offer.cloud, tags=offer.tags, chip="")
            if offer.model != work.model:
                continue
            if not reason:
                usd = _usd_per_request(work, offer)
                arcs.append(Arc(w, -1, o, usd_per_request=usd, efficiency_frac=tuple(opens(offer, None, p) for p in draft.periods)))
            else:
                reasons[reason] += 1
        for arc in (a for a in arcs if a.workload == w):
            bound = _bound_to(draft, arc)
            reasons[bound] += bool(bound)
        excluded[work.id] = tuple(f"{count} x {reason}" for reason, count in reasons.most_common() if reason)
    return replace(draft, arcs=tuple(_exclusive(draft, arc) for arc in arcs), excluded=excluded)


def _bound_to(draft: Problem, arc: Arc) -> str:
    """Say that signed terms with another cloud alone close an arc in every period it could serve, or nothing."""
    if not any(arc.efficiency_frac) or any(_exclusive(draft, arc).efficiency_frac):
        return ""
    cloud = draft.pools[arc.pool].cloud if arc.pool >= 0 else draft.token_offers[arc.offer].cloud
    rivals = sorted(c.id for c in draft.contracts if c.exclusive and c.signed and c.cloud != cloud)
    return f"outside the one cloud that {' and '.join(rivals)} allow{'s' if len(rivals) == 1 else ''}"


def _exclusive(draft: Problem, arc: Arc) -> Arc:
    """Close an arc while signed terms bind the buyer to another cloud alone."""
    cloud = draft.pools[arc.pool].cloud if arc.pool >= 0 else draft.token_offers[arc.offer].cloud
    there = {cloud, cloud if arc.decode is None else draft.pools[arc.decode.pool].cloud}
    rivals = [c for c in draft.contracts if c.exclusive and c.signed and there != {c.cloud}]
    if not rivals:
        return arc
    shut = [any(c.in_force_frac(p) > 0 for c in rivals) for p in draft.calendar]
    return replace(arc, efficiency_frac=tuple(0.0 if s else e for s, e in zip(shut, arc.efficiency_frac, strict=True)))


@dataclass(frozen=True, slots=True)
class Running:
    """One engine that could serve a model family on a chip family: there today, or by a port started in some period."""

    port: int  # candidate; -1: there today
    engine: str
    max_share_frac: float
    efficiency_frac: tuple[float, ...]  # by period


def engines_of(draft: Problem, family: str, chip: Chip, ports: Sequence[Any], starts: Sequence[float]) -> list[Running]:
    """Return every engine that runs, or could be made to run, a model family on a chip."""
    gate = [_chip_there(chip, period) for period in draft.periods]
    half = [period.hours / HOURS_PER_MONTH / 2.0 for period in draft.periods]  # an engine's age is taken at mid-period
    found = []
    engine = engines.native(ports, family, chip.family)
    if engine is not None:
        running = replace(engine, initial_efficiency_frac=None)  # what runs today has learnt
        eta = tuple(efficiency(running, age) * there for age, there in zip(starts, gate, strict=True))
        found.append(Running(-1, engine.engine, engines.share_cap_frac(engine), eta))
    if engine is None or engine.status != "production":
        for k, candidate in enumerate(draft.candidates):
            if candidate.key == (family, chip.family):
                eta = tuple(
                    efficiency(candidate.port, age + half[y] - candidate.live_month) * there if y >= candidate.live else 0.0
                    for y, (age, there) in enumerate(zip(starts, gate, strict=True))
                )
                found.append(Running(k, candidate.port.engine, engines.share_cap_frac(candidate.port), eta))
    return found


def _pool_arcs(draft: Problem, w: int, p: int, ports: Sequence[Any], starts: Sequence[float]) -> tuple[list[Arc], str]:
    work, pool, family = draft.workloads[w], draft.pools[p], draft.families[w]
    point = draft.table.get((work.id, pool.chip.id))
    if point is None or point.requests_per_s <= 0:
        return [], f"no serving point on {pool.chip.id} keeps the promise"
    rate = point.requests_per_s / point.chips / (1.0 + draft.headroom_frac.get(work.id, 0.0))
    found = [
        Arc(w, p, -1, e.port, rate, point.w_per_chip, 0.0, e.engine, e.max_share_frac, e.efficiency_frac)
        for e in engines_of(draft, family, pool.chip, ports, starts)
    ]
    if found and not any(any(arc.efficiency_frac) for arc in found):
        return [], f"{pool.chip.id} is not available within the horizon"
    if not found:
        what = engines.why_none(ports, family, pool.chip.family)
        return [], f"{family} on {pool.chip.family}: {what}"
    return found, ""


def split_arcs(draft: Problem, w: int, allowed: Sequence[bool], resolved: Any, starts: Sequence[float]) -> list[Arc]:
    """Return the ways to serve a workload with prefill in one pool and decode in another, over the links stated.

    A seat's rate is its phase's alone; the wire's charge is KV of the whole prompt x $/GB. At most one port is started for a
    pair, unless both seats need the same one.
    """
    part = getattr(resolved, "disaggregation", None)
    work, family = draft.workloads[w], draft.families[w]
    if part is None or work.slo.deferrable or (part.workloads and work.id not in part.workloads):
        return []
    found: list[Arc] = []
    spare = 1.0 + draft.headroom_frac.get(apart(work.id), 0.0)
    for i, link in enumerate(part.links):
        ends = [
            [(p, draft.phases[key]) for p, pool in enumerate(draft.pools) if allowed[p] and reaches(pool, patterns)
             and (key := (work.id, pool.chip.id, phase)) in draft.phases]
            for patterns, phase in ((link.prefill, "prefill"), (link.decode, "decode"))
        ]  # fmt: skip
        for (p, first), (q, second) in product(*ends):
            gb = kv_gb_per_request(resolved.models[work.model], first, work.lengths.isl_tokens)
            pairs = product(*(engines_of(draft, family, draft.pools[x].chip, resolved.ports, starts) for x in (p, q)))
            for a, b in pairs:
                if a.port >= 0 and b.port >= 0 and a.port != b.port:
                    continue
                eta = tuple(x if x > 0 and y > 0 else 0.0 for x, y in zip(a.efficiency_frac, b.efficiency_frac, strict=True))
                rate = second.requests_per_s / second.chips / spare
                seat = DecodeSeat(q, i, gb, b.port, rate, second.w_per_chip, b.engine, b.max_share_frac, b.efficiency_frac)
                found.append(Arc(w, p, -1, a.port, first.requests_per_s / first.chips / spare, first.w_per_chip, gb * link.usd_per_gb,
                                 a.engine, a.max_share_frac, eta, seat))  # fmt: skip
    return [arc for arc in found if any(arc.efficiency_frac)]


def reaches(pool: Pool, patterns: Sequence[str]) -> bool:
    """Return whether a link ends at a pool: one of its patterns fits chip@cloud/region."""
    name = f"{pool.chip.id}@{pool.cloud}/{pool.region}"
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def kv_gb_per_request(model: Any, prefill: ServingPoint, isl_tokens: float) -> float:
    """Return the KV of a whole prompt in the prefill side's precision, GB."""
    return float(model.kv_bytes_per_token(prefill.layout.kv_precision) * isl_tokens / 1e9)


def _air_only(pool: Pool, draft: Problem, systems: Mapping[str, System]) -> str:
    """Say that liquid-cooled racks cannot stand at an air-cooled site, naming both, or nothing."""
    site = next((s for s in draft.sites if (s.cloud, s.region) == (pool.cloud, pool.region)), None)
    if site is None or site.cooling != "air":
        return ""
    blocks = {o.block_chips for o, p in zip(draft.offers, draft.pool_of, strict=True) if draft.pools[p].id == pool.id}
    kinds = [
        s
        for s in systems.values()
        if s.chip == pool.chip.id and (s.chips in blocks or not any(t.chips in blocks for t in systems.values() if t.chip == s.chip))
    ]
    if kinds and all(s.cooling == "liquid" for s in kinds):
        return f"site {site.id} is air-cooled and {kinds[0].id} needs liquid"
    return ""


def _usd_per_request(work: Workload, offer: Offer) -> float:
    """Return what a request of mean lengths costs at a per-token offer; cached prompt tokens at their own price, if stated."""
    if offer.usd_per_mtok_in is None or offer.usd_per_mtok_out is None:
        raise MissingFact(offer.id, "usd_per_mtok_in" if offer.usd_per_mtok_in is None else "usd_per_mtok_out", needed_for=f"workload {work.id}")
    cached_price = offer.usd_per_mtok_in if offer.usd_per_mtok_cached is None else offer.usd_per_mtok_cached
    cached = work.lengths.isl_tokens * work.lengths.cached_frac
    fresh = work.lengths.isl_tokens - cached
    return (fresh * offer.usd_per_mtok_in + cached * cached_price + work.lengths.osl_tokens * offer.usd_per_mtok_out) / 1e6


def months(start: str, day: str) -> float:
    """Return the months between two ISO dates."""
    a, b = date.fromisoformat(start), date.fromisoformat(day)
    return (b.year - a.year) * 12 + (b.month - a.month) + (b.day - a.day) / 30.0


def opens(offer: Offer, chip: Chip | None, period: Period) -> float:
    """Return 1 where an offer may be bought from in a period, 0 before its date or its chip's."""
    late = bool(offer.available_from) and offer.available_from > period.start
    return 0.0 if late or (chip is not None and not _chip_there(chip, period)) else 1.0


def _chip_there(chip: Chip, period: Period) -> float:
    return 0.0 if chip.available_from is not None and chip.available_from.isoformat() > period.start else 1.0


def site_of(tables: Problem, pool: Pool) -> Site | None:
    """Return the stated power envelope at a pool's place, if there is one."""
    return next((s for s in tables.sites if (s.cloud, s.region) == (pool.cloud, pool.region)), None)
