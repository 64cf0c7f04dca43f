"""What would change the answer, and at which threshold: entry prices, port costs, a term sheet against another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase

import numpy as np

from polysilicon.errors import InputError, did_you_mean
from polysilicon.planner.build import months_between
from polysilicon.planner.problem import F8, Arc, Problem
from polysilicon.planner.program import Program, contracted
from polysilicon.planner.resolve import Answer, Asker
from polysilicon.planner.solution import Solution

LEAST_USD = 1e-4  # per chip-hour: less is what a solver leaves over


@dataclass(frozen=True, slots=True)
class Threshold:
    """One change that would change the plan."""

    what: str
    now: float
    threshold: float
    unit: str
    words: str


def chip_hour_usd(program: Program, solution: Solution) -> F8:
    """Return the undiscounted worth of one more chip-hour, [pool, slot].

    The dual of capacity, where chips are held. Where none are, any dual from their worth up to their price is optimal: the worth
    is the least of them, which leaves some work that may run there without a reduced cost:

        worth = max over work of (dual - reduced cost of the work / its busy chips), and nothing without a started engine
    """
    tables, flows = program.tables, program.flows
    worth = np.zeros((len(tables.pools), tables.slots))
    rows = program.rows.get("capacity")
    if rows is not None:
        worth[rows.meta["pool"], rows.meta["slot"]] = -solution.duals[rows.labels]
    port = np.array([arc.port for arc in tables.arcs], np.int64)[flows.arc] if len(flows.arc) else np.empty(0, np.int64)
    started = np.append(solution.values[program.blocks["port"]] > 0.5, True)  # -1: nothing to start
    runs = (flows.pool >= 0) & started[port] & (flows.chips > 0)
    pool, slot = flows.pool[runs], flows.slot[runs]
    each = worth[pool, slot] - np.maximum(solution.reduced[flows.label[runs]], 0.0) / flows.chips[runs]
    least = np.zeros_like(worth)
    np.maximum.at(least, (pool, slot), each)
    hours: F8 = tables.slot_hours * program.discount[tables.slot_period]
    least *= tables.limits.utilisation_max_frac / program.chip_unit
    least /= hours
    return least


def entry_prices(program: Program, solution: Solution) -> list[Threshold]:
    """Return, for each offer that is not used, the price at which its first chip would be bought: the worth of its pool's hours.

    An hourly offer enters at the dearest load block; terms enter at the best mean over their length. Exact at the margin of
    the plan found, with its ports and blocks as they are.
    """
    tables, worth = program.tables, chip_hour_usd(program, solution)
    used = np.zeros(len(tables.offers))
    np.add.at(used, program.rent_offer, solution.values[program.blocks["rent"]])
    np.add.at(used, program.hold_offer, solution.values[program.blocks["hold"]])
    found = []
    for o, offer in enumerate(tables.offers):
        if used[o] > 1e-6:
            continue
        pool = tables.pool_of[o]
        if contracted(offer.kind, offer.min_term_months):
            entry = max(
                (_mean_worth(tables, worth[pool], y, offer.min_term_months, offer.lead_time_months) for y in range(len(tables.periods))),
                default=0.0,
            )
        else:
            entry = float(worth[pool].max(initial=0.0))
        price = offer.usd_per_chip_hour or 0.0
        entry = entry if entry > LEAST_USD else 0.0
        words = f"{offer.id} is bought from {entry:.3g} $/chip-hour down; it asks {price:.3g}"
        if entry == 0.0:
            words = f"{offer.id} is worth nothing at any price until an engine runs there"
        found.append(Threshold(offer.id, price, entry, "$/chip-hour", words))
    return sorted(found, key=lambda t: t.now / max(t.threshold, 1e-9))


def _mean_worth(tables: Problem, worth: F8, start: int, term: int, lead: float) -> float:
    months = np.array([months_between(tables, start, y) for y in range(len(tables.periods))])
    inside = (months >= lead - 0.05) & (months < lead + max(term, 1) - 0.05)
    slots = inside[tables.slot_period]
    hours = tables.slot_hours * slots
    return float((worth * hours).sum() / hours.sum()) if hours.sum() > 0 else 0.0


def port_worth(program: Program, solution: Solution) -> list[Threshold]:
    """Return, for each port not started, an upper bound of what it saves: it cannot pay while it costs more.

    The bound is the sum of the duals of its rows: savings at the margin, which only fall as traffic moves.
    """
    tables, rows = program.tables, program.rows.get("port_live")
    if rows is None:
        return []
    worth = np.bincount(rows.meta["port"], -solution.duals[rows.labels], minlength=len(tables.candidates))
    cost = program.cost_usd()[program.blocks["port"]]
    started = solution.values[program.blocks["port"]] > 0.5
    done = {tables.candidates[k].key for k in np.flatnonzero(started)}
    best: dict[tuple[str, str], int] = {}
    for k, candidate in enumerate(tables.candidates):
        if candidate.key not in done and (candidate.key not in best or worth[k] - cost[k] > worth[best[candidate.key]] - cost[best[candidate.key]]):
            best[candidate.key] = k
    found = []
    for (family, chip), k in best.items():
        words = f"{family} on {chip} saves at most {worth[k] / 1e6:,.3g} M$ and costs {cost[k] / 1e6:,.3g} M$ (discounted)"
        found.append(Threshold(f"port:{family}:{chip}", float(cost[k]), float(worth[k]), "$", words))
    return sorted(found, key=lambda t: t.now / max(t.threshold, 1e-9))


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two offers or contracts against each other and against neither. Dollars are discounted over the horizon."""

    a: str
    b: str
    neither_usd: float
    a_usd: float
    b_usd: float
    both_usd: float
    mtok: float  # of all workloads over the horizon
    unserved_frac: Mapping[str, float] = field(default_factory=dict)  # by a, b, both, neither
    unpriced: frozenset[str] = frozenset()  # cases that leave demand unserved which nobody priced: their dollars say nothing

    @property
    def delta_usd(self) -> float:
        """Return what choosing A instead of B saves."""
        return self.b_usd - self.a_usd

    @property
    def delta_usd_per_mtok(self) -> float:
        """Return the same per million tokens served."""
        return self.delta_usd / self.mtok if self.mtok > 0 else 0.0


def compare_offers(tables: Problem, a: str, b: str) -> Comparison:
    """Return the plan's cost with only A, only B, both and neither of two offers, contracts or patterns of them.

    A contract is taken as signed where it is compared, and absent elsewhere.

    Raises: InputError when a name fits nothing.
    """
    names = [o.id for o in (*tables.offers, *tables.token_offers)] + [c.id for c in tables.contracts]
    for name in (a, b):
        check_known(name, names)
    costs = {}
    for key, keep in (("a", (a,)), ("b", (b,)), ("both", (a, b)), ("neither", ())):
        costs[key] = Asker(_only(tables, (a, b), keep)).ask()
    mtok = sum(tables.mtok(w, tables.requests(w, y)) for w in range(len(tables.workloads)) for y in range(len(tables.periods)))
    lost = {key: answer.unserved_frac for key, answer in costs.items()}
    unpriced = frozenset(key for key, answer in costs.items() if not answer.is_priced)
    return Comparison(a, b, costs["neither"].usd, costs["a"].usd, costs["b"].usd, costs["both"].usd, mtok, lost, unpriced)


def check_known(name: str, names: Sequence[str]) -> None:
    """Refuse a name or pattern that fits none of the offers and contracts. Raises: InputError."""
    if not any(fnmatchcase(n, name) for n in names):
        raise InputError(f'"{name}" is no offer and no contract of this scenario', hint=did_you_mean(name, names))


def _only(tables: Problem, compared: Sequence[str], keep: Sequence[str]) -> Problem:
    """Return the question with, of the compared names, only those to keep."""
    gone = [n for n in compared if n not in keep]
    fits = [o.id for o in (*tables.offers, *tables.token_offers) if any(fnmatchcase(o.id, g) for g in gone)]
    contracts = []
    for contract in tables.contracts:
        if any(fnmatchcase(contract.id, g) for g in gone):
            continue
        signed = contract.signed or any(fnmatchcase(contract.id, k) for k in keep)
        contracts.append(replace(contract, signed=signed))
    return replace(tables, contracts=tuple(contracts)).without(offers=fits)


def _faster(arc: Arc, ports: Sequence[int], factor: float) -> Arc:
    """Return an arc whose seats under some ports are so much faster."""
    if arc.port in ports:
        arc = replace(arc, efficiency_frac=tuple(e * factor for e in arc.efficiency_frac))
    if arc.decode is not None and arc.decode.port in ports:
        arc = replace(arc, decode=replace(arc.decode, efficiency_frac=tuple(e * factor for e in arc.decode.efficiency_frac)))
    return arc


def port_switch(tables: Problem, family: str, chip_family: str, *, most: float = 8.0, steps: int = 8) -> tuple[float | None, Answer]:
    """Return the factor on an engine's efficiency at which its port is first worth starting, and the answer without it.

    Found by bisection on solving again; None where not even `most` times the efficiency pays.
    """
    keys = {c.key for c in tables.candidates}
    if (family, chip_family) not in keys:
        known = ", ".join(f"{f} on {c}" for f, c in sorted(keys)) or "none"
        raise InputError(f"no port of {family} to {chip_family} can be started here", hint=f"ports that can: {known}")
    asker = Asker(tables)
    mine = [label for c, label in zip(tables.candidates, asker.program.blocks["port"], strict=True) if c.key == (family, chip_family)]
    without = asker.ask(closed=np.array(mine, np.int64))

    def pays(factor: float) -> bool:
        arcs = tuple(_faster(a, [k for k, c in enumerate(tables.candidates) if c.key == (family, chip_family)], factor) for a in tables.arcs)
        return Asker(replace(tables, arcs=arcs)).ask().usd < without.usd * (1 - 5e-4)

    low, high = 0.1, most
    if not pays(high):
        return None, without
    for _ in range(steps):
        middle = (low * high) ** 0.5
        low, high = (low, middle) if pays(middle) else (middle, high)
    return high, without
