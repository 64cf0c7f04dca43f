"""What the readers share: a piece of a file as columns, the problems found in it, and pieces put together to a trace."""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from polysilicon.application.trace import F8, I4, I8, Trace
from polysilicon.errors import InputError, InputErrors

MAX_TOKENS = 20_000_000  # of one prompt or answer
MAX_SHOWN = 20  # problems of one file that are told one by one
PIECE_BYTES = 16 << 20


@dataclass(slots=True)
class Piece:
    """Some consecutive requests of a file, each with the line it stands on."""

    line: I8
    arrival_s: F8
    isl_tokens: F8
    osl_tokens: F8
    workload: list[str] | None = None
    session: list[str] | None = None  # "" stands for none
    think_s: F8 | None = None
    priority: I4 | None = None
    reuse_tokens: F8 | None = None
    block_count: I8 | None = None
    block_hash: I8 | None = None
    block_tokens: int = 0
    dropped: int = 0  # requests without output, left out


@dataclass(slots=True)
class Problems:
    """What is wrong with a file, line by line; the first twenty are told, the rest counted."""

    path: Path
    found: list[InputError] = field(default_factory=list)
    more: int = 0

    def add(self, line: int, message: str, *, hint: str = "") -> None:
        """Note one problem at a line (0: the file as a whole)."""
        if len(self.found) < MAX_SHOWN:
            where = f"{self.path}:{line}" if line else str(self.path)
            self.found.append(InputError(message, where=where, hint=hint))
        else:
            self.more += 1

    def add_where(self, wrong: NDArray[np.bool_], line: I8, message: str, value: F8 | None = None, *, hint: str = "") -> None:
        """Note a problem for each row where `wrong`; `{}` in the message takes the row's value."""
        rows = np.flatnonzero(wrong)
        for row in rows[: MAX_SHOWN + 1]:
            self.add(int(line[row]), message.format(f"{value[row]:g}" if value is not None else ""), hint=hint)
        self.more += max(0, len(rows) - MAX_SHOWN - 1)

    @property
    def full(self) -> bool:
        """Return whether enough was found to stop reading."""
        return len(self.found) >= MAX_SHOWN

    def check(self) -> None:
        """Raise what was found, if anything: one InputError, or all of them as InputErrors."""
        if not self.found:
            return
        if self.more:
            self.found.append(InputError(f"and {self.more:,} more problems", where=str(self.path)))
        if len(self.found) == 1:
            raise self.found[0]
        raise InputErrors(self.found)


@contextmanager
def opened(path: Path) -> Iterator[IO[bytes]]:
    """Open a file for reading, through gzip where its first bytes say so.

    Raises: InputError when it is missing, a folder, unreadable or a broken gzip stream.
    """
    try:
        with path.open("rb") as raw:
            zipped = raw.read(2) == b"\x1f\x8b"
            raw.seek(0)
            if not zipped:
                yield raw
                return
            with gzip.GzipFile(fileobj=raw) as inner:
                yield io.BufferedReader(inner, 1 << 20)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise InputError(f"the gzip stream is broken: {error}", where=str(path), hint="the file may be cut short; fetch it again") from error
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror or error}", where=str(path)) from error


def first_bytes(path: Path, count: int = 1 << 16) -> bytes:
    """Return the beginning of a file's content, unzipped.

    Raises: InputError when there is none, or when it is neither text nor a known table.
    """
    with opened(path) as stream:
        head = stream.read(count)
    if not head.strip():
        raise InputError("the file is empty", where=str(path))
    return head


def line_pieces(path: Path, *, size: int = PIECE_BYTES) -> Iterator[tuple[int, bytes]]:
    """Yield the file in pieces that end at a line's end, each with the number of its first line (from 1)."""
    with opened(path) as stream:
        line, rest = 1, b""
        while True:
            block = stream.read(size)
            if not block:
                break
            cut = block.rfind(b"\n")
            if cut < 0:
                rest += block
                if len(rest) > 8 * size:
                    raise InputError(f"a line is longer than {8 * size >> 20} MiB", where=f"{path}:{line}")
                continue
            whole, rest = rest + block[: cut + 1], block[cut + 1 :]
            yield line, whole
            line += whole.count(b"\n")
        if rest.strip():
            yield line, rest


def check_piece(piece: Piece, problems: Problems) -> None:
    """Note rows whose numbers cannot be: not finite, negative, not whole, too large."""
    finite = np.isfinite(piece.arrival_s)
    problems.add_where(~finite, piece.line, "the time of arrival is {}; it must be a finite number", piece.arrival_s)
    for name, value in (("prompt", piece.isl_tokens), ("output", piece.osl_tokens)):
        allowed = f"a count of tokens is whole and lies in 0..{MAX_TOKENS:,}"
        with np.errstate(invalid="ignore"):
            wrong = ~np.isfinite(value) | (value < 0) | (value > MAX_TOKENS) | (value != np.floor(value))
        problems.add_where(wrong, piece.line, f"{{}} {name} tokens; {allowed}", value)
    if piece.think_s is not None:
        wrong = ~np.isfinite(piece.think_s) | (piece.think_s < 0)
        problems.add_where(wrong, piece.line, "a think time of {} s; it must be finite and not negative", piece.think_s)


def without_empty(piece: Piece) -> Piece:
    """Return the piece without requests that produced nothing: failed or cancelled calls, which cost and promise nothing."""
    kept = piece.osl_tokens > 0
    if kept.all():
        return piece

    def pick(column: NDArray[np.generic] | None) -> NDArray[np.generic] | None:
        return None if column is None else column[kept]

    def words(column: list[str] | None) -> list[str] | None:
        return None if column is None else [word for word, keep in zip(column, kept, strict=True) if keep]

    blocks = piece.block_hash
    if blocks is not None and piece.block_count is not None:
        blocks = blocks[np.repeat(kept, piece.block_count)]
    return Piece(
        piece.line[kept], piece.arrival_s[kept], piece.isl_tokens[kept], piece.osl_tokens[kept],
        workload=words(piece.workload), session=words(piece.session), think_s=pick(piece.think_s),  # type: ignore[arg-type]
        priority=pick(piece.priority), reuse_tokens=pick(piece.reuse_tokens), block_count=pick(piece.block_count),  # type: ignore[arg-type]
        block_hash=blocks, block_tokens=piece.block_tokens, dropped=piece.dropped + int((~kept).sum()),
    )  # fmt: skip


@dataclass(slots=True)
class Names:
    """Words of a file numbered in order of appearance, the same across its pieces."""

    number: dict[str, int] = field(default_factory=dict)

    def of(self, words: Iterable[str]) -> I4:
        """Return the number of each word; the empty word is -1."""
        number = self.number
        return np.fromiter((-1 if not w else number.setdefault(w, len(number)) for w in words), np.int32)


def to_trace(piece: Piece, *, workloads: Names, sessions: Names, source: str) -> Trace:
    """Return one checked piece as a trace."""
    trace = Trace(piece.arrival_s, piece.isl_tokens.astype(np.int32), piece.osl_tokens.astype(np.int32), source=source)
    if piece.workload is not None:
        trace.workload = np.maximum(workloads.of(word or "default" for word in piece.workload), 0).astype(np.int32)
        trace.workload_names = tuple(workloads.number)
    if piece.session is not None:
        trace.session = sessions.of(piece.session)
    if piece.think_s is not None:
        trace.think_s = piece.think_s
    if piece.priority is not None:
        trace.priority = piece.priority
    if piece.reuse_tokens is not None:
        trace.reuse_tokens = piece.reuse_tokens.astype(np.int32)
    if piece.block_count is not None and piece.block_hash is not None:
        trace.block_offset = np.r_[0, np.cumsum(piece.block_count)].astype(np.int64)
        trace.block_hash = piece.block_hash.astype(np.int64)
        trace.block_tokens = piece.block_tokens
    return trace


def join(traces: list[Trace], source: str) -> Trace:
    """Put consecutive pieces of one file together."""
    if len(traces) == 1:
        traces[0].source = source
        return traces[0]

    def column(name: str) -> NDArray[np.generic]:
        parts = [getattr(t, name) for t in traces]
        return np.concatenate(parts)

    joined = Trace(
        column("arrival_s"), column("isl_tokens"), column("osl_tokens"), workload=column("workload"),  # type: ignore[arg-type]
        workload_names=traces[-1].workload_names, session=column("session"), think_s=column("think_s"),  # type: ignore[arg-type]
        priority=column("priority"), reuse_tokens=column("reuse_tokens"), block_tokens=traces[0].block_tokens, source=source,  # type: ignore[arg-type]
    )  # fmt: skip
    if traces[0].has_blocks:
        counts = np.concatenate([np.diff(t.block_offset) for t in traces])
        joined.block_offset = np.r_[0, np.cumsum(counts)].astype(np.int64)
        joined.block_hash = np.concatenate([t.block_hash for t in traces])
    return joined
