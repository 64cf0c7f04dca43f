"""What a trace is like: rate, bursts, lengths, reuse of prefixes, sessions."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import polars as pl
from numpy.typing import NDArray

from polysilicon.application.trace import I4, I8, Trace
from polysilicon.units import SECONDS_PER_HOUR

QUANTILES = (0.5, 0.9, 0.99)
LRU_BLOCKS = (1_000, 10_000, 30_000)
BURST_S = 10.0
MAX_LRU_BLOCKS = 2_000_000  # block references that are replayed through an LRU; above it only the infinite cache is told


def describe(trace: Trace, *, lru_blocks: tuple[int, ...] = LRU_BLOCKS) -> dict[str, object]:
    """Return the statistics of a trace as one flat record, with units in its names.

    Prefix reuse of an infinite cache is in input tokens, counted in whole blocks as far as a prompt agrees with an
    earlier one; of a least-recently-used cache of n blocks it is in blocks. Reuse against the predecessor is what the
    sessions alone allow.
    """
    record = describe_pieces([trace])
    if trace.has_blocks:
        record |= reuse(trace, lru_blocks)
    if len(trace.session) and bool((trace.session >= 0).any()):
        record |= _sessions(trace)
    if len(trace.workload_names) > 1:
        counts = np.bincount(trace.workload_index(), minlength=len(trace.workload_names))
        record["workloads"] = dict(zip(trace.workload_names, counts.tolist(), strict=False))
    return record


def describe_pieces(pieces: Iterable[Trace]) -> dict[str, object]:
    """Return count, span, rate, bursts and lengths of a trace that arrives in pieces, however long it is.

    Lengths are counted exactly, value by value; the burst is the fullest ten seconds on the grid of ten seconds.
    """
    sums = _Sums()
    for piece in pieces:
        sums.add(piece)
    return sums.record()


@dataclass(slots=True)
class _Sums:
    rows: int = 0
    first_s: float = 0.0
    last_s: float = 0.0
    gap_sum: float = 0.0
    gap_square: float = 0.0
    isl: I8 = field(default_factory=lambda: np.zeros(1, np.int64))
    osl: I8 = field(default_factory=lambda: np.zeros(1, np.int64))
    fullest: int = 0
    open_bin: int = -1
    open_count: int = 0
    hours: I8 = field(default_factory=lambda: np.zeros(0, np.int64))
    reused: int = 0

    def add(self, piece: Trace) -> None:
        arrival = piece.arrival_s
        if not len(arrival):
            return
        if self.rows == 0:
            self.first_s = self.last_s = float(arrival[0])
            gap = np.diff(arrival)
        else:
            gap = np.diff(np.r_[self.last_s, arrival])
        self.gap_sum += float(gap.sum())
        self.gap_square += float((gap**2).sum())
        self.rows += len(arrival)
        self.last_s = float(arrival[-1])
        self.isl = _plus(self.isl, np.bincount(piece.isl_tokens))
        self.osl = _plus(self.osl, np.bincount(piece.osl_tokens))
        self.hours = _plus(self.hours, np.bincount(((arrival - self.first_s) / SECONDS_PER_HOUR).astype(np.int64)))
        self.reused += int(piece.reuse_tokens.sum()) if len(piece.reuse_tokens) else 0
        self._bins(((arrival - self.first_s) / BURST_S).astype(np.int64))

    def _bins(self, number: I8) -> None:
        """Count ten-second bins; the last one stays open for the next piece."""
        values, counts = np.unique(number, return_counts=True)
        if values[0] == self.open_bin:
            counts[0] += self.open_count
        self.fullest = max(self.fullest, int(counts.max()))
        self.open_bin, self.open_count = int(values[-1]), int(counts[-1])

    def record(self) -> dict[str, object]:
        span = self.last_s - self.first_s
        rate = self.rows / span if span > 0 else float("nan")
        gaps = max(self.rows - 1, 1)
        mean = self.gap_sum / gaps
        spread = max(self.gap_square / gaps - mean**2, 0.0) ** 0.5
        told: dict[str, object] = {
            "requests": self.rows,
            "span_s": span,
            "mean_rps": rate,
            "arrival_cv": spread / mean if mean > 0 else float("nan"),
            "peak_10s_to_mean_ratio": self.fullest / BURST_S / rate if rate == rate else float("nan"),
        }
        if len(self.hours) > 2:
            whole = self.hours[:-1]
            told["peak_hour_to_mean_ratio"] = float(whole.max() / whole.mean())
        told |= _lengths("isl", self.isl) | _lengths("osl", self.osl)
        if self.reused:
            total = float((np.arange(len(self.isl)) * self.isl).sum())
            told["warm_cache_reuse_frac"] = self.reused / total
        return told


def _plus(a: I8, b: I8) -> I8:
    if len(a) < len(b):
        a, b = b.astype(np.int64), a
    a[: len(b)] += b
    return a


def _lengths(name: str, count: I8) -> dict[str, object]:
    total = int(count.sum())
    value = np.arange(len(count))
    upto = np.cumsum(count)
    told: dict[str, object] = {f"{name}_mean_tokens": float((value * count).sum() / total)}
    for q in QUANTILES:
        told[f"{name}_p{100 * q:g}_tokens"] = int(np.searchsorted(upto, q * (total - 1) + 1, side="left"))
    told[f"{name}_max_tokens"] = int(value[count > 0].max())
    return told


def reuse(trace: Trace, lru_blocks: tuple[int, ...] = LRU_BLOCKS) -> dict[str, object]:
    """Return the share of input tokens that an infinite prefix cache holds, and of blocks that an LRU of a size holds.

    A block is found only if all before it in its prompt were found.
    """
    block, offset = trace.block_hash, trace.block_offset
    count = np.diff(offset)
    first = pl.Series(block).is_first_distinct().to_numpy()
    row = np.repeat(np.arange(len(trace)), count)
    misses = np.cumsum(first)
    before = np.r_[0, misses][offset[:-1]]
    found = ~first & (misses - before[row] == 0)
    hit_tokens = np.minimum(np.bincount(row[found], minlength=len(trace)) * trace.block_tokens, trace.isl_tokens)
    told: dict[str, object] = {
        "block_tokens": trace.block_tokens,
        "blocks": len(block),
        "infinite_cache_reuse_frac": float(hit_tokens.sum() / max(1, int(trace.isl_tokens.sum()))),
    }
    if len(block) <= MAX_LRU_BLOCKS:
        for size in lru_blocks:
            told[f"lru_{size}_blocks_reuse_frac"] = lru_hits(block, offset, size) / max(1, len(block))
    return told


def lru_hits(block: I8, offset: I8, size: int) -> int:
    """Return how many blocks a least-recently-used cache of `size` blocks finds, requests served one after another."""
    held: OrderedDict[int, None] = OrderedDict()
    hits = 0
    names = block.tolist()
    for begin, end in zip(offset[:-1].tolist(), offset[1:].tolist(), strict=True):
        fresh = False
        for name in names[begin:end]:
            if name in held:
                held.move_to_end(name)
                hits += not fresh
            else:
                fresh = True
                held[name] = None
                if len(held) > size:
                    held.popitem(last=False)
    return hits


def _sessions(trace: Trace) -> dict[str, object]:
    inside = np.flatnonzero(trace.session >= 0)
    order = inside[np.argsort(trace.session[inside], kind="stable")]
    session = trace.session[order]
    starts = np.r_[True, session[1:] != session[:-1]]
    turns = np.diff(np.r_[np.flatnonzero(starts), len(session)])
    time = trace.arrival_s[order]
    same = ~starts[1:]
    told: dict[str, object] = {
        "sessions": int(starts.sum()),
        "turns_mean_requests": float(turns.mean()),
        **{f"turns_p{100 * q:g}_requests": float(np.quantile(turns, q)) for q in QUANTILES},
    }
    if same.any():
        gap = np.diff(time)[same]
        told |= {f"gap_p{100 * q:g}_s": float(np.quantile(gap, q)) for q in QUANTILES}
        ends = np.r_[np.flatnonzero(starts)[1:] - 1, len(session) - 1]
        told["session_p50_s"] = float(np.quantile(time[ends] - time[starts], 0.5))
    if trace.has_blocks:
        told["predecessor_reuse_frac"] = _predecessor(trace, order, starts)
    return told


def _predecessor(trace: Trace, order: I8, starts: NDArray[np.bool_]) -> float:
    """Return the share of input tokens that stand at the same place in the session's previous prompt."""
    offset, block = trace.block_offset, trace.block_hash
    shared = np.zeros(len(order), np.int64)
    for k in range(1, len(order)):
        if starts[k]:
            continue
        i, j = order[k], order[k - 1]
        n = min(offset[i + 1] - offset[i], offset[j + 1] - offset[j])
        differs = block[offset[i] : offset[i] + n] != block[offset[j] : offset[j] + n]
        shared[k] = int(differs.argmax()) if differs.any() else n
    isl: I4 = trace.isl_tokens[order]
    return float(np.minimum(shared * trace.block_tokens, isl).sum() / isl.sum())
