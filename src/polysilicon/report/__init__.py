"""The report: one HTML file that opens offline, a Markdown twin, JSON and Parquet tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

from polysilicon.report.evidence import (
    Alternative,
    ContractEvidence,
    Distribution,
    EnergyUse,
    Evidence,
    Round,
    Section,
    Series,
    WhatIf,
    WorkloadEvidence,
)

if TYPE_CHECKING:
    from pathlib import Path

__all__ = [
    "Alternative", "ContractEvidence", "Distribution", "EnergyUse", "Evidence", "Round", "Section", "Series", "WhatIf",
    "WorkloadEvidence", "embed", "write",
]  # fmt: skip


def write(evidence: Evidence, directory: Path) -> dict[str, Path]:
    """Write a report into a folder; see `polysilicon.report.files.write`. The plotting library is imported here, not before."""
    from polysilicon.report.files import write as written

    return written(evidence, directory)


def embed(evidence: Evidence, chart: str) -> str:
    """Return one chart of a report as a page of its own; see `polysilicon.report.page.embed`."""
    from polysilicon.report.page import embed as embedded

    return embedded(evidence, chart)
