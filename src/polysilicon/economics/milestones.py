"""A contract's milestones as steps, for schedules and exports."""

from __future__ import annotations

from datetime import date

from polysilicon.cloud.contract import Contract


def milestones_of(contract: Contract) -> list[tuple[str, str, float]]:
    """Return (from, by, dollars of this step) of a commitment; the steps sum to it.

    >>> milestones_of(Contract("c", "aws", "committed_spend", "2026-01-01", "2028-01-01", commit_usd=9.0, draw_schedule=(("2027-01-01", 3.0),)))
    [('2026-01-01', '2027-01-01', 3.0), ('2027-01-01', '2028-01-01', 6.0)]
    """
    schedule = sorted(contract.draw_schedule) or [(contract.end, contract.commit_usd)]
    if schedule[-1][1] < contract.commit_usd:
        schedule.append((contract.end, contract.commit_usd))
    out, start, before = [], contract.start, 0.0
    for by, cumulative in schedule:
        out.append((start, by, cumulative - before))
        start, before = by, cumulative
    return out


def exit_now_usd(contract: Contract, day: str) -> float:
    """Return the least that ends a lease on a day: the exit fee, or the payments left if they are less; 0 once it is over.

    >>> lease = Contract("l", "azure", "lease", "2026-01-01", "2028-01-01", usd_per_month=10.0, exit_fee_usd=50.0)
    >>> exit_now_usd(lease, "2026-01-01"), round(exit_now_usd(lease, "2027-10-01")), exit_now_usd(lease, "2028-06-01")
    (50.0, 30, 0.0)
    """
    left_days = (date.fromisoformat(contract.end) - date.fromisoformat(day)).days
    if left_days <= 0:
        return 0.0
    left = contract.usd_per_month * left_days / 365.25 * 12
    return min(left, contract.exit_fee_usd) if contract.exit_fee_usd > 0 else left
