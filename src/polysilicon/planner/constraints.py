"""The core: who serves what, on which chips, under which engine. Each function adds variables or states one inequality.

Symbols: s share of a demand row served by an arc, u chips rented, K chips held under terms, n blocks signed, z port started,
c busy chips at s = 1 (demand / throughput / efficiency), D demand.
"""

from __future__ import annotations

import numpy as np

from polysilicon.planner import training
from polysilicon.planner.build import months_between
from polysilicon.planner.holdings import held_by_pool, spot_usable
from polysilicon.planner.problem import I8, Arc
from polysilicon.planner.program import UNLIMITED_CHIPS, Flows, Program, open_pairs

ARRAY = tuple[I8, I8]


def serve(program: Program) -> None:
    """Add s >= 0 for every usable (arc, load block) and U >= 0, the unserved share of every demand row.

    c = D / (rate x efficiency) chips; for deferrable work D is the period's requests, done within the block. Where prefill
    and decode are apart, one s takes chips in both pools, so x_pf : x_dc is the work of the same requests, always.
    Engines of one pair that started at different times and are equally efficient by now share one s: what each serves is at
    most its z, so what all serve is at most the sum of their z, and any such sum can be shared out again.
    """
    tables = program.tables
    first = _alike(program)
    row_of = {
        (int(w), int(y), int(t)): i
        for i, (w, y, t) in enumerate(zip(program.demand_workload, program.demand_period, program.demand_slot, strict=True))
    }
    found: list[tuple[int, int, int, int, int, int, int, float, float, float]] = []
    for a, arc in enumerate(tables.arcs):
        deferrable = tables.workloads[arc.workload].slo.deferrable
        for t in range(tables.slots):
            y = int(tables.slot_period[t])
            eta = arc.efficiency_frac[y]
            row = row_of.get((arc.workload, y, -1 if deferrable else t))
            if row is None or eta <= 0 or any(first.get((k, y), k) != k for k, *_ in _seats(arc)):
                continue
            chips, mean, apart, second = 0.0, 1.0, -1, 0.0
            if arc.pool >= 0:
                spread = program.demand_requests[row] / (tables.slot_hours[t] * 3600.0)
                mean = 1.0 if deferrable else float(tables.demand_rps[arc.workload, t] / tables.peak_rps[arc.workload, t])
                rps = float(spread if deferrable else tables.peak_rps[arc.workload, t])
                chips = rps / (arc.rps_per_chip * eta)
                if arc.decode is not None:
                    apart, second = arc.decode.pool, rps / (arc.decode.rps_per_chip * arc.decode.efficiency_frac[y])
            found.append((a, t, arc.workload, y, arc.pool, row, apart, chips, mean, second))
    columns = list(zip(*found, strict=True)) if found else [()] * 10
    ints = [np.array(c, np.int64) for c in columns[:7]]
    labels = program.variables("serve", len(found))
    hours = tables.slot_hours[ints[1]]
    chips_at_one = np.array(columns[7], float) / program.chip_unit
    program.flows = Flows(
        arc=ints[0],
        slot=ints[1],
        workload=ints[2],
        period=ints[3],
        pool=ints[4],
        row=ints[5],
        chips=chips_at_one,
        mean_frac=np.array(columns[8], float),
        hours=hours,
        label=labels,
        decode_pool=ints[6],
        decode_chips=np.array(columns[9], float) / program.chip_unit,
    )
    program.variables("unserved", len(program.demand_requests), upper=1.0)


def _alike(program: Program) -> dict[tuple[int, int], int]:
    """Return the first port of each (port, period) whose engine is as efficient by then, and remember who stands for whom."""
    tables = program.tables
    by_age: dict[tuple[tuple[str, str], int, float, float, str], dict[int, None]] = {}
    for arc in tables.arcs:
        for k, eta, share, engine in _seats(arc):
            if k >= 0:
                for y, e in enumerate(eta):
                    if e > 0:
                        by_age.setdefault((tables.candidates[k].key, y, e, share, engine), {})[k] = None
    program.alike = {(next(iter(ports)), y): tuple(ports) for (_, y, *_), ports in by_age.items()}
    return {(k, y): ports[0] for (_, y), ports in program.alike.items() for k in ports}


def _seats(arc: Arc) -> list[tuple[int, tuple[float, ...], float, str]]:
    """Return (port, efficiency by period, stage's cap, engine) of each seat of an arc."""
    first = (arc.port, arc.efficiency_frac, arc.max_share_frac, arc.engine)
    return [first] if arc.decode is None else [first, (arc.decode.port, arc.decode.efficiency_frac, arc.decode.max_share_frac, arc.decode.engine)]


def port_starts(program: Program, port: I8, period: I8) -> tuple[I8, I8]:
    """Return (row, label of z) of every start whose engine serves by the variables of a (port, period), one row a pair."""
    alike = [program.alike[int(k), int(y)] for k, y in zip(port, period, strict=True)]
    row = np.repeat(np.arange(len(alike)), [len(a) for a in alike])
    return row, program.blocks["port"][np.array([k for a in alike for k in a], np.int64)]


def rent(program: Program) -> None:
    """Add u in chips for every (hourly offer, load block), at most what can be had: u <= A x availability [scarcity rent]."""
    tables = program.tables
    offer, period = open_pairs(tables, signed=False)
    pairs = [(int(o), int(t)) for o, y in zip(offer, period, strict=True) for t in np.flatnonzero(tables.slot_period == y)]
    array = np.array(pairs, np.int64).reshape(-1, 2)
    program.rent_offer, program.rent_slot = array[:, 0], array[:, 1]
    most = np.array([_most_chips(program, o) for o in range(len(tables.offers))])
    upper = most[array[:, 0]] / program.chip_unit if len(array) else np.empty(0)
    upper = np.where(upper >= UNLIMITED_CHIPS / program.chip_unit, np.inf, upper)
    labels = program.variables("rent", len(array))
    if program.integer_rent and len(array):
        blocks = np.array([o.block_chips for o in tables.offers], float)[array[:, 0]]
        counts = program.variables("rent_blocks", len(array), integer=True)
        rows = np.arange(len(array))
        program.constrain("whole_blocks", [(rows, labels, np.ones(len(rows))), (rows, counts, -blocks / program.chip_unit)], "=", 0.0)
    limited = np.flatnonzero(np.isfinite(upper))
    words = [_words_most(program, int(o)) for o in array[limited, 0]]
    if len(limited):
        program.constrain(
            "offer_limit",
            [(np.arange(len(limited)), labels[limited], np.ones(len(limited)))],
            "<=",
            upper[limited],
            words=words,
            unit="chips",
            size=program.chip_unit,
            offer=array[limited, 0],
            slot=array[limited, 1],
        )


def sign(program: Program) -> None:
    """Add n blocks signed and K chips held: K_y = K_before + q sum of n signed at y' with y' + lead <= y < y' + lead + term."""
    tables = program.tables
    offer, period = open_pairs(tables, signed=True)
    last = len(tables.periods) - 1
    lead = np.array([o.lead_time_months for o in tables.offers])
    delivers = [months_between(tables, int(y), last) >= lead[o] - 0.05 for o, y in zip(offer, period, strict=True)]
    offer, period = offer[delivers], period[delivers]
    blocks = np.array([max(1, o.block_chips) for o in tables.offers], float)
    most = np.array([_most_chips(program, o) for o in range(len(tables.offers))])
    n = program.variables("sign", len(offer), integer=True)
    held = [(int(o), y) for o in np.unique(np.concatenate([offer, _existing(program)])) for y in range(last + 1)]
    array = np.array(held, np.int64).reshape(-1, 2)
    k = program.variables("hold", len(array))
    program.sign_offer, program.sign_period = offer, period
    program.hold_offer, program.hold_period = array[:, 0], array[:, 1]
    if not len(array):
        return
    row_of = {(int(o), int(y)): i for i, (o, y) in enumerate(held)}
    rows, columns = [], []
    for j, (o, y) in enumerate(zip(offer, period, strict=True)):
        term = max(tables.offers[o].min_term_months, 1)
        for later in range(int(y), last + 1):
            months = months_between(tables, int(y), later)
            if lead[o] - 0.05 <= months < lead[o] + term - 0.05:
                rows.append(row_of[int(o), later])
                columns.append(j)
    before = np.array([_before(program, o, y) for o, y in held]) / program.chip_unit
    every = np.arange(len(array))
    chips = blocks[offer[columns]] / program.chip_unit if columns else np.empty(0)
    program.constrain(
        "holding",
        [(every, k, np.ones(len(every))), (np.array(rows, np.int64), n[columns] if columns else n[:0], -chips)],
        "=",
        before,
    )
    limited = np.flatnonzero(most[array[:, 0]] < UNLIMITED_CHIPS)
    if len(limited):
        program.constrain(
            "terms_limit",
            [(np.arange(len(limited)), k[limited], np.ones(len(limited)))],
            "<=",
            np.maximum(most[array[limited, 0]] / program.chip_unit, before[limited]),
            words=[_words_most(program, int(o)) for o in array[limited, 0]],
            unit="chips",
            size=program.chip_unit,
            offer=array[limited, 0],
            period=array[limited, 1],
        )


def given(program: Program) -> None:
    """Add chips delivered by contracts (leases, megawatts): sum over the pools they may stand in <= chips delivered."""
    tables = program.tables
    rows: list[tuple[int, int, int]] = []
    for c, contract in enumerate(tables.contracts):
        if contract.holds_chips:
            home = [p for p, pool in enumerate(tables.pools) if pool.chip.id == contract.chip and pool.cloud == contract.cloud]
            rows += [(c, p, y) for p in home for y in range(len(tables.periods)) if contract.held_chip_hours(tables.calendar[y]) > 0]
    array = np.array(rows, np.int64).reshape(-1, 3)
    labels = program.variables("given", len(array))
    program.given_contract, program.given_pool, program.given_period = array[:, 0], array[:, 1], array[:, 2]
    signed = np.array([tables.contracts[c].signed for c in array[:, 0]], bool)
    if not len(array):
        return
    keys = array[:, 0] * len(tables.periods) + array[:, 2]
    unique, row = np.unique(keys, return_inverse=True)
    size = np.array([_delivered(program, int(k) // len(tables.periods), int(k) % len(tables.periods)) for k in unique]) / program.chip_unit
    program.given_size, program.given_row = size, row
    if signed.any():
        live = np.array([tables.contracts[int(k) // len(tables.periods)].signed for k in unique])
        keep = live[row]
        program.constrain(
            "delivered",
            [(row[keep], labels[keep], np.ones(int(keep.sum())))],
            "<=",
            size,
            count=len(unique),
            words=[f"the chips of contract {tables.contracts[int(k) // len(tables.periods)].id}" for k in unique],
            unit="chips",
            size=program.chip_unit,
            contract=unique // len(tables.periods),
            period=unique % len(tables.periods),
        )


def start_ports(program: Program) -> None:
    """Add z in {0, 1} for every candidate start; a pair is ported once: sum over starts of z <= 1. Cost and upkeep in dollars."""
    tables = program.tables
    z = program.variables("port", len(tables.candidates), binary=True)
    if not len(z):
        return
    pairs = sorted({c.key for c in tables.candidates})
    row = np.array([pairs.index(c.key) for c in tables.candidates], np.int64)
    program.constrain("port_once", [(row, z, np.ones(len(z)))], "<=", 1.0)
    for label, candidate in zip(z, tables.candidates, strict=True):
        usd = candidate.cost_usd * program.discount[candidate.start]
        usd += sum(
            candidate.upkeep_usd_per_year * h / 8760.0 * d
            for h, d in zip(program.period_hours[candidate.live :], program.discount[candidate.live :], strict=True)
        )
        program.add_cost(np.array([label]), np.array([usd]))


def demand(program: Program) -> None:
    """State that all is served or counted as unserved: sum of s over arcs + U = 1 [lambda, $/Mtok]."""
    tables, flows = program.tables, program.flows
    count = len(program.demand_requests)
    if not count:
        return
    every = np.arange(count)
    words = [f"the demand of workload {tables.workloads[w].id}" for w in program.demand_workload]
    program.constrain(
        "demand",
        [(flows.row, flows.label, np.ones(len(flows.label))), (every, program.blocks["unserved"], np.ones(count))],
        "=",
        1.0,
        words=words,
        unit="share of demand",
        row=every,
    )


def deferral(program: Program) -> None:
    """State that work which cannot wait long enough is partly done where it arrives.

    Sum of s in a block >= (1 - d) x the block's share of arrivals, d = deadline / 12 h; in the blocks of working days, and in
    those of week-ends, the same with d = deadline / 84 h.
    """
    tables, flows = program.tables, program.flows
    rows: list[tuple[int, list[int], float]] = []
    for r, (w, y, t) in enumerate(zip(program.demand_workload, program.demand_period, program.demand_slot, strict=True)):
        if t >= 0:
            continue
        arrives = tables.demand_rps[w] * tables.slot_hours * 3600.0 / program.demand_requests[r]
        kinds = [([[int(s)] for s in np.flatnonzero(tables.slot_period == y)], tables.deferrable_frac(int(w)))]
        if len(days := tables.days(int(y))) > 1:
            kinds.append(([d.tolist() for d in days], tables.weekend_frac(int(w))))
        rows += [(r, slots, float((1.0 - wait) * arrives[slots].sum())) for parts, wait in kinds if wait < 1.0 for slots in parts]
    if not rows:
        return
    rows_of: dict[tuple[int, int], list[int]] = {}
    for i, (r, slots, _) in enumerate(rows):
        for slot in slots:
            rows_of.setdefault((r, slot), []).append(i)
    mine = [(i, j) for j, (r, t) in enumerate(zip(flows.row, flows.slot, strict=True)) for i in rows_of.get((int(r), int(t)), ())]
    index = np.array(mine, np.int64).reshape(-1, 2)
    unserved = program.blocks["unserved"][[r for r, _, _ in rows]]
    must = np.array([m for _, _, m in rows])
    words = [f"the deadline of workload {tables.workloads[program.demand_workload[r]].id}" for r, _, _ in rows]
    program.constrain(
        "deferral",
        [(index[:, 0], flows.label[index[:, 1]], np.ones(len(index))), (np.arange(len(rows)), unserved, must)],
        ">=",
        must,
        words=words,
        unit="share of demand",
    )


def capacity(program: Program) -> None:
    """State that busy chips fit in a pool: sum of c s <= utilisation cap x (sum of u + K + delivered - training) [mu, $/chip-hour]."""
    tables, flows = program.tables, program.flows
    slots, cap = tables.slots, tables.limits.utilisation_max_frac
    flow, seat, chips = flows.seats()
    busy = (seat * slots + flows.slot[flow], flows.label[flow], chips)
    pool_of = np.array(tables.pool_of, np.int64)
    terms = [busy]
    if len(program.rent_offer):
        usable = np.array([spot_usable(o) for o in tables.offers])
        o, t = program.rent_offer, program.rent_slot
        terms.append((pool_of[o] * slots + t, program.blocks["rent"], -cap * usable[o]))
    for pool, period, labels in held_by_pool(program):
        for_slot = [
            (int(p) * slots + t, j) for j, (p, y) in enumerate(zip(pool, period, strict=True)) for t in np.flatnonzero(tables.slot_period == y)
        ]
        index = np.array(for_slot, np.int64).reshape(-1, 2)
        terms.append((index[:, 0], labels[index[:, 1]], np.full(len(index), -cap)))
    terms += training.capacity_terms(program, cap)
    if not any(len(t[0]) for t in terms):
        return
    rows = np.arange(len(tables.pools) * slots)
    program.constrain(
        "capacity",
        terms,
        "<=",
        0.0,
        count=len(rows),
        unit="chip-hours",
        size=program.chip_unit,
        pool=rows // slots,
        slot=rows % slots,
    )


def ports_live(program: Program) -> None:
    """State that an engine serves only once it is started: for each port and demand row, sum of s over its pools <= sum of z.

    The sum of z is over the starts whose engines are alike by then, mostly one while an engine learns.
    One row a workload and block keeps the bound tight; one row a port would let a third of an engine serve everything.
    """
    flows = program.flows
    mine, port = ported(program, np.arange(len(flows.arc)))
    if not len(mine):
        return
    keys = port * len(program.demand_requests) + flows.row[mine]
    unique, row = np.unique(keys, return_inverse=True)
    needed = unique // len(program.demand_requests)
    start, z = port_starts(program, needed, program.demand_period[unique % len(program.demand_requests)])
    program.constrain(
        "port_live",
        [(row, flows.label[mine], np.ones(len(mine))), (start, z, -np.ones(len(z)))],
        "<=",
        0.0,
        unit="share of demand",
        port=needed,
        row=unique % len(program.demand_requests),
    )


def ported(program: Program, flow: I8) -> ARRAY:
    """Return (place in `flow`, port) of every port that flows need, those of both seats; a port of both counts once."""
    arcs = program.tables.arcs
    port = np.array([a.port for a in arcs], np.int64)[program.flows.arc[flow]] if len(flow) else np.empty(0, np.int64)
    apart = np.array([-1 if a.decode is None or a.decode.port == a.port else a.decode.port for a in arcs], np.int64)
    second = apart[program.flows.arc[flow]] if len(flow) else np.empty(0, np.int64)
    here, there = np.flatnonzero(port >= 0), np.flatnonzero(second >= 0)
    return np.concatenate([here, there]), np.concatenate([port[here], second[there]])


def stages(program: Program) -> None:
    """State that an engine on trial carries no more than its stage allows: sum of s over its arcs <= cap."""
    tables, flows = program.tables, program.flows
    families = sorted({p.chip.family for p in tables.pools})
    flow, seat, _ = flows.seats()
    first = np.arange(len(flow)) < int((flows.pool >= 0).sum())
    caps = np.array([(a.max_share_frac, 1.0 if a.decode is None else a.decode.max_share_frac) for a in tables.arcs]).reshape(-1, 2)
    cap = np.where(first, caps[flows.arc[flow], 0], caps[flows.arc[flow], 1]) if len(flow) else np.empty(0)
    family = np.array([families.index(p.chip.family) for p in tables.pools], np.int64)[seat] if len(flow) else np.empty(0, np.int64)
    chosen = np.flatnonzero(cap < 1.0)
    if not len(chosen):
        return
    _, once = np.unique(flow[chosen] * len(families) + family[chosen], return_index=True)  # both phases on one family count once
    chosen = chosen[np.sort(once)]
    mine = flow[chosen]
    keys = flows.row[mine] * len(families) + family[chosen]
    unique, row = np.unique(keys, return_inverse=True)
    most = np.ones(len(unique))
    np.minimum.at(most, row, cap[chosen])
    words = [f"the stage of {tables.families[program.demand_workload[k // len(families)]]} on {families[k % len(families)]}" for k in unique]
    program.constrain("stage", [(row, flows.label[mine], np.ones(len(mine)))], "<=", most, words=words, unit="share of demand")


def links(program: Program) -> None:
    """State that KV fits its wire: sum of D x GB a request x s <= GB/s between each pair of pools, in the busiest hour [$/(GB/s)].

    GB a request = prompt tokens x KV bytes a token: the whole prompt goes over, what the decoding side may have cached too.
    """
    tables, flows = program.tables, program.flows
    limited = {i: link.gb_per_s for i, link in enumerate(tables.links) if link.gb_per_s is not None}
    over = [-1 if a.decode is None or a.decode.link not in limited else a.decode.link for a in tables.arcs]
    mine = np.flatnonzero(np.array(over, np.int64)[flows.arc] >= 0) if len(flows.arc) else np.empty(0, np.int64)
    if not len(mine):
        return
    link = np.array(over, np.int64)[flows.arc[mine]]
    gb = np.array([0.0 if a.decode is None else a.decode.gb_per_request for a in tables.arcs])[flows.arc[mine]]
    pools, slots = len(tables.pools), tables.slots
    keys = ((link * pools + flows.pool[mine]) * pools + flows.decode_pool[mine]) * slots + flows.slot[mine]
    unique, row = np.unique(keys, return_inverse=True)
    rate = gb * tables.peak_rps[flows.workload[mine], flows.slot[mine]]
    which, slot = unique // slots // pools // pools, unique % slots
    program.constrain(
        "link",
        [(row, flows.label[mine], rate)],
        "<=",
        np.array([limited[int(i)] for i in which]),
        words=[f"the wire {tables.links[int(i)].id}" for i in which],
        unit="GB/s",
        link=which,
        slot=slot,
    )


def _most_chips(program: Program, o: int) -> float:
    offer = program.tables.offers[o]
    if offer.max_chips is None:
        return UNLIMITED_CHIPS
    return offer.max_chips * (offer.availability_frac if offer.kind == "spot" else 1.0)


def _words_most(program: Program, o: int) -> str:
    return f"the chips that {program.tables.offers[o].id} can give"


def _existing(program: Program) -> I8:
    names = {offer.id: o for o, offer in enumerate(program.tables.offers)}
    return np.array([names[k] for k in program.tables.existing if k in names], np.int64)


def _before(program: Program, o: int, y: int) -> float:
    chips = program.tables.existing.get(program.tables.offers[o].id, ())
    return chips[y] if y < len(chips) else 0.0


def _delivered(program: Program, c: int, y: int) -> float:
    period = program.tables.calendar[y]
    return program.tables.contracts[c].held_chip_hours(period) / period.hours
