"""Promises that products of a kind make, with the traffic they make them for. The numbers are assumed: change them freely."""

from __future__ import annotations

from dataclasses import dataclass

from polysilicon.application.workload import Slo
from polysilicon.errors import InputError, did_you_mean


@dataclass(frozen=True, slots=True)
class Preset:
    """A kind of product: its traffic and its promise."""

    id: str
    profile: str  # of application.profiles
    slo: Slo
    words: str


PRESETS: dict[str, Preset] = {
    p.id: p
    for p in (
        Preset(
            "multi-document",
            "long-context",
            Slo(1.0, 0.05, quantile=0.95),
            "an answer over many documents begins within a second",
        ),
        Preset("assistant", "chat", Slo(1.5, 0.035, quantile=0.95), "a consumer assistant, faster than one reads"),
        Preset("coding-agent", "coding-agent", Slo(4.0, 0.03, quantile=0.95), "an agent over a repository, on a warm cache"),
        Preset("productivity", "enterprise", Slo(1.5, 0.04, quantile=0.95), "mail, documents and search in an office suite"),
        Preset("overnight", "batch", Slo(deadline_s=86_400.0), "work that may wait for the night"),
    )
}


def preset(name: str) -> Preset:
    """Return the preset of a name.

    Raises: InputError naming the known ones.
    """
    if name not in PRESETS:
        raise InputError(f'preset "{name}" is not known', hint=did_you_mean(name, PRESETS) or f"known presets: {', '.join(PRESETS)}")
    return PRESETS[name]
