"""From a resolved scenario and serving points to the tables of the program."""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date
from typing import Any

import numpy as np

from polysilicon.application.workload import Workload
from polysilicon.cloud.contract import BillingPeriod, Contract, DiscountTier
from polysilicon.cloud.offer import Offer
from polysilicon.cloud.region import lies_in
from polysilicon.errors import InputError, MissingFact
from polysilicon.performance import ServingPoint
from polysilicon.planner import ports as engines
from polysilicon.planner.arcs import months, opens, with_arcs
from polysilicon.planner.problem import F8, TOKEN_KINDS, Link, Pool, Problem, Run, block_factors, check_numbers
from polysilicon.portfolio import Period
from polysilicon.silicon.chip import Chip

LEAST_USD, MOST_USD = 0.01, 500.0  # dollars per chip-hour between which a price is no slip of units


def problem(
    resolved: Any,
    table: Mapping[tuple[str, str], ServingPoint],
    *,
    headroom_frac: Mapping[str, float] | None = None,
    existing: Mapping[str, Sequence[float]] | None = None,
    phases: Mapping[tuple[str, str, str], ServingPoint] | None = None,
) -> Problem:
    """Return the tables of the program.

    `table` holds the best serving point of each (workload, chip) that keeps its promise; what is not in it cannot serve.
    `phases` holds those of prefill and decode alone, by (workload, chip, phase), where the scenario lets them be apart.
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
    links, wires = _links(resolved, sum(o.kind in TOKEN_KINDS for o in resolved.offers))
    token_offers = (*(o for o in resolved.offers if o.kind in TOKEN_KINDS), *wires)
    contracts = tuple(_sized(_contract(c), resolved.chips) for c in resolved.contracts)
    pools, pool_of = _pools(chip_offers, contracts, workloads, resolved.chips)
    starts = [months(periods[0].start, p.start) for p in periods]
    demand = _demand(workloads, periods, starts, resolved.demand_rps)
    peak = _demand(workloads, periods, starts, resolved.peak_rps)
    weekend = getattr(resolved, "weekend", ())
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
        links=links,
        slot_weekend=np.tile(np.array(weekend, bool), len(periods)) if any(weekend) else None,
        training=_training(resolved, pools, calendar),
        phases=dict(phases or {}),
    )
    draft = replace(draft, notes=(*draft.notes, *odd_units(draft)))
    return with_arcs(draft, resolved, starts)


def _training(resolved: Any, pools: Sequence[Pool], calendar: Sequence[BillingPeriod]) -> tuple[Run, ...]:
    """Return training blocks with the pools they may stand in: the chips, clouds and regions they name."""
    found = []
    for part in getattr(resolved, "training", ()):
        may = tuple(
            i
            for i, p in enumerate(pools)
            if p.chip.id in part.on
            and (not part.clouds or p.cloud in part.clouds)
            and (not part.regions or any(lies_in(p.region, r) for r in part.regions))
        )
        touched = tuple(y for y, p in enumerate(calendar) if part.start.isoformat() < p.end and part.end.isoformat() > p.start)
        found.append(Run(part.id, part.chips, touched, may, part.one_place, part.checkpoint_every_hours, part.checkpoint_hours, part.restart_hours))
    return tuple(found)


def _links(resolved: Any, first: int) -> tuple[tuple[Link, ...], tuple[Offer, ...]]:
    """Return the wires of a scenario, and the offers their charges are billed under, with the cloud that sends."""
    part = getattr(resolved, "disaggregation", None)
    links: list[Link] = []
    wires: list[Offer] = []
    for link in part.links if part is not None else ():
        sold = [o for o in resolved.offers if o.chip]
        clouds = sorted({o.cloud for o in sold if any(fnmatch.fnmatchcase(f"{o.chip}@{o.cloud}/{o.region}", x) for x in link.prefill)})
        if len(clouds) != 1 and link.usd_per_gb > 0:
            found = ", ".join(clouds) or "none"
            raise InputError(f'link "{link.id}" charges for what leaves and prefills in {len(clouds)} clouds ({found})',
                             hint="state one link a sending cloud, so that the charge stands on its bill")  # fmt: skip
        links.append(Link(link.id, first + len(wires), link.gb_per_s, link.gb_per_s_per_chip, link.usd_per_gb))
        wires.append(Offer(link.id, clouds[0] if len(clouds) == 1 else "", "", "", "per_token", None, source=link.source))
    return tuple(links), tuple(wires)


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
        for period, after in zip(periods, starts, strict=True):
            mean = work.mean_rps * (1.0 + work.growth_per_year_frac) ** (after / 12.0)
            row += list(mean * block_factors(period.blocks, work.peak_to_mean_ratio))
        rows.append(row)
    return np.array(rows, dtype=float).reshape(len(workloads), -1)


def _calendar(resolved: Any) -> tuple[BillingPeriod, ...]:
    periods = resolved.periods
    ends = [p.start for p in periods[1:]]
    if periods:
        first = date.fromisoformat(periods[0].start)
        last = first.month - 1 + resolved.horizon.months
        ends.append(date(first.year + last // 12, last % 12 + 1, min(first.day, 28)).isoformat())
    return tuple(BillingPeriod(p.start, end, p.hours) for p, end in zip(periods, ends, strict=True))


def offer_opens(tables: Problem, o: int, y: int) -> bool:
    """Return whether chips may be bought from an offer in a period: on sale, its chip shipping, its lead time over.

    Terms signed now deliver after the lead; for hourly offers the lead is that of the quota.
    """
    offer = tables.offers[o]
    after = months(tables.periods[0].start, tables.periods[y].start)
    waited = offer.kind not in ("on_demand", "spot") or after >= offer.lead_time_months - 0.05
    return waited and opens(offer, tables.pools[tables.pool_of[o]].chip, tables.periods[y]) > 0


def months_between(tables: Problem, first: int, second: int) -> float:
    """Return the months from the start of one period to that of another."""
    return months(tables.periods[first].start, tables.periods[second].start)


def never_there(tables: Problem) -> list[str]:
    """Say of each offer that gives no chip within the horizon why: on sale, shipped or delivered too late."""
    found = []
    last = len(tables.periods) - 1
    for o, offer in enumerate(tables.offers):
        opens_in = [y for y in range(last + 1) if offer_opens(tables, o, y)]
        signed = offer.kind not in ("on_demand", "spot") and (offer.kind == "reserved" or offer.min_term_months > 0)
        late = signed and not any(months_between(tables, y, last) >= offer.lead_time_months - 0.05 for y in opens_in)
        if opens_in and not late:
            continue
        chip = tables.pools[tables.pool_of[o]].chip
        if offer.available_from > tables.periods[last].start:
            why = f"on sale from {offer.available_from}"
        elif chip.available_from is not None and chip.available_from.isoformat() > tables.periods[last].start:
            why = f"{chip.id} ships from {chip.available_from}"
        else:
            why = f"delivered {offer.lead_time_months:g} months after signing"
        found.append(f"{offer.id}: {why}, and the last period begins {tables.periods[last].start}")
    return found


def odd_units(tables: Problem) -> list[str]:
    """Say which prices look like a slip of units; they are taken as stated."""
    return [
        f"{o.id} asks {o.usd_per_chip_hour:g} $/chip-hour: is the unit right? It is taken as stated"
        for o in tables.offers
        if o.usd_per_chip_hour is not None and not (LEAST_USD <= o.usd_per_chip_hour <= MOST_USD) and o.usd_per_chip_hour > 0
    ]
