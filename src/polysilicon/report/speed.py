"""What each chip was taken to deliver: speed per dollar and per watt at the promise, with band, basis, source and date."""

from __future__ import annotations

from collections.abc import Sequence

from polysilicon.performance import ServingPoint
from polysilicon.portfolio import Plan
from polysilicon.report.evidence import Evidence
from polysilicon.report.figures import Column, Table
from polysilicon.report.names import proper
from polysilicon.units import SECONDS_PER_HOUR

COLUMNS = (
    Column("workload", "Workload"),
    Column("chip", "Chip", "name"),
    Column("layout", "Layout"),
    Column("tpot_s", "TPOT", "seconds"),
    Column("ttft_s", "TTFT", "seconds"),
    Column("tok_per_s_per_chip", "Tokens/s a chip", "whole"),
    Column("low_tok_per_s_per_chip", "80 % band from", "whole"),
    Column("high_tok_per_s_per_chip", "to", "whole"),
    Column("tok_per_usd", "Tokens per $", "whole"),
    Column("tok_per_s_per_w", "Tokens/s per W", "number"),
    Column("basis", "Basis"),
    Column("source", "Source"),
    Column("as_of", "As of", "date"),
    Column("note", "Note"),
)
NOTE = (
    "Output tokens, at the promise's quantile, before engine and headroom. Measured: your own points. Calibrated: fitted to published runs, "
    "whose errors make the band. Datasheet: no run of this chip was seen. Dollars are those of the chips held."
)


def speed(evidence: Evidence) -> Table:
    """Return one row for each workload and chip of the plan.

    tokens per dollar = tokens/s a chip x 3600 / mean dollars a chip-hour held.
    """
    rows = []
    points = sorted(evidence.plan.serving, key=lambda p: (p.workload, p.chip))
    for p in points:
        usd = _usd_per_chip_hour(evidence.plan, p.chip)
        per_w = p.tok_per_s_per_chip / p.w_per_chip if p.w_per_chip > 0 else None  # NaN where no power is public: no number
        rows.append(
            (
                p.workload, p.chip, p.layout.name, p.tpot_s, p.ttft_s, p.tok_per_s_per_chip, *p.band_tok_per_s_per_chip,
                p.tok_per_s_per_chip * SECONDS_PER_HOUR / usd if usd else None, per_w, p.basis,
                evidence.sources.get(p.source, p.source), p.as_of, p.note,
            )
        )  # fmt: skip
    return Table("speed", "What each chip delivers", COLUMNS, tuple(rows), " ".join([NOTE, *_sources(evidence, points)]))


def _sources(evidence: Evidence, points: Sequence[ServingPoint]) -> list[str]:
    """Say where speeds come from: by source, which chips, as of when."""
    chips: dict[str, dict[str, str]] = {}
    for p in points:
        if p.source:
            chips.setdefault(evidence.sources.get(p.source, p.source), {}).setdefault(proper(p.chip), p.as_of)
    return [f"From {source}: {', '.join(f'{chip} ({day})' if day else chip for chip, day in held.items())}." for source, held in chips.items()]


def _usd_per_chip_hour(plan: Plan, chip: str) -> float:
    """Return the mean price of the chips held of a kind, weighted by how many and how long."""
    hours = {p.index: p.hours for p in plan.periods}
    held = [(h.chips * hours[h.period], h.usd_per_chip_hour) for h in plan.holdings if h.chip == chip]
    total = sum(weight for weight, _ in held)
    return sum(weight * usd for weight, usd in held) / total if total else 0.0
