"""Prefix blocks that always come together become one span, so that a prompt of 2,000 blocks is a few dozen look-ups.

A span is a run of blocks that every request of the trace names in the same order and without a gap. Agents send their
whole conversation again with each turn: a session of n turns has about n spans however long it grows.
"""

# mypy: disable-error-code="no-any-return, arg-type, return-value, assignment"
# (arrays are untyped to mypy; numba infers them)
from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numba import types
from numpy.typing import NDArray

from polysilicon.application.trace import Trace
from polysilicon.errors import InputError
from polysilicon.simulator.compiled import entry, jit
from polysilicon.simulator.state import I4, I8

Flags = NDArray[np.bool_]


class Prompts(NamedTuple):
    """The prefix blocks of all requests: request r has `whole[r]` ids from `offset[r]` on, whose numbers go to `dense`."""

    offset: I8
    whole: I8
    ids: I8
    dense: I4


class Tables(NamedTuple):
    """Numbers of ids (a hash table: `key`, `number`; and back: `id_of`), the request that last named each, where spans begin."""

    id_of: I8
    last: I8
    begins: Flags
    key: I8
    number: I4


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
    prompts, tables, count = _numbered(trace)
    begins = np.flatnonzero(tables.begins[:count])
    size = np.diff(np.append(begins, count)).astype(np.int32)
    span_of = (np.cumsum(tables.begins[:count]) - 1).astype(np.int32)
    offset = np.zeros(len(trace) + 1, np.int64)
    spell(prompts, span_of, size, offset, np.empty(0, np.int64))
    np.cumsum(offset, out=offset)
    key = np.zeros(int(offset[-1]), np.int64)
    if len(key):
        spell(prompts, span_of, size, offset, key)
    return Spans(offset, key, size, len(size))


def single_blocks(trace: Trace) -> Spans:
    """Return a piece of a stream's prefixes, each block by itself: what comes later may part any two. Raises: as `spans`."""
    prompts, _, count = _numbered(trace)
    offset = np.concatenate([[0], np.cumsum(prompts.whole)]).astype(np.int64)
    place = np.arange(offset[-1]) - np.repeat(offset[:-1] - prompts.offset[:-1], prompts.whole)
    return Spans(offset, prompts.ids[place], np.empty(0, np.int32), count)


def _numbered(trace: Trace) -> tuple[Prompts, Tables, int]:
    """Give block ids their numbers, from 0 in order of first sight and note where a span must begin; tables double as needed."""
    ids = np.require(trace.block_hash, np.int64, ["C", "W", "A"])
    offset = np.require(trace.block_offset, np.int64, ["C", "W", "A"])
    prompts = Prompts(offset, whole_blocks(trace), ids, np.zeros(len(ids), np.int32))
    tables, row, count, known = _tables(1 << 12), 0, 0, 0
    while True:
        row, count = number(prompts, tables, row, count, known)
        if row < 0:
            raise InputError(
                f"request {-1 - row} names one prefix block twice; a block stands for one place in a prompt", where=trace.source or "trace"
            )
        if row == len(trace):
            return prompts, tables, count
        larger = _tables(max(2 * len(tables.id_of), count + int(prompts.whole[row])))
        for name in ("id_of", "last", "begins"):
            getattr(larger, name)[: len(getattr(tables, name))] = getattr(tables, name)
        tables, known = larger, count


def _tables(room: int) -> Tables:
    places = 1 << (2 * room - 1).bit_length()
    return Tables(np.zeros(room, np.int64), np.full(room, -1, np.int64), np.zeros(room + 1, np.bool_), np.zeros(places, np.int64),
                  np.full(places, -1, np.int32))  # fmt: skip


@jit
def _find(tables: Tables, wanted: int) -> int:
    """Return where an id stands in the table, or the empty place where it would."""
    mask = len(tables.key) - 1
    mixed = (np.uint64(wanted) * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(32)
    i = np.int64(mixed) & mask
    while tables.number[i] >= 0 and tables.key[i] != wanted:
        i = (i + 1) & mask
    return i


@entry
def number(prompts: Prompts, tables: Tables, row: int, count: int, known: int) -> tuple[int, int]:
    """Give blocks of requests from `row` on their numbers; return where it stopped and the blocks numbered so far.

    The first `known` numbers are entered first: the table is a new, larger one.
    It stops at the request that needs larger tables, at their number, or at -1 - the request that names a block twice.
    """
    id_of, last, begins = tables.id_of, tables.last, tables.begins
    for d in range(known):
        i = _find(tables, id_of[d])
        tables.key[i] = id_of[d]
        tables.number[i] = d
    for r in range(row, len(prompts.whole)):
        whole = prompts.whole[r]
        if count + whole > len(id_of):
            return r, count
        before = -1
        for j in range(prompts.offset[r], prompts.offset[r] + whole):
            block = prompts.ids[j]
            if before >= 0 and before + 1 < count and id_of[before + 1] == block:
                d = before + 1  # as it was the last time: no look-up
            else:
                i = _find(tables, block)
                d = np.int64(tables.number[i])
                if d < 0:
                    d = count
                    tables.key[i] = block
                    tables.number[i] = d
                    id_of[d] = block
                    count += 1
                if d != before + 1 or before < 0:
                    begins[d] = True
                    begins[before + 1] = True
            if last[d] == r:
                return -1 - r, count
            last[d] = r
            prompts.dense[j] = d
            before = d
        begins[before + 1] = True
    return len(prompts.whole), count


@entry
def spell(prompts: Prompts, span_of: I4, size: I4, out: I8, key: I8) -> None:
    """Count each request's spans into out[r + 1], or, where there is room for keys, write them from out[r] on."""
    for r in range(len(prompts.whole)):
        at, end, k = prompts.offset[r], prompts.offset[r] + prompts.whole[r], out[r]
        found = 0
        while at < end:
            span = span_of[prompts.dense[at]]
            if len(key) > 0:
                key[k + found] = span
            at += size[span]
            found += 1
        if len(key) == 0:
            out[r + 1] = found


def _types(kind: Any, **dtypes: Any) -> Any:
    kind_of: Any = types.NamedTuple
    return kind_of([types.Array(dtypes.get(name, types.int64), 1, "C") for name in kind._fields], kind)


PROMPTS, TABLES = _types(Prompts, dense=types.int32), _types(Tables, begins=types.boolean, number=types.int32)
