"""The program: variables, constraints and objective over the tables of a problem, as one linopy model.

Scales: money in a power of ten of dollars, chips in a power of ten, service as a share of demand in 0..1; matrix entries
then stay near one. Integer is what one buys or starts; continuous is what one routes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import linopy
import numpy as np
import xarray as xr

from polysilicon.cloud.site import Site
from polysilicon.planner.build import offer_opens
from polysilicon.planner.problem import ELASTIC_KINDS, F8, I8, Problem

linopy.options["semantics"] = "v1"  # labels align exactly or raise

Term = tuple[I8, I8, F8]  # row of the block, label of the variable, coefficient
UNLIMITED_CHIPS = 1e9
SMALL_FLEET_CHIPS = 256.0  # below, hourly chips are counted in whole blocks
WHOLE_RENTALS = 400  # at most so many of them are made whole


@dataclass(frozen=True, slots=True)
class Rows:
    """One block of constraints: what each row stands for, in the user's words, and how to read its dual."""

    name: str
    labels: I8
    words: tuple[str, ...]  # of the limit a row belongs to; empty: not a limit anybody stated
    unit: str  # of the right-hand side, in words
    size: float  # right-hand units per unit of the row as written
    meta: dict[str, I8] = field(default_factory=dict)  # pool, slot, period, ... of each row
    rhs: F8 = field(default_factory=lambda: np.empty(0))


@dataclass(frozen=True, slots=True)
class Flows:
    """Service variables: one per usable (arc, load block); engines alike by age in a period share one."""

    arc: I8
    slot: I8
    workload: I8
    period: I8
    pool: I8  # -1: per-token
    row: I8  # of the demand table
    chips: F8  # busy chips at share 1, in the block's busiest hour, in chip units
    mean_frac: F8  # mean over the block of the busy chips, as a share of those
    hours: F8
    label: I8
    decode_pool: I8  # -1: the same replicas decode
    decode_chips: F8  # busy chips there at share 1

    def seats(self, flow: I8 | None = None) -> tuple[I8, I8, F8]:
        """Return (place in `flow`, pool, busy chips at share 1) of every seat on chips: one a flow, two where phases are apart."""
        flow = np.arange(len(self.arc)) if flow is None else flow
        first, second = np.flatnonzero(self.pool[flow] >= 0), np.flatnonzero(self.decode_pool[flow] >= 0)
        pool = np.concatenate([self.pool[flow[first]], self.decode_pool[flow[second]]])
        chips = np.concatenate([self.chips[flow[first]], self.decode_chips[flow[second]]])
        return np.concatenate([first, second]), pool, chips


@dataclass(frozen=True, slots=True)
class Spend:
    """Every dollar that goes to an offer: coefficient of each variable, by offer and period."""

    offer: I8  # index into Program.all_offers
    period: I8
    label: I8
    usd: F8  # before any contract's discount, per unit of the variable


class Program:
    """The linopy model under construction, with the tables that give its rows and columns their meaning."""

    def __init__(self, tables: Problem, *, integer_rent: bool = False, units: tuple[float, float] | None = None) -> None:
        self.tables = tables
        self.model = linopy.Model(force_dim_names=True)
        self.rows: dict[str, Rows] = {}
        self.integers: dict[str, I8] = {}
        self.blocks: dict[str, I8] = {}
        self.cost: list[tuple[I8, F8]] = []  # (labels, discounted $)
        self.nudge: list[tuple[I8, F8]] = []  # takes sides between plans that cost the same; not part of any bill
        self.constant_usd = 0.0
        self.impossible: dict[str, tuple[float, str, str]] = {}  # limits nothing can move -> what is missing, its unit, of what
        self.implied: dict[str, str] = {}  # a limit in words -> the limit it follows from
        self.integer_rent = integer_rent
        self.flows: Flows
        self.alike: dict[tuple[int, int], tuple[int, ...]] = {}  # (port, period) -> ports whose engines serve by its variables
        self.spend: Spend
        self.contract_of: I8  # [offer, period], -1: none
        self.rent_offer: I8
        self.rent_slot: I8
        self.sign_offer: I8
        self.sign_period: I8
        self.hold_offer: I8
        self.hold_period: I8
        self.given_contract: I8
        self.given_pool: I8
        self.given_period: I8
        self.given_row: I8
        self.given_size: F8
        self.train_run: I8
        self.train_pool: I8
        self.train_period: I8
        self.train_offer: I8  # of a spot offer that is reclaimed; -1: chips that stay
        self.train_yield: F8  # progress of each chip
        self.shortfall_contract: I8
        self.shortfall_period: I8
        self.take_contract: I8
        self.unserved_usd: F8
        self.energy: list[tuple[I8, F8, I8]] = []  # (labels, $ per unit, period)
        self.power_sites: list[Site] = []
        self.all_offers = (*tables.offers, *tables.token_offers)
        demand = _demand_table(tables)
        self.demand_workload, self.demand_period, self.demand_slot, self.demand_requests = demand
        self.chip_unit, self.usd_unit = units or _scales(tables)

    def variables(self, name: str, count: int, *, upper: F8 | float = np.inf, integer: bool = False, binary: bool = False) -> I8:
        """Add a flat block of nonnegative variables and return their labels."""
        axis = {f"{name}_i": np.arange(count)}
        if count == 0:
            labels: I8 = np.empty(0, np.int64)
        else:
            top = xr.DataArray(np.broadcast_to(np.asarray(upper, float), (count,)).copy(), coords=axis)
            if binary:
                made = self.model.add_variables(coords=axis, name=name, binary=True)
            else:
                made = self.model.add_variables(lower=0.0, upper=top, coords=axis, name=name, integer=integer)
            labels = np.asarray(made.labels.values, np.int64)
        if integer or binary:
            self.integers[name] = labels
        self.blocks[name] = labels
        return labels

    def constrain(
        self,
        name: str,
        terms: Sequence[Term],
        sense: str,
        rhs: F8 | float,
        *,
        words: Sequence[str] = (),
        unit: str = "",
        size: float = 1.0,
        count: int | None = None,
        **meta: I8,
    ) -> None:
        """Add one wide block of rows from sparse terms; rows without any term are left out if they hold, else kept as clashes."""
        row = np.concatenate([np.asarray(t[0], np.int64) for t in terms])
        label = np.concatenate([np.asarray(t[1], np.int64) for t in terms])
        coefficient = np.concatenate([np.broadcast_to(np.asarray(t[2], float), np.shape(t[1])) for t in terms])
        total = count if count is not None else (int(row.max()) + 1 if len(row) else 0)
        bound = np.broadcast_to(np.asarray(rhs, float), (total,)).copy()
        keep = (coefficient != 0.0) & np.isfinite(bound[row])  # a row without a bound is no row
        row, label, coefficient = row[keep], label[keep], coefficient[keep]
        used = np.unique(row)
        self._note_impossible(np.setdiff1d(np.arange(total), used), sense, bound, (words, unit, size))
        if not len(used):
            return
        dense = np.searchsorted(used, row)
        order = np.argsort(dense, kind="stable")
        dense, label, coefficient = dense[order], label[order], coefficient[order]
        first = np.searchsorted(dense, np.arange(len(used)))
        place = np.arange(len(dense)) - first[dense]
        width = int(place.max()) + 1
        variables = np.full((len(used), width), -1, np.int64)
        coefficients = np.full((len(used), width), np.nan)
        variables[dense, place], coefficients[dense, place] = label, coefficient
        axis = {f"{name}_r": np.arange(len(used))}
        dims = (f"{name}_r", "_term")
        data = xr.Dataset({"coeffs": (dims, coefficients), "vars": (dims, variables)}, coords=axis)
        expression = linopy.LinearExpression(data, self.model)
        made = self.model.add_constraints(expression, sense, xr.DataArray(bound[used], coords=axis), name=name)
        self.rows[name] = Rows(
            name,
            np.asarray(made.labels.values, np.int64),
            tuple(np.asarray(words, object)[used]) if len(words) else (),
            unit,
            size,
            {key: np.asarray(value)[used] for key, value in meta.items()},
            bound[used],
        )

    def _note_impossible(self, empty: I8, sense: str, bound: F8, said: tuple[Sequence[str], str, float]) -> None:
        """Remember rows that nothing can move and that do not hold, with the most that is missing in one of them."""
        words, unit, size = said
        broken = empty[{"<=": bound[empty] < -1e-9, ">=": bound[empty] > 1e-9, "=": np.abs(bound[empty]) > 1e-9}[sense]]
        for r in broken if len(words) else ():
            missing = max(abs(float(bound[r])) * size, self.impossible.get(words[r], (0.0,))[0])
            self.impossible[words[r]] = (missing, unit, "")

    def add_cost(self, labels: I8, usd: F8, period: I8 | None = None) -> None:
        """Add discounted dollars per unit of variables."""
        factor = self.discount[period] if period is not None else 1.0
        self.cost.append((np.asarray(labels, np.int64), np.asarray(usd * factor, float)))

    @property
    def discount(self) -> F8:
        """Return the discount factor of each period."""
        return np.array([p.discount_factor for p in self.tables.periods])

    @property
    def period_hours(self) -> F8:
        """Return the hours of each period, as the sum of its load blocks."""
        return np.bincount(self.tables.slot_period, self.tables.slot_hours, minlength=len(self.tables.periods)).astype(float)

    def cost_usd(self) -> F8:
        """Return the discounted dollars per unit of every variable, by label."""
        total = np.zeros(int(self.model._xCounter))
        for labels, usd in self.cost:
            np.add.at(total, labels, usd)
        return total

    def set_objective(self) -> None:
        """Minimise the discounted dollars collected so far; a hair's nudge decides between equals."""
        total = self.cost_usd() / self.usd_unit
        for labels, usd in self.nudge:
            np.add.at(total, labels, usd / self.usd_unit)
        used = np.flatnonzero(total)
        data = xr.Dataset({"coeffs": ("_term", total[used]), "vars": ("_term", used)})
        self.model.add_objective(linopy.LinearExpression(data, self.model), sense="min")


def counts_blocks(tables: Problem) -> bool:
    """Return whether hourly chips are so few that whole blocks matter."""
    chips = 0.0
    for w in range(len(tables.workloads)):
        rates = [a.rps_per_chip * max(a.efficiency_frac) for a in tables.arcs if a.workload == w and a.pool >= 0 and max(a.efficiency_frac) > 0]
        chips += float(tables.peak_rps[w].max()) / max(rates) if rates else 0.0
    blocks = sum(o.kind in ("on_demand", "spot") and o.block_chips > 1 for o in tables.offers) * tables.slots
    return chips <= SMALL_FLEET_CHIPS and 0 < blocks <= WHOLE_RENTALS


def contracted(kind: str, min_term_months: int) -> bool:
    """Return whether an offer is signed for a term rather than rented by the hour."""
    return kind == "reserved" or (kind not in ELASTIC_KINDS and min_term_months > 0)


def open_pairs(tables: Problem, *, signed: bool) -> tuple[I8, I8]:
    """Return (offer, period) pairs in which chips may be rented, or terms signed."""
    pairs = [
        (o, y)
        for o, offer in enumerate(tables.offers)
        if contracted(offer.kind, offer.min_term_months) == signed
        for y in range(len(tables.periods))
        if offer_opens(tables, o, y)
    ]
    array = np.array(pairs, np.int64).reshape(-1, 2)
    return array[:, 0], array[:, 1]


def _demand_table(tables: Problem) -> tuple[I8, I8, I8, F8]:
    """Return one row per promise: interactive work in each load block, deferrable work in each period."""
    rows: list[tuple[int, int, int, float]] = []
    for w, work in enumerate(tables.workloads):
        if work.slo.deferrable:
            rows += [(w, y, -1, tables.requests(w, y)) for y in range(len(tables.periods))]
        else:
            requests = tables.demand_rps[w] * tables.slot_hours * 3600.0
            rows += [(w, int(y), t, float(r)) for t, (y, r) in enumerate(zip(tables.slot_period, requests, strict=True))]
    kept = [r for r in rows if r[3] > 0]
    table = np.array(kept, float).reshape(-1, 4)
    return table[:, 0].astype(np.int64), table[:, 1].astype(np.int64), table[:, 2].astype(np.int64), table[:, 3]


def _scales(tables: Problem) -> tuple[float, float]:
    """Return powers of ten for chips and dollars near what the demand needs."""
    chips = 0.0
    for w in range(len(tables.workloads)):
        rates = [a.rps_per_chip * max(a.efficiency_frac) for a in tables.arcs if a.workload == w and a.pool >= 0 and max(a.efficiency_frac) > 0]
        if rates and tables.demand_rps.size:
            chips += float(tables.demand_rps[w].max()) / float(np.median(rates))
    hours = float(tables.slot_hours.sum())
    chip_unit = 10.0 ** round(np.log10(max(chips, 1.0)) / 2)
    prices = [o.usd_per_chip_hour or 0.0 for o in tables.offers]
    usd = max(chips, 1.0) * hours * (float(np.median(prices)) if prices else 1.0)
    return float(chip_unit), float(10.0 ** max(0, round(np.log10(max(usd, 1.0))) - 3))


def sum_by(keys: I8, values: Any, size: int) -> F8:
    """Return values summed by key."""
    return np.bincount(keys, values, minlength=size).astype(float)
