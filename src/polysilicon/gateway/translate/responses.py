"""A Responses client in front of a Messages endpoint: its request, the answer, the stream. Nothing is stored between calls."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import msgspec

from polysilicon.errors import InputError
from polysilicon.gateway.sse import event
from polysilicon.gateway.translate import chat_in

Json = dict[str, Any]
_STATEFUL = ("previous_response_id", "conversation", "background", "prompt", "context_management", "max_tool_calls")


def request(wanted: Json) -> Json:
    """Return the Messages request for a Responses request.

    >>> request({"model": "m", "input": "Hi", "instructions": "Be brief."})["messages"]
    [{'role': 'user', 'content': [{'type': 'text', 'text': 'Hi'}]}]

    Raises: InputError for a feature that needs stored state or has no counterpart.
    """
    for name in _STATEFUL:
        if wanted.get(name):
            raise InputError(f'"{name}" is not offered: nothing is stored between calls', where=f"request.{name}")
    chat: Json = {"model": wanted["model"], "messages": _items(wanted.get("input"))}
    if wanted.get("instructions"):
        chat["messages"].insert(0, {"role": "system", "content": wanted["instructions"]})
    for name, source in {"max_tokens": "max_output_tokens", "user": "user", "tool_choice": "tool_choice"}.items():
        if wanted.get(source) is not None:
            chat[name] = wanted[source]
    for name in ("temperature", "top_p", "stream", "parallel_tool_calls", "top_logprobs"):
        if wanted.get(name) is not None:
            chat[name] = wanted[name]
    chat["tools"] = [_tool(tool, i) for i, tool in enumerate(wanted.get("tools") or ())]
    effort = (wanted.get("reasoning") or {}).get("effort")
    if effort:
        chat["reasoning_effort"] = effort
    form = (wanted.get("text") or {}).get("format") or {"type": "text"}
    if form["type"] == "json_schema":
        chat["response_format"] = {"type": "json_schema", "json_schema": {"schema": form.get("schema", {})}}
    elif form["type"] != "text":
        chat["response_format"] = form
    return chat_in.request(chat)


def _tool(tool: Json, i: int) -> Json:
    if tool.get("type") != "function":
        raise InputError(f'a tool of type "{tool.get("type")}" has no counterpart', where=f"request.tools[{i}]")
    return {"type": "function", "function": {k: v for k, v in tool.items() if k != "type"}}


def _items(given: Any) -> list[Json]:
    if isinstance(given, str):
        return [{"role": "user", "content": given}]
    if not isinstance(given, list):
        raise InputError("input must be text or a list of items", where="request.input")
    messages: list[Json] = []
    for i, item in enumerate(given):
        kind = item.get("type", "message")
        if kind == "message":
            messages.append({"role": item["role"], "content": _content(item["content"], f"request.input[{i}]")})
        elif kind == "function_call":
            call = {"id": item["call_id"], "type": "function", "function": {"name": item["name"], "arguments": item["arguments"]}}
            messages.append({"role": "assistant", "content": None, "tool_calls": [call]})
        elif kind == "function_call_output":
            output = item["output"]
            content = output if isinstance(output, str) else _content(output, f"request.input[{i}]")
            messages.append({"role": "tool", "tool_call_id": item["call_id"], "content": content})
        elif kind != "reasoning":
            raise InputError(f'an item of type "{kind}" has no counterpart', where=f"request.input[{i}]")
    return messages


def _content(content: Any, where: str) -> Any:
    if isinstance(content, str):
        return content
    parts = []
    for part in content:
        if part["type"] in ("input_text", "output_text", "text"):
            parts.append({"type": "text", "text": part["text"]})
        elif part["type"] == "input_image" and part.get("image_url"):
            parts.append({"type": "image_url", "image_url": {"url": part["image_url"]}})
        elif part["type"] == "input_file" and part.get("file_data"):
            parts.append({"type": "file", "file": {"file_data": part["file_data"]}})
        else:
            raise InputError(f'a part of type "{part["type"]}" has no counterpart', where=where)
    return parts


def usage(messages_usage: Json) -> Json:
    """Return Responses usage: input tokens include the cached ones."""
    chat = chat_in.usage(messages_usage)
    return {
        "input_tokens": chat["prompt_tokens"],
        "input_tokens_details": chat["prompt_tokens_details"],
        "output_tokens": chat["completion_tokens"],
        "output_tokens_details": chat["completion_tokens_details"],
        "total_tokens": chat["total_tokens"],
    }


def _shell(message_id: str, model: str, status: str) -> Json:
    return {
        "id": f"resp_{message_id}", "object": "response", "created_at": int(time.time()), "status": status, "model": model, "output": [],
        "parallel_tool_calls": True, "tool_choice": "auto", "tools": [], "error": None, "incomplete_details": None, "instructions": None,
        "metadata": {}, "temperature": None, "top_p": None, "usage": None,
    }  # fmt: skip


def _finish(response: Json, stop_reason: str | None, used: Json) -> Json:
    response["usage"] = usage(used)
    incomplete = {"length": "max_output_tokens", "content_filter": "content_filter"}.get(chat_in.FINISH.get(stop_reason or "", ""))
    response["status"] = "incomplete" if incomplete else "completed"
    response["incomplete_details"] = {"reason": incomplete} if incomplete else None
    return response


def _text_item(item_id: str, text: str, status: str) -> Json:
    part = {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
    return {
        "id": item_id,
        "type": "message",
        "role": "assistant",
        "status": status,
        "content": [part] if status == "completed" else [],
    }


def _call_item(item_id: str, block: Json, arguments: str, status: str) -> Json:
    return {
        "id": item_id,
        "type": "function_call",
        "call_id": block["id"],
        "name": block["name"],
        "arguments": arguments,
        "status": status,
    }


def answer(message: Json) -> Json:
    """Return the response for a Messages answer."""
    response = _shell(message["id"], message["model"], "completed")
    for i, block in enumerate(message["content"]):
        if block["type"] == "text":
            response["output"].append(_text_item(f"msg_{i}_{message['id']}", block["text"], "completed"))
        elif block["type"] == "tool_use":
            arguments = msgspec.json.encode(block["input"]).decode()
            response["output"].append(_call_item(f"fc_{i}_{message['id']}", block, arguments, "completed"))
    return _finish(response, message.get("stop_reason"), message.get("usage") or {})


class Stream:
    """Messages events in, Responses events out."""

    def __init__(self) -> None:
        self._number = 0
        self._response: Json = {}
        self._usage: Json = {}
        self._stop: str | None = None
        self._block: Json = {}
        self._item: Json = {}
        self._text = ""

    def feed(self, name: str, data: Json) -> Iterator[bytes]:
        """Yield the events that one event becomes."""
        kind = data.get("type", name)
        if kind == "message_start":
            message = data["message"]
            self._usage.update(message.get("usage") or {})
            self._response = _shell(message["id"], message["model"], "in_progress")
            yield self._event("response.created", {"response": self._response})
            yield self._event("response.in_progress", {"response": self._response})
        elif kind == "content_block_start":
            yield from self._start(data["content_block"])
        elif kind == "content_block_delta" and self._item:
            yield from self._delta(data["delta"])
        elif kind == "content_block_stop" and self._item:
            yield from self._done()
        elif kind == "message_delta":
            self._usage.update({k: v for k, v in (data.get("usage") or {}).items() if v is not None})
            self._stop = data["delta"].get("stop_reason")
        elif kind == "message_stop":
            done = _finish(self._response, self._stop, self._usage)
            yield self._event("response.completed" if done["status"] == "completed" else "response.incomplete", {"response": done})
        elif kind == "error":
            error = data.get("error") or {}
            yield self._event("error", {"code": error.get("type"), "message": error.get("message", ""), "param": None})

    @property
    def _at(self) -> Json:
        return {"item_id": self._item["id"], "output_index": len(self._response["output"])}

    def _start(self, block: Json) -> Iterator[bytes]:
        index = len(self._response["output"])
        self._block, self._text = block, ""
        suffix = f"{index}_{self._response['id']}"
        if block["type"] == "text":
            self._item = _text_item(f"msg_{suffix}", "", "in_progress")
        elif block["type"] == "tool_use":
            self._item = _call_item(f"fc_{suffix}", block, "", "in_progress")
        else:
            self._item = {}
            return
        yield self._event("response.output_item.added", {"output_index": index, "item": self._item})
        if block["type"] == "text":
            part = {"type": "output_text", "text": "", "annotations": [], "logprobs": []}
            yield self._event("response.content_part.added", {**self._at, "content_index": 0, "part": part})

    def _delta(self, delta: Json) -> Iterator[bytes]:
        if delta["type"] == "text_delta":
            self._text += delta["text"]
            yield self._event("response.output_text.delta", {**self._at, "content_index": 0, "delta": delta["text"], "logprobs": []})
        elif delta["type"] == "input_json_delta":
            self._text += delta["partial_json"]
            yield self._event("response.function_call_arguments.delta", {**self._at, "delta": delta["partial_json"]})

    def _done(self) -> Iterator[bytes]:
        if self._block["type"] == "text":
            item = _text_item(self._item["id"], self._text, "completed")
            yield self._event("response.output_text.done", {**self._at, "content_index": 0, "text": self._text, "logprobs": []})
            yield self._event("response.content_part.done", {**self._at, "content_index": 0, "part": item["content"][0]})
        else:
            arguments = self._text or "{}"
            item = _call_item(self._item["id"], self._block, arguments, "completed")
            yield self._event("response.function_call_arguments.done", {**self._at, "name": item["name"], "arguments": arguments})
        yield self._event("response.output_item.done", {"output_index": self._at["output_index"], "item": item})
        self._response["output"].append(item)
        self._item = {}

    def _event(self, kind: str, data: Json) -> bytes:
        self._number += 1
        return event(kind, msgspec.json.encode({"type": kind, "sequence_number": self._number - 1, **data}))
