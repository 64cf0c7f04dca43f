"""JSON lines: Mooncake and Bailian traces, with the hashes of their prefix blocks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

import msgspec
import numpy as np

from polysilicon.application.pieces import Piece, Problems, line_pieces


class MooncakeRow(msgspec.Struct):
    """One request of Mooncake's format and what AIPerf adds to it; times in milliseconds."""

    timestamp: float
    input_length: int
    output_length: int
    hash_ids: list[int] = []
    session_id: str | int | None = None
    delay: float | None = None
    priority: int = 0


class BailianRow(msgspec.Struct):
    """One request of Alibaba's Bailian format; times in seconds, blocks of 16 tokens."""

    chat_id: int
    timestamp: float
    input_length: int
    output_length: int
    parent_chat_id: int = -1
    turn: int = 1
    type: str = ""
    hash_ids: list[int] = []


MOONCAKE_BLOCK_TOKENS = 512
BAILIAN_BLOCK_TOKENS = 16


def detect(first_line: bytes) -> str | None:
    """Return the format of a file whose first line is this JSON object."""
    try:
        row = msgspec.json.decode(first_line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    if not isinstance(row, dict):
        return None
    if "chat_id" in row and "hash_ids" in row:
        return "bailian"
    if {"timestamp", "input_length", "output_length"} <= row.keys():
        return "mooncake"
    if "requests" in row and "block_size" in row:
        return "weka"
    return None


def mooncake_pieces(path: Path, problems: Problems) -> Iterator[Piece]:
    """Yield a Mooncake trace; `delay` is the time since the session's previous answer, in ms."""
    decoder = msgspec.json.Decoder(MooncakeRow)
    for line, rows in _rows(path, decoder, problems):
        has_session = any(row.session_id is not None for row in rows)
        yield _piece(
            line, rows, [row.timestamp / 1000 for row in rows], MOONCAKE_BLOCK_TOKENS,
            session=["" if row.session_id is None else str(row.session_id) for row in rows] if has_session else None,
            think=[(row.delay or 0.0) / 1000 for row in rows] if has_session else None,
        )  # fmt: skip


def bailian_pieces(path: Path, problems: Problems) -> Iterator[Piece]:
    """Yield a Bailian trace; a chat and the turns that name it as their parent are one session."""
    decoder = msgspec.json.Decoder(BailianRow)
    root: dict[int, int] = {}
    for line, rows in _rows(path, decoder, problems):
        for row in rows:
            root[row.chat_id] = root.get(row.parent_chat_id, row.chat_id if row.parent_chat_id < 0 else row.parent_chat_id)
        sessions = [str(root[row.chat_id]) for row in rows]
        yield _piece(
            line,
            rows,
            [row.timestamp for row in rows],
            BAILIAN_BLOCK_TOKENS,
            session=sessions,
            workload=[row.type for row in rows],
        )


Row = TypeVar("Row", bound=msgspec.Struct)


def _rows(path: Path, decoder: msgspec.json.Decoder[Row], problems: Problems) -> Iterator[tuple[list[int], list[Row]]]:
    for first, block in line_pieces(path):
        lines: list[int] = []
        rows: list[Row] = []
        for i, text in enumerate(block.split(b"\n")):
            if not text.strip():
                continue
            try:
                rows.append(decoder.decode(text))
                lines.append(first + i)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
                problems.add(first + i, _told(error), hint="the line may be cut short" if "truncated" in str(error) else "")
                if problems.full:
                    return
        if rows:
            yield lines, rows


def _told(error: Exception) -> str:
    words = str(error).replace("JSON is malformed: ", "is not JSON: ").replace("`$.", '"').replace("`", '"')
    return words[:200] or "cannot be read"


def _piece(
    lines: list[int], rows: list[MooncakeRow] | list[BailianRow], arrival: list[float], block_tokens: int,
    *, session: list[str] | None = None, think: list[float] | None = None, workload: list[str] | None = None,
) -> Piece:  # fmt: skip
    count = np.array([len(row.hash_ids) for row in rows], np.int64)
    flat = [h for row in rows for h in row.hash_ids]
    try:
        block = np.array(flat, np.int64)
    except OverflowError:
        block = np.array([h & 0x7FFF_FFFF_FFFF_FFFF for h in flat], np.int64)
    known = bool(count.any())
    return Piece(
        np.array(lines, np.int64), np.array(arrival, np.float64),
        np.array([float(row.input_length) for row in rows]), np.array([float(row.output_length) for row in rows]),
        session=session, think_s=None if think is None else np.array(think),
        workload=workload if workload and any(workload) else None,
        block_count=count if known else None, block_hash=block if known else None, block_tokens=block_tokens if known else 0,
    )  # fmt: skip
