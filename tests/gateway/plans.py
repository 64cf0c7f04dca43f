"""A small plan, as the planner would hand it over."""

from __future__ import annotations

from polysilicon.model.layout import Layout
from polysilicon.performance import ServingPoint
from polysilicon.portfolio import Period, Placement, Plan


def plan() -> Plan:
    """One workload, seven tenths on Trainium at AWS, three on TPUs at Google."""
    layout = Layout(**{"tp": 4} if "tp" in Layout.__dataclass_fields__ else {})
    points = tuple(
        ServingPoint("chat", "planned", chip, layout, 32, 0.5, 0.02, 500.0, 3.0, 500.0, 1.0, 0.3, 0.3, 100_000, "estimate", 0.3)
        for chip in ("TRN2", "TPUv7")
    )
    placements = tuple(
        Placement(0, "chat", f"{chip}@{cloud}/{region}", chip, cloud, region, share, 40.0, 64.0, 1e6, 1e6, 1.0)
        for chip, cloud, region, share in (("TRN2", "aws", "us-east-1", 0.7), ("TPUv7", "gcp", "us-east5", 0.3))
    )
    return Plan(
        "s", "0123456789abcdef", "c", "optimal", 0.0, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0, (Period(0, "2026-01-01", 730.0),), (), placements, (), points
    )
