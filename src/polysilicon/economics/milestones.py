"""A contract's milestones as steps, for schedules and exports."""

from __future__ import annotations

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
