"""Signed or offered terms, and the one place in polysilicon that prices usage.

Names follow FOCUS 1.2 where it has one: a `Contract` is a ContractCommitment, `commit_usd` its cost, `eligible` its
scope, `drawdown_usd` its EffectiveCost, `shortfall_usd` its unused part, `UsageLine.consumed_count` is ConsumedQuantity and
`UsageLine.unit_usd` is ContractedUnitPrice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from fnmatch import fnmatchcase
from typing import Literal

from polysilicon.errors import MissingFact
from polysilicon.units import HOURS_PER_MONTH

ContractKind = Literal[
    "on_demand", "spot", "per_token", "reserved", "committed_spend", "capacity_mw", "lease", "equity_linked"
]  # fmt: skip
PAY_AS_YOU_GO: tuple[str, ...] = ("on_demand", "spot", "per_token")


@dataclass(frozen=True, slots=True)
class BillingPeriod:
    """A stretch of time that gets one line per contract; `end` is the first day after it."""

    start: str
    end: str
    hours: float


@dataclass(frozen=True, slots=True)
class UsageLine:
    """So many units of one offer, used in one billing period, at a price per unit before any commitment's discount."""

    period: int  # index into Usage.periods
    offer: str
    cloud: str
    consumed_count: float  # of `unit`
    unit: str  # chip-hour, Mtok, MWh
    unit_usd: float

    @property
    def list_usd(self) -> float:
        """Return quantity times price.

        >>> UsageLine(0, "x", "aws", 10.0, "chip-hour", 2.5).list_usd
        25.0
        """
        return self.consumed_count * self.unit_usd


@dataclass(frozen=True, slots=True)
class Usage:
    """What was used over consecutive billing periods."""

    periods: tuple[BillingPeriod, ...]
    lines: tuple[UsageLine, ...] = ()


@dataclass(frozen=True, slots=True)
class BillLine:
    """One contract in one billing period.

    total = eligible + shortfall + overage + fixed - rebate - equity. The drawdown is the part of `eligible_usd` that
    counts against a commitment not yet used up; it is shown, not added.
    """

    contract: str
    period: int
    eligible_usd: float = 0.0  # metered usage at contract price
    drawdown_usd: float = 0.0
    shortfall_usd: float = 0.0  # take-or-pay that usage did not reach
    overage_usd: float = 0.0  # use of held capacity beyond its take-or-pay share
    fixed_usd: float = 0.0  # due whether used or not
    rebate_usd: float = 0.0  # volume tiers, credited at the end of the contract year
    equity_usd: float = 0.0  # paid by the supplier for shares of the buyer

    @property
    def total_usd(self) -> float:
        """Return what is paid in the period."""
        return self.eligible_usd + self.shortfall_usd + self.overage_usd + self.fixed_usd - self.rebate_usd - self.equity_usd

    @property
    def billed_nano_usd(self) -> int:
        """Return what is invoiced, in whole billionths of a dollar: every part rounded once, so that parts add up to the line exactly.

        >>> BillLine("c", 0, eligible_usd=0.1, shortfall_usd=0.2).billed_nano_usd
        300000000
        """
        parts = (self.eligible_usd, self.shortfall_usd, self.overage_usd, self.fixed_usd, -self.rebate_usd, -self.equity_usd)
        return sum(nano_of(part) for part in parts)


@dataclass(frozen=True, slots=True)
class Bill:
    """The lines of one contract, a period each."""

    contract: str
    lines: tuple[BillLine, ...]

    @property
    def total_usd(self) -> float:
        """Return the sum of the lines."""
        return sum(line.total_usd for line in self.lines)

    @property
    def billed_nano_usd(self) -> int:
        """Return the sum of the lines as invoiced: whole billionths of a dollar, exact."""
        return sum(line.billed_nano_usd for line in self.lines)

    def focus_rows(self, periods: Sequence[BillingPeriod]) -> list[dict[str, str | Decimal]]:
        """Return rows with the column names of FOCUS 1.2; what FOCUS has no name for starts with `x_`. Money is decimal, to the nano-dollar."""
        return [
            {
                "ChargePeriodStart": periods[line.period].start,
                "ChargePeriodEnd": periods[line.period].end,
                "CommitmentDiscountId": line.contract,
                "BilledCost": _decimal(line.billed_nano_usd),
                "EffectiveCost": _decimal(nano_of(line.eligible_usd) + nano_of(line.overage_usd)),
                "ContractedCost": _decimal(nano_of(line.eligible_usd)),
                "CommitmentDiscountQuantity": _decimal(nano_of(line.drawdown_usd)),
                "CommitmentDiscountStatus": "Unused" if line.shortfall_usd > 0 else "Used",
                "x_ShortfallCost": _decimal(nano_of(line.shortfall_usd)),
                "x_FixedCost": _decimal(nano_of(line.fixed_usd)),
                "x_Rebate": _decimal(nano_of(line.rebate_usd)),
            }
            for line in self.lines
        ]


@dataclass(frozen=True, slots=True)
class DiscountTier:
    """A discount on dollars of list spend above a yearly threshold; a tier from 0 discounts every price at once."""

    from_usd: float
    discount_frac: float


@dataclass(frozen=True, slots=True)
class Contract:
    """Terms between the buyer and one cloud, from `start` up to, not including, `end` (ISO dates)."""

    id: str
    cloud: str
    kind: ContractKind
    start: str = "1900-01-01"
    end: str = "9999-12-31"
    commit_usd: float = 0.0
    take_or_pay_frac: float = 1.0
    rollover: bool = True  # spend beyond one milestone counts for the next
    draw_schedule: tuple[tuple[str, float], ...] = ()  # (ISO date, cumulative $ due by then)
    drawn_before_usd: float | None = None  # before the first billing period; None: exactly what was due
    discount_tiers: tuple[DiscountTier, ...] = ()
    eligible: tuple[str, ...] = ()  # offer ids or globs; empty: every offer of the cloud
    it_mw: float | None = None
    w_per_chip: float | None = None  # all-in watts that turn megawatts into chips
    ramp_mw: tuple[tuple[str, float], ...] = ()
    usd_per_month: float = 0.0
    chip: str = ""
    chips: float | None = None
    usd_per_chip_hour: float | None = None
    exit_fee_usd: float = 0.0
    equity_usd: float = 0.0
    signed: bool = True  # False: the planner may take it or leave it
    exclusive: bool = False  # while in force, the buyer serves from no other cloud
    option: str = ""  # a right to these terms: of one option at most one is taken, decided when it begins
    source: str = ""

    @property
    def holds_chips(self) -> bool:
        """Return whether the terms give chips, rather than a price for chips bought by the hour."""
        return bool(self.chip) and (self.chips is not None or self.it_mw is not None)

    def covers(self, offer: str, cloud: str) -> bool:
        """Return whether usage of an offer counts under these terms.

        >>> Contract("macc", "azure", "committed_spend", eligible=("azure-*",)).covers("azure-h100", "azure")
        True
        """
        if self.eligible:
            return any(fnmatchcase(offer, pattern) for pattern in self.eligible)
        return cloud == self.cloud

    def in_force_frac(self, period: BillingPeriod) -> float:
        """Return the share of a period's days on which the terms hold."""
        first, last = _day(period.start), _day(period.end)
        overlap = min(last, _day(self.end)) - max(first, _day(self.start))
        return max(0.0, overlap / (last - first)) if last > first else 0.0

    def mw_on(self, day: str) -> float:
        """Return IT megawatts delivered by a date: the last ramp step reached, else the full size."""
        if not self.ramp_mw:
            return self.it_mw or 0.0
        reached = [mw for when, mw in sorted(self.ramp_mw) if when <= day]
        return reached[-1] if reached else 0.0

    def chips_on(self, day: str) -> float:
        """Return chips delivered by a date; megawatts become chips at `w_per_chip` all-in.

        >>> Contract("gw", "azure", "capacity_mw", chip="gb200", it_mw=100.0, w_per_chip=2000.0).chips_on("2027-01-01")
        50000.0

        Raises: MissingFact when the terms are in megawatts and the chip's power is not known.
        """
        if self.it_mw is None:
            return self.chips or 0.0
        if self.w_per_chip is None:
            raise MissingFact(self.chip, "all_in_w", needed_for=f'the megawatts of contract "{self.id}"')
        by_power = self.mw_on(day) * 1e6 / self.w_per_chip
        return by_power if self.chips is None else min(by_power, self.chips)

    def milestones(self, periods: Sequence[BillingPeriod]) -> list[tuple[int, float]]:
        """Return (period, cumulative $ due since the first period began) for each date at which a shortfall falls due.

        A commitment that runs on after the last period is accrued there, linearly between its dates.
        """
        if self.kind in PAY_AS_YOU_GO or not periods or self._last_due_usd() <= 0:
            return []
        begin, finish = periods[0].start, periods[-1].end
        before = self.due_usd(begin) if self.drawn_before_usd is None else self.drawn_before_usd
        due: list[tuple[int, float]] = []
        for when, _ in self._schedule():
            if begin < when <= finish:
                index = next(i for i, p in enumerate(periods) if p.start < when <= p.end)
                due.append((index, self.due_usd(when) - before))
        if self._schedule()[-1][0] > finish and self.start < finish:
            due.append((len(periods) - 1, self.due_usd(finish) - before))
        return [(index, usd) for index, usd in due if usd > 0]

    def due_usd(self, day: str) -> float:
        """Return the take-or-pay dollars accrued by a date, linear between the schedule's dates.

        >>> Contract("c", "aws", "committed_spend", "2026-01-01", "2027-01-01", commit_usd=365.0).due_usd("2026-01-11")
        10.0
        """
        now, at, paid = _day(day), _day(self.start), 0.0
        for when, cumulative in self._schedule():
            until = _day(when)
            if now >= until:
                at, paid = until, cumulative
                continue
            if now > at:
                paid += (cumulative - paid) * (now - at) / (until - at)
            break
        return self.take_or_pay_frac * paid

    def base_discount_frac(self) -> float:
        """Return the discount that applies from the first dollar."""
        return max((t.discount_frac for t in self.discount_tiers if t.from_usd <= 0), default=0.0)

    def rebate_tiers(self) -> list[tuple[float, float]]:
        """Return (yearly list spend from which, extra discount on the dollars above) beyond the base discount."""
        base = self.base_discount_frac()
        return sorted((t.from_usd, t.discount_frac - base) for t in self.discount_tiers if t.from_usd > 0)

    def contract_year(self, period: BillingPeriod) -> int:
        """Return in which year of the contract a period begins."""
        return (_day(period.start) - _day(self.start)) // 365

    def bill(self, usage: Usage) -> Bill:
        """Return what the usage costs under these terms, period by period.

        Metered usage is charged at its unit price less the base discount; at each milestone, what the commitment asks
        beyond the spend so far is charged as shortfall; held capacity is charged at its take-or-pay share whether used
        or not, and beyond that share as used.

        Ignores: interest between usage and invoice.

        >>> months = (BillingPeriod("2026-01-01", "2026-07-01", 4380.0), BillingPeriod("2026-07-01", "2027-01-01", 4380.0))
        >>> terms = Contract("c", "aws", "committed_spend", "2026-01-01", "2027-01-01", commit_usd=100.0)
        >>> [line.total_usd for line in terms.bill(Usage(months, (UsageLine(0, "x", "aws", 30.0, "chip-hour", 2.0),))).lines]
        [60.0, 40.0]
        """
        count = len(usage.periods)
        metered, own = [0.0] * count, [0.0] * count
        for line in usage.lines:
            if line.offer == self.id:
                own[line.period] += line.consumed_count
            elif self.kind in PAY_AS_YOU_GO or self.covers(line.offer, line.cloud):
                metered[line.period] += line.list_usd
        force = [1.0 if self.kind in PAY_AS_YOU_GO else self.in_force_frac(p) for p in usage.periods]
        discount = self.base_discount_frac()
        eligible = [usd * (1 - discount if force[i] > 0 else 1.0) for i, usd in enumerate(metered)]
        shortfall, drawdown = self._shortfalls(usage.periods, [e if f > 0 else 0.0 for e, f in zip(eligible, force, strict=True)])
        fixed, overage = self._held(usage.periods, own)
        rebate = self._rebates(usage.periods, [m if f > 0 else 0.0 for m, f in zip(metered, force, strict=True)])
        equity = [self.equity_usd if p.start <= self.start < p.end else 0.0 for p in usage.periods]
        return Bill(self.id, tuple(
            BillLine(self.id, i, eligible[i], drawdown[i], shortfall[i], overage[i], fixed[i], rebate[i], equity[i])
            for i in range(count)
        ))  # fmt: skip

    def bill_usd(self, usage: Usage) -> float:
        """Return the total that the usage costs under these terms."""
        return self.bill(usage).total_usd

    def fixed_usd(self, period: BillingPeriod) -> float:
        """Return what a period costs whether anything is used or not."""
        usd = self.usd_per_month * self.in_force_frac(period) * period.hours / HOURS_PER_MONTH
        if self.holds_chips and self.usd_per_chip_hour:
            usd += self.take_or_pay_frac * self.held_chip_hours(period) * self.usd_per_chip_hour
        return usd

    def held_chip_hours(self, period: BillingPeriod) -> float:
        """Return the chip-hours at the buyer's disposal in a period, at the size reached when it begins."""
        if not self.holds_chips:
            return 0.0
        return self.chips_on(max(period.start, self.start)) * period.hours * self.in_force_frac(period)

    def _held(self, periods: Sequence[BillingPeriod], own: Sequence[float]) -> tuple[list[float], list[float]]:
        fixed = [self.fixed_usd(p) for p in periods]
        price = self.usd_per_chip_hour or 0.0
        paid_for = [self.take_or_pay_frac * self.held_chip_hours(p) for p in periods]
        return fixed, [max(0.0, used - paid) * price for used, paid in zip(own, paid_for, strict=True)]

    def _schedule(self) -> list[tuple[str, float]]:
        dates = sorted(self.draw_schedule)
        if self.commit_usd > 0 and (not dates or dates[-1][1] < self.commit_usd):
            dates.append((self.end, self.commit_usd))
        return dates

    def _last_due_usd(self) -> float:
        schedule = self._schedule()
        return schedule[-1][1] * self.take_or_pay_frac if schedule else 0.0

    def _shortfalls(self, periods: Sequence[BillingPeriod], spend: Sequence[float]) -> tuple[list[float], list[float]]:
        shortfall = [0.0] * len(periods)
        covered, since, last_due = 0.0, 0, 0.0  # spend and shortfalls so far; first period not counted yet
        milestones = self.milestones(periods)
        for index, due in milestones:
            fresh = sum(spend[since : index + 1])
            covered = (covered if self.rollover else min(covered, last_due)) + fresh
            shortfall[index] += max(0.0, due - covered)
            covered = max(covered, due)
            since, last_due = index + 1, due
        left = milestones[-1][1] if milestones else 0.0
        drawdown = []
        for usd, missing in zip(spend, shortfall, strict=True):
            drawn = max(0.0, min(usd, left))
            drawdown.append(drawn)
            left -= drawn + missing
        return shortfall, drawdown

    def _rebates(self, periods: Sequence[BillingPeriod], listed: Sequence[float]) -> list[float]:
        rebates = [0.0] * len(periods)
        tiers = self.rebate_tiers()
        for year in {self.contract_year(p) for p in periods} if tiers else ():
            members = [i for i, p in enumerate(periods) if self.contract_year(p) == year]
            spend = sum(listed[i] for i in members)
            bounds = [*[t[0] for t in tiers[1:]], float("inf")]
            for (begin, extra), end in zip(tiers, bounds, strict=True):
                rebates[members[-1]] += extra * max(0.0, min(spend, end) - begin)
        return rebates


@dataclass(frozen=True, slots=True)
class Invoices:
    """Every contract's bill for one usage, each usage line under exactly one contract."""

    bills: tuple[Bill, ...]
    contract_of: dict[str, str] = field(default_factory=dict)  # offer -> contract

    @property
    def total_usd(self) -> float:
        """Return the sum of all bills."""
        return sum(bill.total_usd for bill in self.bills)


def pay_as_you_go(cloud: str) -> Contract:
    """Return the terms that hold where nothing was signed: list price times usage."""
    return Contract(f"{cloud}:pay-as-you-go", cloud, "on_demand")


def contract_for(offer: str, cloud: str, contracts: Sequence[Contract]) -> Contract | None:
    """Return the first contract under which usage of an offer counts, in the order given."""
    for contract in contracts:
        if contract.id == offer or (contract.kind not in PAY_AS_YOU_GO and contract.covers(offer, cloud) and not contract.holds_chips):
            return contract
    return None


def invoices(contracts: Sequence[Contract], usage: Usage) -> Invoices:
    """Return every bill: each line goes to the first contract that covers it while in force, the rest is pay-as-you-go.

    The sum of what the bills meter is the sum of the lines: nothing is billed twice, nothing is lost.
    """
    books: dict[str, list[UsageLine]] = {contract.id: [] for contract in contracts}
    terms = {contract.id: contract for contract in contracts}
    contract_of: dict[str, str] = {}
    for line in usage.lines:
        period = usage.periods[line.period]
        live = [c for c in contracts if c.in_force_frac(period) > 0]
        chosen = contract_for(line.offer, line.cloud, live) or pay_as_you_go(line.cloud)
        terms.setdefault(chosen.id, chosen)
        books.setdefault(chosen.id, []).append(line)
        contract_of[line.offer] = chosen.id
    return Invoices(tuple(terms[name].bill(Usage(usage.periods, tuple(lines))) for name, lines in books.items()), contract_of)


def nano_of(usd: float) -> int:
    """Return dollars as whole billionths, by the shortest decimal that the float stands for; half goes to even.

    >>> nano_of(0.1 + 0.2), nano_of(30e9)
    (300000000, 30000000000000000000)
    """
    return int((Decimal(repr(float(usd))) * 1_000_000_000).to_integral_value())


def _decimal(nano_usd: int) -> Decimal:
    return Decimal(nano_usd) / 1_000_000_000


def _day(iso: str) -> int:
    return date.fromisoformat(iso).toordinal()
