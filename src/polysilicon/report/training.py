"""Training beside inference: where each block stands, and what it takes of the cost."""

from __future__ import annotations

from polysilicon.portfolio import Plan
from polysilicon.report.figures import Column, Table, label


def table(plan: Plan) -> Table:
    """Return each training block by place: from when to when, its chips, its share of the cost."""
    places = dict.fromkeys((b.run, b.pool) for b in plan.training)
    rows = []
    for run, pool in places:
        mine = [b for b in plan.training if (b.run, b.pool) == (run, pool)]
        first, last = plan.periods[mine[0].period].start, plan.periods[mine[-1].period].start
        rows.append((run, label(mine[0].chip, mine[0].cloud), mine[0].region, first, last, max(b.chips for b in mine), sum(b.usd for b in mine)))
    columns = (
        Column("run", "Training"),
        Column("place", "Runs on"),
        Column("region", "Region"),
        Column("first", "From the period of", "date"),
        Column("last", "To that of", "date"),
        Column("chips", "Chips", "whole"),
        Column("usd", "$", "usd"),
    )
    note = "Training keeps its chips busy day and night; its cost is its share of what the pool's busy chips cost."
    return Table("training", "Training beside inference", columns, tuple(rows), note)
