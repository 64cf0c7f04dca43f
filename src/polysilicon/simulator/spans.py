"""Prefix blocks that always come together become one span, so that a prompt of 2,000 blocks is a few dozen look-ups.

A span is a run of blocks that every request of the trace names in the same order and without a gap. Agents send their
whole conversation again with each turn: a session of n turns has about n spans however long it grows.
"""

# mypy: disable-error-code="no-any-return, arg-type, return-value"
# (arrays are untyped to mypy; numba infers them)
from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from polysilicon.application.trace import Trace
from polysilicon.errors import InputError
from polysilicon.simulator.compiled import jit
from polysilicon.simulator.state import I4, I8

Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Spans:
    """Request i names the spans `key[offset[i]:offset[i+1]]`; span k stands for `blocks[k]` prefix blocks (empty: one each)."""

    offset: I8
    key: I8
    blocks: I4
    different: int  # keys


def whole_blocks(trace: Trace) -> I8:
    """Return how many prefix blocks of each request are whole: a block that its prompt does not fill is never cached."""
    return np.minimum(trace.isl_tokens // trace.block_tokens, np.diff(trace.block_offset)).astype(np.int64)


def spans(trace: Trace) -> Spans:
    """Return a whole trace's prefixes in spans. Raises: InputError for a request that names a block twice."""
    whole, numbered = whole_blocks(trace), _Numbers(trace)
    numbered.read(trace, whole)
    begins = np.flatnonzero(numbered.begins[: numbered.count])
    size = np.diff(np.append(begins, numbered.count)).astype(np.int32)
    span_of = (np.cumsum(numbered.begins[: numbered.count]) - 1).astype(np.int32)
    offset = np.zeros(len(trace) + 1, np.int64)
    _count_spans(numbered.offset, whole, numbered.dense, span_of, size, offset)
    np.cumsum(offset, out=offset)
    key = np.zeros(int(offset[-1]), np.int64)
    _write_spans(numbered.offset, whole, numbered.dense, span_of, size, offset, key)
    return Spans(offset, key, size, len(size))


def single_blocks(trace: Trace) -> Spans:
    """Return a piece of a stream's prefixes, each block by itself: what comes later may part any two. Raises: as `spans`."""
    whole, numbered = whole_blocks(trace), _Numbers(trace)
    numbered.read(trace, whole)
    offset = np.concatenate([[0], np.cumsum(whole)]).astype(np.int64)
    place = np.arange(offset[-1]) - np.repeat(offset[:-1] - numbered.offset[:-1], whole)
    return Spans(offset, np.ascontiguousarray(trace.block_hash[place], np.int64), np.empty(0, np.int32), numbered.count)


class _Numbers:
    """Block ids numbered from 0 in order of first sight, and where a span must begin; tables double as needed."""

    def __init__(self, trace: Trace) -> None:
        self.offset = np.require(trace.block_offset, np.int64, ["C", "W", "A"])
        self.ids = np.require(trace.block_hash, np.int64, ["C", "W", "A"])
        self.dense = np.zeros(len(self.ids), np.int32)
        self.source = trace.source
        self.count = 0
        room = 1 << 12
        self.id_of, self.last = np.zeros(room, np.int64), np.full(room, -1, np.int64)
        self.begins = np.zeros(room + 1, np.bool_)
        self.key, self.number = np.zeros(2 * room, np.int64), np.full(2 * room, -1, np.int32)

    def read(self, trace: Trace, whole: I8) -> None:
        row = 0
        while True:
            row, self.count = _number(self.offset, whole, self.ids, self.dense, self.id_of, self.last, self.begins, self.key,
                                      self.number, row, self.count)  # fmt: skip
            if row < 0:
                raise InputError(
                    f"request {-1 - row} names one prefix block twice; a block stands for one place in a prompt",
                    where=trace.source or "trace",
                )
            if row == len(whole):
                return
            self._double(self.count + int(whole[row]))

    def _double(self, least: int) -> None:
        more = max(len(self.id_of), least)
        self.id_of = np.concatenate([self.id_of, np.zeros(more, np.int64)])
        self.last = np.concatenate([self.last, np.full(more, -1, np.int64)])
        self.begins = np.concatenate([self.begins, np.zeros(more, np.bool_)])
        room = 1 << (2 * len(self.id_of) - 1).bit_length()
        self.key, self.number = np.zeros(room, np.int64), np.full(room, -1, np.int32)
        _number_again(self.id_of, self.count, self.key, self.number)


@jit
def _find(key: I8, number: I4, wanted: int) -> int:
    """Return where an id stands in the table, or the empty place where it would."""
    mask = len(key) - 1
    mixed = (np.uint64(wanted) * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(32)
    i = np.int64(mixed) & mask
    while number[i] >= 0 and key[i] != wanted:
        i = (i + 1) & mask
    return i


@jit
def _number_again(id_of: I8, count: int, key: I8, number: I4) -> None:
    for d in range(count):
        i = _find(key, number, id_of[d])
        key[i] = id_of[d]
        number[i] = d


@jit
def _number(
    offset: I8, whole: I8, ids: I8, dense: I4, id_of: I8, last: I8, begins: Flags, key: I8, number: I4, row: int, count: int,
) -> tuple[int, int]:  # fmt: skip
    """Give blocks of requests from `row` on their numbers; return where it stopped and the blocks numbered so far.

    It stops at the request that needs larger tables, at their number, or at -1 - the request that names a block twice.
    """
    room = len(id_of)
    for r in range(row, len(whole)):
        if count + whole[r] > room:
            return r, count
        before = -1
        for j in range(offset[r], offset[r] + whole[r]):
            block = ids[j]
            if before >= 0 and before + 1 < count and id_of[before + 1] == block:
                d = before + 1  # as it was the last time: no look-up
            else:
                i = _find(key, number, block)
                d = number[i]
                if d < 0:
                    d = count
                    key[i] = block
                    number[i] = d
                    id_of[d] = block
                    count += 1
                if d != before + 1 or before < 0:
                    begins[d] = True
                    begins[before + 1] = True
            if last[d] == r:
                return -1 - r, count
            last[d] = r
            dense[j] = d
            before = d
        begins[before + 1] = True
    return len(whole), count


@jit
def _count_spans(offset: I8, whole: I8, dense: I4, span_of: I4, size: I4, counted: I8) -> None:
    for r in range(len(whole)):
        at, end = offset[r], offset[r] + whole[r]
        while at < end:
            counted[r + 1] += 1
            at += size[span_of[dense[at]]]


@jit
def _write_spans(offset: I8, whole: I8, dense: I4, span_of: I4, size: I4, out: I8, key: I8) -> None:
    for r in range(len(whole)):
        at, end, k = offset[r], offset[r] + whole[r], out[r]
        while at < end:
            key[k] = span_of[dense[at]]
            at += size[key[k]]
            k += 1
