"""Public token-price books as rows of an overlay: LiteLLM's and genai-prices' JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from polysilicon.errors import InputError, InputErrors

PRICE_COLUMNS: tuple[str, ...] = (
    "provider",
    "model",
    "usd_per_mtok_in",
    "usd_per_mtok_out",
    "usd_per_mtok_cached",
    "usd_per_mtok_cache_write",
    "usd_per_mtok_cache_write_1h",
    "usd_per_mtok_batch_in",
    "usd_per_mtok_batch_out",
    "long_context_from_tokens",
    "long_context_usd_per_mtok_in",
    "long_context_usd_per_mtok_out",
    "max_input_tokens",
    "valid_from",
    "valid_to",
    "condition",
    "as_of",
    "source",
    "basis",
)
MAX_BYTES = 64_000_000
_LITELLM: Mapping[str, str] = {  # per token
    "usd_per_mtok_in": "input_cost_per_token",
    "usd_per_mtok_out": "output_cost_per_token",
    "usd_per_mtok_cached": "cache_read_input_token_cost",
    "usd_per_mtok_cache_write": "cache_creation_input_token_cost",
    "usd_per_mtok_cache_write_1h": "cache_creation_input_token_cost_above_1hr",
    "usd_per_mtok_batch_in": "input_cost_per_token_batches",
    "usd_per_mtok_batch_out": "output_cost_per_token_batches",
}
_GENAI: Mapping[str, str] = {  # per million tokens
    "usd_per_mtok_in": "input_mtok",
    "usd_per_mtok_out": "output_mtok",
    "usd_per_mtok_cached": "cache_read_mtok",
    "usd_per_mtok_cache_write": "cache_write_mtok",
}
_LONG: tuple[tuple[str, int], ...] = (
    ("above_128k_tokens", 128_000),
    ("above_200k_tokens", 200_000),
    ("above_272k_tokens", 272_000),
)

Cells = dict[str, str]


def read_prices(path: Path, *, as_of: str) -> list[Cells]:
    """Return the token prices of a LiteLLM or genai-prices file; which of the two it is shows in its shape.

    Raises: InputErrors with every price that is not a number, or an InputError where the file is neither.
    """
    document = _load(path)
    problems: list[InputError] = []
    if isinstance(document, Mapping) and any(isinstance(v, Mapping) and "litellm_provider" in v for v in document.values()):
        rows = list(_litellm(document, str(path), as_of, problems))
    elif isinstance(document, list) and any(isinstance(v, Mapping) and "models" in v for v in document):
        rows = list(_genai(document, str(path), as_of, problems))
    elif isinstance(document, Mapping) and isinstance(document.get("providers"), list):
        rows = list(_genai(document["providers"], str(path), as_of, problems))
    else:
        hint = "LiteLLM: a mapping of models; genai-prices: a list of providers"
        raise InputError("is neither a LiteLLM nor a genai-prices price book", where=str(path), hint=hint)
    if problems:
        raise InputErrors(problems)
    return rows


def _load(path: Path) -> Any:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror or error}", where=str(path)) from error
    if len(content) > MAX_BYTES:
        raise InputError(f"has {len(content):,} bytes; at most {MAX_BYTES:,} are read", where=str(path))
    try:
        return json.loads(content.decode("utf-8-sig"))
    except json.JSONDecodeError as error:
        raise InputError(f"is not JSON: {error.msg}", where=f"{path}:{error.lineno}:{error.colno}") from error
    except (UnicodeDecodeError, RecursionError) as error:
        raise InputError(f"is not JSON: {error}", where=str(path)) from error


def _litellm(document: Mapping[str, Any], where: str, as_of: str, problems: list[InputError]) -> Iterator[Cells]:
    for model, entry in document.items():
        if model == "sample_spec" or not isinstance(entry, Mapping) or entry.get("mode") not in ("chat", "completion", "responses"):
            continue
        cells = _cells(str(entry.get("litellm_provider", "")), model.rsplit("/", 1)[-1], as_of, f"litellm {Path(where).name}")
        place = f"{where}: {model}"
        for column, key in _LITELLM.items():
            cells[column] = _usd(entry.get(key), 1e6, f"{place}.{key}", problems)
        for suffix, tokens in _LONG:
            if f"input_cost_per_token_{suffix}" in entry:
                cells["long_context_from_tokens"] = str(tokens)
                for side, key in (("in", "input"), ("out", "output")):
                    name = f"{key}_cost_per_token_{suffix}"
                    cells[f"long_context_usd_per_mtok_{side}"] = _usd(entry.get(name), 1e6, f"{place}.{name}", problems)
        limit = entry.get("max_input_tokens")
        cells["max_input_tokens"] = str(int(limit)) if isinstance(limit, (int, float)) and math.isfinite(limit) and limit >= 1 else ""
        if cells["usd_per_mtok_in"] or cells["usd_per_mtok_out"]:
            yield cells


def _genai(document: list[Any], where: str, as_of: str, problems: list[InputError]) -> Iterator[Cells]:
    for provider in document:
        if not isinstance(provider, Mapping):
            continue
        for model in provider.get("models") or ():
            if not isinstance(model, Mapping):
                continue
            name = str(model.get("id", ""))
            for prices, begin, end, condition in _dated(model.get("prices")):
                cells = _cells(str(provider.get("id", "")), name, as_of, f"genai-prices {Path(where).name}")
                cells |= {"valid_from": begin, "valid_to": end, "condition": condition}
                place = f"{where}: {provider.get('id')}/{name}"
                for column, key in _GENAI.items():
                    cells[column] = _usd(_base(prices.get(key)), 1.0, f"{place}.{key}", problems)
                cells |= _tier(prices, place, problems)
                window = model.get("context_window")
                cells["max_input_tokens"] = str(window) if isinstance(window, int) and window > 0 else ""
                if cells["usd_per_mtok_in"] or cells["usd_per_mtok_out"]:
                    yield cells


def _dated(prices: Any) -> Iterator[tuple[Mapping[str, Any], str, str, str]]:
    """Give each set of prices with the first day it holds, the first it no longer holds, and its time of day."""
    if isinstance(prices, Mapping):
        yield prices, "", "", ""
        return
    entries = [p for p in prices or () if isinstance(p, Mapping) and isinstance(p.get("prices"), Mapping)]
    starts = [str((p.get("constraint") or {}).get("start_date", "")) for p in entries]
    for i, (entry, begin) in enumerate(zip(entries, starts, strict=True)):
        constraint = entry.get("constraint") or {}
        hours = f"UTC {constraint['start_time']}-{constraint.get('end_time', '')}" if "start_time" in constraint else ""
        later = [s for s in starts[i + 1 :] if s > begin]
        yield entry["prices"], begin, min(later, default=""), hours


def _base(value: Any) -> Any:
    return value.get("base") if isinstance(value, Mapping) else value


def _tier(prices: Mapping[str, Any], place: str, problems: list[InputError]) -> Cells:
    found: Cells = {}
    for side, key in (("in", "input_mtok"), ("out", "output_mtok")):
        value = prices.get(key)
        tiers = value.get("tiers") if isinstance(value, Mapping) else None
        if isinstance(tiers, list) and tiers and isinstance(tiers[0], Mapping):
            found["long_context_from_tokens"] = str(int(tiers[0].get("start", 0)) or "")
            found[f"long_context_usd_per_mtok_{side}"] = _usd(tiers[0].get("price"), 1.0, f"{place}.{key}.tiers", problems)
    return found


def _usd(value: Any, scale: float, where: str, problems: list[InputError]) -> str:
    if value is None:
        return ""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value) or value < 0:
        problems.append(InputError(f"{str(value)[:40]!r} is not a price", where=where))
        return ""
    return f"{value * scale:.10g}"


def _cells(provider: str, model: str, as_of: str, source: str) -> Cells:
    return {
        **dict.fromkeys(PRICE_COLUMNS, ""),
        "provider": provider,
        "model": model,
        "as_of": as_of,
        "source": source,
        "basis": "list_price",
    }
