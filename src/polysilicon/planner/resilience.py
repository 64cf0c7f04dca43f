"""Survive the loss of any one supplier of a kind: after each single failure, what is left still serves a share of demand."""

from __future__ import annotations

import numpy as np

from polysilicon.planner.build import months_between
from polysilicon.planner.constraints import port_starts, ported
from polysilicon.planner.holdings import held_by_pool
from polysilicon.planner.problem import F8, I8, Problem
from polysilicon.planner.program import UNLIMITED_CHIPS, Program, Term

KINDS = ("cloud", "vendor", "chip_family", "region")


def failures(tables: Problem) -> list[tuple[str, str, float, float]]:
    """Return (kind, name, share of interactive demand to keep, from which month) of every single failure to survive."""
    found = []
    for part in tables.limits.survive_loss_of:
        names = sorted(
            {owner(tables, part.kind, pool=p) for p in range(len(tables.pools))}
            | {owner(tables, part.kind, offer=o) for o in range(len(tables.token_offers))}
        )
        since = float(getattr(part, "from_month", 0))
        found += [(part.kind, name, part.demand_frac, since) for name in names if name]
    return found


def hardest(tables: Problem) -> tuple[list[tuple[str, str, float, float]], dict[str, str]]:
    """Return the failures to state, and those that follow from one of them, each with the one it follows from.

    A failure that takes away no more than another, for no larger a share of demand and from no earlier a month, is survived
    wherever the other is: the same chips that serve then serve it too. (A vendor sold in one cloud alone falls with the cloud.)
    """
    broken = failures(tables)
    lost = [
        frozenset([("pool", p) for p in range(len(tables.pools)) if owner(tables, kind, pool=p) == name]
                  + [("token", o) for o in range(len(tables.token_offers)) if owner(tables, kind, offer=o) == name])
        for kind, name, _, _ in broken
    ]  # fmt: skip

    def follows(i: int, j: int) -> bool:
        (_, _, share_i, since_i), (_, _, share_j, since_j) = broken[i], broken[j]
        same = lost[i] == lost[j] and share_i == share_j and since_i == since_j
        return lost[i] <= lost[j] and share_i <= share_j and since_i >= since_j and (not same or j < i)

    stated, implied = [], {}
    for i, failure in enumerate(broken):
        by = next((j for j in range(len(broken)) if j != i and follows(i, j)), None)
        if by is None:
            stated.append(failure)
        else:
            implied[_words(failure)] = _words(broken[by])
    return stated, implied


def _words(failure: tuple[str, str, float, float]) -> str:
    kind, name, frac, _ = failure
    return f"surviving the loss of {kind.replace('_', ' ')} {name} for {frac:.0%} of interactive demand"


def owner(tables: Problem, kind: str, *, pool: int = -1, offer: int = -1) -> str:
    """Return who must not fail for a pool or a per-token offer to be there."""
    if offer >= 0:
        sold = tables.token_offers[offer]
        return {"cloud": sold.cloud, "region": f"{sold.cloud}/{sold.region}"}.get(kind, "")
    where = tables.pools[pool]
    return {
        "cloud": where.cloud,
        "vendor": where.chip.vendor,
        "chip_family": where.chip.family,
        "region": f"{where.cloud}/{where.region}",
    }[kind]


def peak_slots(tables: Problem) -> I8:
    """Return each period's load block with the most interactive chips' worth of demand."""
    weight = np.zeros(tables.slots)
    for w, work in enumerate(tables.workloads):
        if not work.slo.deferrable:
            weight += tables.peak_rps[w] / max(float(tables.peak_rps[w].max()), 1e-12)
    return np.array(
        [int(np.flatnonzero(tables.slot_period == y)[np.argmax(weight[tables.slot_period == y])]) for y in range(len(tables.periods))],
        np.int64,
    )


def survive(program: Program) -> None:
    """State, for each failure and period at the peak block: sum of s' over surviving arcs >= share, within surviving chips.

    s' and u' are what would be served and rented then. Terms signed stay; hourly offers give up to their limit; spot gives
    nothing; engines that are live serve. No more than the share need be served, so an engine carries at most that share:
    sum of s' over a port's pools <= share x z, tighter than z where ports are fractions. The dual is the price of resilience.
    Ignores: what the emergency itself would cost, and deferrable work, which waits.
    """
    tables, flows = program.tables, program.flows
    broken, program.implied = hardest(tables)
    if not broken:
        return
    peak = peak_slots(tables)
    urgent = np.array([not w.slo.deferrable for w in tables.workloads], bool)
    base = np.flatnonzero(urgent[flows.workload] & (flows.slot == peak[flows.period]))
    up_pool = np.array([[owner(tables, kind, pool=p) != name for p in range(len(tables.pools))] for kind, name, _, _ in broken], bool)
    up_token = np.array([[owner(tables, kind, offer=o) != name for o in range(len(tables.token_offers))] for kind, name, _, _ in broken], bool)
    token = np.array([a.offer for a in tables.arcs], np.int64)[flows.arc[base]]
    alive = np.where(flows.pool[base] >= 0, up_pool[:, flows.pool[base]], up_token[:, token] if len(tables.token_offers) else True)
    apart = flows.decode_pool[base]
    alive &= np.where(apart >= 0, up_pool[:, apart], True)
    months = np.array([months_between(tables, 0, y) for y in range(len(tables.periods))])
    due = months[None, :] >= np.array([since for *_, since in broken])[:, None] - 0.05  # [failure, period]
    failure, flow = np.nonzero(alive & due[:, flows.period[base]])
    flow = base[flow]
    serve = program.variables("survive_serve", len(flow))
    promises = np.flatnonzero(urgent[program.demand_workload] & (program.demand_slot == peak[program.demand_period]))
    row_of = np.full(len(program.demand_requests), -1, np.int64)
    row_of[promises] = np.arange(len(promises))
    rows = np.arange(len(broken) * len(promises))
    share = (np.array([frac for _, _, frac, _ in broken])[:, None] * due[:, program.demand_period[promises]]).ravel()
    words = [_words(f) for f in broken for _ in promises]
    program.constrain(
        "survive_demand",
        [(failure * len(promises) + row_of[flows.row[flow]], serve, np.ones(len(flow)))],
        ">=",
        share,
        count=len(rows),
        words=words,
        unit="share of demand",
        failure=rows // max(1, len(promises)),
        row=promises[rows % max(1, len(promises))],
    )
    _unreachable(program, failure * len(promises) + row_of[flows.row[flow]], promises, words, share)
    _engines(program, failure, flow, serve, np.array([frac for _, _, frac, _ in broken]))
    _chips(program, failure, flow, serve, up_pool, peak)


def _unreachable(program: Program, served: I8, promises: I8, words: list[str], share: F8) -> None:
    """Remember promises that no surviving arc could keep, whatever is bought: they make the program infeasible, each alone.

    The whole share is what such a promise lacks; the workloads that nothing left could serve are named with it.
    """
    missing = np.setdiff1d(np.arange(len(words)), served)
    missing = missing[share[missing] > 0]
    works = [program.tables.workloads[w].id for w in program.demand_workload[promises[missing % max(1, len(promises))]]]
    for limit in dict.fromkeys(words[r] for r in missing):
        mine = [i for i, r in enumerate(missing) if words[r] == limit]
        names = ", ".join(dict.fromkeys(works[i] for i in mine))
        program.impossible[limit] = (float(share[missing[mine]].max()), "share of demand", names)


def _engines(program: Program, failure: I8, flow: I8, serve: I8, share: F8) -> None:
    """State that after a failure, too, an engine serves only once it is started: sum of s' over a port's pools <= share x z."""
    tables, flows = program.tables, program.flows
    mine, port = ported(program, flow)
    if not len(mine):
        return
    count = len(program.demand_requests)
    keys = (failure[mine] * len(tables.candidates) + port) * count + flows.row[flow[mine]]
    unique, row = np.unique(keys, return_inverse=True)
    broken, needed = unique // count // len(tables.candidates), unique // count % len(tables.candidates)
    period = program.demand_period[unique % count]
    start, z = port_starts(program, needed, period)
    terms = [(row, serve[mine], np.ones(len(mine))), (start, z, -share[broken][start])]
    program.constrain("survive_port", terms, "<=", 0.0, failure=broken, port=needed, period=period)


def _chips(program: Program, failure: I8, flow: I8, serve: I8, up_pool: np.ndarray, peak: I8) -> None:
    """State that after a failure the surviving chips carry what is served: sum of c s' <= cap x (K + u'), u' <= A."""
    tables, flows = program.tables, program.flows
    periods, cap = len(tables.periods), tables.limits.utilisation_max_frac
    pools = len(tables.pools)
    on, seat, chips = flows.seats(flow)
    terms: list[Term] = [((failure[on] * pools + seat) * periods + flows.period[flow[on]], serve[on], chips)]
    for pool, period, labels in held_by_pool(program):
        f, j = np.nonzero(up_pool[:, pool])
        terms.append(((f * pools + pool[j]) * periods + period[j], labels[j], np.full(len(j), -cap)))
    pool_of = np.array(tables.pool_of, np.int64)
    kind = np.array([o.kind == "on_demand" or (o.kind == "quote_only" and o.min_term_months == 0) for o in tables.offers], bool)
    at_peak = (
        np.flatnonzero(kind[program.rent_offer] & (program.rent_slot == peak[tables.slot_period[program.rent_slot]]))
        if len(program.rent_offer)
        else np.empty(0, np.int64)
    )
    extra = np.zeros((len(tables.pools), periods))
    for i in at_peak:
        offer = tables.offers[program.rent_offer[i]]
        most = UNLIMITED_CHIPS if offer.max_chips is None else offer.max_chips
        extra[pool_of[program.rent_offer[i]], tables.slot_period[program.rent_slot[i]]] += cap * most / program.chip_unit
    rhs = np.where(up_pool[:, :, None], extra[None], 0.0).ravel()
    program.constrain(
        "survive_capacity",
        terms,
        "<=",
        np.where(rhs >= cap * UNLIMITED_CHIPS / program.chip_unit, np.inf, rhs),
        count=len(rhs),
        words=[f"the chips on sale by the hour in {tables.pools[r // periods % pools].id}, after a loss" for r in range(len(rhs))],
        unit="chips",
        size=program.chip_unit / cap,
    )
