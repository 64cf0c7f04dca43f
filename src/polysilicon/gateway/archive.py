"""The ledger as one table for those who ask questions of it: Parquet or SQLite."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from polysilicon.errors import InputError
from polysilicon.gateway.ledger import Entry

_NESTED = ("others", "meters")


def _rows(entries: Sequence[Entry]) -> list[dict[str, Any]]:
    rows = []
    for e in entries:
        row = {name: getattr(e, name) for name in Entry.__struct_fields__}
        for name in _NESTED:
            row[name] = msgspec.json.encode(row[name]).decode()
        rows.append(row)
    return rows


def write(entries: Sequence[Entry], path: Path) -> None:
    """Write all entries to a .parquet or .sqlite file, whole or not at all. Money stays in whole nano-dollars.

    Raises: InputError for another ending, or when the file cannot be written.
    """
    scratch = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".parquet":
            import polars

            rows = _rows(entries)
            polars.DataFrame(rows, infer_schema_length=None).write_parquet(scratch)
        elif path.suffix in (".sqlite", ".db"):
            _sqlite(_rows(entries), scratch)
        else:
            raise InputError(f'"{path.suffix}" is not .parquet, .sqlite or .db', where=str(path))
        scratch.replace(path)
    except OSError as error:
        raise InputError(f"cannot be written: {error.strerror}", where=str(path)) from error


def _sqlite(rows: list[dict[str, Any]], path: Path) -> None:
    names = Entry.__struct_fields__
    connection = sqlite3.connect(path)
    try:
        with connection:
            connection.execute(f"CREATE TABLE ledger ({', '.join(names)})")
            marks = ", ".join("?" * len(names))
            connection.executemany(f"INSERT INTO ledger VALUES ({marks})", [tuple(row[n] for n in names) for row in rows])
            connection.execute("CREATE INDEX ledger_at ON ledger (at_s)")
    finally:
        connection.close()
