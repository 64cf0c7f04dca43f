"""The keys of a Hugging Face `config.json`: many spellings, one meaning each; every problem of a file at once."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from typing import Any, Literal

from polysilicon.errors import InputError, InputErrors

MAX_COUNT = 10**9  # no width, vocabulary or context of a model is larger
MAX_LAYERS = 10_000

_FAMILIES: tuple[tuple[str, str], ...] = (  # start of model_type or architecture, without case and separators -> family
    ("kimi", "kimi"), ("deepseek", "deepseek-mla"), ("gptoss", "gpt-oss"), ("glm", "glm"), ("minimax", "minimax"),
    ("gemma", "gemma"), ("llama4", "llama4"), ("llama", "llama"), ("mixtral", "mixtral"), ("mistral", "mistral"),
    ("qwen35", "qwen3-next"), ("qwen3next", "qwen3-next"), ("qwen3moe", "qwen3-moe"), ("qwen3vlmoe", "qwen3-moe"),
    ("qwen3", "qwen3"), ("qwen2moe", "qwen2-moe"), ("qwen2", "qwen2"), ("mimo", "mimo"), ("bloom", "bloom"), ("phi", "phi"),
)  # fmt: skip
_SPELLINGS: Mapping[str, tuple[str, ...]] = {
    "fp4": ("fp4", "int4", '"bits": 4', '"num_bits": 4'),
    "fp8": ("fp8", "float8", "e4m3"),
    "int8": ("int8", '"bits": 8', '"num_bits": 8'),
}  # precision -> words of a quantization_config
_EXPERTS_ONLY = ("gpt-oss", "kimi")  # released with quantised experts and 16-bit attention


def keys_of(config: Mapping[str, Any], *, where: str) -> Keys:
    """Return the language model's keys, also where they are nested in `text_config` beside towers."""
    if not isinstance(config, Mapping):
        raise InputError(f"a config is a mapping of keys, not {type(config).__name__}", where=where)
    for nest in ("text_config", "language_config", "llm_config"):
        inner = config.get(nest)
        if isinstance(inner, Mapping):
            outer = {k: v for k, v in config.items() if k in ("tie_word_embeddings", "quantization_config", "architectures")}
            filled = {k: v for k, v in inner.items() if v is not None}
            return Keys({**outer, **filled, "outer_type": config.get("model_type", "")}, where)
    return Keys(config, where)


def family_of(keys: Keys, model_id: str) -> str:
    """Return the porting family of a model, by model_type, then architecture, then name."""
    names = [keys.words("outer_type"), keys.type, keys.words("architectures"), model_id.rsplit("/", 1)[-1]]
    plain = ["".join(c for c in n.casefold() if c.isalnum()) for n in names]
    if "kimi" in plain[3]:  # Kimi K2 calls itself DeepSeek-V3
        return "kimi"
    for name in plain:
        for start, family in _FAMILIES:
            if name.startswith(start):
                return family
    return plain[1] or plain[0] or "other"


class Keys:
    """Typed access to a config's keys that gathers problems instead of stopping at the first."""

    def __init__(self, config: Mapping[str, Any], where: str) -> None:
        self.config = config
        self.where = where
        self.problems: dict[str, InputError] = {}
        self.type = self.words("model_type").casefold()
        self.hidden = self.count("hidden_size", "n_embd", "d_model")
        self.layers = self.count("num_hidden_layers", "n_layer", "num_layers", limit=MAX_LAYERS)
        self.vocab = self.count("vocab_size")

    def raise_problems(self) -> None:
        """Raise everything found so far."""
        if self.problems:
            raise InputErrors(self.problems.values())

    def blame(self, key: str, message: str) -> None:
        """Note one problem of a key."""
        self.problems.setdefault(key, InputError(message, where=self.where))

    def has(self, *names: str) -> bool:
        """Return whether one of the names holds a value."""
        return any(self.config.get(n) not in (None, "", "null", "None") for n in names)

    def words(self, name: str) -> str:
        """Return a key as a string; a list gives its first item."""
        value = self.config.get(name)
        if isinstance(value, (list, tuple)):
            value = value[0] if value else ""
        return str(value or "")

    def truth(self, name: str, *, default: bool = False) -> bool:
        """Return a key as a truth value; strings from a CSV are understood."""
        value = self.config.get(name)
        if value in (None, ""):
            return default
        return str(value).strip().casefold() not in ("false", "0", "0.0", "no", "none")

    def count(self, *names: str, default: int | None = None, limit: int = MAX_COUNT) -> int:
        """Return the first of the keys that is there as a whole number."""
        name = next((n for n in names if self.has(n)), None)
        if name is None:
            if default is None:
                self.blame(names[0], f'key "{names[0]}" is missing')
            return default if default is not None else 1
        value = self.config[name]
        if isinstance(value, (list, tuple)):
            value = value[0] if value else math.nan
        try:
            number = float(value)
        except (TypeError, ValueError, OverflowError):
            number = math.nan
        if not 0 <= number <= limit or number != int(number) or (number == 0 and default is None):
            allowed = f"a whole number from {1 if default is None else 0} to {limit:,} is expected"
            self.blame(name, f'key "{name}" is {str(value)[:40]!r}; {allowed}')
            return default or 1
        return int(number)

    def sequence(self, name: str) -> list[str]:
        """Return a key that is a list; JSON text and comma-separated words from a CSV are understood."""
        value = self.config.get(name)
        if isinstance(value, str) and value:
            try:
                value = json.loads(value)
            except ValueError:
                value = [v.strip() for v in value.replace(";", ",").split(",")]
        if not isinstance(value, Iterable) or isinstance(value, (str, Mapping)):
            return []
        return [str(v) for v in value]

    def tied(self) -> bool:
        """Return whether input embedding and head share their weights."""
        return self.truth("tie_word_embeddings", default=self.type.startswith(("gemma", "bloom")))

    def plain_mlp(self) -> bool:
        """Return whether the feed-forward has two matrices instead of three."""
        return self.type in ("bloom", "gpt2", "gpt_neox", "opt", "falcon")

    def gated_attention(self) -> bool:
        """Return whether queries carry an output gate as wide as themselves."""
        return self.truth("attn_output_gate", default=self.type.startswith(("qwen3_next", "qwen3_5")))

    # -- which layer is what ------------------------------------------------------------------------------------

    def attention(self, layer: int) -> Literal["full", "window", "linear", "mla", "sparse"]:
        """Return how a layer attends."""
        full: Literal["full", "mla", "sparse"] = "full"
        if self.has("kv_lora_rank"):
            full = "mla"
        if self.has("index_topk", "sparse_index_topk"):
            full = "sparse"
        pattern = self._pattern()
        if pattern:
            word = pattern[min(layer, len(pattern) - 1)].casefold()
            if any(w in word for w in ("linear", "mamba", "kda", "delta", "recurrent", "lightning")):
                return "linear"
            return "window" if any(w in word for w in ("sliding", "window", "chunk", "local")) else full
        if self.has("full_attention_interval"):
            return full if (layer + 1) % self.count("full_attention_interval") == 0 else "linear"
        return "window" if self._windowed(layer) else full

    def _pattern(self) -> list[str]:
        listed = self.sequence("layer_types")
        if listed:
            return listed
        kinds = self.sequence("attn_type_list")  # MiniMax: 0 lightning, 1 full
        if kinds:
            return ["linear" if k in ("0", "0.0") else "full" for k in kinds]
        hybrid = self.sequence("hybrid_layer_pattern")  # MiMo: 1 window, 0 full
        if hybrid:
            return ["sliding" if k in ("1", "1.0") else "full" for k in hybrid]
        nested = self.config.get("linear_attn_config")
        if isinstance(nested, Mapping) and nested.get("full_attn_layers"):
            full = {int(i) for i in nested["full_attn_layers"]}
            return ["full" if i + 1 in full else "linear" for i in range(self.layers)]
        return []

    def _windowed(self, layer: int) -> bool:
        if not self.window() or not self.truth("use_sliding_window", default=True):
            return False
        every = self.count("sliding_window_pattern", "_sliding_window_pattern", "no_rope_layer_interval", default=0)
        if not every and self.type.startswith("llama4"):
            every = 4
        if not every and self.type.startswith("gemma3"):
            every = 6
        if not every and self.type.startswith("gpt_oss"):
            every = 2
        return (layer + 1) % every != 0 if every else True

    def window(self) -> int:
        """Return how many tokens a window layer sees."""
        return self.count("sliding_window", "attention_chunk_size", "sliding_window_size", default=0)

    def is_moe(self, layer: int) -> bool:
        """Return whether a layer routes its tokens to experts."""
        if self.experts() == 0 or layer < self.count("first_k_dense_replace", "num_dense_layers", default=0):
            return False
        if str(layer) in self.sequence("mlp_only_layers"):
            return False
        frequency = self.sequence("moe_layer_freq")
        if len(frequency) > 1:
            return frequency[min(layer, len(frequency) - 1)] not in ("0", "0.0", "False")
        listed = self.sequence("moe_layers")
        if listed:
            return str(layer) in listed
        step = self.count("interleave_moe_layer_step", "decoder_sparse_step", default=1) or 1
        return (layer + 1) % step == 0

    # -- widths -------------------------------------------------------------------------------------------------

    def grouped_heads(self, kind: str) -> tuple[int, int, int, int]:
        """Return query heads, KV heads, key width and value width of an attention that caches keys and values."""
        swa = "swa_" if kind == "window" and self.has("swa_num_key_value_heads") else ""
        far = "global_" if kind == "full" and self.has("global_head_dim", "num_global_key_value_heads") else ""
        heads = self.count(f"{swa}num_attention_heads", "num_attention_heads", "n_head")
        far_kv, far_dim = (("num_global_key_value_heads",), ("global_head_dim",)) if far else ((), ())
        kv_heads = self.count(f"{swa}num_key_value_heads", *far_kv, "num_key_value_heads", default=heads)
        dim = self.count(f"{swa}head_dim", *far_dim, "head_dim", default=max(1, self.hidden // max(heads, 1)))
        v_dim = self.count(f"{swa}v_head_dim", "v_head_dim", default=dim)
        if kv_heads > heads > 0:
            self.blame("num_key_value_heads", f'key "num_key_value_heads" is {kv_heads}, more than the {heads} query heads')
        return heads, max(1, kv_heads), dim, v_dim

    def linear_heads(self) -> tuple[int, int, int, int]:
        """Return key heads, value heads, key width and value width of a linear attention."""
        nested = self.config.get("linear_attn_config")
        inner = self
        if isinstance(nested, Mapping):
            inner = Keys({"hidden_size": 1, "num_hidden_layers": 1, "vocab_size": 1, **nested}, self.where)
        heads, _, dim, _ = self.grouped_heads("linear")
        key_heads = inner.count("linear_num_key_heads", "num_heads", default=heads)
        value_heads = inner.count("linear_num_value_heads", "num_heads", default=heads)
        key_dim = inner.count("linear_key_head_dim", "head_dim", default=dim)
        return key_heads, value_heads, key_dim, inner.count("linear_value_head_dim", "head_dim", default=dim)

    def indexer(self) -> tuple[int, int, int, int]:
        """Return parameters, heads, cached elements a token and selected tokens of a sparse indexer."""
        heads, dim = self.count("index_n_heads", "index_heads", default=64), self.count("index_head_dim", default=128)
        source = self.count("q_lora_rank", default=self.hidden)
        params = source * heads * dim + self.hidden * (dim + heads)
        return params, heads, dim, self.count("index_topk", "sparse_index_topk", default=2048)

    def experts(self) -> int:
        """Return the routed experts of a MoE layer, or 0."""
        return self.count("n_routed_experts", "num_experts", "num_local_experts", "moe_num_experts", default=0)

    def experts_per_token(self) -> int:
        """Return the experts a token visits."""
        return self.count("num_experts_per_tok", "num_experts_per_token", "experts_per_token", "moe_topk", "top_k_experts")

    def expert_width(self) -> int:
        """Return the hidden width of one expert."""
        return self.count("moe_intermediate_size", "expert_intermediate_size", "intermediate_size")

    def expert_input(self) -> int:
        """Return the width an expert reads: the model's, or a latent one."""
        return self.count("routed_expert_hidden_size", "moe_latent_size", default=self.hidden)

    def shared_width(self) -> int:
        """Return the total hidden width of the shared experts of a MoE layer."""
        if self.has("shared_expert_intermediate_size"):
            return self.count("shared_expert_intermediate_size", default=0)
        if self.type.startswith("llama4"):
            return self.expert_width()
        shared = self.count("n_shared_experts", "num_shared_experts", default=0)
        return shared * self.count("moe_shared_expert_intermediate_size", "moe_intermediate_size", "intermediate_size", default=0)

    def dense_width(self) -> int:
        """Return the hidden width of a dense feed-forward."""
        if self.plain_mlp() and not self.has("intermediate_size"):
            return 4 * self.hidden
        default = 0 if self.experts() else None
        return self.count("intermediate_size_mlp", "dense_intermediate_size", "intermediate_size", default=default)

    def precision(self) -> tuple[str, Literal["linear", "experts"]]:
        """Return the released precision and whether all linear weights or only the experts are in it."""
        quant = self.config.get("quantization_config")
        text = json.dumps(quant, default=str).casefold() if isinstance(quant, Mapping) else str(quant or "").casefold()
        text += self.words("checkpoint_quant").casefold()
        scope: Literal["linear", "experts"] = "experts" if family_of(self, self.where) in _EXPERTS_ONLY and text else "linear"
        for name, words in _SPELLINGS.items():
            if any(w in text for w in words):
                return name, scope
        declared = self.words("torch_dtype") + self.words("dtype")
        return ("fp32" if "float32" in declared else "bf16"), scope
