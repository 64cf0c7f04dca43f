"""The two types that carry performance to the rest of the house: step times for machines, serving points for decisions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from polysilicon.facts import Basis
from polysilicon.model.layout import Layout


@dataclass(frozen=True, slots=True)
class StepTimes:
    """The duration of one engine step on one replica, affine in everything that grows.

    step_s(p, n) = tokens_s[p + n]                      weights, GEMMs, collectives, launches, host; table over tokens in the step
                 + sequence_s x n                       per decoding sequence
                 + kv_s_per_token x sum(context)        KV read of full-attention layers
                 + window_s_per_token x sum(min(context, window_tokens))
                 + pair_s x sum(prefill token x tokens it attends to)
                 + prefill_step_s if p > 0              a step with prefill cannot replay a captured graph
    where p counts prefill tokens, n decoding sequences. Being affine in the contexts, k decode steps have a closed-form sum.
    A first token reaches its client `first_token_s` after its step ends (front end, tokenizer, scheduler, stream).
    """

    tokens_s: NDArray[np.float64]  # [max_step_tokens + 1]; nondecreasing; [0] is 0
    sequence_s: float
    kv_s_per_token: float
    window_s_per_token: float
    window_tokens: int
    pair_s: float
    kv_tokens: int  # KV capacity of the replica, in tokens
    transfer_s_per_token: float = 0.0  # KV hand-over to a decode replica, per prompt token
    transfer_latency_s: float = 0.0
    prefill_step_s: float = 0.0
    first_token_s: float = 0.0

    def step_s(
        self, prefill_tokens: int, sequences: int, *, context_tokens: float = 0.0, window_tokens: float | None = None,
        pairs: float = 0.0,
    ) -> float:  # fmt: skip
        """Return the seconds of one step; `context_tokens` sums contexts, `pairs` sums (prefill token, attended token)."""
        near = min(context_tokens, float(self.window_tokens) * sequences) if window_tokens is None else window_tokens
        time = float(self.tokens_s[prefill_tokens + sequences]) + self.sequence_s * sequences
        time += self.kv_s_per_token * context_tokens + self.window_s_per_token * near + self.pair_s * pairs
        return time + (self.prefill_step_s if prefill_tokens else 0.0)


@dataclass(frozen=True, slots=True)
class ServingPoint:
    """What one replica of a model delivers on a chip, in one layout, at one batch, for one shape of request."""

    workload: str
    model: str
    chip: str
    layout: Layout
    batch: int  # concurrent sequences of the replica
    ttft_s: float  # at the SLO's quantile
    tpot_s: float  # at the SLO's quantile
    tok_per_s_per_chip: float  # output tokens
    requests_per_s: float  # of the replica
    w_per_chip: float
    j_per_token: float  # per output token, all-in
    mfu_frac: float
    mbu_frac: float
    kv_tokens: int
    basis: Basis
    error_frac: float  # of the 80 % band on throughput and latency: from x / (1 + error) to x (1 + error)
    note: str = ""
    phase: str = "both"  # "prefill" or "decode" where a replica does one alone
    prefill_frac: float = 0.0  # share of the busy time that prefill takes: prices prompt and output tokens apart
    slower_ratio: float = 1.0  # step time as the user measured it over the model's: a replay is slowed by it
    source: str = ""  # of the efficiencies behind it, or of the measurement
    as_of: str = ""

    @property
    def band_tok_per_s_per_chip(self) -> tuple[float, float]:
        """Return the ends of the 80 % band on output tokens per second and chip."""
        return self.tok_per_s_per_chip / (1.0 + self.error_frac), self.tok_per_s_per_chip * (1.0 + self.error_frac)

    @property
    def chips(self) -> int:
        """Return the chips of the replica."""
        return self.layout.chips
