"""What each supplier is worth: cost with and without it, walk-away and indifference prices, what could move and how fast."""

from __future__ import annotations

import functools
import pickle
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from math import factorial

import numpy as np

from polysilicon.errors import PolysiliconError
from polysilicon.parallel import run_all
from polysilicon.planner import ports as engines
from polysilicon.planner.problem import Problem
from polysilicon.planner.program import UNLIMITED_CHIPS, contracted
from polysilicon.planner.resilience import peak_slots
from polysilicon.planner.resolve import GAP_FRAC, Answer, Asker, Owner, served_share, supplier, suppliers

HORIZONS: tuple[tuple[str, float], ...] = (("1 hour", 0.0), ("30 days", 1.0), ("6 months", 6.0))
PRICE_STEPS, TANGENTS = 5, 30  # searches for a walk-away price, and steps with ports kept before each
SAME_FRAC = 1e-7
MOST_FACTOR = 16.0


@dataclass(frozen=True, slots=True)
class Leverage:
    """One supplier's place in the portfolio. All dollars are discounted over the horizon."""

    kind: str
    name: str
    token_share_frac: float
    spend_usd: float
    with_usd: float
    without_usd: float  # commitments to it still owed
    without_released_usd: float  # the same with those commitments forgiven
    without_unserved_frac: float
    indifference_factor: float | None  # times today's price, at today's volume, at which the buyer is as well off without
    walk_away_factor: float | None  # times today's price from which nothing is bought; None: not below MOST_FACTOR
    movable_frac: dict[str, float]  # of the traffic it serves, by horizon
    solves: int
    is_priced: bool = True  # False: without it demand goes unserved that nobody priced, and the dollars say nothing

    @property
    def value_usd(self) -> float:
        """Return what the supplier saves the buyer: the cost without it less the cost with it."""
        return self.without_usd - self.with_usd


def negotiate(tables: Problem, *, names: Sequence[str] = (), asker: Asker | None = None, workers: int = 1) -> list[Leverage]:
    """Return every supplier's leverage, largest first; `names` limits it to some.

    Each figure is the difference of two optima of one program, or the root of one in a price. More workers are processes that
    share the suppliers out, each with a program of its own; the figures are the same.
    """
    asked = [(kind, name) for kind, name in suppliers(tables) if not names or name in names]
    asker = asker or Asker(tables)
    if workers > 1 and len(asked) > 1:
        question = pickle.dumps(tables)
        parts = run_all(_one, [(question, asker.seconds, kind, name) for kind, name in asked], workers=workers)
        asker.solves += sum(solves for _, solves in parts)
        found = [part for part, _ in parts]
    else:
        base = asker.ask()
        found = [_leverage(asker, base, kind, name) for kind, name in asked]
    return sorted(found, key=lambda s: (-s.value_usd, s.kind, s.name))


def _one(job: tuple[bytes, float, str, str]) -> tuple[Leverage, int]:
    """Return a supplier's leverage, and how many solves it took: a job of a worker, which takes the next when it is done."""
    question, seconds, kind, name = job
    before = _ready.cache_info().misses
    asker, base = _ready(question, seconds)
    solves = asker.solves - (_ready.cache_info().misses > before)  # the base is solved once a worker
    return _leverage(asker, base, kind, name), asker.solves - solves


@functools.lru_cache(maxsize=1)
def _ready(question: bytes, seconds: float) -> tuple[Asker, Answer]:
    """Return a worker's program with its base answered, which it keeps from one job to the next."""
    asker = Asker(pickle.loads(question), seconds=seconds)
    return asker, asker.ask()


def _leverage(asker: Asker, base: Answer, kind: str, name: str) -> Leverage:
    tables = asker.tables
    owner = supplier(tables, kind, name)
    share = served_share(asker, base, owner)
    labels, usd = asker.spend_of(owner)
    spend = float((usd * base.values[labels]).sum())
    owed = _commitment_labels(asker, name) if kind == "cloud" else np.empty(0, np.int64)
    if share < 1e-9 and spend <= 0 and not len(owed):
        return Leverage(kind, name, 0.0, 0.0, base.usd, base.usd, base.usd, base.unserved_frac, None, None, {}, 0)
    closed = asker.owned(owner)
    asker.forget()  # what was asked of others leaves no trace, in whatever order and process
    without = asker.ask(closed=closed)
    released = asker.ask(closed=closed, free=(owed, np.zeros(len(owed)))) if len(owed) else without
    solves = 1 + bool(len(owed))
    indifference = 1.0 + (without.usd - base.usd) / spend if spend > 0 and without.is_priced else None
    walk, extra = _walk_away(asker, base, without, owner) if indifference is not None else (None, 0)
    return Leverage(kind, name, share, spend, base.usd, without.usd, released.usd, without.unserved_frac, indifference, walk,
                    movable(asker, base, owner), solves + extra, without.is_priced or not base.is_priced)  # fmt: skip


def _walk_away(asker: Asker, base: Answer, without: Answer, owner: Owner) -> tuple[float | None, int]:
    """Return the price factor at which the supplier's last sale ends: V(factor) is concave and meets V(without) there.

    With the ports of an answer kept the meeting point is found by tangents, each of which meets early, never late; that of the
    plan and that of the plan without the supplier are tried. A full search at the higher then confirms that V(without) is
    reached, within the gap of searches, or finds better ports, from which it goes on.
    """
    labels, usd = asker.spend_of(owner)
    spend = float((usd * base.values[labels]).sum())
    factor = 1.0 + max(without.usd - base.usd, 0.0) / spend  # the first tangent, at today's price
    before, nearby = asker.solves, [base, without]
    for _ in range(PRICE_STEPS):
        for kept in nearby:
            factor = _last_sale(asker, without, labels, factor, kept)
        if factor > MOST_FACTOR:
            return None, asker.solves - before
        answer = asker.ask(price=(labels, np.full(len(labels), factor)), start=without)
        if without.usd - answer.usd <= GAP_FRAC * abs(without.usd):
            break
        nearby = [answer]
    return factor, asker.solves - before


def _last_sale(asker: Asker, without: Answer, labels: np.ndarray, factor: float, kept: Answer) -> float:
    """Return the price factor, from one on, at which an answer's ports cost as much as the plan without the supplier."""
    for _ in range(TANGENTS):
        answer = asker.ask(price=(labels, np.full(len(labels), factor)), ported=kept)
        spend, saved = float((asker.usd[labels] * answer.values[labels]).sum()), without.usd - answer.usd
        if factor > MOST_FACTOR or saved <= SAME_FRAC * abs(without.usd) or spend <= SAME_FRAC * abs(without.usd):
            break
        factor += saved / spend
    return factor


def _commitment_labels(asker: Asker, cloud: str) -> np.ndarray:
    """Return the shortfall variables of signed commitments to a cloud."""
    program = asker.program
    mine = [asker.tables.contracts[c].cloud == cloud for c in program.shortfall_contract]
    return program.blocks["shortfall"][np.array(mine, bool)] if len(mine) else np.empty(0, np.int64)


def movable(asker: Asker, base: Answer, owner: Owner, *, period: int | None = None) -> dict[str, float]:
    """Return the share of a supplier's traffic that others could take over within an hour, 30 days and 6 months.

    Within an hour: idle chips already held elsewhere, hourly chips up to their limits, engines that are live. Later, also
    terms whose lead is over and ports whose lead is over. A small linear program at the period's peak block; the traffic that
    stays put keeps its chips.
    """
    from scipy.optimize import linprog

    tables, program, flows = asker.tables, asker.program, asker.program.flows
    y = len(tables.periods) // 2 if period is None else period
    peak = int(peak_slots(tables)[y])
    at_peak = np.flatnonzero(flows.slot == peak)
    share = base.values[flows.label[at_peak]]
    pools = np.array([owner(p, -1) for p in range(len(tables.pools))] + [False], bool)
    token_of = np.array([a.offer for a in tables.arcs], np.int64)[flows.arc[at_peak]]
    tokens = np.array([owner(-1, o) for o in range(len(tables.token_offers))] + [False], bool)
    mine = pools[flows.pool[at_peak]] | pools[flows.decode_pool[at_peak]] | ((flows.pool[at_peak] < 0) & tokens[token_of])
    mtok = np.array([tables.mtok(w, 1.0) for w in range(len(tables.workloads))])
    weight = program.demand_requests[flows.row[at_peak]] * mtok[flows.workload[at_peak]]
    moving = {int(r): float(share[mine & (flows.row[at_peak] == r)].sum()) for r in np.unique(flows.row[at_peak])}
    total = float((share * weight)[mine].sum())
    if total <= 0:
        return {}
    found: dict[str, float] = {}
    for words, months in HORIZONS:
        room = _room(asker, base, owner, y, peak, months)
        open_to = [int(i) for i in np.flatnonzero(~mine) if _usable(asker, base, int(at_peak[i]), months, y)]
        found[words] = 0.0
        if not open_to:
            continue
        rows = sorted(moving)
        a_row = np.array([[1.0 if flows.row[at_peak[i]] == r else 0.0 for i in open_to] for r in rows])
        place, seat, chips = flows.seats(at_peak[open_to])
        a_pool = np.zeros((len(tables.pools), len(open_to)))
        np.add.at(a_pool, (seat, place), chips)
        result = linprog(
            -weight[open_to],
            A_ub=np.vstack([a_row, a_pool]),
            b_ub=np.concatenate([[moving[r] for r in rows], room]),
            bounds=(0, None),
            method="highs",
        )
        if result.status != 0:
            raise PolysiliconError(f"what could move in {words} was not settled: {result.message}", where=tables.name)
        found[words] = float(min(1.0, max(0.0, -result.fun / total)))
    return found


def _usable(asker: Asker, base: Answer, flow: int, months: float, y: int) -> bool:
    """Return whether an engine would be live: it is there, or started in the plan, or could be ported in the time."""
    tables, program = asker.tables, asker.program
    arc = tables.arcs[program.flows.arc[flow]]
    needed = {k for k in (arc.port, -1 if arc.decode is None else arc.decode.port) if k >= 0}

    def live(k: int) -> bool:
        alike = [(i, tables.candidates[i]) for i in program.alike.get((k, y), (k,))]  # whose engines serve by this variable
        started = any(base.values[program.blocks["port"][i]] > 0.5 and c.live <= y for i, c in alike)
        lead = tables.candidates[k].port.lead_months
        return bool(started or (lead is not None and lead <= months))

    return all(live(k) for k in needed)


def _room(asker: Asker, base: Answer, owner: Owner, y: int, slot: int, months: float) -> np.ndarray:
    """Return chips, in chip units, that each surviving pool could still give."""
    tables, program, flows = asker.tables, asker.program, asker.program.flows
    cap = tables.limits.utilisation_max_frac
    room = np.zeros(len(tables.pools))
    pool_of = np.array(tables.pool_of, np.int64)
    here = np.flatnonzero(program.hold_period == y)
    np.add.at(room, pool_of[program.hold_offer[here]], cap * base.values[program.blocks["hold"][here]])
    here = np.flatnonzero(program.given_period == y)
    np.add.at(room, program.given_pool[here], cap * base.values[program.blocks["given"][here]])
    for o, offer_ in enumerate(tables.offers):
        hourly = not contracted(offer_.kind, offer_.min_term_months)
        if offer_.kind == "spot" or (not hourly and offer_.lead_time_months > months) or (not hourly and months <= 0):
            continue
        most = UNLIMITED_CHIPS if offer_.max_chips is None else offer_.max_chips
        room[pool_of[o]] += cap * most / program.chip_unit
    busy = np.flatnonzero(flows.slot == slot)
    place, seat, chips = flows.seats(busy)
    np.subtract.at(room, seat, base.values[flows.label[busy[place]]] * chips)
    gone = np.array([owner(p, -1) for p in range(len(tables.pools))], bool)
    return np.where(gone, 0.0, np.maximum(room, 0.0))


def shapley(tables: Problem, kind: str = "cloud", *, asker: Asker | None = None) -> dict[str, float]:
    """Return each supplier's Shapley value in dollars: its saving averaged over all orders of arrival.

    The values sum to the cost with none less the cost with all; with none, all demand is unserved, at its price. For up to
    six suppliers: 2^n solves.

    Raises: ValueError for more.
    """
    asker = asker or Asker(tables)
    names = [n for k, n in suppliers(tables) if k == kind]
    if len(names) > 6:
        raise ValueError(f"{len(names)} {kind}s are too many for Shapley values: 2^{len(names)} solves; six are the most")
    closed = {n: asker.owned(supplier(tables, kind, n)) for n in names}
    value: dict[frozenset[str], float] = {}
    for size in range(len(names) + 1):
        for there in combinations(names, size):
            gone = [closed[n] for n in names if n not in there]
            value[frozenset(there)] = asker.ask(closed=np.concatenate(gone) if gone else None).usd
    count = len(names)
    result = {}
    for name in names:
        others = [n for n in names if n != name]
        result[name] = sum(
            factorial(len(s)) * factorial(count - len(s) - 1) / factorial(count) * (value[frozenset(s)] - value[frozenset({*s, name})])
            for size in range(count)
            for s in combinations(others, size)
        )
    return result


def exit_cost(tables: Problem, cloud: str, *, egress_usd: float = 0.0, asker: Asker | None = None) -> dict[str, float]:
    """Return what leaving a cloud for good costs, by part: dearer service, ports, stranded commitments, exit fees, data moved out.

    `egress_usd` is paid once, today: gigabytes x $/GB, which a scenario does not state.
    """
    asker = asker or Asker(tables)
    base, owner = asker.ask(), supplier(tables, "cloud", cloud)
    gone = asker.ask(closed=asker.owned(owner))
    owed = _commitment_labels(asker, cloud)
    z = asker.program.blocks["port"]
    ports = float((asker.usd[z] * (gone.values[z] - base.values[z])).sum()) if len(z) else 0.0
    stranded = float((asker.usd[owed] * (gone.values[owed] - base.values[owed])).sum()) if len(owed) else 0.0
    fees = sum(c.exit_fee_usd for c in tables.contracts if c.signed and c.cloud == cloud)
    unserved = gone.unserved_usd - base.unserved_usd
    return {
        "service_usd": gone.usd - base.usd - ports - stranded - unserved,
        "ports_usd": ports,
        "stranded_commitment_usd": stranded,
        "exit_fee_usd": fees,
        "egress_usd": egress_usd,
        "unserved_usd": unserved,
        "unserved_frac": gone.unserved_frac,
        "total_usd": gone.usd - base.usd + fees + egress_usd,
    }


def lock_in(tables: Problem, *, asker: Asker | None = None) -> list[dict[str, float | str]]:
    """Return, for each model family, what moving it off the chip vendor that serves most of it would take.

    index = (port cost + throughput lost while the new engine learns) / the family's yearly spend. Commitments bind to a
    cloud, not to a model: `exit_cost` counts them.
    """
    asker = asker or Asker(tables)
    base = asker.ask()
    program, flows = asker.program, asker.program.flows
    flow, seat, chips = flows.seats()
    busy = np.maximum(base.values[flows.label[flow]], 0.0) * chips * flows.mean_frac[flow] * flows.hours[flow] * program.chip_unit
    price = _pool_price(asker, base)
    years = sum(p.hours for p in tables.periods) / 8760.0
    rows: list[dict[str, float | str]] = []
    for family in sorted(set(tables.families)):
        mine = np.array([tables.families[w] == family for w in flows.workload[flow]], bool)
        if not mine.any():
            continue
        usd = busy[mine] * price[seat[mine]]
        home = np.array([tables.pools[p].chip.vendor for p in seat[mine]])
        names = sorted(set(home))
        main = max(names, key=lambda n: float(usd[home == n].sum()))
        spend = float(usd.sum()) / years
        ours = {p.chip.family for p in tables.pools if p.chip.vendor == main}
        targets = [c for c in tables.candidates if c.key[0] == family and c.key[1] not in ours]
        runs = {a.pool for a in tables.arcs if a.pool >= 0 and a.port < 0 and tables.families[a.workload] == family}
        native = sorted({tables.pools[p].chip.vendor for p in runs} - {main})
        port_usd = 0.0 if native else min((c.cost_usd for c in targets), default=float("nan"))
        loss = 0.0 if native else min((_learning_loss(c, spend) for c in targets), default=float("nan"))
        total = port_usd + loss
        rows.append(
            {
                "model_family": family,
                "vendor": str(main),
                "share_frac": float(usd[home == main].sum() / max(usd.sum(), 1e-30)),
                "spend_usd_per_year": spend,
                "port_usd": port_usd,
                "efficiency_loss_usd": loss,
                "elsewhere": ", ".join(native) or "nowhere yet",
                "index": total / max(spend, 1e-9),
            }
        )
    return rows


def _pool_price(asker: Asker, base: Answer) -> np.ndarray:
    """Return mean dollars per busy chip-hour of each pool."""
    tables, program, flows = asker.tables, asker.program, asker.program.flows
    pool_of = np.array([*tables.pool_of, *[-1] * len(tables.token_offers)], np.int64)
    table = program.spend
    paid = np.zeros(len(tables.pools))
    on = pool_of[table.offer] >= 0
    np.add.at(paid, pool_of[table.offer[on]], table.usd[on] * base.values[table.label[on]])
    busy = np.zeros(len(tables.pools))
    flow, seat, chips = flows.seats()
    np.add.at(busy, seat, (base.values[flows.label] * flows.mean_frac * flows.hours)[flow] * chips * program.chip_unit)
    return np.divide(paid, busy, out=np.zeros_like(paid), where=busy > 1e-9)


def _learning_loss(candidate: engines.Candidate, spend_usd_per_year: float) -> float:
    """Return extra chips' worth of dollars while an engine climbs from its first to its mature throughput (a triangle)."""
    port = candidate.port
    first = port.initial_efficiency_frac
    if first is None or port.ramp_months <= 0:
        return 0.0
    return spend_usd_per_year * port.ramp_months / 12.0 * 0.5 * (port.efficiency_frac / first - 1.0)


def term_sheet(tables: Problem, pool: str, *, chips: float, period: int | None = None) -> dict[str, float | str]:
    """Return the price per chip-hour at which more chips of a pool, over one period or all, would leave the buyer indifferent.

    indifference = (cost without them - cost with them free) / discounted chip-hours. For few chips it is the shadow price.
    """
    names = [p.id for p in tables.pools]
    index = names.index(pool)
    asker = Asker(tables)
    base = asker.ask()
    rows = asker.program.rows["capacity"]
    columns = asker.engine.row_of[rows.labels]
    mine = np.flatnonzero((rows.meta["pool"] == index) & ((period is None) | (tables.slot_period[rows.meta["slot"]] == period)))
    extra = chips / asker.program.chip_unit * tables.limits.utilisation_max_frac
    highs = asker.engine.solver.highs
    for row in columns[mine]:
        highs.changeRowBounds(int(row), -np.inf, extra)
    free = asker.ask()
    for row in columns[mine]:
        highs.changeRowBounds(int(row), -np.inf, 0.0)
    slots = rows.meta["slot"][mine]
    hours = float((tables.slot_hours[slots] * asker.program.discount[tables.slot_period[slots]]).sum())
    return {
        "pool": pool,
        "chips": chips,
        "saving_usd": base.usd - free.usd,
        "indifference_usd_per_chip_hour": (base.usd - free.usd) / (hours * chips),
    }


@dataclass(frozen=True, slots=True)
class Bargain:
    """Prices that come out of bargaining with several suppliers, as times their own cost of supply."""

    suppliers: tuple[str, ...]
    price_factor: dict[str, float]  # paid, times the floor
    walk_away_factor: dict[str, float]  # most that could be paid, times the floor
    buyer_power_frac: float


def bargain(tables: Problem, *, floor_factor: float, buyer_power_frac: float = 0.5, kind: str = "cloud") -> Bargain:
    """Return what each supplier gets when surplus is shared: price = floor + (1 - power) x (walk-away - floor).

    The floor is `floor_factor` times today's price, below which a supplier does not sell. The walk-away price is where the
    buyer is as well off without it at today's volume, so it falls with every better outside option, for all suppliers at once.
    """
    floors = tables.repriced({o.id: floor_factor for o in tables.offers})
    paid, most = {}, {}
    for found in negotiate(floors):
        if found.kind == kind and found.indifference_factor is not None:
            top = max(1.0, found.indifference_factor)
            most[found.name] = top
            paid[found.name] = 1.0 + (1.0 - buyer_power_frac) * (top - 1.0)
    return Bargain(tuple(paid), paid, most, buyer_power_frac)


def conflict(tables: Problem, name: str, *, weights: Sequence[float] = (0.0, 0.1, 0.3, 1.0), kind: str = "cloud") -> list[dict[str, float]]:
    """Return a supplier's token share, and what it costs in real dollars, as the buyer counts its dollars dearer by a weight.

    The weight is a soft cost for depending on a rival's partner: it steers the plan and is on no bill.
    """
    asker = Asker(tables)
    owner = supplier(tables, kind, name)
    labels, _ = asker.spend_of(owner)
    rows = []
    for weight in weights:
        answer = asker.ask(price=(labels, np.full(len(labels), 1.0 + weight)))
        real = float(asker.usd @ answer.values) + float(asker.program.constant_usd)
        rows.append({"weight": weight, "share_frac": served_share(asker, answer, owner), "usd": real})
    return rows
