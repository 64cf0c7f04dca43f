"""From a resolved scenario and serving points to the tables of the program."""

from __future__ import annotations

import fnmatch
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date
from typing import Any

import numpy as np

from polysilicon.application.workload import Workload
from polysilicon.cloud.contract import BillingPeriod, Contract, DiscountTier
from polysilicon.cloud.offer import Offer
from polysilicon.cloud.region import lies_in
from polysilicon.cloud.site import Site
from polysilicon.errors import InputError, MissingFact
from polysilicon.performance import ServingPoint
from polysilicon.planner import ports as engines
from polysilicon.planner.problem import F8, TOKEN_KINDS, Arc, Pool, Problem, block_factors, check_numbers, efficiency
from polysilicon.portfolio import Period
from polysilicon.silicon.chip import Chip, System
from polysilicon.units import HOURS_PER_MONTH


def problem(
    resolved: Any,
    table: Mapping[tuple[str, str], ServingPoint],
    *,
    headroom_frac: Mapping[str, float] | None = None,
    existing: Mapping[str, Sequence[float]] | None = None,
) -> Problem:
    """Return the tables of the program.

    `table` holds the best serving point of each (workload, chip) that keeps its promise; what is not in it cannot serve.
    `headroom_frac` is the extra capacity a proof by replay asked for, by workload.

    Raises: InputErrors for numbers no program can be written from; InputError when nothing is asked or offered.
    """
    headroom = dict(headroom_frac or {})
    check_numbers(resolved.offers, resolved.workloads, table)
    periods, calendar = tuple(resolved.periods), _calendar(resolved)
    if not periods:
        raise InputError("the horizon has no period", hint="give it at least one month")
    slot_period = np.array([p.index for p in periods for _ in p.blocks], np.int64)
    slot_hours = np.array([hours for p in periods for _, hours, _ in p.blocks])
    workloads = tuple(resolved.workloads)
    families = tuple(resolved.models[w.model].family if w.model in resolved.models else w.model for w in workloads)
    chip_offers = tuple(o for o in resolved.offers if o.kind not in TOKEN_KINDS and o.usd_per_chip_hour is not None)
    token_offers = tuple(o for o in resolved.offers if o.kind in TOKEN_KINDS)
    contracts = tuple(_sized(_contract(c), resolved.chips) for c in resolved.contracts)
    pools, pool_of = _pools(chip_offers, contracts, workloads, resolved.chips)
    starts = [_months(periods[0].start, p.start) for p in periods]
    demand = _demand(workloads, periods, starts, resolved.demand_rps)
    peak = _demand(workloads, periods, starts, resolved.peak_rps)
    step = max(1, len(periods) // 7)
    candidates, notes = engines.candidates(resolved.ports, starts, every=step)
    notes += [f"{o.id}: no price is stated, so it is not offered" for o in resolved.offers if o.kind == "quote_only" and o.usd_per_chip_hour is None]
    draft = Problem(
        name=resolved.scenario.name,
        scenario_digest=resolved.digest,
        catalogue_digest=getattr(resolved, "catalogue_digest", ""),
        periods=periods,
        calendar=calendar,
        workloads=workloads,
        families=families,
        unserved_usd_per_mtok=_unserved(resolved),
        demand_rps=demand,
        peak_rps=peak,
        pools=pools,
        offers=chip_offers,
        pool_of=pool_of,
        token_offers=token_offers,
        contracts=contracts,
        sites=tuple(resolved.sites),
        candidates=tuple(candidates),
        arcs=(),
        limits=resolved.limits,
        headroom_frac=headroom,
        slot_period=slot_period,
        slot_hours=slot_hours,
        table=table,
        existing={k: tuple(v) for k, v in (existing or {}).items()},
        excluded={},
        notes=tuple(notes),
    )
    return _with_arcs(draft, resolved, starts)


def _with_arcs(draft: Problem, resolved: Any, starts: Sequence[float]) -> Problem:
    arcs: list[Arc] = []
    excluded: dict[str, tuple[str, ...]] = {}
    systems: Mapping[str, System] = getattr(resolved, "systems", {})
    closed = [_air_only(pool, draft, systems) for pool in draft.pools]
    for w, work in enumerate(draft.workloads):
        reasons: Counter[str] = Counter()
        for p, pool in enumerate(draft.pools):
            reason = closed[p] or _illegal(work, pool.chip, pool.cloud, pool.region, pool.tags)
            if not reason:
                found, reason = _pool_arcs(draft, w, p, resolved.ports, starts)
                arcs += found
            if reason:
                reasons[reason] += 1
        for o, offer in enumerate(draft.token_offers):
            reason = _illegal(work, None, offer.cloud, offer.region, frozenset(offer.tags))
            if offer.model != work.model:
                continue
            if not reason:
                usd = _usd_per_request(work, offer)
                arcs.append(Arc(w, -1, o, usd_per_request=usd, efficiency_frac=tuple(_open(offer, None, p) for p in draft.periods)))
            else:
                reasons[reason] += 1
        excluded[work.id] = tuple(f"{count} x {reason}" for reason, count in reasons.most_common())
    return replace(draft, arcs=tuple(_exclusive(draft, arc) for arc in arcs), excluded=excluded)


def _exclusive(draft: Problem, arc: Arc) -> Arc:
    """Close an arc while signed terms bind the buyer to another cloud alone."""
    cloud = draft.pools[arc.pool].cloud if arc.pool >= 0 else draft.token_offers[arc.offer].cloud
    rivals = [c for c in draft.contracts if c.exclusive and c.signed and c.cloud != cloud]
    if not rivals:
        return arc
    shut = [any(c.in_force_frac(p) > 0 for c in rivals) for p in draft.calendar]
    return replace(arc, efficiency_frac=tuple(0.0 if s else e for s, e in zip(shut, arc.efficiency_frac, strict=True)))


def _pool_arcs(draft: Problem, w: int, p: int, ports: Sequence[Any], starts: Sequence[float]) -> tuple[list[Arc], str]:
    work, pool, family = draft.workloads[w], draft.pools[p], draft.families[w]
    point = draft.table.get((work.id, pool.chip.id))
    if point is None or point.requests_per_s <= 0:
        return [], f"no serving point on {pool.chip.id} keeps the promise"
    rate = point.requests_per_s / point.chips / (1.0 + draft.headroom_frac.get(work.id, 0.0))
    gate = [_chip_there(pool.chip, period) for period in draft.periods]
    half = [period.hours / HOURS_PER_MONTH / 2.0 for period in draft.periods]  # an engine's age is taken at mid-period
    found = []
    engine = engines.native(ports, family, pool.chip.family)
    if engine is not None:
        share = engines.share_cap_frac(engine)
        running = replace(engine, initial_efficiency_frac=None)  # what runs today has learnt
        eta = tuple(efficiency(running, months) * there for months, there in zip(starts, gate, strict=True))
        found.append(Arc(w, p, -1, -1, rate, point.w_per_chip, 0.0, engine.engine, share, eta))
    if engine is None or engine.status != "production":
        for k, candidate in enumerate(draft.candidates):
            if candidate.key == (family, pool.chip.family):
                eta = tuple(
                    efficiency(candidate.port, months + half[y] - candidate.live_month) * there if y >= candidate.live else 0.0
                    for y, (months, there) in enumerate(zip(starts, gate, strict=True))
                )
                cap = engines.share_cap_frac(candidate.port)
                found.append(Arc(w, p, -1, k, rate, point.w_per_chip, 0.0, candidate.port.engine, cap, eta))
    if found and not any(any(arc.efficiency_frac) for arc in found):
        return [], f"{pool.chip.id} is not available within the horizon"
    if not found:
        what = "not ported, and no port can be live in time" if engines.known(ports, family, pool.chip.family) else "nothing is known of a port"
        return [], f"{family} on {pool.chip.family}: {what}"
    return found, ""


def _illegal(work: Workload, chip: Chip | None, cloud: str, region: str, tags: frozenset[str]) -> str:
    """Say why a workload may not be served somewhere, or nothing."""
    if work.clouds and cloud not in work.clouds:
        return f"not in the clouds it is pinned to ({', '.join(work.clouds)})"
    if work.regions and not any(lies_in(region, wanted) for wanted in work.regions):
        return f"outside the regions where its data may go ({', '.join(work.regions)})"
    if chip is not None and work.chips and not any(fnmatch.fnmatchcase(chip.id, pattern) for pattern in work.chips):
        return f"not on the chips it allows ({', '.join(work.chips)})"
    missing = set(work.tags) - tags
    return f"without the tag {', '.join(sorted(missing))}" if missing else ""


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


def _pools(
    offers: Sequence[Offer], contracts: Sequence[Contract], workloads: Sequence[Workload], chips: Mapping[str, Chip]
) -> tuple[tuple[Pool, ...], tuple[int, ...]]:
    wanted = {tag for work in workloads for tag in work.tags}
    pools: dict[str, Pool] = {}
    pool_of = []
    for offer in offers:
        if offer.chip not in chips:
            raise InputError(f'offer "{offer.id}" sells chip "{offer.chip}", which is not in the catalogue')
        tags = frozenset(offer.tags) & wanted
        name = offer.pool + "".join(f"+{tag}" for tag in sorted(tags))
        pools.setdefault(name, Pool(name, chips[offer.chip], offer.cloud, offer.region, tags))
        pool_of.append(list(pools).index(name))
    for contract in contracts:
        if contract.holds_chips and not any(p.chip.id == contract.chip and p.cloud == contract.cloud for p in pools.values()):
            name = f"{contract.chip}@{contract.cloud}/{contract.id}"
            if contract.chip not in chips:
                raise InputError(f'contract "{contract.id}" gives chip "{contract.chip}", which is not in the catalogue')
            pools[name] = Pool(name, chips[contract.chip], contract.cloud, "", frozenset())
    return tuple(pools.values()), tuple(pool_of)


def _contract(terms: Any) -> Contract:
    """Return terms as a Contract; tiers given as pairs become tiers."""
    if not isinstance(terms, Contract):
        raise TypeError(f"{terms!r} is not a Contract")
    tiers = tuple(t if isinstance(t, DiscountTier) else DiscountTier(*t) for t in terms.discount_tiers)
    return replace(terms, discount_tiers=tiers)


def _sized(contract: Contract, chips: Mapping[str, Chip]) -> Contract:
    """Return megawatt terms with the watts that turn them into chips."""
    if contract.it_mw is None or not contract.chip or contract.w_per_chip is not None:
        return contract
    if contract.chip not in chips:
        raise InputError(f'contract "{contract.id}" gives chip "{contract.chip}", which is not in the catalogue')
    watts = chips[contract.chip].all_in_w
    if watts is None:
        raise MissingFact(contract.chip, "all_in_w", needed_for=f'the megawatts of contract "{contract.id}"')
    return replace(contract, w_per_chip=watts)


def _unserved(resolved: Any) -> tuple[float | None, ...]:
    stated = {w.id: getattr(w, "unserved_usd_per_mtok", None) for w in resolved.scenario.workloads}
    return tuple(stated.get(w.id) for w in resolved.workloads)


def _demand(workloads: Sequence[Workload], periods: Sequence[Period], starts: Sequence[float], known: Mapping[str, Any]) -> F8:
    """Return requests per second by workload and load block: as laid out by the scenario, else from mean, growth and peak."""
    rows = []
    for work in workloads:
        if work.id in known:
            rows.append(list(np.asarray(known[work.id], float).ravel()))
            continue
        row: list[float] = []
        for period, months in zip(periods, starts, strict=True):
            mean = work.mean_rps * (1.0 + work.growth_per_year_frac) ** (months / 12.0)
            row += list(mean * block_factors(period.blocks, work.peak_to_mean_ratio))
        rows.append(row)
    return np.array(rows, dtype=float).reshape(len(workloads), -1)


def _usd_per_request(work: Workload, offer: Offer) -> float:
    """Return what a request of mean lengths costs at a per-token offer; cached prompt tokens at their own price, if stated."""
    if offer.usd_per_mtok_in is None or offer.usd_per_mtok_out is None:
        raise MissingFact(offer.id, "usd_per_mtok_in" if offer.usd_per_mtok_in is None else "usd_per_mtok_out", needed_for=f"workload {work.id}")
    cached_price = offer.usd_per_mtok_in if offer.usd_per_mtok_cached is None else offer.usd_per_mtok_cached
    cached = work.lengths.isl_tokens * work.lengths.cached_frac
    fresh = work.lengths.isl_tokens - cached
    return (fresh * offer.usd_per_mtok_in + cached * cached_price + work.lengths.osl_tokens * offer.usd_per_mtok_out) / 1e6


def _calendar(resolved: Any) -> tuple[BillingPeriod, ...]:
    periods = resolved.periods
    ends = [p.start for p in periods[1:]]
    if periods:
        first = date.fromisoformat(periods[0].start)
        months = first.month - 1 + resolved.horizon.months
        ends.append(date(first.year + months // 12, months % 12 + 1, min(first.day, 28)).isoformat())
    return tuple(BillingPeriod(p.start, end, p.hours) for p, end in zip(periods, ends, strict=True))


def _months(start: str, day: str) -> float:
    a, b = date.fromisoformat(start), date.fromisoformat(day)
    return (b.year - a.year) * 12 + (b.month - a.month) + (b.day - a.day) / 30.0


def _open(offer: Offer, chip: Chip | None, period: Period) -> float:
    """Return 1 where an offer may be bought from in a period, 0 before its date or its chip's."""
    late = bool(offer.available_from) and offer.available_from > period.start
    return 0.0 if late or (chip is not None and not _chip_there(chip, period)) else 1.0


def _chip_there(chip: Chip, period: Period) -> float:
    return 0.0 if chip.available_from is not None and chip.available_from.isoformat() > period.start else 1.0


def offer_opens(tables: Problem, o: int, y: int) -> bool:
    """Return whether chips may be bought from an offer in a period: on sale, its chip shipping, its lead time over.

    Terms signed now deliver after the lead; for hourly offers the lead is that of the quota.
    """
    offer = tables.offers[o]
    months = _months(tables.periods[0].start, tables.periods[y].start)
    waited = offer.kind not in ("on_demand", "spot") or months >= offer.lead_time_months - 0.05
    return waited and _open(offer, tables.pools[tables.pool_of[o]].chip, tables.periods[y]) > 0


def months_between(tables: Problem, first: int, second: int) -> float:
    """Return the months from the start of one period to that of another."""
    return _months(tables.periods[first].start, tables.periods[second].start)


def site_of(tables: Problem, pool: Pool) -> Site | None:
    """Return the stated power envelope at a pool's place, if there is one."""
    return next((s for s in tables.sites if (s.cloud, s.region) == (pool.cloud, pool.region)), None)
