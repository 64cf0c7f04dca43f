"""A Messages client in front of an OpenAI-compatible engine: its request, the answer, the stream."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from polysilicon.errors import InputError, UpstreamError
from polysilicon.gateway.sse import event

Json = dict[str, Any]
_STOP = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "function_call": "tool_use",
    "content_filter": "refusal",
}


def request(message: Json) -> Json:
    """Return the Chat Completions request for a Messages request.

    >>> request({"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}]})["messages"]
    [{'role': 'user', 'content': 'Hi'}]

    Raises: InputError for a feature Chat Completions lacks.
    """
    turns: list[Json] = []
    system = message.get("system")
    if system:
        turns.append({"role": "system", "content": system if isinstance(system, str) else "\n\n".join(b["text"] for b in system)})
    for i, turn in enumerate(message.get("messages") or ()):
        turns += _turn(turn, f"request.messages[{i}]")
    out: Json = {"model": message["model"], "messages": turns, "max_tokens": message["max_tokens"]}
    for name in ("temperature", "top_p", "top_k", "stream"):
        if message.get(name) is not None:
            out[name] = message[name]
    if message.get("stream"):
        out["stream_options"] = {"include_usage": True}
    if message.get("stop_sequences"):
        out["stop"] = message["stop_sequences"]
    user = (message.get("metadata") or {}).get("user_id")
    if user:
        out["user"] = user
    _tools(message, out)
    form = (message.get("output_config") or {}).get("format")
    if form:
        out["response_format"] = {
            "type": "json_schema",
            "json_schema": {"name": "answer", "schema": form.get("schema", {}), "strict": True},
        }
    return out


def _turn(turn: Json, where: str) -> list[Json]:
    content = turn.get("content")
    if isinstance(content, str):
        return [{"role": turn["role"], "content": content}]
    if not isinstance(content, list):
        raise InputError("content must be text or a list of blocks", where=where)
    if turn["role"] == "assistant":
        return [_assistant(content, where)]
    results = [_tool_result(b) for b in content if b.get("type") == "tool_result"]
    parts = [_part(b, where) for b in content if b.get("type") != "tool_result"]
    if not parts:
        return results
    plain = len(parts) == 1 and parts[0]["type"] == "text"
    return [*results, {"role": "user", "content": parts[0]["text"] if plain else parts}]


def _assistant(content: list[Json], where: str) -> Json:
    said: Json = {"role": "assistant", "content": None}
    text = [b["text"] for b in content if b.get("type") == "text"]
    if text:
        said["content"] = "".join(text)
    calls = [
        {
            "id": b["id"],
            "type": "function",
            "function": {"name": b["name"], "arguments": msgspec.json.encode(b["input"]).decode()},
        }
        for b in content
        if b.get("type") == "tool_use"
    ]
    if calls:
        said["tool_calls"] = calls
    for block in content:
        if block.get("type") not in ("text", "tool_use", "thinking", "redacted_thinking"):
            raise InputError(f'a block of type "{block.get("type")}" has no counterpart in Chat Completions', where=where)
    return said


def _tool_result(block: Json) -> Json:
    content = block.get("content") or ""
    if not isinstance(content, str):
        content = "".join(part.get("text", "") for part in content)
    return {"role": "tool", "tool_call_id": block["tool_use_id"], "content": content}


def _part(block: Json, where: str) -> Json:
    kind = block.get("type")
    if kind == "text":
        return {"type": "text", "text": block["text"]}
    if kind == "image":
        src = block["source"]
        url = src["url"] if src["type"] == "url" else f"data:{src.get('media_type')};base64,{src.get('data')}"
        return {"type": "image_url", "image_url": {"url": url}}
    if kind == "document" and block["source"]["type"] == "text":
        return {"type": "text", "text": block["source"]["data"]}
    raise InputError(f'a block of type "{kind}" has no counterpart in Chat Completions', where=where)


def _tools(message: Json, out: Json) -> None:
    tools = []
    for i, tool in enumerate(message.get("tools") or ()):
        if tool.get("type", "custom") != "custom":
            raise InputError(f'the server tool "{tool["type"]}" has no counterpart in Chat Completions', where=f"request.tools[{i}]")
        function = {"name": tool["name"], "description": tool.get("description", ""), "parameters": tool["input_schema"]}
        tools.append({"type": "function", "function": function})
    if not tools:
        return
    out["tools"] = tools
    choice = message.get("tool_choice")
    if choice:
        if choice["type"] == "tool":
            out["tool_choice"] = {"type": "function", "function": {"name": choice["name"]}}
        else:
            out["tool_choice"] = {"auto": "auto", "any": "required", "none": "none"}[choice["type"]]
        if choice.get("disable_parallel_tool_use"):
            out["parallel_tool_calls"] = False


def usage(chat_usage: Json) -> Json:
    """Return Messages usage: its input tokens exclude what was read from the cache.

    >>> usage({"prompt_tokens": 100, "completion_tokens": 7, "prompt_tokens_details": {"cached_tokens": 90}})["input_tokens"]
    10
    """
    details = chat_usage.get("prompt_tokens_details") or {}
    thinking = (chat_usage.get("completion_tokens_details") or {}).get("reasoning_tokens") or 0
    cached = details.get("cached_tokens") or 0
    written = details.get("cache_write_tokens") or 0
    return {
        "input_tokens": max(0, (chat_usage.get("prompt_tokens") or 0) - cached - written),
        "cache_read_input_tokens": cached,
        "cache_creation_input_tokens": written,
        "output_tokens": chat_usage.get("completion_tokens") or 0,
        **({"output_tokens_details": {"thinking_tokens": thinking}} if thinking else {}),
    }


def answer(completion: Json) -> Json:
    """Return the Messages answer for a chat completion.

    Raises: UpstreamError when it holds no choice.
    """
    choices = completion.get("choices")
    if not isinstance(choices, list) or not choices or not isinstance(choices[0].get("message"), dict):
        raise UpstreamError("a chat completion without a choice")
    said = choices[0]["message"]
    content: list[Json] = []
    if said.get("content"):
        content.append({"type": "text", "text": said["content"]})
    content += [
        {"type": "tool_use", "id": call["id"], "name": call["function"]["name"], "input": _input(call["function"])}
        for call in said.get("tool_calls") or ()
    ]
    return {
        "id": completion.get("id", ""),
        "type": "message",
        "role": "assistant",
        "model": completion.get("model", ""),
        "content": content,
        "stop_reason": _STOP.get(choices[0].get("finish_reason") or "stop", "end_turn"),
        "stop_sequence": None,
        "usage": usage(completion.get("usage") or {}),
    }


def _input(function: Json) -> Json:
    try:
        return msgspec.json.decode(function.get("arguments") or "{}", type=dict[str, Any])
    except (msgspec.MsgspecError, RecursionError) as error:
        raise UpstreamError("a tool call's arguments are not a JSON object") from error


class Stream:
    """Chat chunks in, Messages events out. Usage comes last in the one and first in the other: it is stated in message_delta."""

    def __init__(self) -> None:
        self._open = ""  # "text" or a tool call's index
        self._index = -1
        self._started = False
        self._stop = "end_turn"
        self._usage: Json = {"input_tokens": 0, "output_tokens": 0}
        self._stopped = False

    def feed(self, data: Json) -> Iterator[bytes]:
        """Yield the events that one chunk becomes."""
        if data.get("error"):
            error = data["error"] if isinstance(data["error"], dict) else {"message": str(data["error"])}
            yield _event("error", {"error": {"type": error.get("type") or "api_error", "message": error.get("message", "")}})
            return
        if not self._started:
            self._started = True
            yield _event("message_start", {"message": {
                "id": data.get("id", ""), "type": "message", "role": "assistant", "model": data.get("model", ""), "content": [],
                "stop_reason": None, "stop_sequence": None, "usage": {"input_tokens": 0, "output_tokens": 0},
            }})  # fmt: skip
        if data.get("usage"):
            self._usage = usage(data["usage"])
        for choice in data.get("choices") or ():
            delta = choice.get("delta") or {}
            if delta.get("content"):
                yield from self._turn_to("text", {"type": "text", "text": ""})
                yield self._delta({"type": "text_delta", "text": delta["content"]})
            for call in delta.get("tool_calls") or ():
                yield from self._call(call)
            if choice.get("finish_reason"):
                self._stop = _STOP.get(choice["finish_reason"], "end_turn")

    def _call(self, call: Json) -> Iterator[bytes]:
        function = call.get("function") or {}
        key = f"tool {call.get('index', 0)}"
        if self._open != key:
            yield from self._turn_to(key, {"type": "tool_use", "id": call.get("id") or "", "name": function.get("name") or "", "input": {}})
        if function.get("arguments"):
            yield self._delta({"type": "input_json_delta", "partial_json": function["arguments"]})

    def _turn_to(self, key: str, block: Json) -> Iterator[bytes]:
        if self._open == key:
            return
        yield from self._close()
        self._open = key
        self._index += 1
        yield _event("content_block_start", {"index": self._index, "content_block": block})

    def _close(self) -> Iterator[bytes]:
        if self._open:
            self._open = ""
            yield _event("content_block_stop", {"index": self._index})

    def _delta(self, delta: Json) -> bytes:
        return _event("content_block_delta", {"index": self._index, "delta": delta})

    def end(self) -> Iterator[bytes]:
        """Yield what closes the answer, once."""
        if self._stopped or not self._started:
            return
        self._stopped = True
        yield from self._close()
        yield _event("message_delta", {"delta": {"stop_reason": self._stop, "stop_sequence": None}, "usage": self._usage})
        yield _event("message_stop", {})


def _event(kind: str, data: Json) -> bytes:
    return event(kind, msgspec.json.encode({"type": kind, **data}))
