"""Engines against chip families, and what a port that is not there yet would take: a class, from what is known to run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from polysilicon.catalogue import Catalogue
from polysilicon.catalogue.build import PORT_STATUSES

PortClass = Literal["runs", "finish", "new model", "new platform", "unknown"]


@dataclass(frozen=True, slots=True)
class EngineCell:
    """One engine on one chip family: the furthest status seen, by which model families, from which sources."""

    status: str
    model_families: tuple[str, ...]
    sources: tuple[str, ...]


def matrix(catalogue: Catalogue) -> dict[tuple[str, str], EngineCell]:
    """Return what was seen of each engine on each chip family; a pair that is missing is unknown."""
    groups: dict[tuple[str, str], list[tuple[str, str, str]]] = {}
    for port in catalogue.ports:
        if port.status != "none":
            groups.setdefault((port.engine, port.chip_family), []).append((port.status, port.model_family, port.source))
    return {
        key: EngineCell(
            max((status for status, _, _ in group), key=PORT_STATUSES.index),
            tuple(sorted({family for _, family, _ in group})),
            tuple(sorted({source for _, _, source in group})),
        )
        for key, group in sorted(groups.items())
    }


def port_class(catalogue: Catalogue, model_family: str, chip_family: str) -> PortClass:
    """Return what kind of work a port is, from what is known to run.

    runs: in production already. finish: a pilot or a port under way. new model: the model runs elsewhere, and an engine
    it runs on, or any engine, serves other families on this chip family. new platform: no engine is known on this chip
    family. unknown: nothing is known of the model family at all; that is not the same as cheap.
    """
    port = catalogue.port(model_family, chip_family)
    if port is not None and port.status != "none":
        return "runs" if port.status == "production" else "finish"
    if not any(p.model_family == model_family and p.status != "none" for p in catalogue.ports):
        return "unknown"
    served = {family for _, family in matrix(catalogue)}
    return "new model" if chip_family in served else "new platform"
