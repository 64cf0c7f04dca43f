"""Tokens as the doors report them, brought to one form in which every token is counted once.

The Messages API states `input_tokens` without what was read from or written to the cache; OpenAI's two APIs state it with them.
Mixing the two up is the commonest billing error of gateways: cache reads billed as input, or subtracted twice to a negative cost.
"""

from __future__ import annotations

import msgspec

from polysilicon.cloud.token_price import TokenUse


class Used(msgspec.Struct):
    """The tokens of one answer, by kind, and what else decides its price."""

    fresh_tokens: int = 0
    cached_tokens: int = 0
    write_5m_tokens: int = 0
    write_1h_tokens: int = 0
    output_tokens: int = 0
    tier: str = ""  # standard, priority, batch
    speed: str = ""  # standard, fast
    geo: str = ""
    estimated: bool = False  # the answer was cut, or its source stated nothing: output is counted from what came
    stop: str = ""  # why the answer ended, in the words of its API
    reasoning_tokens: int = 0  # of the output tokens, those nobody reads; 0 where it is not said
    answer_id: str = ""  # as the target calls its answer
    answer_model: str = ""  # as the target calls what answered

    def as_use(self) -> TokenUse:
        """Return the tokens in the form that prices take."""
        return TokenUse(self.fresh_tokens, self.cached_tokens, self.write_5m_tokens, self.write_1h_tokens, self.output_tokens)


class _Creation(msgspec.Struct):
    ephemeral_5m_input_tokens: int = 0
    ephemeral_1h_input_tokens: int = 0


class _Thinking(msgspec.Struct):
    thinking_tokens: int | None = None
    reasoning_tokens: int | None = None


class _MessagesUsage(msgspec.Struct):
    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    cache_creation_input_tokens: int | None = None
    cache_creation: _Creation | None = None
    service_tier: str | None = None
    speed: str | None = None
    inference_geo: str | None = None
    output_tokens_details: _Thinking | None = None


class _Ending(msgspec.Struct):
    stop_reason: str | None = None


class _Message(msgspec.Struct):
    usage: _MessagesUsage | None = None
    stop_reason: str | None = None  # of a whole answer
    delta: _Ending | None = None  # of a `message_delta` event
    id: str | None = None
    model: str | None = None


class _Start(msgspec.Struct):
    message: _Message


class _Details(msgspec.Struct):
    cached_tokens: int | None = None
    cache_write_tokens: int | None = None


class _ChatUsage(msgspec.Struct):
    prompt_tokens: int = 0
    completion_tokens: int = 0
    prompt_tokens_details: _Details | None = None
    completion_tokens_details: _Thinking | None = None


class _Choice(msgspec.Struct):
    finish_reason: str | None = None


class _Chat(msgspec.Struct):
    choices: list[_Choice] | None = None
    usage: _ChatUsage | None = None
    service_tier: str | None = None
    id: str | None = None
    model: str | None = None


class _ResponsesUsage(msgspec.Struct):
    input_tokens: int = 0
    output_tokens: int = 0
    input_tokens_details: _Details | None = None
    output_tokens_details: _Thinking | None = None


class _Response(msgspec.Struct):
    usage: _ResponsesUsage | None = None
    id: str | None = None
    model: str | None = None


_MESSAGE = msgspec.json.Decoder(_Message)
_START = msgspec.json.Decoder(_Start)
_CHAT = msgspec.json.Decoder(_Chat)
_RESPONSE = msgspec.json.Decoder(_Response)


def _take(used: Used, given: _MessagesUsage) -> None:
    """Messages usage is cumulative: what a later event states replaces what an earlier one did."""
    tokens = given.input_tokens
    if tokens is not None:
        used.fresh_tokens = tokens if tokens > 0 else 0
    tokens = given.output_tokens
    if tokens is not None:
        used.output_tokens = tokens if tokens > 0 else 0
    if given.cache_read_input_tokens is not None:
        used.cached_tokens = max(0, given.cache_read_input_tokens)
    if given.cache_creation_input_tokens is not None:
        written = max(0, given.cache_creation_input_tokens)
        # the breakdown splits the total by lifetime; it is no second amount
        used.write_1h_tokens = min(written, given.cache_creation.ephemeral_1h_input_tokens) if given.cache_creation else 0
        used.write_5m_tokens = written - used.write_1h_tokens
    if given.service_tier:
        used.tier = given.service_tier
    if given.speed:
        used.speed = given.speed
    if given.inference_geo:
        used.geo = given.inference_geo
    if given.output_tokens_details is not None:
        _reasoned(used, given.output_tokens_details)


def _reasoned(used: Used, details: _Thinking) -> None:
    used.reasoning_tokens = max(0, details.thinking_tokens or details.reasoning_tokens or 0)


def _named(used: Used, answer: _Message | _Chat | _Response) -> None:
    used.answer_id = (answer.id or "")[:100]
    used.answer_model = (answer.model or "")[:100]


def of_message(body: bytes, used: Used) -> bool:
    """Take the usage of a whole Messages answer, or of a `message_delta` event; return whether it stated any.

    >>> used = Used()
    >>> of_message(b'{"usage":{"input_tokens":5,"cache_read_input_tokens":90,"output_tokens":7}}', used), used.fresh_tokens
    (True, 5)

    Raises: msgspec.MsgspecError when the body is not JSON of that shape.
    """
    message = _MESSAGE.decode(body)
    stop = message.stop_reason or (message.delta.stop_reason if message.delta is not None else None)
    if stop is not None:
        used.stop = stop
    if message.id is not None:
        _named(used, message)
    given = message.usage
    if given is not None:
        _take(used, given)
    return given is not None


def of_message_start(data: bytes, used: Used) -> None:
    """Take the usage of a `message_start` event."""
    message = _START.decode(data).message
    _named(used, message)
    given = message.usage
    if given is not None:
        _take(used, given)


def of_chat(body: bytes, used: Used) -> bool:
    """Take the usage of a chat completion or of a chunk; return whether it stated any.

    >>> used = Used()
    >>> body = b'{"usage":{"prompt_tokens":100,"completion_tokens":7,"prompt_tokens_details":{"cached_tokens":90}}}'
    >>> of_chat(body, used), used.fresh_tokens, used.cached_tokens
    (True, 10, 90)
    """
    chat = _CHAT.decode(body)
    if chat.choices:
        used.stop = chat.choices[0].finish_reason or used.stop
    given = chat.usage
    if given is None:
        return False
    _split(used, given.prompt_tokens, given.prompt_tokens_details)
    tokens = given.completion_tokens
    used.output_tokens = tokens if tokens > 0 else 0
    if chat.service_tier:
        used.tier = chat.service_tier
    if chat.id is not None:
        _named(used, chat)
    if given.completion_tokens_details is not None:
        _reasoned(used, given.completion_tokens_details)
    return True


def of_response(body: bytes, used: Used) -> bool:
    """Take the usage of a Responses answer; return whether it stated any."""
    response = _RESPONSE.decode(body)
    given = response.usage
    if given is None:
        return False
    _named(used, response)
    if given.output_tokens_details is not None:
        _reasoned(used, given.output_tokens_details)
    _split(used, given.input_tokens, given.input_tokens_details)
    used.output_tokens = max(0, given.output_tokens)
    return True


def _split(used: Used, prompt: int, details: _Details | None) -> None:
    cached = written = 0
    if details is not None:
        cached, written = details.cached_tokens or 0, details.cache_write_tokens or 0
        if cached < 0:
            cached = 0
        if written < 0:
            written = 0
    fresh = prompt - cached - written
    used.cached_tokens = cached
    used.write_5m_tokens = written
    used.fresh_tokens = fresh if fresh > 0 else 0
