"""The report: one HTML file that opens offline, a Markdown twin, JSON and Parquet tables."""

from polysilicon.report.evidence import (
    Alternative,
    ContractEvidence,
    Distribution,
    EnergyUse,
    Evidence,
    Round,
    Series,
    WhatIf,
    WorkloadEvidence,
)

__all__ = [
    "Alternative", "ContractEvidence", "Distribution", "EnergyUse", "Evidence", "Round", "Series", "WhatIf", "WorkloadEvidence",
]  # fmt: skip
