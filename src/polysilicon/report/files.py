"""A report on disk: HTML, Markdown, JSON, and a Parquet table for every table."""

from __future__ import annotations

import io
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

import msgspec
import polars as pl

from polysilicon.errors import InputError
from polysilicon.report import contents, figures, page, words
from polysilicon.report.evidence import Evidence, Section
from polysilicon.report.figures import Table

FLOAT_FORMS = ("usd", "usd_per_mtok", "usd_per_hour", "number", "whole", "frac", "seconds", "kwh", "kg", "mtok")


def write(evidence: Evidence, directory: Path) -> dict[str, Path]:
    """Write `report.html`, `report.md`, `report.json`, `plan.json` and `tables/*.parquet`; return where each is.

    Everything is made before anything is written, and each file appears whole or not at all.

    Raises: InputError when the folder cannot be written.
    """
    made: dict[str, bytes] = {
        "report.html": page.html(evidence).encode(),
        "report.md": page.markdown(evidence).encode(),
        "report.json": msgspec.json.format(msgspec.json.encode(record(evidence)), indent=1),
        "plan.json": evidence.plan.to_json(),
    }
    for name, table in contents.tables(evidence).items():
        made[f"tables/{name}.parquet"] = parquet(table)
    return {name: _put(directory / name, content) for name, content in made.items()}


def record(evidence: Evidence) -> dict[str, Any]:
    """Return the report as one JSON document: its sentence, its totals, its tables with raw numbers."""
    plan = evidence.plan
    verdict, proof = words.proof(evidence)
    return {
        "polysilicon": 1,
        "title": evidence.title,
        "recommendation": words.recommendation(evidence),
        "verdict": verdict,
        "proof": proof,
        "total_usd": figures.total_usd(plan),
        "years": figures.years(plan),
        "objective_usd": plan.objective_usd,
        "mtok": figures.mtok(plan),
        "mtok_out": figures.mtok_out(evidence),
        "status": plan.status,
        "gap_frac": plan.gap_frac,
        "scenario_digest": plan.scenario_digest,
        "catalogue_digest": plan.catalogue_digest,
        "waterfall": [asdict(step) for step in figures.waterfall(plan)],
        "margin_waterfall_usd_per_mtok": [asdict(step) for step in figures.margin_steps(evidence)],
        "tables": {name: table.records() for name, table in contents.tables(evidence).items()},
        "sections": [_section(section) for section in evidence.sections],
        "warnings": list(evidence.warnings),
        "notes": list(plan.notes),
    }


def _section(section: Section) -> dict[str, Any]:
    tables = [{"heads": list(heads), "rows": [list(row) for row in rows]} for heads, rows in section.tables]
    return {"title": section.title, "words": list(section.words), "tables": tables}


def parquet(table: Table) -> bytes:
    """Return a table as Parquet, numbers as numbers."""
    series = []
    for i, column in enumerate(table.columns):
        values = [row[i] for row in table.rows]
        if column.form in FLOAT_FORMS:
            series.append(pl.Series(column.key, [None if v is None else float(v) for v in values], dtype=pl.Float64))
        else:
            series.append(pl.Series(column.key, [None if v is None else str(v) for v in values], dtype=pl.String))
    sink = io.BytesIO()
    pl.DataFrame(series).write_parquet(sink, compression="zstd")
    return sink.getvalue()


def _put(path: Path, content: bytes) -> Path:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        scratch = path.with_name(f".{path.name}.{os.getpid()}.part")
        scratch.write_bytes(content)
        scratch.replace(path)
    except OSError as error:
        raise InputError(f"cannot be written: {error.strerror}", where=str(path)) from error
    return path
