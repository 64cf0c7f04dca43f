"""Architectures: what a model is made of, layer by layer, read from its own `config.json`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from polysilicon.model.config import Keys, family_of, keys_of
from polysilicon.silicon.chip import BITS

AttentionKind = Literal["full", "window", "linear", "mla", "sparse"]
FfnKind = Literal["dense", "moe"]

# bits a weight takes in a checkpoint, block scales included (nvfp4: one fp8 scale for 16; mxfp4: one e8m0 scale for 32)
WEIGHT_BITS: Mapping[str, float] = {"fp4": 4.5, "int4": 4.5, "fp8": 8.0, "int8": 8.0, "bf16": 16.0, "fp16": 16.0, "fp32": 32.0}
SINK_BITS = 16.0  # embeddings, head, norms, routers stay in 16 bits


@dataclass(frozen=True, slots=True)
class Layers:
    """Identical layers of a model: how many, how they attend, what they multiply.

    Parameters are counted per layer. `cache_elements` and `index_elements` are what one token leaves in the KV cache of
    one layer; `state_bytes` is what one sequence holds whatever its length (linear attention).
    """

    count: int
    attention: AttentionKind
    ffn: FfnKind
    heads: int
    qk_dim: int  # width of a query-key product
    v_dim: int
    attention_params: int
    cache_elements: int
    ffn_params: int  # dense feed-forward, or the shared experts of a MoE layer
    experts: int = 0
    experts_per_token: int = 0
    expert_params: int = 0  # one expert
    router_params: int = 0
    window_tokens: int = 0  # window: tokens seen; sparse: tokens selected
    index_elements: int = 0  # sparse: indexer keys a token
    index_heads: int = 0
    latent_dim: int = 0  # mla: width of a query-key product in absorbed form
    state_bytes: int = 0

    @property
    def total_params(self) -> int:
        """Return the parameters of one layer."""
        return self.attention_params + self.ffn_params + self.router_params + self.experts * self.expert_params

    @property
    def active_params(self) -> int:
        """Return the parameters that one token multiplies in one layer."""
        return self.attention_params + self.ffn_params + self.router_params + self.experts_per_token * self.expert_params


@dataclass(frozen=True, slots=True)
class Model:
    """A large language model as arithmetic: layers, widths, vocabulary, and the precision it was released in."""

    id: str
    name: str
    family: str
    groups: tuple[Layers, ...]
    hidden: int
    vocab: int
    tied_embeddings: bool
    context_tokens: int
    native_precision: str = "bf16"
    quantised: Literal["linear", "experts"] = "linear"  # which weights follow a precision below 16 bits
    mtp_layers: int = 0  # multi-token-prediction layers that come with it
    mtp_params: int = 0
    extra_params: int = 0  # norms, biases, per-layer scalars
    hf_id: str = ""  # on the Hugging Face hub, where known

    @property
    def fp8_blocks(self) -> bool:
        """Return whether its FP8 checkpoints scale weights by block of 128 and activations on the fly, as DeepSeek's do.

        Llama, Mistral and Gemma checkpoints have one scale a tensor, which costs fewer kernels a layer.
        """
        return self.family not in ("llama", "llama4", "mistral", "mixtral", "gemma", "bloom")

    @property
    def layers(self) -> int:
        """Return the number of layers."""
        return sum(g.count for g in self.groups)

    @property
    def moe_layers(self) -> int:
        """Return the number of layers with routed experts."""
        return sum(g.count for g in self.groups if g.ffn == "moe")

    @property
    def heads(self) -> int:
        """Return the query heads of a layer (the largest over layers)."""
        return max(g.heads for g in self.groups)

    @property
    def experts(self) -> int:
        """Return the routed experts of a layer, or 0."""
        return max(g.experts for g in self.groups)

    @property
    def experts_per_token(self) -> int:
        """Return the routed experts a token visits in a layer, or 0."""
        return max(g.experts_per_token for g in self.groups)

    @property
    def embedding_params(self) -> int:
        """Return the parameters of the input embedding and of the head."""
        return self.vocab * self.hidden * (1 if self.tied_embeddings else 2)

    @property
    def expert_params(self) -> int:
        """Return the parameters of all routed experts."""
        return sum(g.count * g.experts * g.expert_params for g in self.groups)

    @property
    def total_params(self) -> int:
        """Return the parameters, without multi-token-prediction layers."""
        return sum(g.count * g.total_params for g in self.groups) + self.embedding_params + self.extra_params

    @property
    def active_params(self) -> int:
        """Return the parameters a token uses, embeddings included (as most model cards count)."""
        return sum(g.count * g.active_params for g in self.groups) + self.embedding_params + self.extra_params

    def weight_bytes(self, precision: str = "") -> float:
        """Return the bytes of the weights in a precision; the native one by default.

        Embeddings, head, routers and norms stay in 16 bits, as released checkpoints keep them; a model released with
        only its experts quantised keeps the rest in 16 bits too.
        """
        bits = WEIGHT_BITS[precision or self.native_precision]
        kept = self.embedding_params + self.extra_params + sum(g.count * g.router_params for g in self.groups)
        if self.quantised == "experts" and bits < SINK_BITS:
            kept = self.total_params - self.expert_params
        return (kept * min(bits if bits > SINK_BITS else SINK_BITS, 32.0) + (self.total_params - kept) * bits) / 8

    def kv_bytes_per_token(self, precision: str = "bf16", *, context_tokens: float | None = None) -> float:
        """Return the KV-cache bytes that one token of a long context costs.

        Without `context_tokens`, every layer that caches is counted at full length (an upper bound for windows). With it,
        a window layer's share is window / context.

        >>> from polysilicon.model.architecture import from_config
        >>> llama = from_config("m", {"model_type": "llama", "hidden_size": 8192, "num_hidden_layers": 80,
        ...     "num_attention_heads": 64, "num_key_value_heads": 8, "intermediate_size": 28672, "vocab_size": 128256})
        >>> llama.kv_bytes_per_token("bf16")  # 2 x 80 layers x 8 heads x 128 x 2 bytes
        327680.0
        """
        bits = BITS[precision]
        total = 0.0
        for g in self.groups:
            seen = 1.0
            if g.attention == "window" and context_tokens:
                seen = min(1.0, g.window_tokens / context_tokens)
            total += g.count * (g.cache_elements * bits * seen + g.index_elements * 8) / 8
        return total

    @property
    def state_bytes(self) -> float:
        """Return the bytes one sequence holds in linear-attention layers, whatever its length."""
        return float(sum(g.count * g.state_bytes for g in self.groups))

    @property
    def kv_heads(self) -> int:
        """Return how many ways attention can be sharded without copying KV: KV heads of GQA, 1 for a latent cache."""
        split = [max(1, g.cache_elements // (g.qk_dim + g.v_dim)) for g in self.groups if g.attention in ("full", "window")]
        return max(split) if split else 1


def from_config(model_id: str, config: Mapping[str, Any], *, where: str = "") -> Model:
    """Return the model that a Hugging Face `config.json` describes.

    Understands nested `text_config`, dense and MoE feed-forwards with shared experts, leading dense or interleaved
    layers, GQA, MLA, sliding windows, chunked and linear attention by pattern, sparse indexers. Numbers may be strings.

    Raises: InputErrors with every key that is missing or impossible.
    Ignores: vision towers and audio encoders (up to 10 % of a small multimodal model's parameters).

    >>> m = from_config("tiny", {"model_type": "llama", "hidden_size": 64, "num_hidden_layers": 2,
    ...     "num_attention_heads": 4, "intermediate_size": 128, "vocab_size": 1000, "tie_word_embeddings": True})
    >>> m.total_params  # 2 x (4 x 64 x 64 + 3 x 64 x 128) + 1000 x 64, and 5 norms of 64
    146240
    """
    keys = keys_of(config, where=where or model_id)
    kinds = [(keys.attention(i), keys.is_moe(i)) for i in range(keys.layers)]
    keys.raise_problems()
    groups = [_layers(keys, kinds.count(kind), kind[0], moe=kind[1]) for kind in dict.fromkeys(kinds)]
    keys.raise_problems()
    norms = (2 * keys.layers + 1) * keys.hidden
    name = model_id.rsplit("/", 1)[-1]
    precision, scope = keys.precision()
    mtp = keys.count("num_nextn_predict_layers", "num_mtp_modules", "mtp_num_hidden_layers", default=0)
    return Model(
        id=model_id, name=name, family=family_of(keys, model_id), groups=tuple(groups), hidden=keys.hidden, vocab=keys.vocab,
        tied_embeddings=keys.tied(), context_tokens=keys.count("max_position_embeddings", default=131072),
        native_precision=precision, quantised=scope, mtp_layers=mtp,
        mtp_params=mtp * (groups[-1].total_params + 2 * keys.hidden**2), extra_params=norms, hf_id=str(config.get("hf_id", "")),
    )  # fmt: skip


def _layers(keys: Keys, count: int, attention: AttentionKind, *, moe: bool) -> Layers:
    """Return `count` layers of one kind."""
    if attention in ("mla", "sparse") and keys.has("kv_lora_rank"):
        attn = _latent_attention(keys, attention)
    elif attention == "linear":
        attn = _linear_attention(keys)
    else:
        attn = _grouped_attention(keys, attention)
    ffn: dict[str, int] = {"ffn_params": 3 * keys.hidden * keys.dense_width()}
    if keys.plain_mlp():
        ffn = {"ffn_params": 2 * keys.hidden * keys.dense_width()}
    if moe:
        matrices = 3
        experts = keys.experts()
        ffn = {
            "experts": experts,
            "experts_per_token": min(experts, keys.experts_per_token()),
            "expert_params": matrices * keys.expert_input() * keys.expert_width(),
            "router_params": keys.hidden * experts,
            "ffn_params": matrices * keys.hidden * keys.shared_width(),
        }
    return Layers(count=count, attention=attention, ffn="moe" if moe else "dense", **attn, **ffn)


def _grouped_attention(keys: Keys, kind: AttentionKind) -> dict[str, int]:
    heads, kv_heads, dim, v_dim = keys.grouped_heads(kind)
    q_out = heads * dim * (2 if keys.gated_attention() else 1)
    params = keys.hidden * (q_out + kv_heads * (dim + v_dim) + heads * v_dim)
    if keys.truth("attention_bias") and keys.type == "gpt_oss":
        params += q_out + kv_heads * (dim + v_dim) + keys.hidden
    index = keys.indexer() if kind == "sparse" else (0, 0, 0, 0)
    return {
        "heads": heads, "qk_dim": dim, "v_dim": v_dim, "attention_params": params + index[0],
        "cache_elements": kv_heads * (dim + v_dim), "window_tokens": keys.window() if kind == "window" else index[3],
        "index_heads": index[1], "index_elements": index[2],
    }  # fmt: skip


def _latent_attention(keys: Keys, kind: AttentionKind) -> dict[str, int]:
    heads = keys.count("num_attention_heads")
    rank, q_rank = keys.count("kv_lora_rank"), keys.count("q_lora_rank", default=0)
    nope, rope = keys.count("qk_nope_head_dim", default=128), keys.count("qk_rope_head_dim", default=64)
    v_dim = keys.count("v_head_dim", default=nope)
    queries = heads * (nope + rope)
    params = (keys.hidden * q_rank + q_rank * queries) if q_rank else keys.hidden * queries
    params += keys.hidden * (rank + rope) + rank * heads * (nope + v_dim) + heads * v_dim * keys.hidden
    index = keys.indexer() if kind == "sparse" else (0, 0, 0, 0)
    return {
        "heads": heads, "qk_dim": nope + rope, "v_dim": v_dim, "attention_params": params + index[0],
        "cache_elements": rank + rope, "latent_dim": rank + rope,
        "index_heads": index[1], "index_elements": index[2], "window_tokens": index[3],
    }  # fmt: skip


def _linear_attention(keys: Keys) -> dict[str, int]:
    k_heads, v_heads, k_dim, v_dim = keys.linear_heads()
    key_width, value_width = k_heads * k_dim, v_heads * v_dim
    params = keys.hidden * (2 * key_width + 2 * value_width + 2 * v_heads) + value_width * keys.hidden
    conv = keys.count("linear_conv_kernel_dim", "short_conv_kernel_size", default=4)
    return {
        "heads": v_heads, "qk_dim": k_dim, "v_dim": v_dim, "attention_params": params + conv * (2 * key_width + value_width),
        "cache_elements": 0, "state_bytes": v_heads * k_dim * v_dim * 4 + (conv - 1) * (2 * key_width + value_width) * 2,
    }  # fmt: skip
