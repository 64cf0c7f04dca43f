"""Recorded agent sessions: WEKA's published JSON, one file a session, and its re-packed table.

Their clocks begin with each session, so a load has to start the sessions itself: see `start_times`.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
import polars as pl

from polysilicon.application.pieces import Piece, Problems, opened
from polysilicon.application.trace import F8, I8
from polysilicon.errors import InputError

TABLE_COLUMNS = {"id", "sub", "idx", "t", "model", "in", "out", "hash_ids"}
TABLE_BLOCK_TOKENS = 64


class Request(msgspec.Struct):
    """One request of a recorded session; a sub-agent holds requests of its own."""

    t: float
    type: str = "n"
    model: str = ""
    input_tokens: float = msgspec.field(default=0, name="in")
    output_tokens: float = msgspec.field(default=0, name="out")
    hash_ids: list[int] = []
    think_time: float | None = None
    api_time: float | None = None
    requests: list[Request] | None = None


class Session(msgspec.Struct):
    """One recorded session."""

    id: str
    requests: list[Request]
    block_size: int = 64
    hash_id_scope: str = "local"


def start_times(durations_s: F8, seed: int, mean_rps: float | None, requests: int) -> F8:
    """Return when each session starts: evenly random over a span, drawn from the seed.

    The span is requests / mean_rps where a rate is asked for, else the 90th percentile of the sessions' lengths.
    """
    span = requests / mean_rps if mean_rps else float(np.quantile(durations_s, 0.9)) if len(durations_s) else 0.0
    return np.random.default_rng([seed, 0x5E55]).uniform(0.0, max(span, 0.0), len(durations_s))


def json_piece(paths: list[Path], problems: Problems, *, seed: int, mean_rps: float | None, limit: int | None) -> Piece:
    """Read session files (or one file of one session a line) into one piece in order of arrival."""
    decoder = msgspec.json.Decoder(Session)
    columns = _Columns()
    for path in paths:
        for line, text in _documents(path):
            try:
                session = decoder.decode(text)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
                problems.found.append(InputError(f"is not a recorded session: {str(error)[:200]}", where=f"{path}:{line}" if line else str(path)))
                if problems.full:
                    return columns.piece(seed, mean_rps)
                continue
            columns.add(session, line)
        if limit is not None and len(columns.isl) >= limit:
            break
    return columns.piece(seed, mean_rps)


def _documents(path: Path) -> Iterator[tuple[int, bytes]]:
    """Yield whole JSON documents: the file itself, or each of its lines where every line is one."""
    with opened(path) as stream:
        content = stream.read()
    lines = [(i + 1, text) for i, text in enumerate(content.split(b"\n")) if text.strip()]
    if len(lines) > 1 and all(text.lstrip()[:1] == b"{" and text.rstrip()[-1:] == b"}" for _, text in lines):
        yield from lines
    else:
        yield (lines[0][0] if len(lines) == 1 else 0), content


class _Columns:
    """Requests of sessions as they are read."""

    def __init__(self) -> None:
        self.line: list[int] = []
        self.at: list[float] = []
        self.isl: list[float] = []
        self.osl: list[float] = []
        self.think: list[float] = []
        self.thread: list[str] = []
        self.model: list[str] = []
        self.owner: list[int] = []
        self.count: list[int] = []
        self.block: list[int] = []
        self.sessions = 0
        self.block_tokens = 0

    def add(self, session: Session, line: int) -> None:
        """Add a session; block ids are its own, so they are numbered apart from every other session's."""
        self.block_tokens = self.block_tokens or session.block_size
        salt = 0 if session.hash_id_scope == "global" else (self.sessions + 1) << 40
        self._walk(session.requests, session.id, salt, line)
        self.sessions += 1

    def _walk(self, requests: list[Request], thread: str, salt: int, line: int) -> None:
        for i, request in enumerate(requests):
            if request.requests is not None:
                self._walk(request.requests, f"{thread}/{i}", salt, line)
                continue
            self.line.append(line)
            self.at.append(request.t)
            self.isl.append(request.input_tokens)
            self.osl.append(request.output_tokens)
            self.think.append(max(0.0, request.think_time or 0.0))
            self.thread.append(thread)
            self.model.append(request.model)
            self.owner.append(self.sessions)
            self.count.append(len(request.hash_ids))
            self.block.extend(salt + h for h in request.hash_ids)

    def piece(self, seed: int, mean_rps: float | None) -> Piece:
        """Return all requests in order of arrival."""
        return _ordered(
            np.array(self.line, np.int64), np.array(self.owner, np.int64), np.array(self.at, float),
            Piece(
                np.array(self.line, np.int64), np.array(self.at, float), np.array(self.isl, float), np.array(self.osl, float),
                workload=self.model, session=self.thread, think_s=np.array(self.think, float),
                block_count=np.array(self.count, np.int64), block_hash=np.array(self.block, np.int64),
                block_tokens=self.block_tokens,
            ), seed, mean_rps,
        )  # fmt: skip


def _ordered(line: I8, owner: I8, t: F8, piece: Piece, seed: int, mean_rps: float | None) -> Piece:
    """Start the sessions and put their requests in order of arrival."""
    sessions = int(owner.max(initial=-1)) + 1
    duration = np.zeros(sessions)
    np.maximum.at(duration, owner, t)
    arrival = t + start_times(duration, seed, mean_rps, len(t))[owner]
    order = np.argsort(arrival, kind="stable")
    count, block = piece.block_count, piece.block_hash
    assert count is not None and block is not None
    begin = np.r_[0, np.cumsum(count)]
    moved = np.concatenate([block[begin[i] : begin[i + 1]] for i in order]) if len(order) else block
    assert piece.workload is not None and piece.session is not None and piece.think_s is not None
    return Piece(
        line[order], arrival[order] - (arrival[order][0] if len(order) else 0.0),
        piece.isl_tokens[order], piece.osl_tokens[order],
        workload=[piece.workload[i] for i in order], session=[piece.session[i] for i in order], think_s=piece.think_s[order],
        block_count=count[order], block_hash=moved, block_tokens=piece.block_tokens,
    )  # fmt: skip


def table_piece(path: Path, problems: Problems, *, seed: int, mean_rps: float | None, limit: int | None) -> Piece:
    """Read the re-packed table: a request a row, block ids as ranges (`1-616 800`), local to a session."""
    with opened(path) as stream:
        content = stream.read()
    try:
        frame = pl.read_csv(io.BytesIO(content), infer_schema=False)
    except pl.exceptions.PolarsError as error:
        raise InputError(f"the table cannot be read: {str(error).splitlines()[0][:160]}", where=str(path)) from error
    if limit is not None:
        frame = frame.head(limit)
    frame = frame.with_columns(pl.Series("__line", np.arange(2, frame.height + 2)))
    numbers = frame.select(
        *(pl.col(c).cast(pl.Float64, strict=False) for c in ("t", "in", "out")),
        pl.col("think_time").cast(pl.Float64, strict=False).fill_null(0.0),
    )
    for name in ("t", "in", "out"):
        for row in numbers[name].is_null().arg_true().head(21):
            problems.add(row + 2, f'column {name}: "{frame[name][row]}" is not a number')
    if problems.found:
        frame, numbers = frame.head(0), numbers.head(0)
    ids = frame["id"].fill_null("").to_list()
    number: dict[str, int] = {}
    owner = np.fromiter((number.setdefault(i, len(number)) for i in ids), np.int64, len(ids))
    count, block = _ranges(frame["hash_ids"].fill_null("").to_list(), owner, problems)
    threads = [f"{i}/{s}" if s else i for i, s in zip(ids, frame["sub"].fill_null("").to_list(), strict=True)]
    piece = Piece(
        frame["__line"].to_numpy(), numbers["t"].to_numpy(), numbers["in"].to_numpy(), numbers["out"].to_numpy(),
        workload=frame["model"].fill_null("").to_list(), session=threads,
        think_s=np.maximum(numbers["think_time"].to_numpy(), 0.0),
        block_count=count, block_hash=block, block_tokens=TABLE_BLOCK_TOKENS,
    )  # fmt: skip
    return _ordered(piece.line, owner, piece.arrival_s, piece, seed, mean_rps)


def _ranges(words: list[str], owner: I8, problems: Problems) -> tuple[I8, I8]:
    """Turn `1-616 800` into block ids, numbered apart by session."""
    counts = np.zeros(len(words), np.int64)
    low: list[int] = []
    high: list[int] = []
    salt: list[int] = []
    for i, text in enumerate(words):
        try:
            for part in text.split():
                a, _, b = part.partition("-")
                first, last = int(a), int(b or a)
                if last < first or last - first > 1_000_000:
                    raise ValueError
                low.append(first)
                high.append(last)
                salt.append((int(owner[i]) + 1) << 40)
                counts[i] += last - first + 1
        except ValueError:
            problems.add(i + 2, f'column hash_ids: "{text[:40]}" is not a list of ranges such as 1-616 800')
            return np.zeros(len(words), np.int64), np.zeros(0, np.int64)
    flat = np.empty(int(counts.sum()), np.int64)
    at = 0
    for first, last, own in zip(low, high, salt, strict=True):
        flat[at : at + last - first + 1] = np.arange(first + own, last + own + 1)
        at += last - first + 1
    return counts, flat
