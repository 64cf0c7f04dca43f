"""A deal over time under given drivers: every dollar from whom to whom, period by period.

usage  = min(planned spend x demand / efficiency, delivered capacity), billed by `Contract.bill`
sales  = planned spend / (1 - margin) x demand x token price, as far as capacity serves it
capex  = chips that the commitment rents at its price, as racks, in yearly shares; depreciated straight-line
Flows fall at the end of their period, equity on its own dates, capital cost at the start of its year.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date, timedelta
from itertools import pairwise

from polysilicon.cloud.contract import Bill, BillingPeriod, Contract, Usage, UsageLine
from polysilicon.economics.cost import chip_hour, vary
from polysilicon.economics.deal import OUTSIDE, CommitmentPart, Deal, contract_of
from polysilicon.scenario.calendar import add_months
from polysilicon.units import HOURS_PER_YEAR

DAYS_PER_YEAR = 365.25


@dataclass(frozen=True, slots=True)
class Flow:
    """Cash from one party to another."""

    payer: str
    payee: str
    kind: str  # equity, compute, shortfall, hardware, building, running, sales, manufacturing
    leg: str
    after_years: float
    usd: float


@dataclass(frozen=True, slots=True)
class PeriodFigures:
    """What one period looks like for buyer and seller."""

    start: str
    end: str
    planned_usd: float
    used_usd: float
    billed_usd: float
    shortfall_usd: float
    sales_usd: float
    running_usd: float
    depreciation_usd: float
    served_frac: float

    @property
    def lab_margin_frac(self) -> float | None:
        """Return the lab's gross margin on what this deal serves."""
        return 1 - self.billed_usd / self.sales_usd if self.sales_usd > 0 else None

    @property
    def provider_margin_frac(self) -> float | None:
        """Return the provider's accounting gross margin."""
        return 1 - (self.running_usd + self.depreciation_usd) / self.billed_usd if self.billed_usd > 0 else None


@dataclass(frozen=True, slots=True)
class Projection:
    """The deal under one set of drivers."""

    drivers: Mapping[str, float]
    flows: tuple[Flow, ...]
    values: tuple[tuple[str, float, float, str], ...]  # (party, after years, $, what) owned at the end: not cash
    periods: tuple[PeriodFigures, ...]
    bills: tuple[Bill, ...]
    chips: float
    racks: float
    capex_usd: float

    def net(self, party: str, *, with_values: bool = False) -> list[tuple[float, float]]:
        """Return dated net flows of a party; with values, what it owns at the end counts as if sold."""
        flows = [(f.after_years, f.usd if f.payee == party else -f.usd) for f in self.flows if party in (f.payer, f.payee)]
        if with_values:
            flows += [(t, usd) for owner, t, usd, _ in self.values if owner == party]
        return sorted(flows)

    def total(self, *, payer: str = "", payee: str = "", kind: str = "") -> float:
        """Return the sum of flows that match what is given."""
        return sum(f.usd for f in self.flows if payer in ("", f.payer) and payee in ("", f.payee) and kind in ("", f.kind))


def periods_of(deal: Deal) -> tuple[BillingPeriod, ...]:
    """Return the deal's periods."""
    months = 12 if deal.step == "year" else 3
    edges = [add_months(deal.start, k * months) for k in range(deal.years * 12 // months + 1)]
    return tuple(BillingPeriod(a.isoformat(), b.isoformat(), (b - a).days * 24.0) for a, b in pairwise(edges))


def project(deal: Deal, drivers: Mapping[str, float] | None = None) -> Projection:
    """Return the deal under its base drivers with some changed."""
    at = deal.base() | dict(drivers or {})
    periods = periods_of(deal)
    flows: list[Flow] = list(_equity(deal))
    bills: list[Bill] = []
    rows = [dict.fromkeys(("planned", "used", "billed", "shortfall", "sales", "running", "depreciation"), 0.0) for _ in periods]
    for commitment in deal.binding_commitments():
        bill = _spend(deal, commitment, at, periods, rows, flows)
        bills.append(bill)
    chips, racks, capex = _provide(deal, at, rows, flows)
    _sell(deal, at, rows, flows)
    figures = tuple(
        PeriodFigures(
            p.start,
            p.end,
            r["planned"],
            r["used"],
            r["billed"],
            r["shortfall"],
            r["sales"],
            r["running"],
            r["depreciation"],
            min(1.0, r["used"] / r["planned"]) if r["planned"] > 0 else 1.0,
        )
        for p, r in zip(periods, rows, strict=True)
    )
    values = tuple(_values(deal, at, racks))
    return Projection(at, tuple(sorted(flows, key=lambda f: f.after_years)), values, figures, tuple(bills), chips, racks, capex)


def usage_plan(deal: Deal, commitment: CommitmentPart, periods: tuple[BillingPeriod, ...], slip_months: float) -> list[float]:
    """Return planned spend by period, late by the slip."""
    part = commitment.contract
    steps = [(p.by, p.cumulative_usd) for p in commitment.spend_plan] or [(d.by, d.cumulative_usd) for d in part.draw_schedule]
    steps = steps or [(part.end, part.commit_usd or 0.0)]
    points = [(part.start.toordinal(), 0.0), *((day.toordinal(), usd) for day, usd in steps)]
    slip = slip_months * DAYS_PER_YEAR / 12

    def cumulative(day: str) -> float:
        now = date.fromisoformat(day).toordinal() - slip
        for (a, low), (b, high) in pairwise(points):
            if now <= a:
                return low
            if now < b:
                return low + (high - low) * (now - a) / (b - a)
        return points[-1][1]

    return [cumulative(p.end) - cumulative(p.start) for p in periods]


def _spend(
    deal: Deal,
    commitment: CommitmentPart,
    at: Mapping[str, float],
    periods: tuple[BillingPeriod, ...],
    rows: list[dict[str, float]],
    flows: list[Flow],
) -> Bill:
    contract = contract_of(commitment.contract, deal.rack())
    if commitment.late_capacity_moves_milestones and at["slip_months"]:
        contract = _later(contract, at["slip_months"])
    planned = usage_plan(deal, commitment, periods, 0.0)
    capacity = usage_plan(deal, commitment, periods, at["slip_months"])
    lines = []
    for i, period in enumerate(periods):
        age = i / (1 if deal.step == "year" else 4)
        need = planned[i] * (1 + at["demand_growth_frac"]) ** age * (1 - at["efficiency_gain_frac"]) ** age
        used = min(need, capacity[i])
        rows[i]["planned"] += planned[i]
        rows[i]["used"] += used
        rows[i]["served"] = rows[i].get("served", 0.0) + planned[i] * (1 + at["demand_growth_frac"]) ** age * (used / need if need > 0 else 0.0)
        if used > 0 and not contract.holds_chips:
            lines.append(UsageLine(i, contract.eligible[0] if contract.eligible else contract.id + ":use", contract.cloud, used, "USD", 1.0))
        elif used > 0 and contract.usd_per_chip_hour:
            hours = min(used / contract.usd_per_chip_hour, contract.held_chip_hours(period))
            lines.append(UsageLine(i, contract.id, contract.cloud, hours, "chip-hour", contract.usd_per_chip_hour))
    bill = contract.bill(Usage(periods, tuple(lines)))
    for line in bill.lines:
        paid = line.total_usd + line.equity_usd
        rows[line.period]["billed"] += paid
        rows[line.period]["shortfall"] += line.shortfall_usd
        after = _after(deal, periods[line.period].end)
        for kind, usd in (("compute", paid - line.shortfall_usd), ("shortfall", line.shortfall_usd)):
            if usd > 0:
                flows.append(Flow(commitment.buyer, commitment.seller, kind, contract.id, after, usd))
    return bill


def _later(contract: Contract, months: float) -> Contract:
    days = timedelta(days=round(months * DAYS_PER_YEAR / 12))
    moved = tuple(((date.fromisoformat(day) + days).isoformat(), usd) for day, usd in contract.draw_schedule)
    return replace(contract, draw_schedule=moved, end=(date.fromisoformat(contract.end) + days).isoformat())


def _equity(deal: Deal) -> list[Flow]:
    flows = []
    for leg in deal.binding_equity():
        cash = leg.usd - (leg.in_kind.usd if leg.in_kind else 0.0)
        tranches = [(t.on, t.usd * t.probability_frac) for t in leg.tranches] or [(deal.start, cash)]
        flows += [Flow(leg.payer, leg.payee, "equity", leg.id, max(0.0, _after(deal, day.isoformat())), usd) for day, usd in tranches if usd > 0]
    return flows


def _provide(deal: Deal, at: Mapping[str, float], rows: list[dict[str, float]], flows: list[Flow]) -> tuple[float, float, float]:
    """Add what the seller pays to be able to deliver; return chips, racks and capital cost."""
    provider = deal.provider
    if provider is None:
        return 0.0, 0.0, 0.0
    sold = [c for c in deal.binding_commitments() if c.seller == provider.party]
    spend = sum(c.contract.commit_usd or 0.0 for c in sold)
    rack = vary(deal.rack(), {"energy_usd_per_mwh": at["energy_usd_per_mwh"]})
    price = at["usd_per_chip_hour"]
    chips = spend / (price * HOURS_PER_YEAR * deal.years)
    racks = chips / rack.chips
    capex = racks * (rack.it_usd + rack.site_usd)
    take = at["supplier_take_frac"]
    for year, share in enumerate(provider.capex_frac_by_year):
        flows.append(Flow(provider.party, provider.supplier, "hardware", "capex", float(year), capex * share * take))
        flows.append(Flow(provider.party, OUTSIDE, "building", "capex", float(year), capex * share * (1 - take)))
        made = capex * share * take * (1 - provider.supplier_gross_margin_frac)
        flows.append(Flow(provider.supplier, OUTSIDE, "manufacturing", "capex", float(year), made))
    cash = chip_hour(rack).cash_usd
    step = 1.0 if deal.step == "year" else 0.25
    for i, row in enumerate(rows):
        row["running"] = row["used"] / price * cash
        flows.append(Flow(provider.party, OUTSIDE, "running", "site", (i + 1) * step, row["running"]))
        built = sum(provider.capex_frac_by_year[: int(i * step) + 1])
        yearly = racks * (rack.it_usd * (1 - rack.resale_frac) / rack.it_years + rack.site_usd / rack.site_years)
        row["depreciation"] = yearly * built * step
    return chips, racks, capex


def _sell(deal: Deal, at: Mapping[str, float], rows: list[dict[str, float]], flows: list[Flow]) -> None:
    """Add what the lab's customers pay for the tokens that the deal serves."""
    if deal.lab is None:
        return
    step = 1.0 if deal.step == "year" else 0.25
    for i, row in enumerate(rows):
        price = (1 - at["price_decay_frac"]) ** (i * step)
        row["sales"] = row.get("served", 0.0) * price / (1 - deal.lab.gross_margin_frac)
        flows.append(Flow(OUTSIDE, deal.lab.party, "sales", "customers", (i + 1) * step, row["sales"]))


def _values(deal: Deal, at: Mapping[str, float], racks: float) -> list[tuple[str, float, float, str]]:
    """Return what is owned at the end: stakes at the lab's value then, buildings at book, chips at resale."""
    end = float(deal.years)
    out: list[tuple[str, float, float, str]] = []
    for leg in deal.binding_equity():
        paid = sum(t.usd * t.probability_frac for t in leg.tranches) if leg.tranches else leg.usd - (leg.in_kind.usd if leg.in_kind else 0.0)
        out.append((leg.payer, end, paid * (1 + at["valuation_growth_frac"]) ** end, f"stake {leg.id}"))
    if deal.provider:
        rack = deal.rack()
        left = max(0.0, 1 - end / rack.site_years) * rack.site_usd
        resale = rack.it_usd * rack.resale_frac if end <= rack.it_years else 0.0
        out.append((deal.provider.party, end, racks * (left + resale), "site and chips"))
    return out


def _after(deal: Deal, day: str) -> float:
    """Return years after the deal's start; period ends come out whole."""
    quarters = (date.fromisoformat(day) - deal.start).days / DAYS_PER_YEAR * 4
    return round(quarters) / 4 if abs(quarters - round(quarters)) < 0.05 else quarters / 4
