"""Where chips stand: power, cooling, energy price and carbon."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Cooling = Literal["air", "liquid"]


@dataclass(frozen=True, slots=True)
class Site:
    """One cloud region's power envelope for this buyer. Facility power = IT power x PUE."""

    id: str
    cloud: str
    region: str
    it_mw: float | None = None  # None: no stated limit
    pue: float = 1.2
    usd_per_kwh: float = 0.0  # 0 where the chip's price includes energy
    g_co2_per_kwh: float = 0.0
    usd_per_tonne_co2: float = 0.0
    cooling: Cooling = "liquid"
    lead_time_months: float = 0.0
    ramp_mw: tuple[tuple[str, float], ...] = ()  # (ISO date, IT MW from then on)
    source: str = ""

    def facility_mw(self, it_mw: float) -> float:
        """Return facility power for an IT load.

        >>> Site("x", "azure", "eastus", pue=1.2).facility_mw(100.0)
        120.0
        """
        return it_mw * self.pue
