"""Rows of a CSV or YAML file that know where they stand, so that every problem can be told as file:line:col."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from polysilicon.errors import InputError

MAX_BYTES = 64_000_000  # a catalogue file is small; something larger was named by mistake

FACT_COLUMNS: tuple[str, ...] = ("subject", "parameter", "value", "unit", "source", "as_of", "basis", "note")


class Readable(Protocol):
    """A file on disk or inside the package."""

    def read_bytes(self) -> bytes:
        """Return the content."""


@dataclass(slots=True)
class Row:
    """One row: its cells by column, and where each stands."""

    file: str
    line: int
    cells: dict[str, str]
    text: str = ""  # the line of a CSV file, from which columns are counted when a problem is told
    header: Sequence[str] = ()
    places: Mapping[str, tuple[int, int]] = field(default_factory=dict)  # YAML: column -> line, column

    def get(self, column: str) -> str:
        """Return a cell, empty where the file has no such column."""
        return self.cells.get(column, "")

    def where(self, column: str = "") -> str:
        """Return `file:line:col` of a cell.

        >>> Row("a.csv", 3, {"x": "1", "y": "2"}, '"1",2', ("x", "y")).where("y")
        'a.csv:3:5'
        """
        if column in self.places:
            line, col = self.places[column]
            return f"{self.file}:{line}:{col}"
        index = self.header.index(column) if column in self.header else 0
        return f"{self.file}:{self.line}:{_column_of_cell(self.text, index)}"

    def problem(self, column: str, message: str, hint: str = "") -> InputError:
        """Return an error that stands at a cell."""
        return InputError(message, where=self.where(column), hint=hint)


def _column_of_cell(text: str, index: int) -> int:
    quoted = False
    cell = 0
    for position, character in enumerate(text):
        if cell == index:
            return position + 1
        if character == '"':
            quoted = not quoted
        elif character == "," and not quoted:
            cell += 1
    return len(text) + 1 if cell == index and text else 1


def read_text(file: Readable, name: str, problems: list[InputError]) -> str:
    """Return the text of a file, or note why it is none and return the empty string."""
    try:
        content = file.read_bytes()
    except OSError as error:
        problems.append(InputError(f"cannot be read: {error.strerror or error}", where=name))
        return ""
    if len(content) > MAX_BYTES:
        problems.append(InputError(f"has {len(content):,} bytes; a catalogue file has at most {MAX_BYTES:,}", where=name))
        return ""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        problems.append(InputError(f"is not UTF-8 text: byte {error.start} is 0x{content[error.start]:02x}", where=f"{name}:{line}:1"))
        return ""
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        problems.append(InputError("holds a zero byte: it is not a text file", where=f"{name}:{line}:1"))
        return ""
    return text


def read_csv(text: str, name: str, problems: list[InputError]) -> tuple[tuple[str, ...], list[Row]]:
    """Return header and rows of CSV text; a row that is too short or too long is a problem, the rest is still read."""
    lines = text.splitlines()
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    header: tuple[str, ...] = ()
    rows: list[Row] = []
    begin = 1
    try:
        for cells in reader:
            line, begin = begin, reader.line_num + 1
            if not cells or (len(cells) == 1 and not cells[0].strip()) or cells[0].startswith("#"):
                continue
            if not header:
                header = tuple(c.strip() for c in cells)
                _check_header(header, name, line, problems)
            elif len(cells) != len(header):
                problems.append(
                    InputError(
                        f"the row has {len(cells)} cells, the header has {len(header)}",
                        where=f"{name}:{line}:1",
                        hint="a cell with a comma must stand in double quotes" if len(cells) > len(header) else "the file may be cut off here",
                    )
                )
            else:
                rows.append(Row(name, line, dict(zip(header, cells, strict=True)), lines[line - 1], header))
    except csv.Error as error:
        problems.append(InputError(f"is not CSV: {error}", where=f"{name}:{begin}:1", hint="the file may be cut off inside quotes"))
    if not header and text.strip() == "" and not problems:
        problems.append(InputError("is empty; a header line is expected", where=f"{name}:1:1", hint=f"for facts: {','.join(FACT_COLUMNS)}"))
    return header, rows


def _check_header(header: Iterable[str], name: str, line: int, problems: list[InputError]) -> None:
    seen: set[str] = set()
    for column in header:
        if column in seen or not column:
            problems.append(
                InputError(
                    f'the header names column "{column}" twice' if column else "the header has a column without a name",
                    where=f"{name}:{line}:1",
                )
            )
        seen.add(column)


def read_yaml(text: str, name: str, problems: list[InputError]) -> Any:
    """Return the content of YAML text as ruamel's round-trip objects, which know their lines."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    try:
        return YAML(typ="rt", pure=True).load(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"{name}:{mark.line + 1}:{mark.column + 1}" if mark else name
        problems.append(InputError(f"is not YAML: {error.problem or error.context}", where=place))
    except (YAMLError, ValueError, RecursionError) as error:
        problems.append(InputError(f"is not YAML: {error}", where=name))
    return None


def path_name(path: Path) -> str:
    """Return a path the way a person typed it."""
    return str(path)
