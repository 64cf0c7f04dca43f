"""Unit economics of a plan: price, cost and margin of a million tokens by application, model and chip, for spreadsheets."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

from polysilicon.economics.tokens import UnitRow
from polysilicon.report import Evidence, figures

HEADS = (
    "application", "model", "chip", "price_usd_per_mtok", "cost_usd_per_mtok", "other_usd_per_mtok", "margin_usd_per_mtok", "margin_frac",
    "transfer_usd_per_mtok", "application_margin_frac",
)  # fmt: skip


def unit_rows(evidence: Evidence) -> list[UnitRow]:
    """Return a row for each application, model and place that serves it; workloads without a stated price have none.

    Cost is what its placements cost, with idle commitments, energy and ports shared in proportion, as in the report's margins.
    An application of one's own house pays that cost as its transfer price.
    """
    plan = evidence.plan
    attributed = sum(p.usd for p in plan.placements)
    lift = figures.total_usd(plan) / attributed if attributed > 0 else 0.0
    out = []
    for w in evidence.workloads:
        price = figures.price_usd_per_mtok(w)
        places: dict[str, tuple[float, float]] = {}
        for p in plan.placements:
            if p.workload == w.id:
                mtok, usd = places.get(p.chip or p.pool, (0.0, 0.0))
                places[p.chip or p.pool] = (mtok + p.mtok, usd + p.usd * lift)
        for chip, (mtok, usd) in places.items():
            if price is not None and mtok > 0:
                out.append(UnitRow(w.application or w.id, w.model, chip, price, usd / mtok, 0.0, usd / mtok))
    return out


def unit_csv(rows: Sequence[UnitRow]) -> bytes:
    """Return rows as a table with one head line."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(HEADS)
    writer.writerows([getattr(row, name) for name in HEADS] for row in rows)
    return text.getvalue().encode()
