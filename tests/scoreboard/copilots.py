"""The example with Microsoft 365 Copilot, GitHub Copilot and a consumer app, planned once for several rows."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from polysilicon import catalogue, study
from polysilicon.scenario import load

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "copilots.yaml"
KNOWN = catalogue.load()


@cache
def studied() -> study.StudyResult:
    return study.run(load(EXAMPLE, KNOWN), KNOWN)
