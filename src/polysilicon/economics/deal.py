"""A deal file: who pays whom, when, on what condition; what is committed, what is an option, and how sure it is.

Contracts use the scenario file's own terms and become the planner's own `Contract`, so that a deal's bill and a plan's
bill of the same usage are one number.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, FiniteFloat, model_validator

from polysilicon.cloud.contract import Contract, DiscountTier
from polysilicon.economics.cost import Rack, vary
from polysilicon.economics.reading import check
from polysilicon.errors import InputError, InputErrors, did_you_mean
from polysilicon.scenario.check import NEEDS
from polysilicon.scenario.document import Document, Loc, read_document
from polysilicon.scenario.schema import ContractPart, Name, NonNegative, Part, Positive, ScopePart, Share, Text

Status = Literal["talks", "letter", "announced", "signed", "changed", "ended"]
BINDING: tuple[str, ...] = ("announced", "signed", "changed")  # what enters totals; talks, letters and ended terms never do
Role = Literal["lab", "cloud", "chip_maker", "investor", "outside"]
BOUNDS: Mapping[str, tuple[float, float]] = {  # what a driver can be; both ends excluded where the name says growth, fall or price
    "demand_growth_frac": (-1.0, 100.0),
    "price_decay_frac": (-100.0, 1.0),
    "efficiency_gain_frac": (-100.0, 1.0),
    "slip_months": (-1e-9, 240.0),
    "usd_per_chip_hour": (0.0, 1e6),
    "valuation_growth_frac": (-1.0, 100.0),
    "energy_usd_per_mwh": (-1e-9, 1e6),
    "supplier_take_frac": (-1e-9, 1.0 + 1e-9),
}
DRIVERS: Mapping[str, str] = {
    "demand_growth_frac": "demand a year beyond the spend plan (0: as planned)",
    "price_decay_frac": "fall of token prices a year beyond the plan",
    "efficiency_gain_frac": "fall of compute per token a year beyond the plan",
    "slip_months": "months by which capacity comes late",
    "usd_per_chip_hour": "what the committed dollars buy",
    "valuation_growth_frac": "growth of the lab's value a year, after dilution",
    "energy_usd_per_mwh": "electricity price at the provider's site",
    "supplier_take_frac": "share of the provider's capital cost that goes to the chip maker",
}
OUTSIDE = "outside"


class PartyPart(Part):
    """Someone with money in or out."""

    id: Name
    role: Role
    name: Text = ""
    cash_usd: NonNegative | None = None
    burn_usd_per_year: NonNegative | None = None
    owns_frac: dict[str, Share] = Field(default_factory=dict)
    """Shares held in other parties before the deal."""
    rivals: tuple[str, ...] = ()
    """Parties it competes with."""


class TranchePart(Part):
    """One payment of an equity leg."""

    on: date
    usd: NonNegative
    milestone: Text = ""
    """What must have happened; empty: unconditional."""
    probability_frac: Share = 1.0


class InKindPart(Part):
    """A part of an investment that is a right to capacity, not cash."""

    usd: NonNegative
    chip: str = ""
    chips: NonNegative = 0.0
    start: date
    months: Annotated[int, Field(ge=1, le=240)]
    strike_usd_per_chip_hour: NonNegative
    market_usd_per_chip_hour: Positive
    volatility_frac: Share = 0.3


class EquityPart(Part):
    """An investor buys shares."""

    id: Name
    payer: str
    payee: str
    usd: Positive
    status: Status = "announced"
    post_money_usd: Positive | None = None
    tranches: tuple[TranchePart, ...] = ()
    in_kind: InKindPart | None = None
    source: Text = ""
    as_of: Text = ""


class PlannedSpend(Part):
    """What the buyer means to spend: cumulative dollars by a date."""

    by: date
    cumulative_usd: NonNegative


class CommitmentPart(Part):
    """A buyer's promise to spend, rent or take capacity."""

    buyer: str
    seller: str
    status: Status = "announced"
    contract: ContractPart
    spend_plan: tuple[PlannedSpend, ...] = ()
    """Left out: the contract's own draw schedule."""
    late_capacity_moves_milestones: bool = True
    """Whether a late delivery moves what is due; false: the buyer bears it."""
    source: Text = ""
    as_of: Text = ""


class OptionPart(Part):
    """A right to more capacity at a fixed price."""

    id: Name
    holder: str
    writer: str
    gw: Positive
    years: Positive
    strike_usd_per_gw_year: NonNegative
    forward_usd_per_gw_year: Positive
    volatility_frac: Annotated[FiniteFloat, Field(ge=0, le=3)] = 0.3
    window_start: date
    window_end: date
    chip: str = ""
    """What the capacity consists of; without it a plan cannot hold the option."""
    scope: ScopePart | None = None
    status: Status = "announced"
    source: Text = ""


class PriorityPart(Part):
    """A right to be served first, from a day on."""

    holder: str
    grantor: str
    chip: str
    chips: Positive
    available_from: date
    public_from: date
    status: Status = "announced"
    source: Text = ""


class ExclusivityPart(Part):
    """A promise to buy from nobody else, or to sell to nobody else."""

    bound: str
    to: str
    scope: Text
    until: date | None = None
    status: Status = "announced"
    source: Text = ""


class Band(Part):
    """A value with its range."""

    low: FiniteFloat
    base: FiniteFloat
    high: FiniteFloat
    source: Text = ""

    @model_validator(mode="after")
    def _rising(self) -> Band:
        if not self.low <= self.base <= self.high:
            raise ValueError(f"low {self.low:g}, base {self.base:g} and high {self.high:g} must rise")
        return self


class ProviderPart(Part):
    """How the seller earns what it is paid for."""

    party: str
    supplier: str
    usd_per_chip_hour: Positive
    rack: dict[str, FiniteFloat] = Field(default_factory=dict)
    """Changes to the base rack of the cost-of-ownership model."""
    capex_frac_by_year: tuple[Share, ...] = (0.6, 0.25, 0.15)
    supplier_take_frac: Band
    supplier_gross_margin_frac: Share = 0.7
    programme_chips: Positive | None = None
    """Chips the maker means to sell of this programme; with it, the buyer's weight in it is told."""
    source: Text = ""


class LabPart(Part):
    """How the buyer earns what it spends."""

    party: str
    gross_margin_frac: Annotated[FiniteFloat, Field(ge=0, lt=1)]
    volume_tokens_per_month: tuple[Positive, Positive]
    """Today, low and high estimate."""
    usd_per_mtok: tuple[Positive, Positive]
    """List prices, low and high."""
    source: Text = ""


class DriverPart(Part):
    """Something uncertain that moves the deal."""

    name: str
    low: FiniteFloat
    base: FiniteFloat
    high: FiniteFloat
    shape: Literal["triangular", "uniform", "normal"] = "triangular"
    """normal: low and high are the 5 % and 95 % points."""
    source: Text = ""


class FacilityPart(Part):
    """What someone says a facility costs and holds, to set against sourced prices."""

    usd: Positive
    chips: tuple[Positive, Positive]
    source: Text = ""


class Deal(Part):
    """The whole deal."""

    polysilicon_deal: Literal[1]
    name: Annotated[str, Field(min_length=1, max_length=200)]
    description: Text = ""
    as_of: date
    start: date
    years: Annotated[int, Field(ge=1, le=30)] = 5
    step: Literal["year", "quarter"] = "quarter"
    discount_per_year_frac: Share = 0.10
    seed: Annotated[int, Field(ge=0, le=2**31 - 1)] = 7
    draws: Annotated[int, Field(ge=64, le=100_000)] = 2000
    parties: Annotated[tuple[PartyPart, ...], Field(min_length=2)]
    equity: tuple[EquityPart, ...] = ()
    commitments: tuple[CommitmentPart, ...] = ()
    options: tuple[OptionPart, ...] = ()
    priority: tuple[PriorityPart, ...] = ()
    exclusivity: tuple[ExclusivityPart, ...] = ()
    provider: ProviderPart | None = None
    lab: LabPart | None = None
    facility: FacilityPart | None = None
    drivers: tuple[DriverPart, ...] = ()
    correlations: tuple[tuple[str, str, Annotated[FiniteFloat, Field(ge=-1, le=1)]], ...] = ()
    scenarios: dict[str, dict[str, FiniteFloat]] = Field(default_factory=dict)
    notes: tuple[Text, ...] = ()

    def binding_equity(self) -> tuple[EquityPart, ...]:
        """Return the equity legs that enter totals."""
        return tuple(leg for leg in self.equity if leg.status in BINDING)

    def binding_commitments(self) -> tuple[CommitmentPart, ...]:
        """Return the commitments that enter totals."""
        return tuple(leg for leg in self.commitments if leg.status in BINDING)

    def rack(self) -> Rack:
        """Return the provider's rack."""
        return vary(Rack(), self.provider.rack if self.provider else {})

    def base(self) -> dict[str, float]:
        """Return the base value of every driver."""
        values = dict.fromkeys(DRIVERS, 0.0)
        rack = self.rack()
        values["energy_usd_per_mwh"] = rack.energy_usd_per_mwh
        if self.provider:
            values["usd_per_chip_hour"] = self.provider.usd_per_chip_hour
            values["supplier_take_frac"] = self.provider.supplier_take_frac.base
        return values | {driver.name: driver.base for driver in self.drivers}


def read_deal(path: Path) -> Deal:
    """Read a deal file.

    Raises: InputErrors with file, line and column of everything that is wrong.
    """
    return deal_from(read_document(path))


def deal_from(document: Document) -> Deal:
    """Return the deal of a parsed document."""
    deal = check(document, Deal)
    problems = [InputError(message, where=document.where(loc), hint=hint) for loc, message, hint in _problems(deal)]
    if problems:
        raise InputErrors(problems)
    return deal


def contract_of(part: ContractPart, rack: Rack | None = None) -> Contract:
    """Return the planner's contract of the file's terms; the rack says how many watts a chip of a megawatt deal takes."""
    stated: dict[str, Any] = {
        name: value
        for name in ("commit_usd", "it_mw", "usd_per_month", "chips", "usd_per_chip_hour", "exit_fee_usd", "equity_usd", "drawn_before_usd")
        if (value := getattr(part, name)) is not None
    }
    return Contract(
        id=part.id,
        cloud=part.cloud,
        kind=part.kind,
        start=part.start.isoformat(),
        end=part.end.isoformat(),
        take_or_pay_frac=part.take_or_pay_frac,
        rollover=part.rollover,
        eligible=part.eligible,
        chip=part.chip or "",
        draw_schedule=tuple((d.by.isoformat(), d.cumulative_usd) for d in part.draw_schedule),
        discount_tiers=tuple(DiscountTier(t.from_usd, t.discount_frac) for t in part.discount_tiers),
        ramp_mw=tuple((day.isoformat(), mw) for day, mw in part.ramp_mw),
        signed=part.signed,
        exclusive=part.exclusive,
        source=part.source,
        w_per_chip=rack.rack_kw * 1000 / rack.chips if rack and part.it_mw is not None else None,
        **stated,
    )


Problem = tuple[Loc, str, str]


def _problems(deal: Deal) -> Iterator[Problem]:
    yield from _party_problems(deal)
    for i, leg in enumerate(deal.equity):
        yield from _equity_problems(("equity", i), leg)
    ids = [c.contract.id for c in deal.commitments]
    for i, commitment in enumerate(deal.commitments):
        loc: Loc = ("commitments", i, "contract")
        if commitment.contract.id in ids[:i]:
            yield (*loc, "id"), f'contract id "{commitment.contract.id}" is given twice', ""
        yield from _contract_problems(loc, commitment.contract)
        plan = [(p.by, p.cumulative_usd) for p in commitment.spend_plan]
        yield from _schedule_problems(("commitments", i, "spend_plan"), plan, "spend_plan", commitment.contract)
    for i, option in enumerate(deal.options):
        if option.window_end <= option.window_start:
            yield ("options", i, "window_end"), f"the window ends {option.window_end}, not after its start {option.window_start}", ""
    for i, right in enumerate(deal.priority):
        if right.public_from < right.available_from:
            yield ("priority", i, "public_from"), f"the public date {right.public_from} is before the holder's {right.available_from}", ""
    yield from _driver_problems(deal)
    if deal.provider and abs(sum(deal.provider.capex_frac_by_year) - 1) > 1e-9:
        yield ("provider", "capex_frac_by_year"), f"the shares sum to {sum(deal.provider.capex_frac_by_year):g}; they must sum to 1", ""
    unknown = set(deal.provider.rack) - set(Rack.__dataclass_fields__) if deal.provider else set()
    for name in sorted(unknown):
        yield ("provider", "rack", name), f'a rack has no "{name}"', did_you_mean(name, Rack.__dataclass_fields__)
    if not unknown:
        try:
            deal.rack()
        except InputError as error:
            yield ("provider", "rack"), error.message, error.hint


def _party_problems(deal: Deal) -> Iterator[Problem]:
    known = [party.id for party in deal.parties]
    for i, name in enumerate(known):
        if name in known[:i]:
            yield ("parties", i, "id"), f'party "{name}" is given twice', ""
    named: list[tuple[Loc, str]] = []
    for field, keys in (
        ("equity", ("payer", "payee")),
        ("commitments", ("buyer", "seller")),
        ("options", ("holder", "writer")),
        ("priority", ("holder", "grantor")),
        ("exclusivity", ("bound", "to")),
    ):
        for i, leg in enumerate(getattr(deal, field)):
            named += [((field, i, key), getattr(leg, key)) for key in keys]
            first, second = (getattr(leg, key) for key in keys)
            if first == second:
                yield (field, i, keys[1]), f'"{first}" deals with itself', ""
    if deal.provider is not None:
        named += [(("provider", "party"), deal.provider.party), (("provider", "supplier"), deal.provider.supplier)]
    if deal.lab is not None:
        named.append((("lab", "party"), deal.lab.party))
    for i, party in enumerate(deal.parties):
        named += [(("parties", i, "owns_frac", other), other) for other in party.owns_frac]
        named += [(("parties", i, "rivals", k), other) for k, other in enumerate(party.rivals)]
    for loc, name in named:
        if name not in known:
            yield loc, f'party "{name}" is not among the parties', did_you_mean(name, known)


def _equity_problems(loc: Loc, leg: EquityPart) -> Iterator[Problem]:
    in_kind = leg.in_kind.usd if leg.in_kind else 0.0
    days = [t.on for t in leg.tranches]
    if days != sorted(set(days)):
        yield (*loc, "tranches"), "tranches overlap: their dates must rise", ""
    if leg.tranches and abs(sum(t.usd for t in leg.tranches) + in_kind - leg.usd) > 0.005:
        paid = sum(t.usd for t in leg.tranches)
        yield (*loc, "tranches"), f"tranches of {paid:,.0f} $ and {in_kind:,.0f} $ in kind do not sum to {leg.usd:,.0f} $", ""
    if in_kind > leg.usd:
        yield (*loc, "in_kind", "usd"), f"{in_kind:,.0f} $ in kind is more than the whole leg, {leg.usd:,.0f} $", ""
    if leg.post_money_usd is not None and leg.post_money_usd < leg.usd:
        yield (*loc, "post_money_usd"), f"the post-money value {leg.post_money_usd:,.0f} $ is below the investment {leg.usd:,.0f} $", ""


def _contract_problems(loc: Loc, part: ContractPart) -> Iterator[Problem]:
    for name in NEEDS[part.kind]:
        if name != "scope" and getattr(part, name) is None:  # what it covers matters to a plan, not to its price
            yield loc, f"a {part.kind} contract needs {name}", ""
    if part.end <= part.start:
        yield (*loc, "end"), f"the contract ends {part.end}, not after its start {part.start}", ""
    draws = [(d.by, d.cumulative_usd) for d in part.draw_schedule]
    yield from _schedule_problems((*loc, "draw_schedule"), draws, "draw_schedule", part)
    days = [day for day, _ in part.ramp_mw]
    if days != sorted(set(days)):
        yield (*loc, "ramp_mw"), "the ramp overlaps: its dates must rise", ""
    if part.it_mw is not None and any(mw > part.it_mw for _, mw in part.ramp_mw):
        yield (*loc, "ramp_mw"), f"the ramp goes beyond {part.it_mw:g} MW", ""


def _schedule_problems(loc: Loc, steps: list[tuple[date, float]], what: str, part: ContractPart) -> Iterator[Problem]:
    if not steps:
        return
    days = [day for day, _ in steps]
    if days != sorted(set(days)):
        yield loc, f"{what} overlaps: its dates must rise", ""
    amounts = [usd for _, usd in steps]
    if amounts != sorted(amounts):
        yield loc, f"{what} falls: amounts are cumulative and cannot go down", ""
    if days[0] < part.start or days[-1] > part.end:
        yield loc, f"{what} leaves the contract's dates, {part.start} to {part.end}", ""
    if what == "draw_schedule" and part.commit_usd is not None and abs(amounts[-1] - part.commit_usd) > 0.005:
        yield loc, f"{what} ends at {amounts[-1]:,.0f} $ but {part.commit_usd:,.0f} $ are committed", ""


def _driver_problems(deal: Deal) -> Iterator[Problem]:
    names = [driver.name for driver in deal.drivers]
    for i, driver in enumerate(deal.drivers):
        if driver.name not in DRIVERS:
            yield (
                ("drivers", i, "name"),
                f'driver "{driver.name}" is not known',
                did_you_mean(driver.name, DRIVERS) or f"drivers: {', '.join(DRIVERS)}",
            )
        if driver.name in names[:i]:
            yield ("drivers", i, "name"), f'driver "{driver.name}" is given twice', ""
        for end in ("low", "high"):
            yield from _beyond(("drivers", i, end), driver.name, getattr(driver, end))
        if not driver.low <= driver.base <= driver.high:
            yield ("drivers", i), f"low {driver.low:g}, base {driver.base:g} and high {driver.high:g} must rise", ""
    for i, (a, b, _) in enumerate(deal.correlations):
        for name in (a, b):
            if name not in names:
                yield ("correlations", i), f'"{name}" is not among the drivers', did_you_mean(name, names)
    if all(name in names for a, b, _ in deal.correlations for name in (a, b)) and _contradictory(names, deal.correlations):
        yield ("correlations",), "the correlations contradict one another", "three that pull together cannot pull two of them apart"
    for title, changes in deal.scenarios.items():
        for name, value in changes.items():
            if name not in DRIVERS:
                yield ("scenarios", title, name), f'driver "{name}" is not known', did_you_mean(name, DRIVERS)
            yield from _beyond(("scenarios", title, name), name, value)


def _beyond(loc: Loc, name: str, value: float) -> Iterator[Problem]:
    low, high = BOUNDS.get(name, (float("-inf"), float("inf")))
    if not low < value < high:
        yield loc, f"{name} of {value:g} cannot be; it lies between {low:g} and {high:g}", DRIVERS.get(name, "")


def _contradictory(names: list[str], correlations: tuple[tuple[str, str, float], ...]) -> bool:
    """Say whether no set of variables can be so correlated: the matrix is not positive definite."""
    import numpy as np

    tie = np.eye(len(names))
    for a, b, rho in correlations:
        tie[names.index(a), names.index(b)] = tie[names.index(b), names.index(a)] = rho
    return bool(np.linalg.eigvalsh(tie).min() <= 0) if len(names) else False
