"""Closed models: what third parties guess about them, as a band, with an open model standing in for computation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from polysilicon.catalogue.rows import Row
from polysilicon.facts import Fact


@dataclass(frozen=True, slots=True)
class Profile:
    """A model whose architecture is not public. Everything but its price is an assumption."""

    id: str
    name: str
    vendor: str
    architecture: str  # dense, moe or unknown: somebody's guess
    total_params: tuple[float, float] | None  # low, high
    active_params: tuple[float, float] | None
    stand_in: str  # id of the open model that is computed in its place
    price_model: str  # its name in the price book
    assumption: bool = True
    facts: Mapping[str, Fact] = field(default_factory=dict, compare=False)


def profiles(subjects: Mapping[str, Mapping[str, tuple[Fact, Row]]]) -> dict[str, Profile]:
    """Return profiles by id from their facts."""
    return {subject: _profile(subject, {p: f for p, (f, _) in entries.items()}) for subject, entries in subjects.items()}


def _profile(subject: str, facts: Mapping[str, Fact]) -> Profile:
    def words(parameter: str, otherwise: str = "") -> str:
        return str(facts[parameter].value) if parameter in facts else otherwise

    return Profile(
        id=subject,
        name=words("name", subject),
        vendor=words("vendor"),
        architecture=words("architecture", "unknown"),
        total_params=_band(facts, "total_params"),
        active_params=_band(facts, "active_params"),
        stand_in=words("stand_in"),
        price_model=words("price_model", subject),
        facts=facts,
    )


def _band(facts: Mapping[str, Fact], parameter: str) -> tuple[float, float] | None:
    values = [float(facts[p].value) for p in (f"{parameter}.low", parameter, f"{parameter}.high") if p in facts]
    return (min(values), max(values)) if values else None
