"""Work: the arithmetic and the bytes of a step, from the architecture alone. No chip is known here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polysilicon.model.architecture import WEIGHT_BITS, Model
from polysilicon.silicon.chip import BITS
from polysilicon.silicon.elementwise import at_least_once, larger, smaller
from polysilicon.silicon.roofline import Work

Number = float | NDArray[np.float64]
ACTIVATION_BYTES = 2.0  # activations travel in 16 bits


@dataclass(frozen=True, slots=True)
class Terms:
    """What a model costs per token, sequence, context token and step, summed over layers, before any sharding.

    Parameters are counts; `*_bytes` are in the precision asked for; attention terms are FLOP for one query token and one
    attended token.
    """

    layers: int
    moe_layers: int
    attention_layers: int  # layers with a KV cache
    linear_layers: int
    hidden: int
    dense_params: float  # attention, dense feed-forward, shared experts, routers
    dense_bytes: float
    experts: int
    experts_per_token: int
    routed_params: float  # of all routed experts
    routed_bytes: float
    head_params: float
    head_bytes: float
    kv_heads: int
    kv_bytes_per_token: float  # read and kept for every token of context (full attention, latent)
    window_bytes_per_token: float
    window_tokens: int
    index_bytes_per_token: float  # sparse: indexer keys, read at full length
    selected_bytes_per_token: float  # sparse: cache read for selected tokens only
    selected_tokens: int
    state_bytes: float
    prefill_pair_flop: float  # full attention
    window_pair_flop: float
    decode_pair_flop: float  # full attention, latent in absorbed form
    state_flop: float  # linear attention, per token


def terms(model: Model, precision: str = "bf16", kv_precision: str = "bf16") -> Terms:
    """Return the cost terms of a model in a precision of weights and of KV cache.

    >>> from polysilicon.model.architecture import from_config
    >>> llama = from_config("m", {"model_type": "llama", "hidden_size": 8192, "num_hidden_layers": 80,
    ...     "num_attention_heads": 64, "num_key_value_heads": 8, "intermediate_size": 28672, "vocab_size": 128256})
    >>> t = terms(llama, "fp8", "fp8")
    >>> t.decode_pair_flop / 80 / 64 / 128  # 4 x heads x head_dim a layer
    4.0
    >>> t.kv_bytes_per_token
    163840.0
    """
    bits = WEIGHT_BITS[precision]
    dense_bits = max(16.0, bits) if model.quantised == "experts" else bits
    cached = BITS[kv_precision] / 8
    routers = sum(g.count * g.router_params for g in model.groups)
    dense = float(sum(g.count * (g.attention_params + g.ffn_params) for g in model.groups))
    routed = float(model.expert_params)
    head = float(model.vocab * model.hidden)
    full = [g for g in model.groups if g.attention in ("full", "mla")]
    window = [g for g in model.groups if g.attention == "window"]
    sparse = [g for g in model.groups if g.attention == "sparse"]
    linear = [g for g in model.groups if g.attention == "linear"]
    return Terms(
        layers=model.layers, moe_layers=model.moe_layers, attention_layers=model.layers - sum(g.count for g in linear),
        linear_layers=sum(g.count for g in linear), hidden=model.hidden,
        dense_params=dense + routers, dense_bytes=dense * dense_bits / 8 + routers * 2.0,
        experts=model.experts, experts_per_token=model.experts_per_token,
        routed_params=routed, routed_bytes=routed * bits / 8, head_params=head, head_bytes=head * 2.0,
        kv_heads=model.kv_heads,
        kv_bytes_per_token=float(sum(g.count * g.cache_elements for g in full)) * cached,
        window_bytes_per_token=float(sum(g.count * g.cache_elements for g in window)) * cached,
        window_tokens=max((g.window_tokens for g in window), default=0),
        index_bytes_per_token=float(sum(g.count * g.index_elements for g in sparse)),
        selected_bytes_per_token=float(sum(g.count * g.cache_elements for g in sparse)) * cached,
        selected_tokens=max((g.window_tokens for g in sparse), default=0),
        state_bytes=model.state_bytes,
        prefill_pair_flop=float(sum(2 * g.count * g.heads * (g.qk_dim + g.v_dim) for g in full))
        + float(sum(2 * g.count * g.index_heads * g.index_elements for g in sparse)),
        window_pair_flop=float(sum(2 * g.count * g.heads * (g.qk_dim + g.v_dim) for g in (*window, *sparse))),
        decode_pair_flop=float(sum(2 * g.count * g.heads * ((2 * g.latent_dim) or (g.qk_dim + g.v_dim)) for g in full)),
        state_flop=float(sum(6 * g.count * g.heads * g.qk_dim * g.v_dim for g in linear)),
    )  # fmt: skip


def experts_hit(experts: Number, per_token: Number, tokens: Number, skew_factor: float = 1.0) -> Any:
    """Return the expected number of experts that at least one of the tokens visits: E (1 - (1 - k/E)^t).

    `skew_factor` >= 1 divides the tokens that choose freely: routing concentrated on few experts hits fewer of them.

    >>> round(float(experts_hit(256, 8, 1)), 9)
    8.0
    >>> round(float(experts_hit(256, 8, 64)))
    222
    """
    e = larger(experts, 1.0)
    return e * at_least_once(smaller(smaller(per_token, e) / e, 1.0 - 1e-12), tokens / skew_factor)


def pairs(new_tokens: Number, past_tokens: Number = 0.0, window_tokens: int = 0) -> NDArray[np.float64]:
    """Return how many (query, attended) pairs a causal chunk of new tokens makes after past tokens.

    new x past + new (new + 1) / 2; under a window w each query sees at most w.

    >>> float(pairs(4)), float(pairs(2, 10)), float(pairs(4, 0, 2))
    (10.0, 23.0, 7.0)
    """
    new, past = np.asarray(new_tokens, dtype=float), np.asarray(past_tokens, dtype=float)
    everything = new * past + new * (new + 1.0) / 2.0
    if not window_tokens:
        return np.asarray(everything)
    growing = np.clip(window_tokens - past, 0.0, new)  # queries that still see everything
    return np.asarray(growing * past + growing * (growing + 1.0) / 2.0 + (new - growing) * window_tokens)


def step_work(
    model: Model, *, prefill_tokens: float = 0.0, past_tokens: float = 0.0, contexts: tuple[float, ...] = (),
    precision: str = "bf16", kv_precision: str = "bf16",
) -> Work:  # fmt: skip
    """Return the work of one step that prefills a chunk after `past_tokens` and decodes one token for each context.

    FLOP = 2 x active linear parameters x tokens + attention; bytes = weights touched once + KV read + KV written.

    Ignores: activations inside a layer (they stay in cache), sampling.
    """
    t = terms(model, precision, kv_precision)
    tokens = prefill_tokens + len(contexts)
    if tokens == 0:
        return Work()
    sampled = len(contexts) + (1 if prefill_tokens else 0)
    hit = float(experts_hit(t.experts, t.experts_per_token, tokens)) / t.experts if t.experts else 0.0
    routed = t.routed_params * t.experts_per_token / t.experts if t.experts else 0.0
    near = sum(min(c, t.window_tokens) for c in contexts)
    chosen = sum(min(c, t.selected_tokens) for c in contexts)
    far = sum(contexts)
    window = t.window_tokens or t.selected_tokens
    flop = (
        2.0 * (t.dense_params + routed) * tokens + 2.0 * t.head_params * sampled + t.state_flop * tokens
        + t.prefill_pair_flop * float(pairs(prefill_tokens, past_tokens))
        + t.window_pair_flop * (float(pairs(prefill_tokens, past_tokens, window)) + near + chosen) + t.decode_pair_flop * far
    )  # fmt: skip
    kept = t.kv_bytes_per_token + t.window_bytes_per_token + t.index_bytes_per_token + t.selected_bytes_per_token
    read = (t.kv_bytes_per_token + t.index_bytes_per_token) * (far + (past_tokens if prefill_tokens else 0.0))
    read += t.window_bytes_per_token * near + t.selected_bytes_per_token * chosen
    state = 2.0 * t.state_bytes * sampled
    return Work(flop=flop, hbm_bytes=t.dense_bytes + t.head_bytes + t.routed_bytes * hit + kept * tokens + read + state)
