"""What is paid: spend on offers, energy, commitments with their shortfall, volume tiers, contracts one may take or leave.

Everything here mirrors `cloud.contract.Contract.bill`, which is the judge: a plan's objective is compared with the bills
of its usage, and they agree to the cent.
"""

from __future__ import annotations

import numpy as np

from polysilicon.cloud.contract import Contract, contract_for
from polysilicon.errors import MissingFact
from polysilicon.planner import training
from polysilicon.planner.arcs import site_of
from polysilicon.planner.holdings import held_by_pool
from polysilicon.planner.problem import F8, I8, Problem
from polysilicon.planner.program import Program, Spend, Term

TIE_FRAC = 1e-6  # a shortfall is preferred to chips rented for nothing at the same price
IDLE_POWER_FRAC = 0.3  # of a chip's all-in power while it serves nothing; assumed


def spend(program: Program) -> None:
    """Collect the dollars of every offer and period, and add them to the objective at the price that its contract leaves."""
    tables, flows = program.tables, program.flows
    price = np.array([o.usd_per_chip_hour or 0.0 for o in tables.offers])
    parts: list[tuple[I8, I8, I8, F8]] = []
    if len(program.rent_offer):
        o, t = program.rent_offer, program.rent_slot
        parts.append((o, tables.slot_period[t], program.blocks["rent"], price[o] * tables.slot_hours[t] * program.chip_unit))
    if len(program.hold_offer):
        o, y = program.hold_offer, program.hold_period
        parts.append((o, y, program.blocks["hold"], price[o] * program.period_hours[y] * program.chip_unit))
    tokens = np.flatnonzero((flows.pool < 0) | (flows.decode_pool >= 0))  # by the token, and KV over a wire that charges
    if len(tokens):
        arcs = [tables.arcs[a] for a in flows.arc[tokens]]
        sold = [a.offer if a.decode is None else tables.links[a.decode.link].offer for a in arcs]
        offer = len(tables.offers) + np.array(sold, np.int64)
        usd = np.array([a.usd_per_request for a in arcs]) * program.demand_requests[flows.row[tokens]]
        parts.append((offer, flows.period[tokens], flows.label[tokens], usd))
    columns = [np.concatenate([p[i] for p in parts]) for i in range(4)] if parts else [np.empty(0, np.int64)] * 3 + [np.empty(0)]
    program.spend = Spend(*columns)
    program.contract_of = _covering(program)
    program.add_cost(program.spend.label, net_usd(program), program.spend.period)
    _unserved(program)
    _energy(program)


def net_usd(program: Program) -> F8:
    """Return dollars per unit of each spend variable after the base discount of the signed contract that covers it."""
    tables, table = program.tables, program.spend
    cover = program.contract_of[table.offer, table.period] if len(table.offer) else np.empty(0, np.int64)
    base = np.array([c.base_discount_frac() if c.signed else 0.0 for c in tables.contracts] + [0.0])
    return np.asarray(table.usd * (1.0 - base[cover]))


def _covering(program: Program) -> I8:
    """Return the contract that covers each (offer, period): signed ones first, in order; -1 for none."""
    tables = program.tables
    ordered = _ordered(tables)
    found = np.full((len(program.all_offers), len(tables.periods)), -1, np.int64)
    for y, period in enumerate(tables.calendar):
        live = [c for c in ordered if c.in_force_frac(period) > 0]
        for o, offer in enumerate(program.all_offers):
            contract = contract_for(offer.id, offer.cloud, live) if live else None
            if contract is not None:
                found[o, y] = tables.contracts.index(contract)
    return found


def _ordered(tables: Problem) -> list[Contract]:
    return sorted(tables.contracts, key=lambda c: not c.signed)


def _unserved(program: Program) -> None:
    """Price what is not served: as stated, else far above the dearest way to serve it, so that it happens only where it must."""
    tables = program.tables
    labels = program.blocks["unserved"]
    dearest = np.zeros(len(tables.workloads))
    top = max([o.usd_per_chip_hour or 0.0 for o in tables.offers], default=1.0)
    for arc in tables.arcs:
        eta = [e for e in arc.efficiency_frac if e > 0]
        if eta:
            usd = arc.usd_per_request if arc.pool < 0 else top / 3600.0 / (arc.rps_per_chip * min(eta))
            dearest[arc.workload] = max(dearest[arc.workload], usd)
    usd_per_request = np.array(
        [
            50.0 * dearest[w] + 1e-6 if (stated := tables.unserved_usd_per_mtok[w]) is None else stated * tables.mtok(w, 1.0)
            for w in range(len(tables.workloads))
        ]
    )
    cost = usd_per_request[program.demand_workload] * program.demand_requests
    program.unserved_usd = cost
    program.add_cost(labels, cost, program.demand_period)


def overage(program: Program) -> None:
    """Price held chips used beyond their take-or-pay share: V >= chip-hours used - share x chip-hours held, at the contract's price."""
    tables = program.tables
    meters = [
        (c, y)
        for c, contract in enumerate(tables.contracts)
        if contract.holds_chips and contract.take_or_pay_frac < 1.0 and contract.usd_per_chip_hour
        for y, period in enumerate(tables.calendar)
        if contract.held_chip_hours(period) > 0
    ]
    used = program.variables("overage", len(meters))
    if not meters:
        return
    row_of = {pair: r for r, pair in enumerate(meters)}
    pairs = list(zip(program.given_contract, program.given_period, strict=True))
    mine = np.array([(row_of[int(c), int(y)], j) for j, (c, y) in enumerate(pairs) if (int(c), int(y)) in row_of], np.int64).reshape(-1, 2)
    hours = np.array([tables.calendar[y].hours for _, y in meters])
    paid = np.array([tables.contracts[c].take_or_pay_frac * tables.contracts[c].held_chip_hours(tables.calendar[y]) for c, y in meters])
    price = np.array([tables.contracts[c].usd_per_chip_hour or 0.0 for c, _ in meters])
    terms = [
        (mine[:, 0], program.blocks["given"][mine[:, 1]], np.ones(len(mine))),
        (np.arange(len(meters)), used, -np.ones(len(meters))),
    ]
    program.constrain("overage_use", terms, "<=", paid / hours / program.chip_unit, count=len(meters))
    program.add_cost(used, hours * price * program.chip_unit, np.array([y for _, y in meters], np.int64))


def power_coefficients(program: Program) -> tuple[list[tuple[I8, I8, I8, F8]], I8]:
    """Return (pool, slot, label, mean IT watts per unit) of everything that draws power: idle chips, and work on top."""
    tables, flows = program.tables, program.flows
    idle = np.array([IDLE_POWER_FRAC * (p.chip.all_in_w or 0.0) for p in tables.pools])
    on, pool, chips = flows.seats()
    first = np.arange(len(on)) < int((flows.pool >= 0).sum())
    each = np.array([(_watts(tables, a.pool, a.w_per_chip), 0.0 if a.decode is None else _watts(tables, a.decode.pool, a.decode.w_per_chip))
                     for a in tables.arcs]).reshape(-1, 2)  # fmt: skip
    watts = np.where(first, each[flows.arc[on], 0], each[flows.arc[on], 1]) if len(on) else np.empty(0)
    extra = np.maximum(0.0, watts - idle[pool]) * chips * flows.mean_frac[on] * program.chip_unit
    parts = [(pool, flows.slot[on], flows.label[on], extra)]
    for p, t, label in chips_by_slot(program):
        parts.append((p, t, label, idle[p] * program.chip_unit))
    if len(program.train_run):
        p, t, label = training.busy(program)
        parts.append((p, t, label, (1.0 / IDLE_POWER_FRAC - 1.0) * idle[p] * program.chip_unit))  # up to all-in power
    return parts, on


def _watts(tables: Problem, p: int, w_per_chip: float) -> float:
    """Return a busy chip's power: as the serving point says, else its all-in power; needed only where a site meters it."""
    if p < 0 or np.isfinite(w_per_chip):
        return w_per_chip
    pool = tables.pools[p]
    site = site_of(tables, pool)
    if pool.chip.all_in_w is None and site is not None and (site.usd_per_kwh or site.g_co2_per_kwh or site.purchases):
        raise MissingFact(pool.chip.id, "all_in_w", needed_for=f"energy and carbon at site {site.id}")
    return pool.chip.all_in_w or 0.0


def chips_by_slot(program: Program) -> list[tuple[I8, I8, I8]]:
    """Return (pool, slot, label) of every chip at one's disposal in a load block."""
    tables = program.tables
    pool_of = np.array(tables.pool_of, np.int64)
    found = []
    if len(program.rent_offer):
        found.append((pool_of[program.rent_offer], program.rent_slot, program.blocks["rent"]))
    for pool, period, labels in held_by_pool(program):
        pairs = np.array([(j, t) for j, y in enumerate(period) for t in np.flatnonzero(tables.slot_period == y)], np.int64).reshape(-1, 2)
        found.append((pool[pairs[:, 0]], pairs[:, 1], labels[pairs[:, 0]]))
    return found


def _energy(program: Program) -> None:
    """Add energy and its carbon price where a site states them: watts x hours x PUE x ($/kWh + g/kWh x $/t)."""
    tables = program.tables
    usd_per_kwh, _ = energy_rates(tables)
    program.energy = []
    if not usd_per_kwh.any():
        return
    for pool, slot, label, watts in power_coefficients(program)[0]:
        usd = watts / 1000.0 * tables.slot_hours[slot] * usd_per_kwh[pool, tables.slot_period[slot]]
        program.energy.append((label, usd, tables.slot_period[slot]))
        program.add_cost(label, usd, tables.slot_period[slot])


def energy_rates(tables: Problem) -> tuple[F8, F8]:
    """Return, by pool and period, dollars and tonnes of CO2 per kWh of IT: x PUE, agreements in force, the carbon price in the dollars."""
    usd, tonnes = np.zeros((2, len(tables.pools), len(tables.periods)))
    for p, pool in enumerate(tables.pools):
        site = site_of(tables, pool)
        for y, period in enumerate(tables.periods if site is not None else ()):
            assert site is not None
            usd_per_kwh, g_per_kwh = site.power_on(period.start)
            tonnes[p, y] = site.pue * g_per_kwh * 1e-6
            usd[p, y] = site.pue * usd_per_kwh + tonnes[p, y] * site.usd_per_tonne_co2
    return usd, tonnes


def commitments(program: Program) -> None:
    """State take-or-pay: eligible spend so far + shortfalls so far >= dollars due, at each milestone [$ per $ of commitment].

    Without rollover the same holds from one milestone to the next.
    """
    tables, table = program.tables, program.spend
    net = net_usd(program)
    due = [
        (c, i, y, usd)
        for c, contract in enumerate(tables.contracts)
        if contract.signed
        for i, (y, usd) in enumerate(contract.milestones(tables.calendar))
    ]
    labels = program.variables("shortfall", len(due))
    program.shortfall_contract = np.array([d[0] for d in due], np.int64)
    program.shortfall_period = np.array([d[2] for d in due], np.int64)
    if not due:
        return
    program.add_cost(labels, np.full(len(due), program.usd_unit), program.shortfall_period)
    program.nudge.append((labels, np.full(len(due), -TIE_FRAC * program.usd_unit) * program.discount[program.shortfall_period]))
    cover = program.contract_of[table.offer, table.period] if len(table.offer) else np.empty(0, np.int64)
    terms: list[Term] = []
    rhs = np.zeros(len(due))
    for r, (c, i, y, usd) in enumerate(due):
        previous = due[r - 1] if i > 0 else None
        since = previous[2] + 1 if previous is not None and not tables.contracts[c].rollover else 0
        owed = usd - previous[3] if previous is not None and not tables.contracts[c].rollover else usd
        mine = np.flatnonzero((cover == c) & (table.period >= since) & (table.period <= y))
        terms.append((np.full(len(mine), r), table.label[mine], net[mine] / program.usd_unit))
        counted = [j for j, d in enumerate(due) if d[0] == c and (j == r or (j < r and tables.contracts[c].rollover))]
        terms.append((np.full(len(counted), r), labels[counted], np.ones(len(counted))))
        rhs[r] = owed / program.usd_unit
    program.constrain(
        "take_or_pay",
        terms,
        ">=",
        rhs,
        count=len(due),
        unit="$ of commitment",
        size=program.usd_unit,
        contract=program.shortfall_contract,
        period=program.shortfall_period,
    )


def fixed(program: Program) -> None:
    """Add what signed contracts cost whatever is decided, less the equity they bring: a constant of the objective."""
    tables = program.tables
    for contract in tables.contracts:
        if contract.signed:
            program.constant_usd += _fixed_usd(program, contract)


def _fixed_usd(program: Program, contract: Contract) -> float:
    pairs = list(zip(program.tables.calendar, program.discount, strict=True))
    due = sum(contract.fixed_usd(p) * d for p, d in pairs)
    return float(due - sum(contract.equity_usd * d for p, d in pairs if p.start <= contract.start < p.end))


def tiers(program: Program) -> None:
    """State volume rebates: dollars above a yearly threshold earn a discount, credited at the end of the contract year.

    More discount for more volume is not convex: a tier opens (binary) only once the one below is full.
    """
    tables, table = program.tables, program.spend
    cover = program.contract_of[table.offer, table.period] if len(table.offer) else np.empty(0, np.int64)
    steps: list[tuple[int, int, float, float, float, int]] = []  # contract, year, from, to, extra, last period
    for c, contract in enumerate(tables.contracts):
        found = contract.rebate_tiers() if contract.signed else []
        force = [y for y, p in enumerate(tables.calendar) if contract.in_force_frac(p) > 0]
        for year in sorted({contract.contract_year(tables.calendar[y]) for y in force}) if found else []:
            last = max(y for y in force if contract.contract_year(tables.calendar[y]) == year)
            bounds = [(0.0, 0.0), *found]
            for i, (start, extra) in enumerate(bounds):
                end = bounds[i + 1][0] if i + 1 < len(bounds) else np.inf
                steps.append((c, year, start, end, extra, last))
    labels = program.variables("tier", len(steps))
    if not steps:
        return
    groups = sorted({(s[0], s[1]) for s in steps})
    group = np.array([groups.index((s[0], s[1])) for s in steps], np.int64)
    years = np.array([[c.contract_year(p) for p in tables.calendar] for c in tables.contracts])
    rows, columns = [], []
    for g, (c, year) in enumerate(groups):
        mine = np.flatnonzero((cover == c) & (years[c][table.period] == year))
        rows.append(np.full(len(mine), g))
        columns.append(mine)
    row, column = np.concatenate(rows), np.concatenate(columns)
    program.constrain(
        "tier_sum",
        [(group, labels, np.ones(len(steps))), (row, table.label[column], -table.usd[column] / program.usd_unit)],
        "=",
        0.0,
        count=len(groups),
    )
    opened = program.variables("tier_open", len(steps), binary=True)
    width = np.array([(s[3] - s[2]) / program.usd_unit for s in steps])
    most = np.where(np.isfinite(width), width, _most_spend(program))
    every = np.arange(len(steps))
    program.constrain("tier_width", [(every, labels, np.ones(len(steps))), (every, opened, -most)], "<=", 0.0)
    upper = np.flatnonzero(np.array([s[2] for s in steps]) > 0)
    program.constrain(
        "tier_order",
        [
            (np.arange(len(upper)), labels[upper - 1], np.ones(len(upper))),
            (np.arange(len(upper)), opened[upper], -width[upper - 1]),
        ],
        ">=",
        0.0,
    )
    program.add_cost(labels, np.array([-s[4] * program.usd_unit for s in steps]), np.array([s[5] for s in steps], np.int64))


def choices(program: Program) -> None:
    """State that unsigned terms bind only if taken: payments, chips, base discount and take-or-pay all times y in {0, 1}."""
    tables, table = program.tables, program.spend
    open_ones = [c for c, contract in enumerate(tables.contracts) if not contract.signed]
    take = program.variables("take", len(open_ones), binary=True)
    program.take_contract = np.array(open_ones, np.int64)
    _one_of_an_option(program, open_ones, take)
    cover = program.contract_of[table.offer, table.period] if len(table.offer) else np.empty(0, np.int64)
    for c, y in zip(open_ones, take, strict=True):
        contract = tables.contracts[c]
        program.add_cost(np.array([y]), np.array([_fixed_usd(program, contract)]))
        given = np.flatnonzero(program.given_contract == c)
        if len(given):
            row = program.given_row[given]
            _, dense = np.unique(row, return_inverse=True)
            size = program.given_size[np.unique(row)]
            program.constrain(
                f"take_chips_{c}",
                [
                    (dense, program.blocks["given"][given], np.ones(len(given))),
                    (np.arange(len(size)), np.full(len(size), y), -size),
                ],
                "<=",
                0.0,
            )
        mine = np.flatnonzero(cover == c)
        if len(mine):
            _discount_if_taken(program, c, int(y), mine)


def _one_of_an_option(program: Program, open_ones: list[int], take: I8) -> None:
    """State that of contracts under one option at most one is taken: sum of y <= 1."""
    names = [program.tables.contracts[c].option for c in open_ones]
    shared = [name for name in dict.fromkeys(names) if name and names.count(name) > 1]
    if shared:
        pairs = [(shared.index(name), y) for name, y in zip(names, take, strict=True) if name in shared]
        row, label = (np.array([p[i] for p in pairs], np.int64) for i in (0, 1))
        program.constrain("one_of_an_option", [(row, label, np.ones(len(label)))], "<=", 1.0)


def _discount_if_taken(program: Program, c: int, y: int, mine: I8) -> None:
    """Let dollars G drawn under unsigned terms earn the base discount and fill the commitment: G <= eligible spend, G <= M y."""
    tables, table, contract = program.tables, program.spend, program.tables.contracts[c]
    force = np.array(sorted({int(p) for p in table.period[mine]}), np.int64)
    drawn = program.variables(f"drawn_{c}", len(force))
    row = np.searchsorted(force, table.period[mine])
    every = np.arange(len(force))
    program.constrain(
        f"drawn_spend_{c}",
        [(every, drawn, np.ones(len(force))), (row, table.label[mine], -table.usd[mine] / program.usd_unit)],
        "<=",
        0.0,
    )
    most = np.full(len(force), _most_spend(program))
    program.constrain(f"drawn_taken_{c}", [(every, drawn, np.ones(len(force))), (every, np.full(len(force), y), -most)], "<=", 0.0)
    base = contract.base_discount_frac()
    program.add_cost(drawn, np.full(len(force), -base * program.usd_unit), force)
    milestones = contract.milestones(tables.calendar)
    if not milestones:
        return
    short = program.variables(f"short_{c}", len(milestones))
    periods = np.array([m[0] for m in milestones], np.int64)
    program.add_cost(short, np.full(len(short), program.usd_unit), periods)
    terms: list[Term] = [(np.arange(len(short)), np.full(len(short), y), -np.array([m[1] for m in milestones]) / program.usd_unit)]
    for r, (when, _) in enumerate(milestones):
        counted = np.flatnonzero(force <= when)
        terms.append((np.full(len(counted), r), drawn[counted], np.full(len(counted), 1.0 - base)))
        terms.append((np.full(r + 1, r), short[: r + 1], np.ones(r + 1)))
    program.constrain(f"take_or_pay_{c}", terms, ">=", 0.0, count=len(short))


def _most_spend(program: Program) -> float:
    """Return a bound on what could be spent with anybody in a year, in money units: every request at the dearest way, doubled."""
    return float(2.0 * max(1.0, program.unserved_usd.sum() / program.usd_unit / 50.0))
