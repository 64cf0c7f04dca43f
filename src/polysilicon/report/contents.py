"""Everything a report contains: the plan's own tables and charts, then those of the questions put to it afterwards."""

from __future__ import annotations

from polysilicon.report import answers, charts, figures, projects, training
from polysilicon.report.evidence import Evidence
from polysilicon.report.figures import Table
from polysilicon.report.speed import speed


def tables(evidence: Evidence) -> dict[str, Table]:
    """Return every table that has rows, by name, in the order of the report."""
    found = figures.tables(evidence)
    last: dict[str, Table] = {name: found.pop(name) for name in ("what_ifs", "assumptions") if name in found}
    delivered = speed(evidence)
    found.update({delivered.name: delivered} if delivered.rows else {})
    beside = (training.table(evidence.plan), projects.projects(evidence.plan), projects.stages(evidence.plan))
    found |= {table.name: table for table in beside if table.rows}
    return {**found, **{t.name: t for t in answers.tables(evidence.asked) if t.rows}, **last}


def drawn(evidence: Evidence) -> dict[str, charts.Chart]:
    """Return every chart that has data, by name."""
    return {**charts.charts(evidence), **answers.drawings(evidence.asked)}
