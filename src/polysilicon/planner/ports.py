"""Which engine serves a model on a chip, what it may carry, and which ports could be started when."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta

from polysilicon.model.port import Port

USD_PER_ENGINEER_MONTH = 25_000.0  # assumed, fully loaded; listed among a plan's assumptions where it is used
NEW_ENGINE_FRAC = 0.6  # of its mature throughput on the first day, where a port does not say: press, a drop of 30 to 50 %
NEW_ENGINE_RAMP_MONTHS = 12.0  # until it is mature, where a port does not say; assumed
# A port's lead is shared out over its stages; assumed. A stage's gate is its end.
STAGE_SHARES: tuple[tuple[str, float], ...] = (("bring-up", 0.25), ("kernels", 0.35), ("validation", 0.25), ("pilot", 0.15))
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


def why_none(ports: Sequence[Port], family: str, chip_family: str) -> str:
    """Say why no engine serves a pair and none can be made to."""
    if not known(ports, family, chip_family):
        return "nothing is known of a port"
    mine = [p for p in ports if (p.model_family, p.chip_family) == (family, chip_family)]
    if all(cost_usd(p) is None or p.lead_months is None for p in mine):
        return "not ported, and what a port costs or takes is not known"
    return "not ported, and no port can be live in time"


def with_learning(port: Port) -> Port:
    """Return a port that says how its engine learns: what it states, else the default band's middle over a year.

    >>> with_learning(Port("m", "maia", "x", "none")).initial_efficiency_frac
    0.6
    """
    if port.initial_efficiency_frac is not None:
        return port
    return replace(
        port,
        initial_efficiency_frac=NEW_ENGINE_FRAC * port.efficiency_frac,
        ramp_months=port.ramp_months or NEW_ENGINE_RAMP_MONTHS,
    )


def with_tooling(port: Port, effort_factor: float) -> Port:
    """Return a port whose cost and lead are multiplied: 1 where the tools are as good as where the engine is now, more elsewhere.

    >>> with_tooling(Port("m", "maia", "x", "none", cost_usd=1e6, lead_months=6.0), 1.5).lead_months
    9.0
    """

    def times(value: float | None) -> float | None:
        return None if value is None else value * effort_factor

    return replace(port, cost_usd=times(port.cost_usd), engineer_months=times(port.engineer_months), lead_months=times(port.lead_months))


def timeline(candidate: Candidate, start: date) -> list[tuple[str, str]]:
    """Return (stage, ISO date of its gate) of a port; production begins with the last gate.

    >>> candidate = Candidate(Port("m", "maia", "x", "none", lead_months=9.0), 0, 3, 9.0, 1e6, 0.0)
    >>> timeline(candidate, date(2026, 1, 1))[0], timeline(candidate, date(2026, 1, 1))[-1]
    (('bring-up', '2026-03-10'), ('pilot', '2026-10-02'))
    """
    lead = candidate.port.lead_months or 0.0
    begin, done = candidate.live_month - lead, 0.0
    gates = []
    for stage, share in STAGE_SHARES:
        done += share
        gates.append((stage, (start + timedelta(days=round((begin + done * lead) * 30.4375))).isoformat()))
    return gates


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
        port = with_learning(port)
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
