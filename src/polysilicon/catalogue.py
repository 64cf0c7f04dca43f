"""The catalogue: data files plus the user's overlay, as chips, models, offers, ports, with provenance."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from polysilicon.cloud.offer import Offer
from polysilicon.facts import Fact
from polysilicon.model.port import Port
from polysilicon.silicon.chip import Chip, System


@dataclass(frozen=True, slots=True)
class Catalogue:
    """Everything known, by id."""

    chips: Mapping[str, Chip]
    systems: Mapping[str, System]
    offers: Mapping[str, Offer]
    ports: tuple[Port, ...]
    sources: Mapping[str, str] = field(default_factory=dict)  # key -> full reference
    facts: tuple[Fact, ...] = ()
    digest: str = ""


def load(overlay: Path | None = None) -> Catalogue:
    """Read the embedded data and, over it, the user's overlay."""
    raise NotImplementedError
