"""Architectures and chips that published points speak of and the catalogue does not offer: looked up, or scaled from a size.

Source of the configs: the models' own config.json files on the Hugging Face hub (Llama 2, Code Llama, BLOOM, Llama 3).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache

from polysilicon.catalogue import Catalogue
from polysilicon.errors import InputError
from polysilicon.model.architecture import Model, from_config
from polysilicon.silicon.chip import Chip


def _llama(hidden: int, layers: int, heads: int, kv_heads: int, ffn: int, vocab: int = 32000) -> dict[str, object]:
    return {
        "model_type": "llama", "hidden_size": hidden, "num_hidden_layers": layers, "num_attention_heads": heads,
        "num_key_value_heads": kv_heads, "intermediate_size": ffn, "vocab_size": vocab,
    }  # fmt: skip


CONFIGS: Mapping[str, dict[str, object]] = {
    "llama-2-7b": _llama(4096, 32, 32, 32, 11008),
    "llama-2-13b": _llama(5120, 40, 40, 40, 13824),
    "llama-2-70b": _llama(8192, 80, 64, 8, 28672),
    "codellama-13b": _llama(5120, 40, 40, 40, 13824, 32016),
    "codellama-34b": _llama(8192, 48, 64, 8, 22016),
    "llama-3-8b": _llama(4096, 32, 32, 8, 14336, 128256),
    "llama-3-70b": _llama(8192, 80, 64, 8, 28672, 128256),
    "llama-3.2-1b": _llama(2048, 16, 32, 8, 8192, 128256),
    "llama-3.2-3b": _llama(3072, 28, 24, 8, 8192, 128256),
    "bloom-176b": {"model_type": "bloom", "n_embd": 14336, "n_layer": 70, "n_head": 112, "vocab_size": 250880},
}
# NeuronLink between the chips of an instance, one direction. Source: AWS, pages of EC2 Inf2 (192 GB/s both ways) and Trn1
# (768 GB/s both ways)
LINKS: Mapping[str, tuple[float, int]] = {"inferentia2": (96.0, 12), "trainium1": (384.0, 16)}
# What the driver shows of a chip's memory. Datasheets count 2^30 bytes as a GB, B300's the stacks too. Source: `nvidia-smi` in public
# logs of engines: 81,559, 143,771, 183,359, 189,471 and 275,040 MiB.
_VISIBLE_MIB: Mapping[str, float] = {
    "h100-sxm": 81559.0, "h200-sxm": 143771.0, "b200-sxm": 183359.0, "gb200": 189471.0, "b300-sxm": 275040.0,
}  # fmt: skip


def visible_gb(chip: Chip) -> float:
    """Return the memory an engine finds on a chip, in GB of 10^9 bytes: as the driver shows it, else the datasheet's figure."""
    shown = _VISIBLE_MIB.get(chip.id)
    return shown * 2**20 / 1e9 if shown else chip.need("hbm_gb")


_ENDINGS = (
    "-instruct-v0.2",
    "-instruct-v0.1",
    "-instruct",
    "-fp8",
    "-fp4",
    "-nvfp4",
    "-awq",
    "-it",
    "-hf",
    "-chat",
    "-0528",
    "-base",
)
_CHIP_WORDS = ((" (power-capped)", ""), ("-sxm-80gb", "-80gb"), (" trillium", ""), (" ironwood", ""), (" (per gpu)", ""))


class Lookup:
    """Models and chips by the names that points use; what no name finds is scaled from its stated size, or refused."""

    def __init__(self, known: Catalogue, models: Mapping[str, Model] | None = None) -> None:
        self.known = known
        self.own = models or {}
        self._models: dict[tuple[str, float, float], Model] = {}
        self._chips: dict[str, Chip] = {}

    def model(self, name: str, total_params: float = 0.0, active_params: float = 0.0) -> Model:
        """Return the architecture a point names.

        Raises: InputError when the name is not known and no size is stated.
        """
        key = (name, total_params, active_params)
        if key not in self._models:
            self._models[key] = self.own.get(name) or self._find_model(name) or scaled(name, total_params, active_params)
        return self._models[key]

    def _find_model(self, name: str) -> Model | None:
        plain = name.split("/")[0] if name.split("/")[0].casefold().startswith("deepseek-v3") else name.rsplit("/", 1)[-1]
        tries = [name, plain]
        folded = plain.casefold().replace("_", "-").replace(" ", "-").removeprefix("meta-")
        for _ in range(3):
            tries.append(folded)
            folded = next((folded.removesuffix(e) for e in _ENDINGS if folded.endswith(e)), folded)
        tries.append(folded)
        for candidate in dict.fromkeys(tries):
            if candidate in CONFIGS:
                return from_config(candidate, CONFIGS[candidate])
            try:
                if candidate and "." not in candidate[-5:].replace(".5", "").replace(".1", "").replace(".3", ""):
                    return self.known.model(candidate)
                return self.known.model(candidate)
            except InputError:
                continue
        return None

    def chip(self, name: str) -> Chip:
        """Return the chip a point names.

        Raises: InputError when the catalogue knows no such chip.
        """
        if name not in self._chips:
            self._chips[name] = self._find_chip(name)
        return self._chips[name]

    def _find_chip(self, name: str) -> Chip:
        if name.casefold().startswith("h800"):  # an H100 with NVLink cut to 400 GB/s both ways
            return replace(self.known.chip("H100"), id="h800", name="H800", scale_up_gb_per_s=200.0)
        if name.casefold() in LINKS:
            return replace(self.known.chip(name), scale_up_gb_per_s=LINKS[name.casefold()][0], scale_up_chips=LINKS[name.casefold()][1])
        short = name.casefold()
        for words, instead in _CHIP_WORDS:
            short = short.replace(words, instead)
        for candidate in (name, short, short.split("/")[0], short.replace(" ", "-"), short.split(" ")[0]):
            try:
                return self.known.chip(candidate)
            except InputError:
                continue
        return self.known.chip(name)


@lru_cache(maxsize=256)
def scaled(name: str, total_params: float, active_params: float) -> Model:
    """Return an architecture of the usual proportions for a stated number of parameters.

    Dense: layers x 12 hidden^2 with hidden = 128 x layers^0.9 or so; MoE: 128 experts of which 8 are visited.

    Raises: InputError when no size is stated.
    """
    if total_params <= 0:
        raise InputError(f'model "{name}" is not in the catalogue, and its row states no parameters')
    active = active_params or total_params
    layers = max(8, round(80 * (active / 70e9) ** (1 / 3.2)))
    hidden = max(512, round((active / (12.0 * layers)) ** 0.5 / 128) * 128)
    heads = max(4, hidden // 128)
    config: dict[str, object] = {
        "model_type": name, "hidden_size": hidden, "num_hidden_layers": layers, "num_attention_heads": heads, "head_dim": 128,
        "num_key_value_heads": min(8, heads), "vocab_size": 128000, "intermediate_size": round(3.3 * hidden),
    }  # fmt: skip
    if total_params > 1.3 * active:
        width = max(64, round((total_params - active) / (layers * 120 * 3 * hidden) / 64) * 64)
        config.update(num_experts=128, num_experts_per_tok=8, moe_intermediate_size=width)
    return from_config(name, config)
