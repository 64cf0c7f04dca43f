"""A Chat Completions client in front of a Messages endpoint: its request, the answer, the stream."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import msgspec

from polysilicon.errors import InputError

Json = dict[str, Any]
DEFAULT_MAX_TOKENS = 4096

# What the Messages API cannot do; asking for it is an error, its neutral value is not.
_NEUTRAL: dict[str, tuple[object, ...]] = {
    "n": (None, 1),
    "logprobs": (None, False),
    "top_logprobs": (None, 0),
    "logit_bias": (None, {}),
    "frequency_penalty": (None, 0, 0.0),
    "presence_penalty": (None, 0, 0.0),
    "audio": (None,),
    "modalities": (None, ["text"]),
    "prediction": (None,),
    "functions": (None,),
    "web_search_options": (None,),
}
_EFFORTS = {"minimal": "low", "low": "low", "medium": "medium", "high": "high", "xhigh": "xhigh", "max": "max"}
FINISH = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "pause_turn": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}


def request(chat: Json) -> Json:
    """Return the Messages request for a Chat Completions request.

    >>> said = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]
    >>> request({"model": "m", "messages": said})["system"]
    [{'type': 'text', 'text': 'Be brief.'}]

    Raises: InputError for a feature the Messages API lacks.
    """
    for name, neutral in _NEUTRAL.items():
        if chat.get(name) not in neutral:
            raise InputError(f'"{name}" has no counterpart in the Messages API', where=f"request.{name}")
    system, messages = _turns(chat.get("messages"))
    out: Json = {
        "model": chat["model"],
        "max_tokens": chat.get("max_completion_tokens") or chat.get("max_tokens") or DEFAULT_MAX_TOKENS,
        "messages": messages,
    }
    if system:
        out["system"] = system
    for name in ("temperature", "top_p", "stream", "service_tier"):
        if chat.get(name) is not None:
            out[name] = chat[name]
    if out.get("service_tier") not in (None, "auto"):
        out["service_tier"] = "standard_only" if out["service_tier"] == "default" else "auto"
    stop = chat.get("stop")
    if stop:
        out["stop_sequences"] = [stop] if isinstance(stop, str) else stop
    if chat.get("user"):
        out["metadata"] = {"user_id": chat["user"]}
    _tools(chat, out)
    _output(chat, out)
    return out


def _turns(messages: Any) -> tuple[list[Json], list[Json]]:
    if not isinstance(messages, list) or not messages:
        raise InputError("messages must be a list of at least one", where="request.messages")
    system: list[Json] = []
    turns: list[Json] = []
    for i, message in enumerate(messages):
        where = f"request.messages[{i}]"
        role = message.get("role") if isinstance(message, dict) else None
        if role in ("system", "developer"):
            system += _text_parts(message.get("content"), where)
        elif role == "user":
            _append(turns, "user", _user_parts(message.get("content"), where))
        elif role == "assistant":
            _append(turns, "assistant", _assistant_parts(message, where))
        elif role == "tool":
            result = {
                "type": "tool_result",
                "tool_use_id": message.get("tool_call_id", ""),
                "content": _text_parts(message.get("content"), where),
            }
            _append(turns, "user", [result])
        else:
            raise InputError(f'role "{role}" is not one of system, developer, user, assistant, tool', where=where)
    return system, turns


def _append(turns: list[Json], role: str, parts: list[Json]) -> None:
    """Put consecutive turns of one role together: tool results and the user's words belong to one turn."""
    if turns and turns[-1]["role"] == role:
        turns[-1]["content"] += parts
    else:
        turns.append({"role": role, "content": parts})


def _text_parts(content: Any, where: str) -> list[Json]:
    if isinstance(content, str):
        return [{"type": "text", "text": content}] if content else []
    if not isinstance(content, list):
        raise InputError("content must be text or a list of parts", where=where)
    for part in content:
        if not isinstance(part, dict) or part.get("type") != "text":
            raise InputError("only text is allowed here", where=where)
    return [{"type": "text", "text": part["text"]} for part in content]


def _user_parts(content: Any, where: str) -> list[Json]:
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    if not isinstance(content, list):
        raise InputError("content must be text or a list of parts", where=where)
    return [_user_part(part, where) for part in content]


def _user_part(part: Any, where: str) -> Json:
    kind = part.get("type") if isinstance(part, dict) else None
    if kind == "text":
        return {"type": "text", "text": part["text"]}
    if kind == "image_url":
        image = part["image_url"]
        return {"type": "image", "source": source(image["url"] if isinstance(image, dict) else image, where)}
    if kind == "file" and isinstance(part.get("file"), dict) and part["file"].get("file_data"):
        return {"type": "document", "source": source(part["file"]["file_data"], where)}
    raise InputError(f'a part of type "{kind}" has no counterpart in the Messages API', where=where)


def source(url: str, where: str) -> Json:
    """Return the source of an image or document from its URL; a data URL carries its bytes.

    >>> source("data:image/png;base64,AAAA", "")
    {'type': 'base64', 'media_type': 'image/png', 'data': 'AAAA'}
    """
    if not url.startswith("data:"):
        return {"type": "url", "url": url}
    head, comma, data = url[5:].partition(",")
    if not comma or not head.endswith(";base64"):
        raise InputError("a data URL must be base64", where=where)
    return {"type": "base64", "media_type": head[: -len(";base64")], "data": data}


def _assistant_parts(message: Json, where: str) -> list[Json]:
    parts = _text_parts(message["content"], where) if message.get("content") else []
    for call in message.get("tool_calls") or ():
        function = call.get("function") or {}
        try:
            arguments = msgspec.json.decode(function.get("arguments") or "{}", type=dict[str, Any])
        except (msgspec.MsgspecError, RecursionError) as error:
            raise InputError("a tool call's arguments must be a JSON object", where=where) from error
        parts.append({"type": "tool_use", "id": call.get("id", ""), "name": function.get("name", ""), "input": arguments})
    return parts


def _tools(chat: Json, out: Json) -> None:
    tools = []
    for i, tool in enumerate(chat.get("tools") or ()):
        if tool.get("type") != "function":
            raise InputError(f'a tool of type "{tool.get("type")}" has no counterpart', where=f"request.tools[{i}]")
        function = tool["function"]
        schema = function.get("parameters") or {"type": "object", "properties": {}}
        tools.append({"name": function["name"], "input_schema": schema})
        for name in ("description", "strict"):
            if function.get(name) is not None:
                tools[-1][name] = function[name]
    if tools:
        out["tools"] = tools
    choice = chat.get("tool_choice")
    if isinstance(choice, dict):
        choice = {"type": "tool", "name": (choice.get("function") or choice).get("name", "")}
    elif choice is not None:
        choice = {"type": {"auto": "auto", "required": "any", "none": "none"}.get(choice, "auto")}
    if tools and chat.get("parallel_tool_calls") is False:
        choice = {**(choice or {"type": "auto"}), "disable_parallel_tool_use": True}
    if choice and tools:
        out["tool_choice"] = choice


def _output(chat: Json, out: Json) -> None:
    config: Json = {}
    wanted = chat.get("response_format") or {"type": "text"}
    if wanted.get("type") == "json_schema":
        config["format"] = {"type": "json_schema", "schema": wanted["json_schema"].get("schema", {})}
    elif wanted.get("type") != "text":
        raise InputError(f'response_format "{wanted.get("type")}" has no counterpart', where="request.response_format")
    effort = chat.get("reasoning_effort")
    if effort in _EFFORTS:
        config["effort"] = _EFFORTS[effort]
    if config:
        out["output_config"] = config


def usage(messages_usage: Json) -> Json:
    """Return Chat usage: its prompt tokens include what was read from and written to the cache.

    >>> usage({"input_tokens": 5, "cache_read_input_tokens": 90, "output_tokens": 7})["prompt_tokens"]
    95
    """
    cached = messages_usage.get("cache_read_input_tokens") or 0
    written = messages_usage.get("cache_creation_input_tokens") or 0
    prompt = (messages_usage.get("input_tokens") or 0) + cached + written
    out = messages_usage.get("output_tokens") or 0
    thinking = (messages_usage.get("output_tokens_details") or {}).get("thinking_tokens") or 0
    return {
        "prompt_tokens": prompt,
        "completion_tokens": out,
        "total_tokens": prompt + out,
        "prompt_tokens_details": {"cached_tokens": cached, "cache_write_tokens": written},
        "completion_tokens_details": {"reasoning_tokens": thinking},
    }


def answer(message: Json) -> Json:
    """Return the chat completion for a Messages answer."""
    text = "".join(block["text"] for block in message["content"] if block["type"] == "text")
    calls = [
        {
            "id": b["id"],
            "type": "function",
            "function": {"name": b["name"], "arguments": msgspec.json.encode(b["input"]).decode()},
        }
        for b in message["content"]
        if b["type"] == "tool_use"
    ]
    said: Json = {"role": "assistant", "content": text if text or not calls else None, "refusal": None}
    if calls:
        said["tool_calls"] = calls
    return {
        "id": message["id"],
        "object": "chat.completion",
        "created": int(time.time()),
        "model": message["model"],
        "choices": [{"index": 0, "message": said, "logprobs": None, "finish_reason": FINISH.get(message.get("stop_reason") or "", "stop")}],
        "usage": usage(message.get("usage") or {}),
    }


class Stream:
    """Messages events in, Chat chunks out."""

    def __init__(self, *, include_usage: bool = False) -> None:
        self.include_usage = include_usage
        self._base: Json = {}
        self._usage: Json = {}
        self._tools: dict[int, int] = {}
        self._finish = "stop"

    def feed(self, name: str, data: Json) -> Iterator[bytes]:
        """Yield the events that one event becomes."""
        kind = data.get("type", name)
        if kind == "message_start":
            message = data["message"]
            self._usage.update(message.get("usage") or {})
            self._base = {
                "id": message["id"],
                "object": "chat.completion.chunk",
                "created": int(time.time()),
                "model": message["model"],
            }
            yield self._chunk({"role": "assistant", "content": ""})
        elif kind == "content_block_start" and data["content_block"]["type"] == "tool_use":
            block = data["content_block"]
            index = self._tools[data["index"]] = len(self._tools)
            call = {"index": index, "id": block["id"], "type": "function", "function": {"name": block["name"], "arguments": ""}}
            yield self._chunk({"tool_calls": [call]})
        elif kind == "content_block_delta":
            delta = data["delta"]
            if delta["type"] == "text_delta":
                yield self._chunk({"content": delta["text"]})
            elif delta["type"] == "input_json_delta":
                index = self._tools.get(data["index"], 0)
                yield self._chunk({"tool_calls": [{"index": index, "function": {"arguments": delta["partial_json"]}}]})
        elif kind == "message_delta":
            self._usage.update({k: v for k, v in (data.get("usage") or {}).items() if v is not None})
            self._finish = FINISH.get(data["delta"].get("stop_reason") or "", "stop")
        elif kind == "message_stop":
            yield self._chunk({}, self._finish)
            if self.include_usage:
                yield b"data: " + msgspec.json.encode({**self._base, "choices": [], "usage": usage(self._usage)}) + b"\n\n"
            yield b"data: [DONE]\n\n"
        elif kind == "error":
            error = data.get("error") or {}
            body = {
                "error": {
                    "message": error.get("message", ""),
                    "type": error.get("type", "api_error"),
                    "param": None,
                    "code": None,
                }
            }
            yield b"data: " + msgspec.json.encode(body) + b"\n\n"

    def _chunk(self, delta: Json, finish: str | None = None) -> bytes:
        chunk = {**self._base, "choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}]}
        if self.include_usage:
            chunk["usage"] = None
        return b"data: " + msgspec.json.encode(chunk) + b"\n\n"
