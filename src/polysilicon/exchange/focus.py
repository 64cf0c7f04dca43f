"""FOCUS in and out: charges and contract commitments under the names of the FinOps cost and usage specification.

Charges follow version 1.2, contract commitments the dataset that 1.3 added. What the specification has no name for starts with
`x_`, so that terms come back whole. Dollars are written as decimals with nine places, so nothing is lost.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, get_args

from polysilicon.cloud.contract import PAY_AS_YOU_GO, Contract, ContractKind, DiscountTier
from polysilicon.economics.deal import Deal
from polysilicon.economics.milestones import milestones_of
from polysilicon.economics.projection import Projection, periods_of
from polysilicon.errors import InputError, InputErrors, did_you_mean

NANO = Decimal("0.000000001")
KINDS = tuple(kind for kind in get_args(ContractKind) if kind not in PAY_AS_YOU_GO)
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
)
Row = Mapping[str, str]


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
            rows.append(named | {k: f"{v:f}" if isinstance(v, Decimal) else str(v) for k, v in row.items()})
    return rows


def commitment_rows(contracts: Sequence[Contract]) -> list[dict[str, str]]:
    """Return contracts as rows of FOCUS's contract-commitment data, one a milestone; the steps of a contract sum to it."""
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
        }
        | {column: _written(getattr(c, field)) for column, (field, _) in _EXTRA.items()}
        for c in contracts
        for start, by, usd in milestones_of(c)
    ]


def read_commitments(path: Path, *, cloud: str = "") -> tuple[Contract, ...]:
    """Read contract-commitment rows back to contracts; `cloud` names whose they are where the file does not.

    A type that is none of ours is a committed spend where the category is "Spend", else an error.

    Raises: InputErrors with the line of everything that is wrong.
    """
    try:
        reader = csv.DictReader(io.StringIO(path.read_text(encoding="utf-8-sig")), strict=True)
        rows = [(f"{path}:{reader.line_num}", {k: (v or "").strip() for k, v in row.items() if k}) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"cannot be read: {error}", where=str(path)) from error
    missing = [c for c in COMMITMENT_COLUMNS if c not in (reader.fieldnames or ())]
    if missing:
        raise InputError(f"columns {', '.join(missing)} are missing", where=f"{path}:1")
    if not rows:
        raise InputError("holds no commitments", where=str(path))
    grouped: dict[str, list[tuple[str, Row]]] = {}
    for where, row in rows:
        grouped.setdefault(row["ContractCommitmentId"], []).append((where, row))
    problems: list[InputError] = []
    found = []
    for name, group in grouped.items():
        wrong = [problem for where, row in group for problem in _row_problems(where, row, group[0][1])] or list(_overlaps(group))
        problems += wrong
        if not wrong:
            try:
                found.append(_contract(name, group, cloud))
            except InputError as error:
                problems.append(error)
    if problems:
        raise InputErrors(problems)
    return tuple(found)


def _row_problems(where: str, row: Row, first: Row) -> Iterator[InputError]:
    """Yield what is wrong with one row by itself, or against the first row of its contract."""
    if not row["ContractCommitmentId"]:
        yield InputError("ContractCommitmentId is empty", where=where)
    for column in ("ContractCommitmentUnit", "BillingCurrency"):
        if row[column] != "USD":
            yield InputError(f'{column} is "{row[column]}"; only USD is read', where=where, hint="convert the file first")
    try:
        if _dollars(row["ContractCommitmentCost"]) < 0:
            yield InputError(f"ContractCommitmentCost {row['ContractCommitmentCost']} is negative", where=where)
    except (ValueError, ArithmeticError):
        yield InputError(f'ContractCommitmentCost "{row["ContractCommitmentCost"]}" is not a number of dollars', where=where)
    for kind in ("ContractPeriod", "ContractCommitmentPeriod"):
        try:
            start, end = _day(row[f"{kind}Start"]), _day(row[f"{kind}End"])
        except ValueError as error:
            yield InputError(f"{kind}: {error}", where=where, hint="ISO dates: 2027-01-01 or 2027-01-01T00:00:00Z")
            continue
        if end <= start:
            yield InputError(f"the {kind} ends {end}, not after its start {start}", where=where)
    for column, (_, parse) in _EXTRA.items():
        try:
            parse(row.get(column, "")) if row.get(column) else None
        except ValueError as error:
            yield InputError(f'{column} "{row[column][:60]}" cannot be read: {error}', where=where)
    same = ("ContractPeriodStart", "ContractPeriodEnd", "ContractCommitmentType", *_EXTRA)
    differs = [column for column in same if row.get(column) != first.get(column)]
    if differs:
        yield InputError(f"{', '.join(differs)} differs from the first row of the same commitment", where=where)


def _overlaps(group: Sequence[tuple[str, Row]]) -> Iterator[InputError]:
    before = ""
    for where, row in sorted(group, key=lambda item: _day(item[1]["ContractCommitmentPeriodStart"])):
        start, end = _day(row["ContractCommitmentPeriodStart"]), _day(row["ContractCommitmentPeriodEnd"])
        if start < before:
            yield InputError(f"the step from {start} overlaps the one before it, which ends {before}", where=where)
        if start < _day(row["ContractPeriodStart"]) or end > _day(row["ContractPeriodEnd"]):
            yield InputError(f"the step {start} to {end} leaves the contract's dates", where=where)
        before = end


def _contract(name: str, group: Sequence[tuple[str, Row]], cloud: str) -> Contract:
    where, first = group[0]
    kind, provider = first["ContractCommitmentType"], first.get("x_Cloud") or first.get("ProviderName") or cloud
    if kind not in KINDS and first["ContractCommitmentCategory"] != "Spend":
        raise InputError(f'ContractCommitmentType "{kind}" is not known', where=where, hint=did_you_mean(kind, KINDS) or f"types: {', '.join(KINDS)}")
    if not provider:
        raise InputError(f'"{name}" says not whose cloud it is', where=where, hint="give x_Cloud, ProviderName or --cloud")
    end = _day(first["ContractPeriodEnd"])
    running, schedule = Decimal(0), []
    for by, usd in sorted((_day(row["ContractCommitmentPeriodEnd"]), _dollars(row["ContractCommitmentCost"])) for _, row in group):
        running += usd
        schedule.append((by, float(running)))
    stated: dict[str, Any] = {field: parse(first[column]) for column, (field, parse) in _EXTRA.items() if first.get(column)}
    stated["cloud"] = provider
    return Contract(
        id=name,
        kind=kind if kind in KINDS else "committed_spend",  # type: ignore[arg-type]
        start=_day(first["ContractPeriodStart"]),
        end=end,
        commit_usd=float(running),
        draw_schedule=() if not running or schedule == [(end, float(running))] else tuple(schedule),
        source=first["ContractCommitmentDescription"],
        **stated,
    )


def _day(text: str) -> str:
    """Return the day of an ISO date or date-time.

    >>> _day("2027-01-01T00:00:00Z"), _day("2027-01-01")
    ('2027-01-01', '2027-01-01')
    """
    return datetime.fromisoformat(text).date().isoformat()


def _dollars(text: str) -> Decimal:
    value = Decimal(text)
    if not value.is_finite():
        raise ValueError("is not finite")
    return value


def _number(text: str) -> float:
    value = float(text)
    if not math.isfinite(value) or value < 0:
        raise ValueError("must be 0 or more")
    return value


def _share(text: str) -> float:
    value = _number(text)
    if value > 1:
        raise ValueError("is a share: 0 to 1")
    return value


def _truth(text: str) -> bool:
    if text not in ("true", "false"):
        raise ValueError("must be true or false")
    return text == "true"


def _list(text: str) -> tuple[str, ...]:
    return tuple(part for part in text.split(";") if part)


def _steps(text: str) -> tuple[tuple[str, float], ...]:
    pairs = [part.partition("=") for part in _list(text)]
    return tuple((_day(day), _number(amount)) for day, _, amount in pairs)


def _tiers(text: str) -> tuple[DiscountTier, ...]:
    pairs = [part.partition("=") for part in _list(text)]
    return tuple(DiscountTier(_number(start), _share(discount)) for start, _, discount in pairs)


def _written(value: Any) -> str:
    """Return a term as text: lists with `;`, steps and tiers as `from=value`, what is not stated as nothing."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return ";".join(_written(item) if not isinstance(item, tuple) else f"{item[0]}={item[1]!r}" for item in value)
    if isinstance(value, DiscountTier):
        return f"{value.from_usd!r}={value.discount_frac!r}"
    return value if isinstance(value, str) else repr(value)


# The column of each term that FOCUS has no name for: the contract's field, and how it is read.
_EXTRA: Mapping[str, tuple[str, Callable[[str], Any]]] = {
    "x_Cloud": ("cloud", str),
    "x_TakeOrPayShare": ("take_or_pay_frac", _share),
    "x_Rollover": ("rollover", _truth),
    "x_Eligible": ("eligible", _list),
    "x_DiscountTiers": ("discount_tiers", _tiers),
    "x_DrawnBeforeCost": ("drawn_before_usd", _number),
    "x_Chip": ("chip", str),
    "x_Chips": ("chips", _number),
    "x_ItMw": ("it_mw", _number),
    "x_WattsPerChip": ("w_per_chip", _number),
    "x_RampMw": ("ramp_mw", _steps),
    "x_CostPerMonth": ("usd_per_month", _number),
    "x_CostPerChipHour": ("usd_per_chip_hour", _number),
    "x_ExitFeeCost": ("exit_fee_usd", _number),
    "x_EquityCost": ("equity_usd", _number),
    "x_Signed": ("signed", _truth),
    "x_Exclusive": ("exclusive", _truth),
}


def csv_bytes(rows: Sequence[Mapping[str, str]]) -> bytes:
    """Return rows as CSV; the columns are those of the first."""
    if not rows:
        raise InputError("there are no charges to write")
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()
