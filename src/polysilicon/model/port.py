"""Whether a model family runs on a chip family, through which engine, how well, and what it takes to get there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

PortStatus = Literal["none", "porting", "pilot", "production"]
STAGES: tuple[str, ...] = ("none", "built", "parity", "shadow", "pilot", "canary", "production", "draining")


@dataclass(frozen=True, slots=True)
class Port:
    """One model family on one chip family through one engine."""

    model_family: str
    chip_family: str
    engine: str
    status: PortStatus
    engineer_months: float | None = None
    lead_months: float | None = None
    cost_usd: float | None = None
    upkeep_usd_per_year: float | None = None
    efficiency_frac: float = 1.0  # of what the performance model predicts, at maturity
    initial_efficiency_frac: float | None = None  # right after go-live, before the learning curve
    ramp_months: float = 0.0
    improvement_per_year_frac: float = 0.0  # of throughput, by joint engineering, from the horizon's start or go-live on
    max_share_frac: float = 1.0  # traffic cap of the stage
    quality_gate: str = ""  # "", "passed", "failed"
    source: str = ""
    as_of: str = ""
    basis: str = "assumed"
    note: str = ""
