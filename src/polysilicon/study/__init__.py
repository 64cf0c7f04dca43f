"""The study: the one place that runs the machines in sequence. Plan, prove by replay, report."""

from __future__ import annotations

from polysilicon.study.proof import Measured, Promise
from polysilicon.study.run import ProofRound, StudyResult, explore, run
from polysilicon.study.serving import Table, serving_table

__all__ = ["Measured", "Promise", "ProofRound", "StudyResult", "Table", "explore", "run", "serving_table"]
