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
from datetime import UTC, datetime, timedelta
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
_SELLER = {"aws": "AWS", "azure": "Microsoft", "gcp": "Google Cloud", "anthropic": "Anthropic"}


def usd(nano: int) -> str:
    """Return nano-dollars as an exact decimal number of dollars.

    >>> usd(77_500_000)
    '0.077500000'
    """
    return str((Decimal(nano) / _NANO).quantize(Decimal("0.000000001")))


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
    applied = {"Elements": [{"ContractId": contract, "ContractCommitmentId": contract, "ContractCommitmentAppliedCost": usd(cost)}]}
    per_token = (Decimal(listed) / _NANO / tokens) if tokens else Decimal(0)
    return {
        "BilledCost": usd(cost), "BillingAccountId": account, "BillingAccountName": account, "BillingCurrency": currency,
        "BillingPeriodStart": _stamp(month), "BillingPeriodEnd": _stamp(next_month), "ChargeCategory": "Usage", "ChargeClass": None,
        "ChargeDescription": f"{meter} of {model} at {target}", "ChargeFrequency": "Usage-Based", "ChargePeriodStart": hour,
        "ChargePeriodEnd": _stamp(start + timedelta(hours=1)), "ConsumedQuantity": tokens, "ConsumedUnit": "Tokens",
        "ContractApplied": msgspec.json.encode(applied).decode() if contract else None, "ContractedCost": usd(cost),
        "ContractedUnitPrice": str((Decimal(cost) / _NANO / tokens).normalize()) if tokens else None, "EffectiveCost": usd(cost),
        "HostProviderName": _SELLER.get(cloud, cloud), "InvoiceIssuerName": _SELLER.get(cloud, cloud), "ListCost": usd(listed),
        "ListUnitPrice": str(per_token.normalize()) if tokens else None,
        "PricingCategory": "Committed" if contract else ("Dynamic" if "@quote-" in price else "Standard"),
        "PricingQuantity": str(Decimal(tokens) / 1_000_000), "PricingUnit": "1M Tokens", "RegionId": region, "RegionName": region,
        "ResourceId": variant, "ResourceName": variant, "ServiceCategory": "AI and Machine Learning",
        "ServiceName": f"{model} inference", "ServiceProviderName": _SELLER.get(cloud, cloud), "ServiceSubcategory": "Generative AI",
        "SkuId": model, "SkuMeter": meter, "SkuPriceId": price, "SubAccountId": virtual_key, "SubAccountName": application or virtual_key,
        "SubAccountType": "Virtual Key", "Tags": msgspec.json.encode({"team": team, "application": application}).decode(),
        "x_Chip": chip, "x_Kind": kind, "x_PlanVersion": plan, "x_Stage": stage, "x_Variant": variant,
    }  # fmt: skip


def _stamp(when: datetime) -> str:
    return when.strftime("%Y-%m-%dT%H:%M:%SZ")


def commitment_rows(contracts: Iterable[Contract], drawn_usd: Mapping[str, float], *, on: str) -> list[Row]:
    """Return Contract Commitment rows with what each has drawn."""
    rows = []
    for c in contracts:
        drawn = drawn_usd.get(c.id, 0.0) + (c.drawn_before_usd or 0.0)
        status = "Proposed" if not c.signed else "Pending" if on < c.start else "Expired" if on >= c.end else "Active"
        if status == "Active" and drawn >= c.commit_usd:
            status = "Exhausted"
        rows.append({
            "ContractId": c.id, "ContractCommitmentId": c.id, "ContractCommitmentCategory": "Spend", "ContractCommitmentModel": "Continuous",
            "ContractCommitmentBenefitCategory": "Discount", "ContractCommitmentType": c.kind, "ContractCommitmentCost": f"{c.commit_usd:.9f}",
            "ContractCommitmentQuantity": None, "ContractCommitmentUnit": "USD", "ContractCommitmentPeriodStart": f"{c.start}T00:00:00Z",
            "ContractCommitmentPeriodEnd": f"{c.end}T00:00:00Z", "ContractCommitmentLifecycleStatus": status,
            "BillingCurrency": "USD", "x_DrawnCost": f"{drawn:.9f}", "x_DueCost": f"{c.due_usd(max(c.start, min(on, c.end))):.9f}",
        })  # fmt: skip
    return rows


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
    """One target, model and day where ledger and bill disagree."""

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


def reconcile(entries: Iterable[Entry], bill: Iterable[Mapping[str, str]], *, tolerance_frac: float = 1e-4) -> list[Difference]:
    """Return where the ledger and a provider's bill disagree by more than a share, per target, model and day.

    `bill` rows have target, model, day, usd and tokens.

    Raises: InputError for a row without these, or whose figures are no numbers.
    """
    ours: dict[tuple[str, str, str], list[float]] = defaultdict(lambda: [0.0, 0.0])
    for e in entries:
        day = datetime.fromtimestamp(e.at_s, UTC).strftime("%Y-%m-%d")
        if e.target:
            ours[e.target, e.model, day][0] += e.cost_nano_usd
            ours[e.target, e.model, day][1] += e.tokens
    theirs: dict[tuple[str, str, str], list[float]] = defaultdict(lambda: [0.0, 0.0])
    for i, row in enumerate(bill):
        try:
            sums = theirs[row["target"], row["model"], row["day"]]
            sums[0] += float(Decimal(row["usd"]) * _NANO)
            sums[1] += int(row["tokens"])
        except (KeyError, ValueError, ArithmeticError) as error:
            raise InputError("a bill's row has target, model, day, usd, tokens", where=f"bill:{i + 2}") from error
    out = []
    for key in sorted(ours.keys() | theirs.keys()):
        a, b = ours.get(key, [0.0, 0.0]), theirs.get(key, [0.0, 0.0])
        if any(abs(x - y) > tolerance_frac * max(abs(x), abs(y)) for x, y in zip(a, b, strict=True)):
            out.append(Difference(*key, a[0] / 1e9, b[0] / 1e9, a[1] / 1e6, b[1] / 1e6))
    return out
