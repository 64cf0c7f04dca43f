"""Traffic as flat arrays: one row a request, in order of arrival."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

F8 = NDArray[np.float64]
I4 = NDArray[np.int32]
I8 = NDArray[np.int64]


def _empty_f8() -> F8:
    return np.empty(0, np.float64)


def _empty_i4() -> I4:
    return np.empty(0, np.int32)


def _empty_i8() -> I8:
    return np.empty(0, np.int64)


@dataclass(slots=True)
class Trace:
    """Requests as arrays of equal length `n`, sorted by arrival.

    Prefix blocks, where known, are stored ragged: request i's block hashes are
    `block_hash[block_offset[i]:block_offset[i+1]]`, each standing for `block_tokens` prompt tokens.
    Requests of a session share `session >= 0` and are served one after another: request i starts `think_s[i]`
    seconds after its predecessor is done, or at `arrival_s[i]`, whichever is later.
    """

    arrival_s: F8  # [n] seconds since the trace began
    isl_tokens: I4  # [n] prompt tokens, cached ones included
    osl_tokens: I4  # [n] output tokens
    workload: I4 = field(default_factory=_empty_i4)  # [n] index into workload_names; empty: all 0
    workload_names: tuple[str, ...] = ("default",)
    session: I4 = field(default_factory=_empty_i4)  # [n] -1: none; empty: no sessions at all
    think_s: F8 = field(default_factory=_empty_f8)  # [n] or empty
    priority: I4 = field(default_factory=_empty_i4)  # [n] lower is served first; empty: all 0
    block_offset: I8 = field(default_factory=_empty_i8)  # [n + 1] or empty
    block_hash: I8 = field(default_factory=_empty_i8)
    block_tokens: int = 0
    reuse_tokens: I4 = field(default_factory=_empty_i4)  # [n] leading prompt tokens a warm, unlimited prefix cache holds
    source: str = ""

    def __len__(self) -> int:
        return len(self.arrival_s)

    @property
    def has_blocks(self) -> bool:
        """Return whether prefix blocks are known."""
        return self.block_tokens > 0 and len(self.block_offset) == len(self) + 1

    @property
    def span_s(self) -> float:
        """Return the time from the trace's zero to its last arrival."""
        return float(self.arrival_s[-1]) if len(self) else 0.0

    def workload_index(self) -> I4:
        """Return the workload of each request, zeros where all are the same."""
        return self.workload if len(self.workload) else np.zeros(len(self), np.int32)
