"""Asking the same program again: suppliers gone, prices moved, structure fixed. One warm engine, no rebuilding.

Ports stay whole. Blocks stay whole in small programs and for small fleets, where one server more or less is the answer; in large
ones they are continuous, so that differences between two answers are not the noise of rounding racks.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from polysilicon.errors import PolysiliconError
from polysilicon.highs import INFEASIBLE
from polysilicon.planner.assembly import build
from polysilicon.planner.branch import Search
from polysilicon.planner.engine import Engine
from polysilicon.planner.problem import F8, I8, Problem
from polysilicon.planner.program import Program, counts_blocks
from polysilicon.planner.search import port_columns
from polysilicon.planner.solution import WHOLE_INTEGERS

GAP_FRAC = 2e-4
SLIVER_FRAC = 1e-4  # of requests: rounding of hours and terms, no loss to speak of
LARGE_FLOWS = 20_000  # arcs x load blocks; from here on a what-if takes about a second, as does starting a process
BRANCH_SECONDS = 5.0  # of a search of port starts; the usual one takes a tenth of a second, or one on large labs
PATIENCE = 3.0  # a search that found nothing goes on for so many times its seconds
Owner = Callable[[int, int], bool]  # (pool or -1, token offer or -1) -> belongs to the supplier


@dataclass(frozen=True, slots=True)
class Answer:
    """One re-solve: what it costs, what it serves, where the spend goes."""

    usd: float  # discounted, unserved demand priced as the program prices it
    unserved_frac: float  # of requests
    unserved_usd: float  # discounted, part of usd
    values: F8
    invented_usd: float = 0.0  # part of unserved_usd: demand nobody priced, at our own deterrent; no fact

    @property
    def is_priced(self) -> bool:
        """Return whether every dollar is a bill's or a stated price, none our own deterrent."""
        return bool(self.invented_usd <= 1e-9 * max(abs(self.usd), 1.0))

    @property
    def told_usd(self) -> float | None:
        """Return the dollars without our own deterrent; None where more than a sliver goes unserved at it. Infinite: no plan."""
        if not np.isfinite(self.usd):
            return self.usd
        return self.usd - self.invented_usd if self.is_priced or self.unserved_frac < SLIVER_FRAC else None


class Asker:
    """A program with a warm engine that answers what-ifs and then forgets them."""

    def __init__(self, tables: Problem, *, seconds: float = 20.0, program: Program | None = None, divisible: bool = False) -> None:
        """Build the program where there is none; with `divisible` blocks, only ports stay whole."""
        self.program = program or build(tables, integer_rent=not divisible and counts_blocks(tables))
        self.tables = tables
        self.engine = Engine(self.program)
        self.seconds = seconds
        self.solves = 0  # so far: shown to whoever reads the answers
        self.first: list[F8] = []  # port starts of the first answer
        self.cost = np.array(self.engine.solver.highs.getLp().col_cost_)
        self.usd = self.program.cost_usd()
        everything = self.engine.integer_columns
        self.divides_blocks = divisible or (len(everything) > WHOLE_INTEGERS and not self.program.integer_rent)
        whole = port_columns(self.engine) if self.divides_blocks else everything
        ports = self.engine.column_of[self.program.blocks["port"]]
        self.search = Search(self.engine) if len(whole) and np.array_equal(np.sort(whole), np.sort(ports)) else None
        self.whole = whole if self.search is None else whole[:0]  # kept whole by HiGHS, not by the search of starts
        self.engine.solver.integrality(np.setdiff1d(everything, self.whole), integer=False)
        self.engine.solver.options(mip_rel_gap=GAP_FRAC)

    def ask(
        self,
        *,
        closed: I8 | None = None,
        price: tuple[I8, F8] | None = None,
        free: tuple[I8, F8] | None = None,
        start: Answer | None = None,
        ported: Answer | None = None,
    ) -> Answer:
        """Return the best answer with labels `closed` to nil, costs of labels multiplied, costs of labels replaced.

        `price` is (labels, factor), `free` is (labels, $ per unit), `start` an answer to begin the search from, `ported` one
        whose port starts are kept.

        Raises: PolysiliconError when time ran out without an answer; where nothing works the cost is infinite.
        """
        engine = self.engine
        shut = engine.column_of[closed] if closed is not None else np.empty(0, np.int64)
        cost = self.cost.copy()
        usd = self.usd.copy()
        if price is not None:
            np.multiply.at(cost, engine.column_of[price[0]], price[1])
            np.multiply.at(usd, price[0], price[1])
        if free is not None:
            cost[engine.column_of[free[0]]] = free[1] / self.program.usd_unit
            usd[free[0]] = free[1]
        engine.solver.bounds(shut, np.zeros(len(shut)), np.zeros(len(shut)))
        z = self.program.blocks["port"]
        kept = engine.column_of[z] if ported is not None else np.empty(0, np.int64)
        if ported is not None:
            engine.solver.bounds(kept, np.round(ported.values[z]), np.round(ported.values[z]))
        engine.solver.highs.changeColsCost(len(cost), np.arange(len(cost), dtype=np.int32), cost)
        self.solves += 1
        begin = start.values if start is not None and np.isfinite(start.usd) else None
        if self.search is None:
            point, settled = self._whole(None if begin is None else begin[engine.columns])
        else:
            point, settled = self._branched(self.search, begin)
        engine.reset_bounds(np.concatenate([shut, kept]))
        engine.solver.highs.changeColsCost(len(cost), np.arange(len(cost), dtype=np.int32), self.cost)
        if point is None and not settled:  # time is no proof that nothing works
            raise PolysiliconError("a what-if was not settled in time", where=self.tables.name, hint="give the solver more time")
        return self._answer(point, usd)

    def _whole(self, begin: F8 | None) -> tuple[F8 | None, bool]:
        """Return the best point of a search by HiGHS, and whether it is settled that there is none where it found none."""
        solver = self.engine.solver
        if begin is not None:
            solver.start_from(begin)
        status = solver.run(self.seconds)
        if not solver.found and status not in INFEASIBLE:
            status = solver.run(PATIENCE * self.seconds)
        return (solver.point() if solver.found else None), status in INFEASIBLE

    def _branched(self, search: Search, begin: F8 | None) -> tuple[F8 | None, bool]:
        """Return the same by a search of the port starts, with those of the first answer and of `begin` tried first.

        Where many starts are of use at once (much would go unserved), cutting planes close what branching does not: HiGHS goes on.
        """
        z = self.program.blocks["port"]
        found = search.run(min(BRANCH_SECONDS, self.seconds), GAP_FRAC, [*self.first, *([np.round(begin[z])] if begin is not None else [])])
        point, settled = found.point, not found.late
        if found.late:
            self.engine.solver.integrality(search.columns, integer=True)
            point, settled = self._whole(point)
            self.engine.solver.integrality(search.columns, integer=False)
        if not self.first and point is not None:
            self.first = [np.round(point[search.columns])]
            if not found.late:
                search.keep()
        return point, settled

    def compared_with(self, usd: float) -> str:
        """Return what answers are compared with, in words: a plan of so many dollars."""
        divided = "; blocks count as divisible in what-ifs, so it differs from a plan of whole ones by the rounding" if self.divides_blocks else ""
        return f"compared with a plan of {usd / 1e6:,.4g} M$ (discounted){divided}"

    def forget(self) -> None:
        """Start the next search as if only the first question had been asked."""
        if self.search is None:
            self.engine.solver.highs.clearSolver()
        else:
            self.search.forget()

    def _answer(self, point: F8 | None, usd: F8) -> Answer:
        program = self.program
        if point is None:
            return Answer(np.inf, 1.0, np.inf, np.zeros(len(usd)), np.inf)
        values = np.zeros(len(usd))
        values[self.engine.columns] = point
        share = values[program.blocks["unserved"]]
        requests = program.demand_requests
        lost = float((share * requests).sum() / max(float(requests.sum()), 1e-30))
        lost_usd = float((usd[program.blocks["unserved"]] * share).sum())
        nobody = np.array([self.tables.unserved_usd_per_mtok[w] is None for w in program.demand_workload], bool)
        invented = float((usd[program.blocks["unserved"]] * share)[nobody & (share > 1e-6)].sum())
        return Answer(float(usd @ values) + float(program.constant_usd), lost, lost_usd, values, invented)

    def owned(self, owner: Owner) -> I8:
        """Return the labels of everything a supplier sells or runs: service on its pools, rent, terms, deliveries."""
        tables, program, flows = self.tables, self.program, self.program.flows
        pools = np.array([owner(p, -1) for p in range(len(tables.pools))] + [False], bool)
        tokens = np.array([owner(-1, o) for o in range(len(tables.token_offers))] + [False], bool)
        token_of = np.array([a.offer for a in tables.arcs], np.int64)[flows.arc] if len(flows.arc) else np.empty(0, np.int64)
        pool_of = np.array(tables.pool_of, np.int64)
        parts = [flows.label[pools[flows.pool] | pools[flows.decode_pool] | ((flows.pool < 0) & tokens[token_of])]]
        for offer, block in ((program.rent_offer, "rent"), (program.sign_offer, "sign")):
            if len(offer):
                parts.append(program.blocks[block][pools[pool_of[offer]]])
        if len(program.given_pool):
            parts.append(program.blocks["given"][pools[program.given_pool]])
        if len(program.train_pool):
            parts.append(program.blocks["train"][pools[program.train_pool]])
        return np.concatenate(parts)

    def spend_of(self, owner: Owner) -> tuple[I8, F8]:
        """Return (labels, discounted $ per unit) of the spend with a supplier."""
        tables, table = self.tables, self.program.spend
        pool_of = [*tables.pool_of, *[-1] * len(tables.token_offers)]
        mine = np.array([owner(p, -1) if p >= 0 else owner(-1, o - len(tables.offers)) for o, p in enumerate(pool_of)] + [False], bool)
        keep = mine[table.offer] if len(table.offer) else np.empty(0, bool)
        return table.label[keep], self.usd[table.label[keep]]


def worth_workers(tables: Problem) -> int:
    """Return how many processes a set of what-ifs is worth: all cores for a large program, one where starting them costs more."""
    return (os.cpu_count() or 1) if len(tables.arcs) * tables.slots >= LARGE_FLOWS else 1


def served_share(asker: Asker, answer: Answer, owner: Owner) -> float:
    """Return the share of tokens that a supplier serves in an answer."""
    program, tables, flows = asker.program, asker.tables, asker.program.flows
    if not len(flows.arc):
        return 0.0
    per_request = np.array([tables.mtok(w, 1.0) for w in range(len(tables.workloads))])
    mtok = answer.values[flows.label] * program.demand_requests[flows.row] * per_request[flows.workload]
    lengths = [w.lengths for w in tables.workloads]
    out_frac = np.array([x.osl_tokens / (x.isl_tokens + x.osl_tokens) for x in lengths])[flows.workload]
    pools = np.array([owner(p, -1) for p in range(len(tables.pools))] + [False], bool)
    tokens = np.array([owner(-1, o) for o in range(len(tables.token_offers))] + [False], bool)
    token_of = np.array([a.offer for a in tables.arcs], np.int64)[flows.arc]
    mine = pools[flows.pool] | ((flows.pool < 0) & tokens[token_of])
    apart = flows.decode_pool >= 0  # who prefills serves the prompt's tokens, who decodes the output's
    served = np.where(apart, (1.0 - out_frac) * mine + out_frac * pools[flows.decode_pool], mine)
    return float((mtok * served).sum() / max(float(mtok.sum()), 1e-30))


def supplier(tables: Problem, kind: str, name: str) -> Owner:
    """Return the test of what belongs to a cloud or a chip vendor."""

    def is_of(pool: int, token: int) -> bool:
        if kind == "vendor":
            return pool >= 0 and tables.pools[pool].chip.vendor == name
        return tables.pools[pool].cloud == name if pool >= 0 else tables.token_offers[token].cloud == name

    return is_of


def suppliers(tables: Problem) -> list[tuple[str, str]]:
    """Return every (kind, name) that sells something usable: clouds, then chip vendors where there are several."""
    pools = {a.pool for a in tables.arcs if a.pool >= 0}
    clouds = {tables.pools[p].cloud for p in pools} | {tables.token_offers[a.offer].cloud for a in tables.arcs if a.pool < 0}
    vendors = {tables.pools[p].chip.vendor for p in pools}
    return [("cloud", c) for c in sorted(clouds)] + ([("vendor", v) for v in sorted(vendors)] if len(vendors) > 1 else [])
