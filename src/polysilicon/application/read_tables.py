"""Tables: CSV and Parquet traces whose rows are requests."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from polysilicon.application.pieces import Piece, Problems, line_pieces
from polysilicon.application.trace import F8, I8
from polysilicon.errors import InputError

PARQUET_ROWS = 500_000


@dataclass(frozen=True, slots=True)
class Layout:
    """Which columns of a table mean what."""

    arrival: str
    isl: str
    osl: str
    time: Callable[[pl.Expr], pl.Expr]  # words of the file -> seconds, or whole nanoseconds
    session: str = ""
    workload: str = ""
    think: str = ""
    priority: str = ""
    reuse: str = ""
    blocks: str = ""
    block_tokens: int = 0


@dataclass(slots=True)
class Clock:
    """The first time stamp of a file, which its times are counted from."""

    origin_ns: int | None = None


def number(column: pl.Expr) -> pl.Expr:
    """Read words as numbers; what is none becomes null."""
    return column.str.strip_chars().cast(pl.Float64, strict=False)


def stamp(column: pl.Expr) -> pl.Expr:
    """Read a date and time of up to nine fractional digits, in UTC or without a zone, as whole nanoseconds.

    Whole seconds and the fraction are read apart: as one float of seconds since 1970 the seventh digit would be lost.
    """
    clean = column.str.strip_chars().str.replace(r"(Z|\+00:00)$", "").str.replace("T", " ", literal=True)
    whole = clean.str.slice(0, 19).str.to_datetime("%Y-%m-%d %H:%M:%S", strict=False).dt.epoch("s")
    tail = clean.str.slice(19)
    digits = tail.str.slice(1).str.pad_end(9, "0").cast(pl.Int64, strict=False)
    fraction = pl.when(tail == "").then(0).when(tail.str.contains(r"^\.\d{1,9}$")).then(digits)
    return whole * 1_000_000_000 + fraction


def millis(column: pl.Expr) -> pl.Expr:
    """Read milliseconds since 1970 as whole nanoseconds."""
    return (number(column) * 1000).round().cast(pl.Int64, strict=False) * 1000


LAYOUTS: dict[str, Layout] = {
    "azure": Layout("TIMESTAMP", "ContextTokens", "GeneratedTokens", stamp),
    "burstgpt": Layout("Timestamp", "Request tokens", "Response tokens", number, session="Session ID", workload="Model"),
    "plain": Layout(
        "arrival_s", "isl_tokens", "osl_tokens", number, session="session", workload="workload", think="think_s",
        priority="priority", reuse="reuse_tokens", blocks="block_hashes",
    ),
    "baseten": Layout(
        "timestamp_start_unix_ms", "input_tokens", "output_tokens", millis, session="provided_session_id",
        blocks="total_hashes", block_tokens=64,
    ),
}  # fmt: skip
LENGTHS_ONLY = {"vidur": ("num_prefill_tokens", "num_decode_tokens")}


def detect(columns: list[str]) -> str | None:
    """Return the format whose needed columns are all there."""
    have = {name.strip() for name in columns}
    for name, layout in LAYOUTS.items():
        if {layout.arrival, layout.isl, layout.osl} <= have:
            return name
    for name, needed in LENGTHS_ONLY.items():
        if set(needed) <= have:
            return name
    return None


def header_of(path: Path, head: bytes) -> list[str]:
    """Return the column names of a CSV's first line.

    Raises: InputError when the line is not text.
    """
    line = head.split(b"\n", 1)[0]
    try:
        text = line.decode("utf-8-sig").rstrip("\r")
    except UnicodeDecodeError as error:
        raise InputError("is not a table of text: its first line is not UTF-8", where=f"{path}:1") from error
    if "\x00" in text:
        raise InputError("is not a table of text: its first line holds binary data", where=f"{path}:1")
    return [name.strip().strip('"') for name in text.split(",")]


def csv_pieces(path: Path, layout: Layout, problems: Problems, columns: list[str]) -> Iterator[Piece]:
    """Yield a CSV's requests piece by piece; bad cells are noted as problems and their rows left out."""
    repeated = sorted({name for name in columns if columns.count(name) > 1})
    if repeated:
        raise InputError(f"column {', '.join(repeated)} stands twice in the header", where=f"{path}:1")
    clock = Clock()
    for line, block in line_pieces(path):
        skip = 1 if line == 1 else 0
        frame = _frame(path, block, columns, skip, line, problems)
        if frame is not None and frame.height:
            yield _piece(frame, layout, problems, clock)
        if problems.full:
            return


def _frame(path: Path, block: bytes, columns: list[str], skip: int, line: int, problems: Problems) -> pl.DataFrame | None:
    """Read a block of lines as words, with the number of each line; blank lines are passed over."""
    body = block.split(b"\n", 1)[1] if skip and b"\n" in block else (b"" if skip else block)
    if not body.strip():
        return None
    first = line + skip
    body, numbers = _without_blank(body, first)
    try:
        frame = pl.read_csv(io.BytesIO(body), has_header=False, new_columns=columns, infer_schema=False, quote_char='"')
    except pl.exceptions.PolarsError:
        _blame(path, body, columns, numbers, problems)
        return None
    if frame.width != len(columns) or frame.height != len(numbers):
        _blame(path, body, columns, numbers, problems)
        return None
    return frame.with_columns(pl.Series("__line", numbers))


def _without_blank(body: bytes, first: int) -> tuple[bytes, I8]:
    """Return the lines that are not blank and the number of each; lines are counted, not parsed."""
    lines = body.split(b"\n")
    if lines and not lines[-1].strip():
        lines.pop()
    numbers = np.arange(first, first + len(lines), dtype=np.int64)
    filled = np.fromiter((bool(text.strip()) for text in lines), bool, len(lines))
    if filled.all():
        return body, numbers
    return b"\n".join(text for text in lines if text.strip()) + b"\n", numbers[filled]


def _blame(path: Path, body: bytes, columns: list[str], numbers: I8, problems: Problems) -> None:
    """Find the lines a table reader refused: bytes that are not text, or another number of columns."""
    before = len(problems.found)
    for line, raw in zip(numbers.tolist(), body.split(b"\n"), strict=False):
        try:
            text = raw.decode("utf-8")
        except UnicodeDecodeError:
            problems.add(line, "the line is not UTF-8 text")
            continue
        cells = text.rstrip("\r").count(",") + 1
        if cells != len(columns) and '"' not in text:
            problems.add(line, f"{cells} columns where the header has {len(columns)}", hint="the line may be cut short")
        if problems.full:
            return
    if len(problems.found) == before:
        problems.add(int(numbers[0]), "the table cannot be read from here on", hint="is a quote left open?")


def _piece(frame: pl.DataFrame, layout: Layout, problems: Problems, clock: Clock) -> Piece:
    path = problems.path
    read = frame.select(
        line="__line",
        arrival=layout.time(pl.col(layout.arrival)),
        isl=number(pl.col(layout.isl)),
        osl=number(pl.col(layout.osl)),
        **{
            name: number(pl.col(column))
            for name, column in (("think", layout.think), ("priority", layout.priority), ("reuse", layout.reuse))
            if column in frame.columns
        },
    )
    bad = pl.Series(np.zeros(frame.height, bool))
    wanted = {
        "arrival": layout.arrival,
        "isl": layout.isl,
        "osl": layout.osl,
        "think": layout.think,
        "priority": layout.priority,
        "reuse": layout.reuse,
    }
    for name in read.columns[1:]:
        null = read[name].is_null()
        for row in null.arg_true().head(21):
            words = frame[wanted[name]][row]
            line = int(frame["__line"][row])
            told = f'"{words[:40]}" is not a {"time" if name == "arrival" else "number"}' if words else "has no value; the line may be cut short"
            problems.add(line, f"column {wanted[name]}: {told}")
        bad = bad | null
    keep = ~bad
    read, frame = read.filter(keep), frame.filter(keep)
    if layout.blocks in frame.columns and frame[layout.blocks].is_not_null().any():
        raise InputError(f"column {layout.blocks} needs lists; a CSV has none", where=str(path), hint="write the trace as Parquet or JSONL")
    return Piece(
        line=read["line"].to_numpy(),
        arrival_s=_arrival(read["arrival"], clock),
        isl_tokens=read["isl"].to_numpy(),
        osl_tokens=read["osl"].to_numpy(),
        workload=_words(frame, layout.workload),
        session=_words(frame, layout.session),
        think_s=_floats(read, "think"),
        priority=read["priority"].to_numpy().astype(np.int32) if "priority" in read.columns else None,
        reuse_tokens=_floats(read, "reuse"),
    )


def _arrival(column: pl.Series, clock: Clock) -> F8:
    """Seconds; nanoseconds are counted from the file's first request before they become a float."""
    if column.dtype != pl.Int64:
        return column.to_numpy().astype(np.float64)
    if clock.origin_ns is None and len(column):
        clock.origin_ns = int(column[0])
    return (column.to_numpy() - (clock.origin_ns or 0)) / 1e9


def _words(frame: pl.DataFrame, column: str) -> list[str] | None:
    if not column or column not in frame.columns:
        return None
    words: list[str] = frame[column].cast(pl.String).fill_null("").str.strip_chars().to_list()
    return [w.removesuffix(".0") if w not in ("-1", "nan", "None") else "" for w in words]


def _floats(frame: pl.DataFrame, column: str) -> F8 | None:
    return frame[column].to_numpy().astype(np.float64) if column in frame.columns else None


def parquet_columns(path: Path) -> list[str]:
    """Return the column names of a Parquet file.

    Raises: InputError when it is cut short or none.
    """
    try:
        return pl.scan_parquet(path).collect_schema().names()
    except (pl.exceptions.PolarsError, OSError) as error:
        raise InputError(f"is not a Parquet file: {str(error).splitlines()[0][:160]}", where=str(path)) from error


def parquet_pieces(path: Path, layout: Layout, problems: Problems) -> Iterator[Piece]:
    """Yield a Parquet file's requests, some 500,000 at a time; rows are counted from 1 where a CSV counts lines."""
    scan, clock = pl.scan_parquet(path), Clock()
    try:
        names = scan.collect_schema().names()
        rows = int(scan.select(pl.len()).collect().item())
        wanted = [
            layout.arrival,
            layout.isl,
            layout.osl,
            layout.session,
            layout.workload,
            layout.think,
            layout.priority,
            layout.reuse,
            layout.blocks,
        ]
        columns = [name for name in wanted if name in names]
        size = "block_tokens" if "block_tokens" in names else "block_size" if "block_size" in names else ""
        for start in range(0, rows, PARQUET_ROWS):
            frame = scan.slice(start, PARQUET_ROWS).select([*columns, *([size] if size else [])]).collect()
            yield _parquet_piece(frame, layout, problems, start, size, clock)
            if problems.full:
                return
    except pl.exceptions.PolarsError as error:
        raise InputError(f"the Parquet file cannot be read: {str(error).splitlines()[0][:160]}", where=str(path)) from error


def _parquet_piece(frame: pl.DataFrame, layout: Layout, problems: Problems, start: int, size: str, clock: Clock) -> Piece:
    numeric = {layout.arrival, layout.isl, layout.osl, layout.think, layout.priority, layout.reuse} & set(frame.columns)
    words = frame.with_columns(pl.col(name).cast(pl.String) for name in sorted(numeric))
    words = words.with_columns(pl.Series("__line", np.arange(start + 1, start + 1 + frame.height)))
    blocks = words[layout.blocks] if layout.blocks in words.columns else None
    piece = _piece(words.drop(layout.blocks) if blocks is not None else words, layout, problems, clock)
    if blocks is None or not isinstance(blocks.dtype, pl.List):
        return piece
    if len(piece.line) != frame.height:
        return piece  # rows were refused; the file is not going to be used
    piece.block_count = blocks.list.len().fill_null(0).to_numpy().astype(np.int64)
    flat = blocks.list.explode() if hasattr(blocks.list, "explode") else blocks.explode()
    flat = flat.drop_nulls()
    piece.block_hash = (flat.cast(pl.Int64, strict=False) if flat.dtype != pl.String else flat.hash(0).cast(pl.Int64, wrap_numerical=True)).to_numpy()
    piece.block_tokens = int(frame[size][0]) if size and frame.height and frame[size][0] else layout.block_tokens or 1
    if int(piece.block_count.sum()) != len(piece.block_hash):
        problems.add(0, f"column {layout.blocks} holds empty values inside its lists")
    return piece
