"""Which engine serves a model on a chip, what it may carry, and which ports could be started when."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from polysilicon.model.port import Port

USD_PER_ENGINEER_MONTH = 25_000.0  # assumed, fully loaded; listed among a plan's assumptions where it is used
TRIAL_SHARE_FRAC = 0.05  # what an engine may carry before its quality gate is passed


@dataclass(frozen=True, slots=True)
class Candidate:
    """A port that could be started in a period."""

    port: Port
    start: int  # period
    live: int  # first period that begins after go-live
    live_month: float  # after the horizon's start
    cost_usd: float
    upkeep_usd_per_year: float

    @property
    def key(self) -> tuple[str, str]:
        """Return what is ported where."""
        return self.port.model_family, self.port.chip_family


def cost_usd(port: Port) -> float | None:
    """Return what a port costs once: stated dollars, or engineer-months at an assumed rate; None where neither is known."""
    if port.cost_usd is not None:
        return port.cost_usd
    return None if port.engineer_months is None else port.engineer_months * USD_PER_ENGINEER_MONTH


def share_cap_frac(port: Port) -> float:
    """Return the share of a workload that an engine may carry: its stage's cap, and little until quality is shown."""
    return min(port.max_share_frac, TRIAL_SHARE_FRAC) if port.quality_gate == "failed" else port.max_share_frac


def native(ports: Sequence[Port], family: str, chip_family: str) -> Port | None:
    """Return the best engine that runs today, in production or as a pilot."""
    rank = {"production": 2, "pilot": 1}
    there = [p for p in ports if (p.model_family, p.chip_family) == (family, chip_family) and p.status in rank]
    return max(there, key=lambda p: (rank[p.status], share_cap_frac(p), p.efficiency_frac), default=None)


def known(ports: Sequence[Port], family: str, chip_family: str) -> bool:
    """Return whether anything at all is known of a pair; what is not known is not a port that costs nothing."""
    return any((p.model_family, p.chip_family) == (family, chip_family) for p in ports)


def candidates(ports: Sequence[Port], starts_month: Sequence[float], *, every: int = 1) -> tuple[list[Candidate], list[str]]:
    """Return every port start worth considering, and words on those that cannot be for want of a fact.

    `starts_month` are the months at which periods begin. A port that would go live after the horizon is left out.
    """
    found: list[Candidate] = []
    notes: list[str] = []
    running = {(p.model_family, p.chip_family) for p in ports if p.status == "production"}
    for port in ports:
        if port.status not in ("none", "porting") or (port.model_family, port.chip_family) in running:
            continue
        cost, lead = cost_usd(port), port.lead_months
        if cost is None or lead is None:
            missing = "cost_usd or engineer_months" if cost is None else "lead_months"
            notes.append(f"{port.model_family} on {port.chip_family}: no {missing} is known, so no port is considered")
            continue
        starts = [0] if port.status == "porting" else range(0, len(starts_month), every)
        for start in starts:
            live_month = starts_month[start] + lead
            live = next((y for y, month in enumerate(starts_month) if month >= live_month - 0.05), None)
            if live is not None:
                found.append(Candidate(port, start, live, live_month, cost, port.upkeep_usd_per_year or 0.0))
    return found, notes
