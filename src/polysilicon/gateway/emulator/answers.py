"""What an emulated model says, and what it counts: numbered words, a prefix cache, tool calls that fit their schema."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from zlib import crc32

import msgspec

from polysilicon.gateway.emulator.fleet import FleetModel

Json = dict[str, Any]
_BYTES_PER_TOKEN = 4
_IMAGE_TOKENS = 1_200
_CACHE_FROM_TOKENS = 64  # shorter prefixes are not cached


@dataclass(slots=True)
class Answer:
    """One answer, before a door has dressed it."""

    id: str
    model: str
    words: list[str]
    tool: Json | None
    stop: str  # end_turn, max_tokens, tool_use
    fresh_tokens: int
    cached_tokens: int
    write_tokens: int
    output_tokens: int
    reasoning_tokens: int = 0


def answer(model_id: str, model: FleetModel, request: Json, cache: set[int], number: int) -> Answer:
    """Return what the model says to a request in either dialect; `cache` holds the prefixes it has seen and takes this one's."""
    fresh, cached, written = _prompt(request, cache)
    most = request.get("max_tokens") or request.get("max_completion_tokens") or model.output_tokens
    tool = _tool(request)
    count = min(int(most), model.output_tokens)
    stop = "tool_use" if tool else ("max_tokens" if count < model.output_tokens else "end_turn")
    words = [f"{model.text}{i} " for i in range(count)]
    if tool:
        words = words[:2]
    return Answer(f"{number:08d}", model_id, words, tool, stop, fresh, cached, written, max(1, count), min(model.reasoning_tokens, count))


def _prompt(request: Json, cache: set[int]) -> tuple[int, int, int]:
    """Return prompt tokens: fresh, read from the cache, written to it. A turn that was seen before is read, where caching is asked for."""
    parts = [msgspec.json.encode(request.get("system") or ""), *[msgspec.json.encode(m) for m in request.get("messages") or ()]]
    images = sum(part.count(b'"image') for part in parts)
    tokens = [max(1, len(part) // _BYTES_PER_TOKEN) for part in parts]
    tokens[-1] += images * _IMAGE_TOKENS
    if not any(b"cache_control" in part for part in parts):
        return sum(tokens), 0, 0
    cached = written = 0
    running = 0
    for part, count in zip(parts[:-1], tokens[:-1], strict=True):
        running = crc32(part, running)
        if running in cache:
            cached += count
        else:
            cache.add(running)
            written += count
    if cached + written < _CACHE_FROM_TOKENS:
        return sum(tokens), 0, 0
    return tokens[-1], cached, written


def _tool(request: Json) -> Json | None:
    """Return a call of the first tool where one is asked for: by `tool_choice`, or by a last turn that says "tool"."""
    tools = request.get("tools") or ()
    if not tools or request.get("tool_choice") in ("none", {"type": "none"}):
        return None
    last = msgspec.json.encode((request.get("messages") or [{}])[-1])
    forced = request.get("tool_choice") in ("required",) or (request.get("tool_choice") or {"type": ""}) != {"type": ""}
    if b"tool_result" in last or b'"role":"tool"' in last or not (forced or b"tool" in last):
        return None
    tool = tools[0].get("function", tools[0])
    schema = tool.get("input_schema") or tool.get("parameters") or {}
    return {"name": tool["name"], "input": {name: _value(kind) for name, kind in (schema.get("properties") or {}).items()}}


def _value(schema: Json) -> Any:
    if schema.get("enum"):
        return schema["enum"][0]
    return {"string": "Paris", "integer": 3, "number": 1.5, "boolean": True, "array": [], "object": {}}.get(schema.get("type", ""), "Paris")


def count_tokens(request: Json) -> int:
    """Return the prompt's tokens."""
    fresh, cached, written = _prompt(request, set())
    return fresh + cached + written


# --- Messages


def message_usage(a: Answer, output: int) -> Json:
    """Return usage as the Messages API states it."""
    thought = {"output_tokens_details": {"thinking_tokens": a.reasoning_tokens}} if a.reasoning_tokens and output > 1 else {}
    return {
        "input_tokens": a.fresh_tokens,
        "cache_read_input_tokens": a.cached_tokens,
        "cache_creation_input_tokens": a.write_tokens,
        "cache_creation": {"ephemeral_5m_input_tokens": a.write_tokens, "ephemeral_1h_input_tokens": 0},
        "output_tokens": output,
        "service_tier": "standard",
        **thought,
    }


def message(a: Answer) -> Json:
    """Return the whole Messages answer."""
    content: list[Json] = [{"type": "text", "text": "".join(a.words)}]
    if a.tool:
        content.append({"type": "tool_use", "id": f"toolu_{a.id}", **a.tool})
    return {
        "id": f"msg_{a.id}", "type": "message", "role": "assistant", "model": a.model, "content": content, "stop_reason": a.stop,
        "stop_sequence": None, "usage": message_usage(a, a.output_tokens),
    }  # fmt: skip


def message_events(a: Answer) -> list[Json]:
    """Return the Messages events, in order."""
    start = {**message(a), "content": [], "stop_reason": None, "usage": message_usage(a, 1)}
    events: list[Json] = [
        {"type": "message_start", "message": start},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "ping"},
        *[{"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": word}} for word in a.words],
        {"type": "content_block_stop", "index": 0},
    ]
    if a.tool:
        block = {"type": "tool_use", "id": f"toolu_{a.id}", "name": a.tool["name"], "input": {}}
        text = msgspec.json.encode(a.tool["input"]).decode()
        half = len(text) // 2
        events.append({"type": "content_block_start", "index": 1, "content_block": block})
        events += [
            {"type": "content_block_delta", "index": 1, "delta": {"type": "input_json_delta", "partial_json": piece}}
            for piece in (text[:half], text[half:])
        ]
        events.append({"type": "content_block_stop", "index": 1})
    delta = {"stop_reason": a.stop, "stop_sequence": None}
    events.append({"type": "message_delta", "delta": delta, "usage": message_usage(a, a.output_tokens)})
    events.append({"type": "message_stop"})
    return events


# --- Chat Completions

_FINISH = {"end_turn": "stop", "max_tokens": "length", "tool_use": "tool_calls"}


def chat_usage(a: Answer) -> Json:
    """Return usage as OpenAI-compatible engines state it: cached tokens are part of the prompt's."""
    prompt = a.fresh_tokens + a.cached_tokens + a.write_tokens
    return {
        "prompt_tokens": prompt,
        "completion_tokens": a.output_tokens,
        "total_tokens": prompt + a.output_tokens,
        "prompt_tokens_details": {"cached_tokens": a.cached_tokens},
        **({"completion_tokens_details": {"reasoning_tokens": a.reasoning_tokens}} if a.reasoning_tokens else {}),
    }


def _call(a: Answer) -> Json:
    assert a.tool is not None
    arguments = msgspec.json.encode(a.tool["input"]).decode()
    return {"id": f"call_{a.id}", "type": "function", "function": {"name": a.tool["name"], "arguments": arguments}}


def completion(a: Answer) -> Json:
    """Return the whole chat completion."""
    said: Json = {"role": "assistant", "content": "".join(a.words)}
    if a.tool:
        said["tool_calls"] = [_call(a)]
    choice = {"index": 0, "message": said, "logprobs": None, "finish_reason": _FINISH[a.stop]}
    base = {"id": f"chatcmpl-{a.id}", "object": "chat.completion", "created": 1_700_000_000, "model": a.model}
    return {**base, "choices": [choice], "usage": chat_usage(a)}


def completion_chunks(a: Answer, *, include_usage: bool) -> list[Json]:
    """Return the chunks, in order."""
    base = {"id": f"chatcmpl-{a.id}", "object": "chat.completion.chunk", "created": 1_700_000_000, "model": a.model}
    deltas: list[Json] = [{"role": "assistant", "content": ""}, *[{"content": word} for word in a.words]]
    if a.tool:
        call = _call(a)
        text = call["function"]["arguments"]
        call["function"]["arguments"] = ""
        deltas.append({"tool_calls": [{"index": 0, **call}]})
        deltas.append({"tool_calls": [{"index": 0, "function": {"arguments": text}}]})
    chunks = [{**base, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in deltas]
    chunks.append({**base, "choices": [{"index": 0, "delta": {}, "finish_reason": _FINISH[a.stop]}]})
    if include_usage:
        chunks.append({**base, "choices": [], "usage": chat_usage(a)})
    return chunks
