"""The ledger as FOCUS 1.4: cost and usage rows, contract commitments; and the ledger against a provider's own bill.

Source: FOCUS Specification 1.4 (ratified 2026-06-04), datasets Cost and Usage and Contract Commitment. It has no token column:
tokens are `ConsumedQuantity` of a `SkuMeter`. Our own columns start with `x_`.
"""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import msgspec

from polysilicon.cloud.contract import Contract
from polysilicon.errors import InputError
from polysilicon.gateway.ledger import Entry

Row = dict[str, Any]
METERS = (
    ("fresh_tokens", "Input Tokens"), ("cached_tokens", "Cache Read Tokens"), ("write_5m_tokens", "Cache Write 5m Tokens"),
    ("write_1h_tokens", "Cache Write 1h Tokens"), ("output_tokens", "Output Tokens"),
)  # fmt: skip
_NANO = Decimal(1_000_000_000)
_MILLION = Decimal(1_000_000)
_SELLER = {"aws": "AWS", "azure": "Microsoft", "gcp": "Google Cloud", "anthropic": "Anthropic"}
_CLOUDS = {
    "aws": "aws", "amazon web services": "aws", "microsoft": "azure", "microsoft azure": "azure", "azure": "azure", "google cloud": "gcp",
    "google": "gcp", "gcp": "gcp", "anthropic": "anthropic",
}  # fmt: skip


def usd(nano: int) -> str:
    """Return nano-dollars as an exact decimal number of dollars.

    >>> usd(77_500_000)
    '0.077500000'
    """
    return f"{(Decimal(nano) / _NANO).quantize(Decimal('0.000000001')):f}"


def cost_rows(entries: Iterable[Entry], *, currency: str = "USD", account: str = "polysilicon") -> list[Row]:
    """Return Cost and Usage rows: one an hour, variant, key, contract, price and meter.

    A line's cost is split over its meters in proportion to what each costs at list price; the last meter takes the
    remainder, so that the rows of an hour add up to its ledger lines to the nano-dollar.
    """
    groups: dict[tuple[str, ...], list[int]] = defaultdict(lambda: [0, 0, 0])
    for e in entries:
        if e.tokens == 0 and e.cost_nano_usd == 0:
            continue
        hour = datetime.fromtimestamp(e.at_s, UTC).strftime("%Y-%m-%dT%H:00:00Z")
        for meter, tokens, listed, cost in _split(e):
            key = (hour, e.variant, e.target, e.key, e.contract, e.price_version, meter, e.kind, e.model, e.chip, e.cloud, e.region, e.team,
                   e.application, e.plan_version, e.stage)  # fmt: skip
            sums = groups[key]
            sums[0] += tokens
            sums[1] += listed
            sums[2] += cost
    return [_row(key, sums, currency, account) for key, sums in sorted(groups.items())]


def _split(e: Entry) -> list[tuple[str, int, int, int]]:
    used = [(name, getattr(e, field), e.meters[k]) for k, (field, name) in enumerate(METERS) if getattr(e, field)]
    if not used:
        return [("Requests", 0, e.list_nano_usd, e.cost_nano_usd)]
    total = sum(share for _, _, share in used) or 1
    out, listed_left, cost_left = [], e.list_nano_usd, e.cost_nano_usd
    for i, (name, tokens, share) in enumerate(used):
        last = i == len(used) - 1
        listed = listed_left if last else e.list_nano_usd * share // total
        cost = cost_left if last else e.cost_nano_usd * share // total
        listed_left -= listed
        cost_left -= cost
        out.append((name, tokens, listed, cost))
    return out


def _row(key: tuple[str, ...], sums: Sequence[int], currency: str, account: str) -> Row:
    (
        hour,
        variant,
        target,
        virtual_key,
        contract,
        price,
        meter,
        kind,
        model,
        chip,
        cloud,
        region,
        team,
        application,
        plan,
        stage,
    ) = key
    tokens, listed, cost = sums
    start = datetime.fromisoformat(hour)
    month = start.replace(day=1, hour=0)
    next_month = (month + timedelta(days=32)).replace(day=1)
    element = {"ContractId": contract, "ContractCommitmentId": contract, "ContractCommitmentAppliedCost": msgspec.Raw(usd(cost).encode())}
    reserved = listed > 0 and cost == 0  # paid for already: a capacity reservation in use
    return {
        "BilledCost": usd(cost), "BillingAccountId": account, "BillingAccountName": account, "BillingCurrency": currency,
        "BillingPeriodStart": _stamp(month), "BillingPeriodEnd": _stamp(next_month), "ChargeCategory": "Usage", "ChargeClass": None,
        "ChargeDescription": f"{meter} of {model} at {target}", "ChargeFrequency": "Usage-Based", "ChargePeriodStart": hour,
        "ChargePeriodEnd": _stamp(start + timedelta(hours=1)), "ConsumedQuantity": tokens or None, "ConsumedUnit": "Tokens" if tokens else None,
        "ContractApplied": msgspec.json.encode({"Elements": [element]}).decode() if contract else None,
        "ContractedCost": usd(cost),
        "CapacityReservationId": target if reserved else None, "CapacityReservationStatus": "Used" if reserved else None,
        "ContractedUnitPrice": _per_million(cost, tokens), "EffectiveCost": usd(cost),
        "HostProviderName": _SELLER.get(cloud, cloud), "InvoiceIssuerName": _SELLER.get(cloud, cloud), "ListCost": usd(listed),
        "ListUnitPrice": _per_million(listed, tokens),
        "PricingCategory": "Committed" if contract else ("Dynamic" if "@quote-" in price else "Standard"),
        "PricingQuantity": f"{Decimal(tokens) / _MILLION:f}" if tokens else None, "PricingUnit": "1M Tokens" if tokens else None,
        "RegionId": region, "RegionName": region,
        "ResourceId": variant, "ResourceName": variant, "ServiceCategory": "AI and Machine Learning",
        "ServiceName": f"{model} inference", "ServiceProviderName": _SELLER.get(cloud, cloud), "ServiceSubcategory": "Generative AI",
        "SkuId": model, "SkuMeter": meter, "SkuPriceId": f"{price}/{meter}" if tokens else None,
        "SubAccountId": virtual_key, "SubAccountName": application or virtual_key,
        "SubAccountType": "Virtual Key", "Tags": msgspec.json.encode({"team": team, "application": application}).decode(),
        "x_Chip": chip, "x_Kind": kind, "x_PlanVersion": plan, "x_Stage": stage, "x_Variant": variant,
    }  # fmt: skip


def _per_million(nano: int, tokens: int) -> str | None:
    """Return dollars for a million tokens, as a unit price must be given: per `PricingUnit`.

    >>> _per_million(77_500_000, 1_000_000)
    '0.0775'
    """
    return f"{(Decimal(nano) / _NANO * _MILLION / tokens).normalize():f}" if tokens else None


def _stamp(when: datetime) -> str:
    return when.strftime("%Y-%m-%dT%H:%M:%SZ")


def commitment_rows(
    contracts: Iterable[Contract],
    drawn_usd: Mapping[str, float],
    *,
    on: str,
    resources: Mapping[str, Sequence[str]] | None = None,
    discount_frac: Mapping[str, float] | None = None,
) -> list[Row]:
    """Return Contract Commitment rows with what each has drawn.

    `resources` are the `ResourceId`s of the cost rows that draw on a contract; without them, all of its cloud do. What a row must state and
    the terms do not say follows from what they are: negotiated, billed monthly as used, nothing upfront, made at its start.
    """
    rows = []
    for c in contracts:
        drawn = drawn_usd.get(c.id, 0.0) + (c.drawn_before_usd or 0.0)
        status = "Proposed" if not c.signed else "Pending" if on < c.start else "Expired" if on >= c.end else "Active"
        if status == "Active" and drawn >= c.commit_usd:
            status = "Exhausted"
        seller = _SELLER.get(c.cloud, c.cloud)
        names = sorted((resources or {}).get(c.id, ()))
        rule = {"Dimension": "ResourceId", "Operator": "In", "Values": names} if names else {
            "Dimension": "HostProviderName", "Operator": "In", "Values": [seller]}  # fmt: skip
        discount = (discount_frac or {}).get(c.id)
        start, end = f"{c.start}T00:00:00Z", f"{c.end}T00:00:00Z"
        rows.append({
            "ContractId": c.id, "ContractPeriodStart": start, "ContractPeriodEnd": end, "ContractCommitmentId": c.id,
            "ContractCommitmentCategory": "Spend", "ContractCommitmentModel": "Continuous", "ContractCommitmentBenefitCategory": "Discount",
            "ContractCommitmentType": c.kind, "ContractCommitmentDescription": c.source or f"{c.kind} with {seller}",
            "ContractCommitmentCost": f"{c.commit_usd:.9f}", "ContractCommitmentQuantity": None, "ContractCommitmentUnit": None,
            "ContractCommitmentPeriodStart": start, "ContractCommitmentPeriodEnd": end, "ContractCommitmentDurationType": _duration(c.start, c.end),
            "ContractCommitmentFulfillmentInterval": "Custom" if c.draw_schedule else "Full Period",
            "ContractCommitmentLifecycleStatus": status, "ContractCommitmentOfferCategory": "Negotiated",
            "ContractCommitmentPaymentModel": "No Upfront", "ContractCommitmentPaymentInterval": "Monthly",
            "ContractCommitmentPaymentUpfrontPercentage": "0",
            "ContractCommitmentDiscountPercentage": None if discount is None else f"{discount:.6f}",
            "ContractCommitmentApplicability": msgspec.json.encode({"InclusionOperator": "And", "Inclusions": [rule]}).decode(),
            "ContractCommitmentCreated": start, "ContractCommitmentLastUpdated": max(start, f"{on}T00:00:00Z"), "BillingCurrency": "USD",
            "ServiceProviderName": seller, "InvoiceIssuerName": seller, "x_DrawnCost": f"{drawn:.9f}",
            "x_DueCost": f"{c.due_usd(max(c.start, min(on, c.end))):.9f}",
        })  # fmt: skip
    return rows


def _duration(start: str, end: str) -> str:
    """Return a term in whole years, months or days.

    >>> _duration("2026-01-01", "2029-01-01"), _duration("2026-01-15", "2026-07-15"), _duration("2026-01-01", "2026-01-11")
    ('3 Years', '6 Months', '10 Days')
    """
    first, last = date.fromisoformat(start), date.fromisoformat(end)
    months = 12 * (last.year - first.year) + last.month - first.month
    count, unit = (months, "Month") if first.day == last.day and months > 0 else (max(1, (last - first).days), "Day")
    if unit == "Month" and count % 12 == 0:
        count, unit = count // 12, "Year"
    return f"{count} {unit}{'s' if count > 1 else ''}"


def to_csv(rows: Sequence[Row]) -> bytes:
    """Return rows as CSV; empty where null."""
    if not rows:
        return b""
    out = io.StringIO()
    writer = csv.DictWriter(out, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows({k: "" if v is None else v for k, v in row.items()} for row in rows)
    return out.getvalue().encode()


@dataclass(frozen=True, slots=True)
class Difference:
    """One target, model and day where ledger and bill disagree; for a bill in FOCUS, one cloud, region and day."""

    target: str
    model: str
    day: str
    ledger_usd: float
    bill_usd: float
    ledger_mtok: float
    bill_mtok: float

    @property
    def difference_usd(self) -> float:
        """Return bill less ledger."""
        return self.bill_usd - self.ledger_usd


Key = tuple[str, str, str]
BILL_COLUMNS = ("target", "model", "day", "usd", "tokens")


def reconcile(
    entries: Iterable[Entry], bill: Iterable[Mapping[str, str]], *, tolerance_frac: float = 1e-4, unit_usd: float = 0.0
) -> list[Difference]:
    """Return where the ledger and a provider's bill disagree by more than a share, and by at least one whole unit it bills in.

    Claude Platform on AWS and Foundry bill in consumption units of $0.01: with `unit_usd=0.01` their rounding is no difference.

    A bill's rows have target, model, day, usd and tokens; or they are a provider's own FOCUS export, which knows no targets of ours:
    its usage of generative AI is then compared per cloud, region and day, tokens where it counts them.

    Raises: InputError for a row without these, or whose figures are no numbers.
    """
    rows = list(bill)
    in_focus = bool(rows) and "ChargePeriodStart" in rows[0]
    theirs = _sums_of_focus(rows) if in_focus else _sums_of_bill(rows)
    ours: dict[Key, list[Decimal]] = defaultdict(lambda: [Decimal(0), Decimal(0)])
    counted = not in_focus or any(sums[1] for sums in theirs.values())
    for e in entries:
        day = datetime.fromtimestamp(e.at_s, UTC).strftime("%Y-%m-%d")
        if e.target and (e.tokens or e.cost_nano_usd):
            sums = ours[(e.cloud, e.region, day) if in_focus else (e.target, e.model, day)]
            sums[0] += e.cost_nano_usd
            sums[1] += e.tokens if counted else 0
    out = []
    nothing = [Decimal(0), Decimal(0)]
    for key in sorted(ours.keys() | theirs.keys()):
        a, b = ours.get(key, nothing), theirs.get(key, nothing)
        least = (Decimal(str(unit_usd)) * _NANO, Decimal(0))
        if any(abs(x - y) > Decimal(tolerance_frac) * max(abs(x), abs(y)) and abs(x - y) >= u for x, y, u in zip(a, b, least, strict=True)):
            out.append(Difference(*key, float(a[0] / _NANO), float(b[0] / _NANO), float(a[1] / _MILLION), float(b[1] / _MILLION)))
    return out


def _sums_of_bill(rows: Iterable[Mapping[str, str]]) -> dict[Key, list[Decimal]]:
    out: dict[Key, list[Decimal]] = defaultdict(lambda: [Decimal(0), Decimal(0)])
    for i, row in enumerate(rows):
        try:
            sums = out[row["target"], row["model"], row["day"]]
            sums[0] += Decimal(row["usd"]) * _NANO
            sums[1] += int(row["tokens"])
        except (KeyError, ValueError, ArithmeticError, TypeError) as error:
            raise InputError("a bill's row has target, model, day, usd, tokens", where=f"bill:{i + 2}") from error
    return out


def _sums_of_focus(rows: Iterable[Mapping[str, str]]) -> dict[Key, list[Decimal]]:
    """Return dollars and tokens of the usage of generative AI in a provider's FOCUS export, per cloud, region and day."""
    out: dict[Key, list[Decimal]] = defaultdict(lambda: [Decimal(0), Decimal(0)])
    for i, row in enumerate(rows):
        if row.get("ChargeCategory", "Usage") != "Usage" or row.get("ServiceSubcategory") not in (None, "", "Generative AI"):
            continue
        try:
            name = row.get("HostProviderName") or row.get("ServiceProviderName") or row["ProviderName"]
            day = datetime.fromisoformat(row["ChargePeriodStart"]).strftime("%Y-%m-%d")
            sums = out[_CLOUDS.get(name.casefold(), name), row.get("RegionId") or "", day]
            sums[0] += Decimal(row.get("ContractedCost") or row["BilledCost"]) * _NANO
            if row.get("ConsumedUnit", "").casefold() in ("tokens", "token"):
                sums[1] += Decimal(row["ConsumedQuantity"])
        except (KeyError, ValueError, ArithmeticError, TypeError) as error:
            said = "a FOCUS row has ChargePeriodStart, a provider's name and ContractedCost or BilledCost"
            raise InputError(said, where=f"bill:{i + 2}") from error
    return out
