"""How often spot capacity was there: measured records by zone, none of today's chips."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from polysilicon.catalogue.rows import Row


@dataclass(frozen=True, slots=True)
class SpotRecord:
    """What one zone's spot capacity did over some days."""

    cloud: str
    zone: str
    accelerator: str  # as recorded: v100, k80, or a CPU shape
    chips: int  # asked for in one instance
    nodes: int  # asked for at once
    recorded_on: str
    days: float
    availability_frac: float
    mean_up_hours: float
    mean_down_hours: float
    transitions_per_day: float
    source: str

    @property
    def interruptions_per_hour(self) -> float:
        """Return reclaims an hour while it is there: 1 / mean time it stays."""
        return 1.0 / self.mean_up_hours


def spot_records(rows: Iterable[Row]) -> tuple[SpotRecord, ...]:
    """Return the records that checked rows hold."""
    return tuple(
        SpotRecord(
            cloud=r.get("cloud"),
            zone=r.get("zone"),
            accelerator=r.get("accelerator"),
            chips=int(r.get("chips")),
            nodes=int(r.get("nodes")),
            recorded_on=r.get("recorded_on"),
            days=float(r.get("days")),
            availability_frac=float(r.get("availability_frac")),
            mean_up_hours=float(r.get("mean_up_hours")),
            mean_down_hours=float(r.get("mean_down_hours")),
            transitions_per_day=float(r.get("transitions_per_day")),
            source=r.get("source"),
        )
        for r in rows
    )
