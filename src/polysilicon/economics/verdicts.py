"""A deal seen by each party: what it pays and earns, whether it pays, and what would have to be true.

Cash and accounting stand side by side: net present value and rate of return are of cash (and, apart, with what is owned at
the end); margins are of accounts. Every figure names which it is.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

from polysilicon.economics import finance
from polysilicon.economics.cost import Rack, chip_hour
from polysilicon.economics.deal import OUTSIDE, Deal, contract_of
from polysilicon.economics.energy import capacity, usd_per_gw_year
from polysilicon.economics.options import option_usd, priority_usd
from polysilicon.economics.projection import Projection
from polysilicon.economics.references import number_of
from polysilicon.scenario.calendar import add_months


@dataclass(frozen=True, slots=True)
class PartyView:
    """One party's side of a deal."""

    party: str
    role: str
    in_usd: Mapping[str, float]  # by kind
    out_usd: Mapping[str, float]
    net_usd: float
    npv_usd: float  # cash alone
    npv_with_values_usd: float  # with stakes and sites as if sold at the end
    irr_frac: float | None
    irr_with_values_frac: float | None
    payback_years: float | None
    coverage_ratio: float | None  # what comes in for services over what goes out for them
    verdict: str


@dataclass(frozen=True, slots=True)
class Leg:
    """One business inside a party's side, on its own."""

    party: str
    name: str
    out_usd: float
    in_usd: float
    npv_usd: float
    irr_frac: float | None


@dataclass(frozen=True, slots=True)
class LabView:
    """What the buyer's own business has to do."""

    revenue_needed_usd: float
    break_even_tokens_per_month: tuple[float, float]
    volume_now_tokens_per_month: tuple[float, float]
    growth_ratio: tuple[float, float]
    growth_per_year_frac: tuple[float, float]
    price_needed_usd_per_mtok: tuple[float, float]
    runway_months: float | None
    stakes: Mapping[str, tuple[float, float]]  # investor -> (share, post-money $)


@dataclass(frozen=True, slots=True)
class ProviderView:
    """What the seller has to build and what it keeps."""

    chips: float
    racks: float
    it_gw: float
    capex_usd: float
    usd_per_gw_year: float | None
    accounting_usd_per_chip_hour: float
    gross_margin_frac: float
    margin_after_capital_frac: float
    gross_profit_usd: float
    facilities: tuple[float, float] | None  # how many facilities of the stated price the gross profit pays for
    facility_usd_per_chip: tuple[float, float] | None
    gigawatt_facilities: tuple[float, float] | None
    sourced_usd_per_chip: tuple[float, float]  # rack and site at the ends of their sourced ranges
    facility_outside: bool | None  # whether the stated facility lies outside that band

    @property
    def facility_words(self) -> str:
        """Say how the stated facility's price a chip stands to the sourced ones; nothing where none is stated."""
        if self.facility_usd_per_chip is None:
            return ""
        (low, high), (least, most) = self.facility_usd_per_chip, self.sourced_usd_per_chip
        where = "outside" if self.facility_outside else "within"
        return f"{low:,.0f} to {high:,.0f} $ a chip, {where} the band of sourced prices, {least:,.0f} to {most:,.0f} $"


@dataclass(frozen=True, slots=True)
class RampStep:
    """What capacity is there when a quarter begins."""

    day: str
    it_mw: float
    facility_mw: float
    racks: float
    chips: float


def ramp(deal: Deal) -> tuple[RampStep, ...]:
    """Return power, racks and chips by quarter of the binding contracts in megawatts; empty where there is none.

    Racks and chips are those of the provider's rack, the base rack where none is stated.
    """
    terms = [contract_of(c.contract, deal.rack()) for c in deal.binding_commitments() if c.contract.it_mw]
    if not terms:
        return ()
    rack, out = deal.rack(), []
    for quarter in range(deal.years * 4 + 1):
        day = add_months(deal.start, 3 * quarter).isoformat()
        it_mw = sum(t.mw_on(day) for t in terms if t.start <= day < t.end)
        racks = it_mw * 1000 / rack.rack_kw
        out.append(RampStep(day, it_mw, it_mw * rack.pue, racks, racks * rack.chips))
    return tuple(out)


@dataclass(frozen=True, slots=True)
class SupplierView:
    """What the chip maker sells, and what it would lose."""

    hardware_usd: float
    hardware_band_usd: tuple[float, float]
    returned_ratio: tuple[float, float, float] | None  # of its investment, at low, base and high share of capital cost
    gross_profit_usd: float
    at_risk_usd: Mapping[str, float]  # share of the work moved to other silicon -> revenue lost
    programme_frac: float | None = None  # this buyer's share of the maker's programme


_SERVICES = ("compute", "shortfall", "sales", "hardware", "running", "building", "manufacturing")


def party_views(deal: Deal, projection: Projection) -> tuple[PartyView, ...]:
    """Return every party's side, in the file's order."""
    return tuple(
        _party(deal, projection, party.id, party.role) for party in deal.parties if party.role != OUTSIDE and _involved(projection, party.id)
    )


def _involved(projection: Projection, party: str) -> bool:
    return any(party in (flow.payer, flow.payee) for flow in projection.flows)


def _party(deal: Deal, projection: Projection, party: str, role: str) -> PartyView:
    rate = deal.discount_per_year_frac
    inward: dict[str, float] = defaultdict(float)
    outward: dict[str, float] = defaultdict(float)
    for flow in projection.flows:
        if flow.payee == party:
            inward[flow.kind] += flow.usd
        if flow.payer == party:
            outward[flow.kind] += flow.usd
    cash, owned = projection.net(party), projection.net(party, with_values=True)
    earned = sum(usd for kind, usd in inward.items() if kind in _SERVICES)
    spent = sum(usd for kind, usd in outward.items() if kind in _SERVICES)
    npv, npv_owned = finance.npv_usd(cash, rate), finance.npv_usd(owned, rate)
    return PartyView(
        party=party,
        role=role,
        in_usd=dict(inward),
        out_usd=dict(outward),
        net_usd=sum(usd for _, usd in cash),
        npv_usd=npv,
        npv_with_values_usd=npv_owned,
        irr_frac=finance.irr_frac(cash),
        irr_with_values_frac=finance.irr_frac(owned),
        payback_years=finance.payback_years(cash) if any(usd < 0 for _, usd in cash) else 0.0,
        coverage_ratio=earned / spent if spent > 0 else None,
        verdict=_words(npv, npv_owned, rate),
    )


def _words(npv: float, with_values: float, rate: float) -> str:
    if npv >= 0:
        return f"pays in cash at {rate:.0%} a year"
    if with_values >= 0:
        return f"pays at {rate:.0%} a year only with what it owns at the end"
    return f"does not pay at {rate:.0%} a year"


def legs(deal: Deal, projection: Projection) -> tuple[Leg, ...]:
    """Return each party's businesses apart: the infrastructure of the provider, the stake of each investor, the supplier's chips."""
    out = []
    parties = {flow.payer for flow in projection.flows} | {flow.payee for flow in projection.flows}
    for party in [p.id for p in deal.parties if p.id in parties and p.role not in (OUTSIDE, "lab")]:
        for name, kinds, value in (
            ("stake", ("equity",), "stake"),
            ("infrastructure", ("compute", "shortfall", "hardware", "building", "running"), "site"),
            ("chips", ("hardware", "manufacturing"), ""),
        ):
            if name == "chips" and (deal.provider is None or party != deal.provider.supplier):
                continue
            if name == "infrastructure" and (deal.provider is None or party != deal.provider.party):
                continue
            out += _leg(deal, projection, party, name, kinds, value)
    return tuple(out)


def _leg(deal: Deal, projection: Projection, party: str, name: str, kinds: tuple[str, ...], value: str) -> list[Leg]:
    flows = [(f.after_years, f.usd if f.payee == party else -f.usd) for f in projection.flows if f.kind in kinds and party in (f.payer, f.payee)]
    flows += [(t, usd) for owner, t, usd, what in projection.values if owner == party and value and what.startswith(value)]
    if not flows:
        return []
    paid, got = -sum(usd for _, usd in flows if usd < 0), sum(usd for _, usd in flows if usd > 0)
    return [Leg(party, name, paid, got, finance.npv_usd(flows, deal.discount_per_year_frac), finance.irr_frac(sorted(flows)))]


def lab_view(deal: Deal) -> LabView | None:
    """Return what the buyer's business must reach for its commitments to leave it its margin."""
    if deal.lab is None:
        return None
    lab = deal.lab
    commitments = [c for c in deal.binding_commitments() if c.buyer == lab.party]
    spend = sum(c.contract.commit_usd or 0.0 for c in commitments)
    months = deal.years * 12.0
    revenue = finance.revenue_needed_usd(spend, lab.gross_margin_frac)
    low_price, high_price = sorted(lab.usd_per_mtok)
    now = (min(lab.volume_tokens_per_month), max(lab.volume_tokens_per_month))
    volume = (finance.tokens_per_month(revenue, months, high_price), finance.tokens_per_month(revenue, months, low_price))
    growth = finance.growth_factors(now, volume)
    party = next(p for p in deal.parties if p.id == lab.party)
    stakes = {
        leg.payer: (finance.stake_frac(leg.usd, leg.post_money_usd), leg.post_money_usd)
        for leg in deal.binding_equity()
        if leg.payee == lab.party and leg.post_money_usd
    }
    equity = sum(leg.usd - (leg.in_kind.usd if leg.in_kind else 0.0) for leg in deal.binding_equity() if leg.payee == lab.party)
    runway = None
    if party.burn_usd_per_year:
        runway = finance.runway_months((party.cash_usd or 0.0) + equity, party.burn_usd_per_year / 12)
    yearly = (finance.growth_per_year_frac(growth[0], deal.years), finance.growth_per_year_frac(growth[1], deal.years))
    needed = (finance.price_needed_usd_per_mtok(revenue, months, now[1]), finance.price_needed_usd_per_mtok(revenue, months, now[0]))
    return LabView(revenue, volume, now, growth, yearly, needed, runway, stakes)


def runway_by_month(deal: Deal) -> tuple[tuple[str, float], ...]:
    """Return the buyer's cash at the start of each month until it is spent: cash and equity when paid, less today's burn; empty without a burn."""
    if deal.lab is None:
        return ()
    party = next(p for p in deal.parties if p.id == deal.lab.party)
    if not party.burn_usd_per_year:
        return ()
    paid = [(leg, t.on, t.usd) for leg in deal.binding_equity() for t in leg.tranches]
    whole = sum(leg.usd - (leg.in_kind.usd if leg.in_kind else 0.0) for leg in deal.binding_equity() if leg.payee == party.id and not leg.tranches)
    out, cash = [], (party.cash_usd or 0.0) + whole
    for month in range(240):
        day = add_months(deal.start, month)
        before = add_months(deal.start, month - 1) if month else date.min
        cash += sum(usd for leg, on, usd in paid if leg.payee == party.id and before < on <= day)
        out.append((day.isoformat(), max(0.0, cash)))
        if cash <= 0:
            break
        cash -= party.burn_usd_per_year / 12
    return tuple(out)


def provider_view(deal: Deal, projection: Projection) -> ProviderView | None:
    """Return what the seller builds for the commitment and what it keeps of it."""
    if deal.provider is None:
        return None
    rack = deal.rack()
    cost = chip_hour(rack)
    price = projection.drivers["usd_per_chip_hour"]
    billed = sum(p.billed_usd for p in projection.periods)
    spent = sum(p.running_usd + p.depreciation_usd for p in projection.periods)
    gw = projection.racks * rack.rack_kw / 1e6
    facilities = per_chip = gigawatt = outside = None
    sourced = _sourced_usd_per_chip(rack)
    if deal.facility:
        chips = deal.facility.chips
        per_chip = (deal.facility.usd / max(chips), deal.facility.usd / min(chips))
        outside = per_chip[0] > sourced[1] or per_chip[1] < sourced[0]
        profit_band = (0.6 * billed, 0.7 * billed)
        facilities = (profit_band[0] / deal.facility.usd, profit_band[1] / deal.facility.usd)
        one = capacity(1.0, rack_kw=rack.rack_kw, rack_chips=rack.chips).chips
        gigawatt = (one / max(chips), one / min(chips))
    return ProviderView(
        chips=projection.chips,
        racks=projection.racks,
        it_gw=gw,
        capex_usd=projection.capex_usd,
        usd_per_gw_year=usd_per_gw_year(billed, gw, deal.years) if gw > 0 and billed > 0 else None,
        accounting_usd_per_chip_hour=cost.accounting_usd,
        gross_margin_frac=1 - cost.accounting_usd / price,
        margin_after_capital_frac=1 - cost.full_usd / price,
        gross_profit_usd=billed - spent,
        facilities=facilities,
        facility_usd_per_chip=per_chip,
        gigawatt_facilities=gigawatt,
        sourced_usd_per_chip=sourced,
        facility_outside=outside,
    )


def _sourced_usd_per_chip(rack: Rack) -> tuple[float, float]:
    """Return the least and most a chip costs with its share of rack and site, at the ends of their sourced ranges."""
    low, high = (sum(number_of("cost-range", f"{part}.{end}") for part in ("rack_usd", "site_usd")) / rack.chips for end in ("low", "high"))
    return low, high


def supplier_view(deal: Deal, projection: Projection) -> SupplierView | None:
    """Return the chip maker's revenue from the deal and what it loses if work moves to other silicon."""
    if deal.provider is None:
        return None
    band = deal.provider.supplier_take_frac
    revenue = projection.total(payee=deal.provider.supplier, kind="hardware")
    invested = sum(leg.usd for leg in deal.binding_equity() if leg.payer == deal.provider.supplier)
    capex = projection.capex_usd
    ratios = (band.low * capex / invested, band.base * capex / invested, band.high * capex / invested) if invested else None
    return SupplierView(
        hardware_usd=revenue,
        hardware_band_usd=(band.low * capex, band.high * capex),
        returned_ratio=ratios,
        gross_profit_usd=revenue * deal.provider.supplier_gross_margin_frac,
        at_risk_usd={f"{share:.0%}": share * revenue for share in (0.1, 0.25, 0.5)},
        programme_frac=projection.chips / deal.provider.programme_chips if deal.provider.programme_chips else None,
    )


def rights(deal: Deal) -> dict[str, float]:
    """Return the worth of options, priority rights and in-kind parts, in dollars today, by id."""
    out = {}
    for option in deal.options:
        years = max(0.0, (option.window_end - deal.as_of).days / 365.25)
        unit = option_usd(
            option.forward_usd_per_gw_year,
            option.strike_usd_per_gw_year,
            volatility_frac=option.volatility_frac,
            years=years,
            rate_frac=deal.discount_per_year_frac,
        )
        out[option.id] = unit * option.gw * option.years
    for leg in deal.equity:
        if leg.in_kind:
            kind = leg.in_kind
            out[f"{leg.id} in kind"] = priority_usd(
                kind.chips,
                months=kind.months,
                strike_usd_per_chip_hour=kind.strike_usd_per_chip_hour,
                market_usd_per_chip_hour=kind.market_usd_per_chip_hour,
                volatility_frac=kind.volatility_frac,
                wait_years=max(0.0, (kind.start - deal.as_of).days / 365.25),
                rate_frac=deal.discount_per_year_frac,
            )
    return out
