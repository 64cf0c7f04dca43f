"""FOCUS in and out: contract commitments and charges under the names of the FinOps cost and usage specification, 1.2.

What the specification has no name for starts with `x_`. Dollars are written as decimals with nine places, so nothing is lost.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path

from polysilicon.cloud.contract import Contract
from polysilicon.economics.deal import Deal
from polysilicon.economics.milestones import milestones_of
from polysilicon.economics.projection import Projection, periods_of
from polysilicon.errors import InputError, InputErrors

NANO = Decimal("0.000000001")
COMMITMENT_COLUMNS = (
    "ContractCommitmentId",
    "ContractId",
    "ContractCommitmentCategory",
    "ContractCommitmentType",
    "ContractCommitmentDescription",
    "ContractPeriodStart",
    "ContractPeriodEnd",
    "ContractCommitmentPeriodStart",
    "ContractCommitmentPeriodEnd",
    "ContractCommitmentCost",
    "ContractCommitmentUnit",
    "BillingCurrency",
    "x_TakeOrPayShare",
    "x_Rollover",
    "x_Eligible",
)


def money(usd: float) -> str:
    """Return dollars as a decimal with at most nine places.

    >>> money(60.0), money(0.1 + 0.2)
    ('60', '0.3')
    """
    text = f"{Decimal(repr(usd)).quantize(NANO):f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def deal_rows(deal: Deal, projection: Projection) -> list[dict[str, str]]:
    """Return one charge row a contract and period; the sum of BilledCost is the sum of the bills."""
    periods = periods_of(deal)
    seller = {c.contract.id: (c.seller, c.buyer) for c in deal.commitments}
    rows = []
    for bill in projection.bills:
        for row in bill.focus_rows(periods):
            provider, payer = seller[bill.contract]
            named = {"ProviderName": provider, "BillingAccountName": payer, "ServiceProviderName": provider, "BillingCurrency": "USD"}
            named |= {"ChargeCategory": "Purchase" if row["x_ShortfallCost"] else "Usage", "CommitmentDiscountCategory": "Spend"}
            rows.append(named | {k: money(v) if isinstance(v, float) else str(v) for k, v in row.items()})
    return rows


def commitment_rows(contracts: Sequence[Contract]) -> list[dict[str, str]]:
    """Return contracts as rows of FOCUS's contract-commitment data."""
    return [
        {
            "ContractCommitmentId": c.id,
            "ContractId": c.id,
            "ContractCommitmentCategory": "Spend" if c.commit_usd else "Usage",
            "ContractCommitmentType": c.kind,
            "ContractCommitmentDescription": c.source,
            "ContractPeriodStart": c.start,
            "ContractPeriodEnd": c.end,
            "ContractCommitmentPeriodStart": start,
            "ContractCommitmentPeriodEnd": by,
            "ContractCommitmentCost": money(usd),
            "ContractCommitmentUnit": "USD",
            "BillingCurrency": "USD",
            "x_TakeOrPayShare": repr(c.take_or_pay_frac),
            "x_Rollover": str(c.rollover).lower(),
            "x_Eligible": ";".join(c.eligible),
            "x_Cloud": c.cloud,
        }
        for c in contracts
        for start, by, usd in milestones_of(c)
    ]


def read_commitments(path: Path) -> tuple[Contract, ...]:
    """Read contract-commitment rows back to contracts.

    Raises: InputErrors with the line of everything that is wrong.
    """
    try:
        reader = csv.DictReader(io.StringIO(path.read_text(encoding="utf-8-sig")))
        rows = [(reader.line_num, row) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"cannot be read: {error}", where=str(path)) from error
    missing = [c for c in COMMITMENT_COLUMNS if not c.startswith("x_") and c not in (reader.fieldnames or ())]
    if missing:
        raise InputError(f"columns {', '.join(missing)} are missing", where=f"{path}:1")
    problems: list[InputError] = []
    grouped: dict[str, list[tuple[str, float, Mapping[str, str]]]] = {}
    for line, row in rows:
        try:
            usd = float(Decimal(row["ContractCommitmentCost"]))
            if usd < 0:
                raise ValueError(f"ContractCommitmentCost {usd:g} is negative")
            if row["ContractCommitmentPeriodEnd"] <= row["ContractCommitmentPeriodStart"]:
                raise ValueError(f"the period ends {row['ContractCommitmentPeriodEnd']}, not after its start {row['ContractCommitmentPeriodStart']}")
        except (ValueError, ArithmeticError) as error:
            problems.append(InputError(str(error) or "is not a number", where=f"{path}:{line}"))
            continue
        grouped.setdefault(row["ContractCommitmentId"], []).append((row["ContractCommitmentPeriodEnd"], usd, row))
    if problems:
        raise InputErrors(problems)
    return tuple(_contract(name, steps) for name, steps in grouped.items())


def _contract(name: str, steps: list[tuple[str, float, Mapping[str, str]]]) -> Contract:
    first, running, schedule = steps[0][2], 0.0, []
    for by, usd, _ in sorted(steps, key=lambda s: s[0]):
        running += usd
        schedule.append((by, running))
    return Contract(
        id=name,
        cloud=first.get("x_Cloud") or first.get("ProviderName") or "",
        kind=first["ContractCommitmentType"] or "committed_spend",  # type: ignore[arg-type]
        start=first["ContractPeriodStart"],
        end=first["ContractPeriodEnd"],
        commit_usd=running,
        draw_schedule=tuple(schedule),
        take_or_pay_frac=float(first.get("x_TakeOrPayShare") or 1.0),
        rollover=(first.get("x_Rollover") or "true") == "true",
        eligible=tuple(p for p in (first.get("x_Eligible") or "").split(";") if p),
        source=first["ContractCommitmentDescription"],
    )


def csv_bytes(rows: Sequence[Mapping[str, str]]) -> bytes:
    """Return rows as CSV; the columns are those of the first."""
    if not rows:
        raise InputError("there are no charges to write")
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()
