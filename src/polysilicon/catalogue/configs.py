"""A user's own model: its `config.json` by path."""

from __future__ import annotations

import json
from pathlib import Path

from polysilicon.errors import InputError
from polysilicon.model.architecture import Model, from_config

MAX_BYTES = 4_000_000


def read_config(path: Path) -> Model:
    """Return the model that a Hugging Face `config.json`, or the folder that holds one, describes.

    Raises: InputError, or InputErrors with every key that is missing or impossible.
    """
    file = path / "config.json" if path.is_dir() else path
    try:
        content = file.read_bytes()
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror or error}", where=str(file)) from error
    if len(content) > MAX_BYTES:
        raise InputError(f"has {len(content):,} bytes; a config.json has some thousands", where=str(file))
    try:
        config = json.loads(content.decode("utf-8-sig"), parse_constant=_refuse)
    except json.JSONDecodeError as error:
        raise InputError(f"is not JSON: {error.msg}", where=f"{file}:{error.lineno}:{error.colno}") from error
    except (UnicodeDecodeError, ValueError, RecursionError) as error:
        raise InputError(f"is not JSON: {error}", where=str(file)) from error
    if not isinstance(config, dict):
        raise InputError(f"a config is a mapping of keys, not {type(config).__name__}", where=str(file))
    name = str(config.get("_name_or_path") or "").strip("/") or (file.parent.resolve().name if file.name == "config.json" else file.stem)
    return from_config(name, _with_quantisation(file, config), where=str(file))


def _with_quantisation(file: Path, config: dict[str, object]) -> dict[str, object]:
    """Return the config with what an `hf_quant_config.json` beside it says of the weights' precision."""
    beside = file.with_name("hf_quant_config.json")
    if "quantization_config" in config or not beside.is_file():
        return config
    try:
        quantised = json.loads(beside.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"is not JSON: {error}", where=str(beside)) from error
    inner = quantised.get("quantization") if isinstance(quantised, dict) else None
    return {**config, "quantization_config": inner} if isinstance(inner, dict) else config


def _refuse(word: str) -> float:
    raise ValueError(f"{word} is not a number a config can hold")


def looks_like_path(name: str) -> bool:
    """Return whether a name means a file of the user's rather than a model of the catalogue."""
    return name.endswith(".json") or Path(name, "config.json").is_file()
