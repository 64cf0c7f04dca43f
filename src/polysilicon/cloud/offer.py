"""A quoted price for chips at one place, with its date and source."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from polysilicon.facts import Basis

OfferKind = Literal["on_demand", "reserved", "spot", "quote_only", "per_token"]


@dataclass(frozen=True, slots=True)
class Offer:
    """What one can buy: chips of one kind in one cloud region at a price, or tokens of one model.

    `usd_per_chip_hour` is None for a quote-only offer until a scenario states a price.
    """

    id: str
    cloud: str
    region: str
    chip: str  # empty for per_token
    kind: OfferKind
    usd_per_chip_hour: float | None
    block_chips: int = 1  # smallest purchasable unit: node, rack, pod slice
    instance: str = ""
    min_term_months: int = 0
    quoted_on: str = ""
    source: str = ""
    basis: Basis = "list_price"
    max_chips: float | None = None  # what this buyer can have of it at once; None: no stated limit
    available_from: str = ""  # ISO date; empty: now
    availability_frac: float = 1.0  # share of hours a spot offer is there
    interruptions_per_hour: float = 0.0
    ramp_chips_per_hour: float | None = None  # how fast rented chips come and go; None: at once
    lead_time_months: float = 0.0
    model: str = ""  # per_token only
    usd_per_mtok_in: float | None = None
    usd_per_mtok_cached: float | None = None
    usd_per_mtok_out: float | None = None
    tags: tuple[str, ...] = ()  # compliance: hipaa, fedramp, ...
    note: str = ""
    low_usd_per_chip_hour: float | None = None  # over the zones of the region, where they differ
    high_usd_per_chip_hour: float | None = None
    valid_from: str = ""  # ISO dates between which the price holds; empty: from the quote on, until further notice
    valid_to: str = ""

    @property
    def pool(self) -> str:
        """Name the hardware that is interchangeable for serving: chip, cloud and region."""
        return f"{self.chip}@{self.cloud}/{self.region}"
