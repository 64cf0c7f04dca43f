"""Deciding before one knows: two stages with CVaR, the worth of waiting and of options, regret.

First stage: terms signed, contracts taken and ports started in the first year, the same in every scenario. Second stage:
everything else, later purchases included, and options whose terms begin later: they are used where they are worth it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import highspy
import numpy as np
from scipy import sparse

from polysilicon.errors import Infeasible, PolysiliconError
from polysilicon.highs import INFEASIBLE, Solver, proven_bound
from polysilicon.parallel import run_all
from polysilicon.planner.assembly import build
from polysilicon.planner.build import months_between
from polysilicon.planner.problem import F8, I8, Problem
from polysilicon.planner.program import Program
from polysilicon.planner.resolve import Asker
from polysilicon.planner.solution import WHOLE_INTEGERS

FIRST_STAGE_MONTHS = 12.0
LONG_COLUMNS = 20_000  # from here on interior point with crossover beats simplex from cold
Key = tuple[str, int, int]  # block, what, period


@dataclass(frozen=True, slots=True)
class Future:
    """One way the world may go."""

    name: str
    probability_frac: float
    tables: Problem


@dataclass(frozen=True, slots=True)
class TwoStage:
    """A first-stage decision and what it costs in each future, in discounted dollars."""

    expected_usd: float
    cvar_usd: float  # mean of the worst (1 - alpha) of outcomes
    by_future_usd: tuple[float, ...]
    first_count: Mapping[Key, float]  # blocks signed, ports started, contracts taken in the first year
    bound_usd: float  # of the objective that was minimised
    objective_usd: float


def two_stage(
    futures: Sequence[Future], *, cvar_weight: float = 0.0, alpha_frac: float = 0.9, seconds: float = 60.0, gap_frac: float = 1e-3,
    workers: int = 1, backend: str = "processes", address: str | None = None,
) -> TwoStage:  # fmt: skip
    """Return the decision that minimises (1 - w) E[cost] + w CVaR_alpha over the futures, by one stacked program.

    CVaR by its linear form: zeta + sum of p a / (1 - alpha), a >= cost - zeta, a >= 0. Up to some hundred integers are searched
    whole. Above, the relaxation of the stack gives the bound, its first year's ports are rounded, each future then decides its
    later ports alone (side by side: `workers`, `backend`, `address` are those of `polysilicon.parallel.run_all`), and the stack
    with all ports fixed decides what is signed. The bound is that of the whole, always.

    Raises: Infeasible when no decision works in every future; PolysiliconError when none was found in time.
    """
    programs = _programs(futures)
    stack = Stack(programs, [f.probability_frac for f in futures], cvar_weight, alpha_frac)
    if len(stack.whole) <= WHOLE_INTEGERS:
        stack.solver.options(mip_rel_gap=gap_frac)
        status, bound = stack.solver.run(seconds), proven_bound(stack.solver.highs)
    else:

        def later(first: Mapping[Key, float]) -> list[dict[Key, float]]:
            return run_all(_ports_after, [(f.tables, first) for f in futures], workers=workers, backend=backend, address=address)

        status, bound = stack.relax_and_fix(later, seconds, gap_frac)
    if not stack.solver.found:
        if status in INFEASIBLE:
            raise Infeasible("no first-year decision works in every future", where=futures[0].tables.name)
        raise PolysiliconError("no first-year decision was found in time", where=futures[0].tables.name, hint="give the solver more time")
    return stack.result(bound)


def _ports_after(job: tuple[Problem, Mapping[Key, float]]) -> dict[Key, float]:
    """Return all port starts of a future in which the first year's are given; what is signed is left open."""
    tables, first = job
    asker = Asker(tables, divisible=True)
    ports = {key: label for key, label in decision_labels(asker.program).items() if key[0].startswith("port:")}
    given = [key for key in _first_labels(asker.program) if key in ports]
    columns = asker.engine.column_of[np.array([ports[k] for k in given], np.int64)] if given else np.empty(0, np.int64)
    values = np.array([first.get(k, 0.0) for k in given])
    asker.engine.solver.bounds(columns, values, values)
    answer = asker.ask()
    return {key: float(np.round(answer.values[label])) for key, label in ports.items()}


def expected_alone(futures: Sequence[Future], *, workers: int = 1, backend: str = "processes", address: str | None = None) -> float:
    """Return the expected cost if one knew the future before deciding: the bound that perfect information sets (EVPI).

    Futures are independent: `workers` and `backend` are those of `polysilicon.parallel.run_all`, a Ray cluster among them.
    """
    costs = run_all(cost_alone, [f.tables for f in futures], workers=workers, backend=backend, address=address)
    return float(sum(f.probability_frac * c for f, c in zip(futures, costs, strict=True)))


def cost_alone(tables: Problem) -> float:
    """Return what a future costs that is known from the start."""
    return Asker(tables, divisible=True).ask().usd


def first_stage(tables: Problem) -> dict[Key, float]:
    """Return the first year's decisions of the plan for one future."""
    asker = Asker(tables, divisible=True)
    answer = asker.ask()
    return {key: float(answer.values[label]) for key, label in _first_labels(asker.program).items()}


def cost_of(tables: Problem, decisions: Mapping[Key, float]) -> float:
    """Return what a future costs when the first year's decisions are already taken; everything later is free to adapt."""
    asker = Asker(tables, divisible=True)
    labels = _first_labels(asker.program)
    columns = asker.engine.column_of[np.array([labels[k] for k in labels], np.int64)] if labels else np.empty(0, np.int64)
    values = np.array([decisions.get(k, 0.0) for k in labels])
    asker.engine.solver.bounds(columns, values, values)
    return asker.ask().usd


def regret(futures: Sequence[Future], *, workers: int = 1, backend: str = "processes", address: str | None = None) -> dict[str, dict[str, float]]:
    """Return, for the plan made for each future, what it costs beyond the best in every other: [decided for][came true].

    `workers` and `backend` as of `expected_alone`.
    """
    decisions = run_all(first_stage, [f.tables for f in futures], workers=workers, backend=backend, address=address)
    rows = run_all(costs_of, [(f.tables, decisions) for f in futures], workers=workers, backend=backend, address=address)  # [came true][decided for]
    return {d.name: {f.name: rows[j][i] - rows[j][j] for j, f in enumerate(futures)} for i, d in enumerate(futures)}


def costs_of(job: tuple[Problem, Sequence[Mapping[Key, float]]]) -> list[float]:
    """Return what a future costs after each of several first years."""
    tables, decisions = job
    return [cost_of(tables, taken) for taken in decisions]


def option_value_usd(tables: Problem, *, vendor: str, volatility: float, model_family: str = "", nodes: int = 7) -> float | None:
    """Return what a qualified second source is worth: E[cost without it] - E[cost with it], the vendor's price being uncertain.

    The price factor is lognormal with mean one: exp(v z - v^2 / 2), by Gauss-Hermite quadrature. The second source is every
    engine off the vendor's chips that could be or was ported for the model family (all families if empty). The cost with it is
    concave in the price, so the value is never negative and rises with volatility. None where demand goes unserved without it
    whose loss the scenario does not price.
    """
    asker = Asker(tables, divisible=True)
    labels = _vendor_spend(asker, vendor)
    flows = asker.program.flows
    other = np.array(
        [a.pool >= 0 and tables.pools[a.pool].chip.vendor != vendor and model_family in ("", tables.families[a.workload]) for a in tables.arcs],
        bool,
    )
    closed = np.concatenate([flows.label[other[flows.arc]], asker.program.blocks["port"]])
    z, weight = np.polynomial.hermite_e.hermegauss(nodes)
    weight = weight / weight.sum()
    factors = np.exp(volatility * z - volatility**2 / 2)
    factors /= float((weight * factors).sum())  # the quadrature's mean is one exactly
    value = 0.0
    for w, factor in zip(weight, factors, strict=True):
        price = (labels, np.full(len(labels), factor))
        without, having = asker.ask(price=price, closed=closed).told_usd, asker.ask(price=price).told_usd
        if without is None or having is None:
            return None
        value += float(w) * (without - having)
    return value


def _vendor_spend(asker: Asker, vendor: str) -> I8:
    tables = asker.tables
    return asker.spend_of(lambda p, o: p >= 0 and tables.pools[p].chip.vendor == vendor)[0]


def slip_cost(tables: Problem, *, chip: str, probability_by_months: Mapping[int, float]) -> list[tuple[int, float, float]]:
    """Return (months late, probability, cost in dollars) over a distribution of slips, each planned for when known."""
    from polysilicon.planner.stress import slip

    base = Asker(tables).ask()
    return [(months, p, slip(tables, chip=chip, months=months, base=base).usd if months else base.usd)
            for months, p in sorted(probability_by_months.items())]  # fmt: skip


def scaled(tables: Problem, name: str, probability_frac: float, *, demand: float = 1.0, prices: Mapping[str, float] | None = None) -> Future:
    """Return a future with demand and some offers' prices multiplied."""
    changed = replace(tables, demand_rps=tables.demand_rps * demand, peak_rps=tables.peak_rps * demand)
    return Future(name, probability_frac, changed.repriced(prices or {}))


def _programs(futures: Sequence[Future]) -> list[Program]:
    first = build(futures[0].tables)
    units = (first.chip_unit, first.usd_unit)
    return [first, *(build(f.tables, units=units) for f in futures[1:])]


def decision_labels(program: Program) -> dict[Key, int]:
    """Return the label of each decision to buy or start, by what it is and when."""
    tables = program.tables
    found: dict[Key, int] = {}
    for o, y, label in zip(program.sign_offer, program.sign_period, program.blocks["sign"], strict=True):
        found[f"sign:{tables.offers[o].id}", 0, int(y)] = int(label)
    for candidate, label in zip(tables.candidates, program.blocks["port"], strict=True):
        found[f"port:{candidate.key[0]}:{candidate.key[1]}", 0, candidate.start] = int(label)
    for c, label in zip(program.take_contract, program.blocks["take"], strict=True):
        found[f"take:{tables.contracts[c].id}", 0, _decided(tables, c)] = int(label)
    return found


def _decided(tables: Problem, c: int) -> int:
    """Return the period in which terms are taken: now, but those of an option when they begin."""
    contract = tables.contracts[c]
    if not contract.option:
        return 0
    return next((y for y, period in enumerate(tables.calendar) if contract.in_force_frac(period) > 0), 0)


def _first_labels(program: Program) -> dict[Key, int]:
    tables = program.tables
    early = {y for y in range(len(tables.periods)) if months_between(tables, 0, y) < FIRST_STAGE_MONTHS - 0.05}
    return {key: label for key, label in decision_labels(program).items() if key[2] in early}


class Stack:
    """Programs side by side, their first-year columns tied together, with CVaR columns at the end."""

    def __init__(self, programs: Sequence[Program], probability: Sequence[float], weight: float, alpha: float) -> None:
        self.programs, self.probability, self.alpha = programs, np.asarray(probability, float), alpha
        if abs(self.probability.sum() - 1.0) > 1e-9:
            raise ValueError(f"probabilities sum to {self.probability.sum()}, not to 1")
        parts = [p.model.matrices for p in programs]
        sizes = np.array([len(m.vlabels) for m in parts])
        self.offset = np.concatenate([[0], np.cumsum(sizes)])
        count, futures = int(self.offset[-1]), len(programs)
        self.costs = [p.cost_usd()[m.vlabels] / p.usd_unit for p, m in zip(programs, parts, strict=True)]
        self.constant = [p.constant_usd / p.usd_unit for p in programs]
        cost = np.concatenate(
            [(1 - weight) * q * c for q, c in zip(self.probability, self.costs, strict=True)] + [[weight], weight * self.probability / (1 - alpha)]
        )
        lower = np.concatenate([*[m.lb for m in parts], [-np.inf], np.zeros(futures)])
        upper = np.concatenate([*[m.ub for m in parts], [np.inf], np.full(futures, np.inf)])
        blocks = sparse.block_diag([m.A for m in parts], format="csr")
        blocks = sparse.hstack([blocks, sparse.csr_matrix((blocks.shape[0], 1 + futures))], format="csr")
        low = np.concatenate([np.where(m.sense != "<", m.b, -np.inf) for m in parts])
        high = np.concatenate([np.where(m.sense != ">", m.b, np.inf) for m in parts])
        self.parts = parts
        ties = self._ties(count + 1 + futures)
        tails = self._tails(count, futures)
        matrix = sparse.vstack([blocks, ties, tails], format="csr")
        low = np.concatenate([low, np.zeros(ties.shape[0]), np.array(self.constant)])
        high = np.concatenate([high, np.zeros(ties.shape[0]), np.full(futures, np.inf)])
        self.weight = weight
        self.solver = Solver()
        self.solver.highs.addVars(len(lower), lower, upper)
        self.solver.highs.changeColsCost(len(cost), np.arange(len(cost), dtype=np.int32), cost)
        self.whole = np.concatenate(
            [self._columns(i, parts[i], name) for i, p in enumerate(programs) for name in p.integers if name not in ("sign", "rent_blocks")]
        ).astype(np.int64)
        self.solver.integrality(self.whole, integer=True)
        self.solver.highs.addRows(matrix.shape[0], low, high, matrix.nnz, matrix.indptr, matrix.indices, matrix.data)

    def relax_and_fix(
        self, later: Callable[[Mapping[Key, float]], list[dict[Key, float]]], seconds: float, gap_frac: float
    ) -> tuple[highspy.HighsModelStatus, float]:
        """Leave the best plan found in the solver; return its status and the bound of the relaxation.

        `later` tells the ports of each future once those of the first year are given.
        """
        ends = time.monotonic() + seconds
        self.solver.integrality(self.whole, integer=False)
        self.solver.options(solver="ipx" if self.offset[-1] > LONG_COLUMNS else "choose")
        status = self.solver.run(seconds)
        if status != highspy.HighsModelStatus.kOptimal:
            return status, -np.inf
        bound, point = self.solver.objective, self.solver.point()
        ports = [{k: c for k, c in self._keyed(i, decision_labels(p)).items() if k[0].startswith("port:")} for i, p in enumerate(self.programs)]
        early = set(self._first(0))
        pairs: dict[str, list[Key]] = {}
        for key in ports[0]:
            pairs.setdefault(key[0], []).append(key)
        first: dict[Key, float] = {}
        for keys in pairs.values():  # a pair is started in the first year where most of it is, at its likeliest time
            now = [k for k in keys if k in early]
            value = {k: float(point[ports[0][k]]) for k in now}
            started = sum(value.values()) >= 0.5
            first |= {k: float(started and k == max(value, key=lambda key: value[key])) for k in now}
        columns, values = [], []
        for own, decided in zip(ports, later(first), strict=True):
            columns += [own[k] for k in decided]
            values += list(decided.values())
        fixed, rest = np.array(columns, np.int64), np.array(values)
        self.solver.bounds(fixed, rest, rest)
        others = np.setdiff1d(self.whole, fixed)
        self.solver.integrality(others, integer=True)
        self.solver.options(solver="simplex", mip_rel_gap=gap_frac)
        return self.solver.run(max(5.0, ends - time.monotonic())), bound

    def _columns(self, i: int, part: Any, name: str) -> I8:
        labels = self.programs[i].integers[name]
        return np.asarray(self.offset[i] + np.searchsorted(part.vlabels, labels), np.int64)

    def _keyed(self, i: int, labels: Mapping[Key, int]) -> dict[Key, int]:
        """Return the column of each decision of a future."""
        return {k: int(self.offset[i] + np.searchsorted(self.parts[i].vlabels, label)) for k, label in labels.items()}

    def _first(self, i: int) -> dict[Key, int]:
        return self._keyed(i, _first_labels(self.programs[i]))

    def _ties(self, width: int) -> sparse.csr_matrix:
        """Return rows that make every first-year decision the same in all futures: x_s - x_0 = 0; absent means nil."""
        home = self._first(0)
        pairs: list[tuple[int, int]] = []
        for i in range(1, len(self.parts)):
            there = self._first(i)
            pairs += [(home.get(k, -1), there.get(k, -1)) for k in {**home, **there}]
        rows, columns, values = [], [], []
        for r, pair in enumerate(pairs):
            for column, sign in zip(pair, (-1.0, 1.0), strict=True):
                if column >= 0:
                    rows.append(r)
                    columns.append(column)
                    values.append(sign)
        return sparse.csr_matrix((values, (rows, columns)), shape=(len(pairs), width))

    def _tails(self, count: int, futures: int) -> sparse.csr_matrix:
        """Return rows a_s + zeta - cost_s >= fixed_s."""
        rows = sparse.lil_matrix((futures, count + 1 + futures))
        for i, cost in enumerate(self.costs):
            used = np.flatnonzero(cost)
            rows[i, self.offset[i] + used] = -cost[used]
            rows[i, count], rows[i, count + 1 + i] = 1.0, 1.0
        return rows.tocsr()

    def result(self, bound: float) -> TwoStage:
        """Return the decision in the solver; `bound` is of the objective without what contracts cost anyhow."""
        point = self.solver.point()
        unit = self.programs[0].usd_unit
        usd = np.array([float(c @ point[self.offset[i] : self.offset[i + 1]]) + self.constant[i] for i, c in enumerate(self.costs)]) * unit
        first = {k: float(point[c]) for k, c in self._first(0).items()}
        expected = float(self.probability @ usd)
        fixed = (1 - self.weight) * float(self.probability @ np.array(self.constant))
        return TwoStage(expected, cvar_usd(usd, self.probability, self.alpha), tuple(float(v) for v in usd), first,
                        (bound + fixed) * unit, (self.solver.objective + fixed) * unit)  # fmt: skip


def cvar_usd(usd: F8, probability: F8, alpha_frac: float) -> float:
    """Return the mean of the worst (1 - alpha) of outcomes.

    >>> round(cvar_usd(np.array([1.0, 2.0, 10.0]), np.array([0.5, 0.4, 0.1]), 0.8), 6)
    6.0
    """
    order = np.argsort(-usd)
    left, total = 1.0 - alpha_frac, 0.0
    for i in order:
        take = min(left, float(probability[i]))
        total += take * float(usd[i])
        left -= take
        if left <= 1e-15:
            break
    return total / (1.0 - alpha_frac)
