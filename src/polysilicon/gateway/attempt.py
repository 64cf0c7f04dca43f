"""One try at one target: send, take the answer as it comes, say when content has begun, when all is well and when not."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import msgspec

from polysilicon.errors import UpstreamError
from polysilicon.gateway import usage
from polysilicon.gateway.doors import Ask, Door, Refusal, classify
from polysilicon.gateway.eventstream import ToSse
from polysilicon.gateway.http import Inbound
from polysilicon.gateway.sse import Events, each
from polysilicon.gateway.translate import chat_in, chat_out, responses
from polysilicon.gateway.upstream import Connection, Pool
from polysilicon.gateway.usage import Used
from polysilicon.gateway.wiring import Reliability, Variant

_DELTA = b"event: content_block_delta\n"
_ERROR_BODY_BYTES = 256 * 1024
Json = dict[str, Any]


class Owner(Protocol):
    """Whose attempt it is."""

    def attempt_content(self, attempt: Attempt, data: bytes) -> None:
        """Take streamed events, whole and in the client's dialect; the first call means that content has begun."""

    def attempt_done(self, attempt: Attempt, body: bytes) -> None:
        """Learn that the answer is whole; `body` is empty for a stream."""

    def attempt_failed(self, attempt: Attempt, refusal: Refusal) -> None:
        """Learn that there will be no (more) answer."""


class Attempt:
    """One try at one variant; its owner hears of content, success or failure, each once."""

    connection: Connection | None = None
    _client: Inbound
    task: Any = None
    done = False
    resent = False
    status = 0
    headers: dict[bytes, bytes] = {}  # noqa: RUF012  (replaced, never changed)
    content_s = 0.0
    why = ""
    stop = ""
    tools: tuple[str, ...] = ()
    _body = b""
    _pieces: list[bytes] | None = None  # of a body that comes in several
    _body_bytes = 0
    _finished = False
    _error = b""
    _deltas = 0
    _said_content = False
    _begun_answers = 0

    def __init__(self, owner: Owner, variant: Variant, door: Door, pool: Pool, limits: Reliability) -> None:
        self.owner = owner
        self.variant = variant
        self.door = door
        self.pool = pool
        self.limits = limits
        self.used = Used()
        self.stripped: list[str] = []

    def start(self, ask: Ask, want: str, now_s: float, *, include_usage: bool = True) -> None:
        """Send the request; `want` is the client's dialect."""
        self._begin(ask, want, now_s, self.door.request(self.variant, ask, self.stripped), include_usage=include_usage)
        connection = self.pool.idle()
        if connection is not None:
            self._send(connection)
        else:
            self.task = self.pool.connect(self._connected)

    def adopt(self, connection: Connection, ask: Ask, want: str, now_s: float, payload: bytes, *, include_usage: bool) -> None:
        """Take over a request that was sent already; its answer is still to come."""
        self._begin(ask, want, now_s, payload, include_usage=include_usage)
        self.connection = connection
        connection.caller = self

    def _begin(self, ask: Ask, want: str, now_s: float, payload: bytes, *, include_usage: bool) -> None:
        self.stream = ask.stream
        self.want = want
        self.began_s = now_s
        self.deadline_s = now_s + self.limits.first_byte_timeout_s
        self.payload = payload
        if ask.stream:
            self._cut = Events()
            self._held: list[bytes] = []
            self._frames = ToSse() if self.door.binary else None
            self._to_client = translator(self.door.dialect, want, include_usage=include_usage)

    def _connected(self, connection: Connection | None, error: UpstreamError | None) -> None:
        self.task = None
        if self.done:
            if connection is not None:
                self.pool.release(connection)
        elif connection is None:
            self._fail(Refusal("unreachable", 502, error.message if error else "", True, 0.0))
        else:
            self._send(connection)

    def _send(self, connection: Connection) -> None:
        self.connection = connection
        connection.send(self, self.payload)

    def drop(self) -> None:
        """Give up: nobody wants the answer."""
        self.done = True
        if self.task is not None:
            self.task.cancel()
        if self.connection is not None:
            self.connection.drop()
            self.connection = None

    def slow(self, slow: bool) -> None:
        """Read no faster than the client does."""
        if self.connection is not None and not self.done:
            self.connection.slow(slow)
            self.deadline_s = float("inf") if slow else time.monotonic() + self.limits.stall_timeout_s

    def expire(self) -> None:
        """Give up on a target that does not go on."""
        words = "stopped in the middle of its answer" if self.content_s else "did not answer in time"
        self.drop()
        self.done = False
        self._fail(Refusal("stall", 504, words, True, 0.0))

    def relay_to(self, client: Inbound) -> None:
        """Let content go to a client as it came, where nothing has to be changed in it."""
        if self.door.dialect == "messages" and self._to_client is None and self._frames is None and self.connection is not None:
            self._client = client
            self.connection.relay = self._relay

    def _relay(self, data: bytes) -> bool:
        """Pass a chunk on as it came if it holds one piece of content and nothing else, whatever its text says; return whether it does."""
        at = data.find(b"\r\n", 0, 8)
        size = len(data) - at - 4
        if not (
            at > 0 and data[:at] == b"%x" % size and data.startswith(_DELTA, at + 2) and data.endswith(b"\n\n\r\n")
            and data.find(b"\n\n", at) == len(data) - 4 and data.find(b"\r", at + 2) == len(data) - 2
        ) or self._cut.rest or self._client.closed:  # fmt: skip
            return False
        self._deltas += 1
        self.deadline_s = time.monotonic() + self.limits.stall_timeout_s
        self._client.transport.write(data)
        return True

    @property
    def begun(self) -> bool:
        """Return whether content has reached the client."""
        return self._said_content

    # --- the connection's calls

    def upstream_head(self, status: int, headers: dict[bytes, bytes]) -> None:
        """Take the answer's head."""
        self.status = status
        self.headers = headers

    def upstream_data(self, data: bytes) -> None:
        """Take some of the body."""
        if self.done:
            return
        self.deadline_s = time.monotonic() + self.limits.stall_timeout_s
        if self.status != 200 or not self.stream:
            self._keep(data)
            return
        try:
            events = self._cut.feed(self._frames.feed(data) if self._frames is not None else data)
            if events:
                self._tap(events)
                self._hand_on(events)
        except (UpstreamError, msgspec.MsgspecError, RecursionError, KeyError, TypeError, AttributeError) as error:
            self.drop()
            self.done = False
            words = error.message if isinstance(error, UpstreamError) else "sent events that cannot be read"
            self._fail(Refusal("server", 502, words, True, 0.0))

    def _keep(self, data: bytes) -> None:
        limit = self.limits.answer_bytes if self.status == 200 else _ERROR_BODY_BYTES
        self._body_bytes += len(data)
        if self._body_bytes > limit:
            self.drop()
            self.done = False
            self._fail(Refusal("server", 502, f"sent an answer larger than {limit} bytes", True, 0.0))
        elif not self._body:
            self._body = data
        elif self._pieces is None:
            self._pieces = [self._body, data]
        else:
            self._pieces.append(data)

    @property
    def body(self) -> bytes:
        """Return what came of an answer that is not a stream."""
        if self._pieces is not None:
            self._body = b"".join(self._pieces)
            self._pieces = None
        return self._body

    def upstream_end(self) -> None:
        """Judge the answer, which is whole as far as HTTP goes."""
        self.connection = None
        if self.done:
            return
        if self.status != 200:
            if self.status in (401, 403) and self.door.renewed is not None:
                self.door.renewed.hurry()
            self._fail(classify(self.status, self.headers, self.body, rate_limit_open_s=self.limits.rate_limit_open_s))
        elif self.stream:
            self._end_of_stream()
        else:
            self._end_of_body()

    def upstream_lost(self, error: UpstreamError) -> None:
        """Try once more on a fresh connection where an idle one had been closed meanwhile; else it is a failure."""
        connection, self.connection = self.connection, None
        if self.done:
            return
        if connection is not None and not connection.fresh and not connection.received_bytes and not self.resent:
            self.resent = True
            self.task = self.pool.connect(self._connected)
            return
        self._fail(Refusal("cut", 502, error.message, True, 0.0))

    # --- reading the answer

    def _tap(self, events: bytes) -> None:
        """Read usage, errors, the end and the beginning of content out of whole events, in the door's dialect."""
        if self.door.dialect == "chat":
            self._tap_chat(events)
            return
        self._deltas += events.count(b"event: content_block_delta")
        find = events.find  # `in` tries the word as a number first, and makes an error of that
        if find(b"usage") >= 0 or find(b"error") >= 0 or find(b"message_st") >= 0:
            for name, data in each(events):
                kind = name or _kind(data)
                if kind == b"message_start":
                    self._begun_answers += 1
                    if self._begun_answers > 1:
                        raise UpstreamError("began its answer twice")
                    usage.of_message_start(data, self.used)
                elif kind == b"message_delta":
                    usage.of_message(data, self.used)
                    self.stop = _stop(data)
                elif kind == b"message_stop":
                    self._finished = True
                elif kind == b"error":
                    self._error = data
        if not self.content_s and (find(b"content_block_delta") >= 0 or find(b"message_delta") >= 0):
            self.content_s = time.monotonic()

    def _tap_chat(self, events: bytes) -> None:
        for _, data in each(events):
            if data == b"[DONE]":
                self._finished = True
                continue
            if b"usage" in data:
                usage.of_chat(data, self.used)
            if self.content_s and b"finish_reason" not in data and b"error" not in data:
                self._deltas += 1
                continue
            chunk = msgspec.json.decode(data, type=dict[str, Any])
            if chunk.get("error"):
                self._error = data
            for choice in chunk.get("choices") or ():
                delta = choice.get("delta") or {}
                if choice.get("finish_reason"):
                    self._finished = True
                    self.used.stop = str(choice["finish_reason"])
                if delta.get("content") or delta.get("tool_calls") or delta.get("reasoning_content") or choice.get("finish_reason"):
                    self._deltas += 1
                    self.content_s = self.content_s or time.monotonic()

    def _hand_on(self, events: bytes) -> None:
        if self._error:
            self.drop()
            self.done = False
            self._fail(_of_error_event(self._error, self.limits.rate_limit_open_s))
            return
        if self._to_client is not None:
            events = self._to_client(events)
        if self._said_content:
            self.owner.attempt_content(self, events)
        else:
            self._held.append(events)
            if self.content_s:
                self._said_content = True
                held = b"".join(self._held)
                self._held.clear()
                self.owner.attempt_content(self, held)

    def _end_of_stream(self) -> None:
        if not (self._finished and self._said_content) or self._cut.pending or (self._frames is not None and self._frames.pending):
            self._fail(Refusal("cut", 502, "ended before its answer did", True, 0.0))
            return
        if self._to_client is not None:
            last = self._to_client(None)
            if last:
                self.owner.attempt_content(self, last)
        self.done = True
        self.owner.attempt_done(self, b"")

    def _end_of_body(self) -> None:
        body = self.body
        try:
            stated = usage.of_chat(body, self.used) if self.door.dialect == "chat" else usage.of_message(body, self.used)
            if not stated and self.want != "count":
                whole = msgspec.json.decode(body, type=dict[str, Any])
                if "error" in whole:  # an error that came with a good status
                    self._fail(_of_error_event(body, self.limits.rate_limit_open_s))
                    return
                if "content" not in whole and "choices" not in whole:
                    raise UpstreamError("an answer without content")
                self.used.estimated = True
                self.used.output_tokens = len(body) // 4
            if self.door.dialect != self.want:
                body = _translate_answer(body, self.door.dialect, self.want)
        except (UpstreamError, msgspec.MsgspecError, RecursionError, KeyError, TypeError, AttributeError, IndexError):
            self._fail(Refusal("server", 502, "sent an answer that cannot be read", True, 0.0))
            return
        self.content_s = time.monotonic()
        self.done = True
        self.owner.attempt_done(self, body)

    def _fail(self, refusal: Refusal) -> None:
        if self.done:
            return
        self.done = True
        self.settle_partial()
        self.owner.attempt_failed(self, refusal)

    def settle_partial(self) -> None:
        """Count what came of an answer that was cut: the target will bill for it."""
        if self._deltas > self.used.output_tokens:
            self.used.output_tokens = self._deltas
            self.used.estimated = True


class _Delta(msgspec.Struct, frozen=True):
    stop_reason: str | None = None


class _MessageDelta(msgspec.Struct):
    delta: _Delta = _Delta()


_STOP = msgspec.json.Decoder(_MessageDelta).decode


def _stop(data: bytes) -> str:
    return _STOP(data).delta.stop_reason or ""


class _Typed(msgspec.Struct):
    type: str = ""


def _kind(data: bytes) -> bytes:
    try:
        return msgspec.json.decode(data, type=_Typed).type.encode()
    except (msgspec.MsgspecError, RecursionError):
        return b""


_STATUS_OF = {
    "rate_limit_error": 429,
    "overloaded_error": 529,
    "api_error": 500,
    "timeout_error": 504,
    "invalid_request_error": 400,
}


def _of_error_event(data: bytes, rate_limit_open_s: float) -> Refusal:
    """Return what an error event means: the same as the status it stands for."""
    try:
        error = msgspec.json.decode(data, type=dict[str, Any]).get("error")
    except (msgspec.MsgspecError, RecursionError):
        error = None
    kind = error.get("type", "") if isinstance(error, dict) else ""
    return classify(_STATUS_OF.get(kind, 500), {}, data, rate_limit_open_s=rate_limit_open_s)


Translator = Callable[[bytes | None], bytes]


def translator(door: str, want: str, *, include_usage: bool) -> Translator | None:
    """Return what turns a door's whole events into the client's, or None where they are the same; called with None at the end."""
    if door == want:
        return _without_usage if door == "chat" and not include_usage else None
    stages: list[Callable[[bytes | None], Iterator[bytes]]] = []
    if door == "chat":
        stages.append(_chat_to_messages(chat_out.Stream()))
    if want == "chat":
        stages.append(_messages_to(chat_in.Stream(include_usage=include_usage).feed))
    elif want == "responses":
        stages.append(_messages_to(responses.Stream().feed))

    def run(events: bytes | None) -> bytes:
        for stage in stages:
            out = b"".join(stage(events))
            events = out if out or events is not None else None
        return events or b""

    return run


def _messages_to(feed: Callable[[str, Json], Iterator[bytes]]) -> Callable[[bytes | None], Iterator[bytes]]:
    def stage(events: bytes | None) -> Iterator[bytes]:
        for name, data in each(events or b""):
            yield from feed(name.decode(), msgspec.json.decode(data))

    return stage


def _chat_to_messages(stream: chat_out.Stream) -> Callable[[bytes | None], Iterator[bytes]]:
    def stage(events: bytes | None) -> Iterator[bytes]:
        if events is None:
            yield from stream.end()
            return
        for _, data in each(events):
            if data != b"[DONE]":
                yield from stream.feed(msgspec.json.decode(data))

    return stage


def _without_usage(events: bytes | None) -> bytes:
    """Leave out the chunk that only states usage: we asked for it, the client did not."""
    if events is None or b'"usage"' not in events:
        return events or b""
    return b"".join(b"data: " + data + b"\n\n" for _, data in each(events) if data == b"[DONE]" or msgspec.json.decode(data).get("choices") != [])


def _translate_answer(body: bytes, door: str, want: str) -> bytes:
    if door == want or want == "count":
        return body
    message = msgspec.json.decode(body, type=dict[str, Any])
    if door == "chat":
        message = chat_out.answer(message)
    if want == "chat":
        message = chat_in.answer(message)
    elif want == "responses":
        message = responses.answer(message)
    return msgspec.json.encode(message)
