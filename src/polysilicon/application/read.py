"""Traces of others, and one's own, read into arrays.

Formats are told apart by their header. Files are read in pieces, through gzip where they are zipped, so that a trace of
many gigabytes needs memory only for what is kept of it; `pieces` keeps nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np

from polysilicon.application import read_lines, read_rates, read_sessions, read_tables
from polysilicon.application.pieces import Names, Piece, Problems, check_piece, first_bytes, join, to_trace, without_empty
from polysilicon.application.trace import Trace
from polysilicon.errors import InputError, did_you_mean

FORMATS: dict[str, str] = {
    "azure": "Azure LLM inference trace, 2023 and 2024: TIMESTAMP, ContextTokens, GeneratedTokens",
    "burstgpt": "BurstGPT: Timestamp, Model, Request tokens, Response tokens",
    "mooncake": "Mooncake JSON lines with hash_ids of 512-token blocks",
    "bailian": "Bailian JSON lines with chats and hash_ids of 16-token blocks",
    "baseten": "Baseten Parquet or CSV: timestamp_start_unix_ms, input_tokens, output_tokens",
    "weka": "recorded agent sessions, JSON: a file, a folder of files, or a session a line",
    "weka-table": "the same sessions as one table with ranges of block ids",
    "servegen": "ServeGen rates by client, with the file of lengths beside them",
    "vidur": "lengths only: num_prefill_tokens, num_decode_tokens; arrivals are drawn at mean_rps",
    "plain": "polysilicon's own CSV or Parquet: arrival_s, isl_tokens, osl_tokens and what else is known",
}
MAX_ROWS = 400_000_000


@dataclass(frozen=True, slots=True)
class _Asked:
    path: Path
    format: str
    limit: int | None
    sort: bool
    seed: int
    mean_rps: float | None


def detect(path: Path) -> str:
    """Return the format of a file by its first bytes, or of a folder of session files.

    Raises: InputError naming the columns found when none fits.
    """
    if path.is_dir():
        if any(path.glob("*.json")):
            return "weka"
        raise InputError("the folder holds no session files (*.json)", where=str(path))
    head = first_bytes(path)
    if head[:4] == b"PAR1":
        columns = read_tables.parquet_columns(path)
        return _known(read_tables.detect(columns), columns, path)
    if head.lstrip()[:1] in (b"{", b"["):
        line = head.lstrip().split(b"\n", 1)[0]
        found = read_lines.detect(line)
        if found is None and b'"requests"' in head and b'"block_size"' in head:
            found = "weka"
        if found is None:
            raise InputError(
                "is JSON of no known trace format", where=f"{path}:1",
                hint="a Mooncake line has timestamp, input_length and output_length; a session has block_size and requests",
            )  # fmt: skip
        return found
    columns = read_tables.header_of(path, head)
    if set(read_rates.RATE_COLUMNS) <= set(columns):
        return "servegen"
    if set(columns) >= read_sessions.TABLE_COLUMNS:
        return "weka-table"
    return _known(read_tables.detect(columns), columns, path)


def _known(found: str | None, columns: list[str], path: Path) -> str:
    if found is not None:
        return found
    shown = ", ".join(columns[:8])[:160]
    raise InputError(
        f"the columns ({shown}) are those of no known trace format", where=f"{path}:1",
        hint="rename the columns to arrival_s, isl_tokens, osl_tokens",
    )  # fmt: skip


def read(
    path: Path | str,
    format: str = "auto",  # noqa: A002 - the word the scenario file uses
    *,
    limit: int | None = None,
    sort: bool = False,
    seed: int = 7,
    mean_rps: float | None = None,
) -> Trace:
    """Return a trace file's requests in order of arrival, counted in seconds from its first.

    `limit` stops after so many requests. `sort` puts a file whose clock goes backwards in order instead of refusing it.
    `seed` and `mean_rps` matter where a file does not say when its requests arrive: sessions and lengths without a clock,
    rates without requests. Requests without output are left out, and `Trace.source` says how many.

    Raises: InputError (or InputErrors, all at once) with file and line for anything that cannot be right.
    """
    workloads, sessions = Names(), Names()
    asked = _asked(path, format, limit, sort, seed, mean_rps)
    traces: list[Trace] = []
    rows = dropped = 0
    for piece in _checked(asked):
        traces.append(to_trace(piece, workloads=workloads, sessions=sessions, source=""))
        rows += len(piece.line)
        dropped += piece.dropped
        if rows > MAX_ROWS:
            raise InputError(f"more than {MAX_ROWS:,} requests", where=str(path), hint="pass a limit, or describe the file piece by piece")
    if not rows:
        raise InputError("holds no requests" + (f" with output ({dropped:,} have none)" if dropped else ""), where=str(path))
    left_out = f"; {dropped:,} requests without output left out" if dropped else ""
    trace = join(traces, f"{asked.format}: {asked.path.name}{left_out}")
    return _in_order(trace) if sort else trace


def pieces(
    path: Path | str,
    format: str = "auto",  # noqa: A002
    *,
    limit: int | None = None,
    seed: int = 7,
    mean_rps: float | None = None,
) -> Iterator[Trace]:
    """Yield a trace piece by piece, checked across pieces, holding one at a time.

    Raises: as `read`.
    """
    workloads, sessions = Names(), Names()
    for piece in _checked(_asked(path, format, limit, False, seed, mean_rps)):
        yield to_trace(piece, workloads=workloads, sessions=sessions, source=str(path))


def _asked(path: Path | str, format: str, limit: int | None, sort: bool, seed: int, mean_rps: float | None) -> _Asked:  # noqa: A002
    place = Path(path)
    if not place.exists():
        raise InputError("there is no such file", where=str(place))
    if limit is not None and limit < 1:
        raise InputError(f"limit is {limit}; it must be 1 or more")
    if format == "auto":
        format = detect(place)  # noqa: A001
    elif format not in FORMATS:
        raise InputError(f'trace format "{format}" is not known', hint=did_you_mean(format, FORMATS) or f"known: {', '.join(FORMATS)}")
    return _Asked(place, format, limit, sort, seed, mean_rps)


def _checked(asked: _Asked) -> Iterator[Piece]:
    """Yield pieces whose numbers can be, whose clock does not go back, up to the limit; raise all problems at the end."""
    problems = Problems(asked.path)
    rows, clock = 0, -np.inf
    for piece in _raw(asked, problems):
        check_piece(piece, problems)
        if not asked.sort:
            clock = _check_clock(piece, clock, problems)
        if problems.full:
            break
        piece = without_empty(piece)
        if asked.limit is not None and rows + len(piece.line) >= asked.limit:
            problems.check()
            yield _head(piece, asked.limit - rows)
            return
        rows += len(piece.line)
        if not problems.found and len(piece.line):
            yield piece
    problems.check()
    if rows == 0:
        raise InputError("holds no requests", where=str(asked.path))


def _check_clock(piece: Piece, clock: float, problems: Problems) -> float:
    if not len(piece.line):
        return clock
    before = np.r_[clock, piece.arrival_s[:-1]]
    back = piece.arrival_s < before
    for row in np.flatnonzero(back)[:3]:
        problems.add(
            int(piece.line[row]), f"the clock goes back from {before[row]:.7g} s to {piece.arrival_s[row]:.7g} s",
            hint="read it with sort=True (--sort) if its order does not matter",
        )  # fmt: skip
    problems.more += max(0, int(back.sum()) - 3)
    if np.isfinite(piece.arrival_s[0]) and clock == -np.inf and piece.arrival_s[0] < 0:
        problems.add(int(piece.line[0]), f"the first request arrives at {piece.arrival_s[0]:g} s; times begin at 0")
    return float(np.fmax.reduce(np.r_[clock, piece.arrival_s]))


def _raw(asked: _Asked, problems: Problems) -> Iterator[Piece]:
    path, kind = asked.path, asked.format
    if kind == "mooncake":
        yield from read_lines.mooncake_pieces(path, problems)
    elif kind == "bailian":
        yield from read_lines.bailian_pieces(path, problems)
    elif kind == "weka":
        files = sorted(path.glob("*.json")) if path.is_dir() else [path]
        yield read_sessions.json_piece(files, problems, seed=asked.seed, mean_rps=asked.mean_rps, limit=asked.limit)
    elif kind == "weka-table":
        yield read_sessions.table_piece(path, problems, seed=asked.seed, mean_rps=asked.mean_rps, limit=asked.limit)
    elif kind == "servegen":
        yield from read_rates.pieces(path, problems, seed=asked.seed)
    elif kind == "vidur":
        yield from _timed(
            asked,
            _table(
                path,
                replace(read_tables.LAYOUTS["plain"], isl="num_prefill_tokens", osl="num_decode_tokens", arrival="num_prefill_tokens"),
                problems,
            ),
        )
    else:
        yield from _table(path, read_tables.LAYOUTS[kind], problems)


def _table(path: Path, layout: read_tables.Layout, problems: Problems) -> Iterator[Piece]:
    head = first_bytes(path)
    columns = read_tables.parquet_columns(path) if head[:4] == b"PAR1" else read_tables.header_of(path, head)
    missing = [name for name in (layout.arrival, layout.isl, layout.osl) if name not in columns]
    if missing:
        raise InputError(f"column {', '.join(missing)} is missing", where=f"{path}:1", hint=did_you_mean(missing[0], columns))
    if head[:4] == b"PAR1":
        yield from read_tables.parquet_pieces(path, layout, problems)
    else:
        yield from read_tables.csv_pieces(path, layout, problems, columns)


def _timed(asked: _Asked, raw: Iterator[Piece]) -> Iterator[Piece]:
    """Give requests without a clock Poisson arrivals at the asked rate."""
    if not asked.mean_rps:
        raise InputError("the file has lengths and no times of arrival", where=str(asked.path), hint="pass mean_rps (--rps) to draw them")
    rng = np.random.default_rng([asked.seed, 0x71DE])
    now = 0.0
    for piece in raw:
        piece.arrival_s = now + np.cumsum(rng.exponential(1 / asked.mean_rps, len(piece.line)))
        now = float(piece.arrival_s[-1]) if len(piece.line) else now
        yield piece


def _head(piece: Piece, count: int) -> Piece:
    """Return the first requests of a piece."""
    if count >= len(piece.line):
        return piece
    cut = replace(piece)
    for field in fields(Piece):
        name = field.name
        if name in ("block_hash", "block_tokens", "dropped"):
            continue
        column = getattr(piece, name)
        setattr(cut, name, None if column is None else column[:count])
    if cut.block_count is not None and piece.block_hash is not None:
        cut.block_hash = piece.block_hash[: int(cut.block_count.sum())]
    return cut


def _in_order(trace: Trace) -> Trace:
    from polysilicon.application.generate import take

    trace = take(trace, np.argsort(trace.arrival_s, kind="stable"))
    trace.arrival_s = trace.arrival_s - min(0.0, float(trace.arrival_s[0]))
    return trace
