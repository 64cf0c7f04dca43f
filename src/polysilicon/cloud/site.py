"""Where chips stand: power, cooling, energy price and carbon."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from polysilicon.errors import MissingFact

Cooling = Literal["air", "liquid"]


@dataclass(frozen=True, slots=True)
class PowerPurchase:
    """A power purchase agreement: so many megawatts of facility load at a price from a day on."""

    mw: float
    usd_per_mwh: float
    start: str  # ISO date
    g_co2_per_kwh: float = 0.0
    source: str = ""


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
    purchases: tuple[PowerPurchase, ...] = ()
    ramp_mw_per_hour: float | None = None  # of IT load, either way; None: no stated limit
    source: str = ""

    def power_on(self, day: str) -> tuple[float, float]:
        """Return $/kWh and g CO2/kWh of the facility's load on a day: agreements first, in order, the grid for the rest.

        The load is the whole envelope: IT megawatts x PUE. Every kWh of the site pays the blend.

        >>> site = Site("x", "azure", "eastus", 100.0, 1.2, 0.10, 400.0, purchases=(PowerPurchase(60.0, 50.0, "2027-01-01"),))
        >>> site.power_on("2026-06-01"), site.power_on("2027-06-01")
        ((0.1, 400.0), (0.075, 200.0))

        Raises: MissingFact where there are agreements and no stated power they are a share of.
        """
        if not self.purchases:
            return self.usd_per_kwh, self.g_co2_per_kwh
        if not self.it_mw:
            raise MissingFact(self.id, "it_mw", needed_for="the share of its load that power purchase agreements cover")
        load = left = self.it_mw * self.pue
        usd = grams = 0.0
        for purchase in self.purchases:
            taken = min(left, purchase.mw) if purchase.start <= day else 0.0
            left -= taken
            usd += taken * purchase.usd_per_mwh / 1000
            grams += taken * purchase.g_co2_per_kwh
        return (usd + left * self.usd_per_kwh) / load, (grams + left * self.g_co2_per_kwh) / load

    def facility_mw(self, it_mw: float) -> float:
        """Return facility power for an IT load.

        >>> Site("x", "azure", "eastus", pue=1.2).facility_mw(100.0)
        120.0
        """
        return it_mw * self.pue
