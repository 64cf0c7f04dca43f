"""Targets that lie, hang, cut, flood or send garbage: the client gets another target's answer or a typed error, never a crash or a mix-up;
and whatever JSON is to be translated, it is translated or refused."""

from __future__ import annotations

import contextlib
import json
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rig import FAST, MODEL, Rig, ask, endpoint, post

from polysilicon.errors import InputError
from polysilicon.gateway.sse import each
from polysilicon.gateway.translate import chat_in, chat_out, responses

GOOD = json.dumps({
    "id": "msg_1", "type": "message", "role": "assistant", "model": MODEL, "content": [{"type": "text", "text": "from the liar"}],
    "stop_reason": "end_turn", "stop_sequence": None, "usage": {"input_tokens": 5, "output_tokens": 3},
}).encode()  # fmt: skip


def answer(body: bytes = GOOD, *, status: bytes = b"200 OK", extra: bytes = b"", length: object = None) -> bytes:
    said = b"content-length: %d\r\n" % len(body) if length is None else b"content-length: %s\r\n" % str(length).encode()
    return b"HTTP/1.1 %b\r\ncontent-type: application/json\r\n%b%b\r\n%b" % (status, said, extra, body)


SSE = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


class Liar:
    """A target that answers every request with the same bytes, as they are."""

    def __init__(self, said: bytes | list[bytes], *, close: bool = False, again: bytes | None = None) -> None:
        self.said, self.close_after, self.again = said, close, again
        self.requests = 0
        self.server = socket.create_server(("127.0.0.1", 0))
        self.port = self.server.getsockname()[1]
        self.open: list[socket.socket] = []
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self.server.accept()
                self.open.append(client)
                threading.Thread(target=self._one, args=(client,), daemon=True).start()

    def _one(self, client: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                data = b""
                while b"\r\n\r\n" not in data:
                    got = client.recv(65536)
                    if not got:
                        return
                    data += got
                head, _, body = data.partition(b"\r\n\r\n")
                length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
                while len(body) < length:
                    body += client.recv(65536)
                self.requests += 1
                said = self.said if self.requests == 1 or self.again is None else self.again
                for piece in said if isinstance(said, list) else [said]:
                    client.sendall(piece)
                    time.sleep(0.05 * isinstance(said, list))
                if self.close_after:
                    client.shutdown(socket.SHUT_RDWR)
                    return

    def end(self) -> None:
        self.server.close()
        for client in self.open:
            client.close()


@pytest.fixture
def liar(rig: Callable[..., Rig]) -> Iterator[Callable[..., tuple[Rig, Liar]]]:
    made: list[Liar] = []

    def make(said: bytes | list[bytes], *, close: bool = False, again: bytes | None = None, **more: Any) -> tuple[Rig, Liar]:
        one = Liar(said, close=close, again=again)
        made.append(one)
        settings_ = msgspec.structs.replace(FAST, first_byte_timeout_s=0.4, stall_timeout_s=0.4, **more)
        r = rig(
            [endpoint("liar", "claude"), endpoint("well", "vertex")], weights=[1.0, 0.0], targets={"liar": {"port": one.port}}, reliability=settings_
        )
        return r, one

    yield make
    for one in made:
        one.end()


@pytest.mark.parametrize(
    ("said", "close"),
    [
        (b"\x00\xff\x80garbage\r\n\r\n", False), (b"HTTP/9.9 200 OK\r\n\r\n", False), (b"SSH-2.0-OpenSSH_9.2\r\n", False), (b"", True),
        (answer(length=-5), False), (answer(length="5, 7"), False), (answer(length="1e3"), False), (answer(length=99999), True),
        (answer(length=99999), False), (answer(extra=b"content-length: 3\r\n"), False), (answer(extra=b"transfer-encoding: chunked\r\n"), False),
        (answer(extra=b"x: " + b"a" * 200_000 + b"\r\n"), False),
        (answer(extra=b"transfer-encoding: gzip\r\n"), False), (answer(status=b"101 Switching Protocols", extra=b"upgrade: x\r\n"), False),
        (answer(b"", status=b"204 No Content"), False), (answer(b"", status=b"302 Found", extra=b"location: http://169.254.169.254/\r\n"), False),
        (answer(b""), False), (answer(b"[]"), False), (answer(b"\xff\xfe{}"), False), (answer(b"[" * 100_000), False), (answer(GOOD[:-3]), False),
        (answer(b'{"usage": "much"}'), False), (answer(GOOD.replace(b"5,", b"NaN,")), False),
        (answer(GOOD.replace(b": 5", b": 1e400")), False), (SSE + b"FFFFFFFFFFFFFFFFF\r\n", False), (SSE + b"zz\r\n", False),
        (b"HTTP/1.1 100 Continue\r\n\r\n" * 3, True),
    ],
)  # fmt: skip
def test_a_lie_is_answered_elsewhere(liar: Callable[..., tuple[Rig, Liar]], said: bytes, close: bool) -> None:
    r, one = liar(said, close=close)
    status, headers, body = post(r, ask())
    assert (status, headers["x-polysilicon-target"]) == (200, "well"), body[:300]
    assert one.requests >= 1
    r.worker.live.health.open_until_s[0] = 0.0
    r.worker.live.health.probing[0] = 0
    status, headers, body = post(r, ask(stream=True))
    assert (status, headers["x-polysilicon-target"]) == (200, "well"), body[:300]
    assert [name for name, _ in each(body)].count(b"message_start") == 1
    assert {e.target for e in r.ledger(2) if e.outcome == "ok"} == {"well"}
    assert all(min(e.fresh_tokens, e.output_tokens, e.cost_nano_usd) >= 0 for e in r.ledger())


def test_more_than_was_asked_for_is_never_the_next_answer(liar: Callable[..., tuple[Rig, Liar]]) -> None:
    """A second answer in the pipe would be served to the next client: the connection is not used again."""
    secret = GOOD.replace(b"from the liar", b"somebody else's")
    r, one = liar(answer() + answer(secret), again=answer(GOOD.replace(b"from the liar", b"second")))
    for _ in range(4):
        status, _, body = post(r, ask())
        assert status == 200
        assert b"somebody" not in body
        time.sleep(0.02)
    assert one.requests >= 1


def test_counts_below_nothing_are_booked_as_nothing(liar: Callable[..., tuple[Rig, Liar]]) -> None:
    r, _ = liar(answer(GOOD.replace(b": 5", b": -5")))
    assert post(r, ask())[0] == 200
    line = r.ledger(1)[0]
    assert (line.fresh_tokens, line.output_tokens) == (0, 3)
    assert line.cost_nano_usd == 3 * 15_000


def test_an_event_without_an_end_is_bounded(liar: Callable[..., tuple[Rig, Liar]]) -> None:
    flood = SSE + b"".join(b"%x\r\n%b\r\n" % (1 << 20, b"x" * (1 << 20)) for _ in range(12))
    r, _ = liar(flood, answer_bytes=4 << 20)
    status, headers, _ = post(r, ask(stream=True))
    assert (status, headers["x-polysilicon-target"]) == (200, "well")


def test_a_body_without_an_end_is_bounded(liar: Callable[..., tuple[Rig, Liar]]) -> None:
    r, _ = liar(answer(b"{" + b" " * (6 << 20)), answer_bytes=4 << 20)
    status, headers, _ = post(r, ask())
    assert (status, headers["x-polysilicon-target"]) == (200, "well")


def test_a_stream_that_begins_twice_ends_in_an_error(liar: Callable[..., tuple[Rig, Liar]]) -> None:
    """The shapes of LiteLLM #38610: a message begins, then an error comes, then another beginning; the client sees one beginning."""
    start = b'event: message_start\ndata: {"type":"message_start","message":{"id":"m","usage":{"input_tokens":3,"output_tokens":1}}}\n\n'
    delta = b'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"hi"}}\n\n'
    error = b'event: error\ndata: {"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}\n\n'
    first, rest = (b"".join(b"%x\r\n%b\r\n" % (len(e), e) for e in part) for part in ((start, delta), (error, start, delta)))
    r, _ = liar([SSE + first, rest + b"0\r\n\r\n"])
    body = post(r, ask(stream=True))[2]
    names = [name for name, _ in each(body)]
    assert names.count(b"message_start") == 1
    assert names[-1] == b"error"
    assert b"message_stop" not in names
    line = r.ledger(1)[0]
    assert (line.outcome, line.target, line.fresh_tokens) == ("cut", "liar", 3)


def test_two_beginnings_are_a_failure_not_an_answer(liar: Callable[..., tuple[Rig, Liar]]) -> None:
    start = b'event: message_start\ndata: {"type":"message_start","message":{"id":"m"}}\n\n'
    delta = b'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"hi"}}\n\n'
    stop = b'event: message_stop\ndata: {"type":"message_stop"}\n\n'
    r, _ = liar(SSE + b"".join(b"%x\r\n%b\r\n" % (len(e), e) for e in (start, start, delta, stop)) + b"0\r\n\r\n")
    status, headers, body = post(r, ask(stream=True))
    assert (status, headers["x-polysilicon-target"]) == (200, "well")
    assert [name for name, _ in each(body)].count(b"message_start") == 1


# --- what clients may send


def test_json_of_any_depth_is_refused_not_followed(rig: Callable[..., Rig]) -> None:
    r = rig([endpoint("t", "claude"), endpoint("o", "openai")])
    for deep in (b"[" * 200_000, b'{"a":' * 100_000, b"[" * 200_000 + b"]" * 200_000, b'{"a":' * 5_000 + b"1" + b"}" * 5_000):
        body = b'{"model":"%b","max_tokens":5,"messages":%b}' % (MODEL.encode(), deep)
        for path in ("/v1/messages", "/v1/chat/completions", "/v1/responses"):
            status, _, said = post(r, body, path=path)
            assert status in (400, 200), said[:200]
    assert post(r, ask())[0] == 200


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from([
        "role", "content", "type", "text", "source", "media_type", "data", "url", "image_url", "tool_use_id", "id", "name", "input",
        "arguments", "tool_calls", "tool_call_id", "thinking", "cache_control", "input_text", "output", "call_id", "parameters",
        "function", "x"]), inner, max_size=5),
    max_leaves=20,
)  # fmt: skip
blocks = st.lists(
    st.dictionaries(st.sampled_from(["role", "content", "type", "tool_calls", "name", "call_id", "output"]), json_values, max_size=5), max_size=4
)
requests = st.fixed_dictionaries({"model": st.just(MODEL)}, optional={
    "messages": blocks | json_values, "input": blocks | json_values, "system": json_values, "tools": json_values, "tool_choice": json_values,
    "max_tokens": json_values, "stop": json_values, "stop_sequences": json_values, "response_format": json_values, "instructions": json_values,
    "temperature": json_values, "n": json_values, "reasoning": json_values, "text": json_values, "stream": json_values, "metadata": json_values,
})  # fmt: skip
REFUSED = (InputError, KeyError, TypeError, AttributeError, ValueError, msgspec.MsgspecError)  # what the exchange turns into status 400


@settings(max_examples=300, deadline=None)
@given(requests, st.sampled_from([chat_in.request, chat_out.request, responses.request]))
def test_fuzz_translation_of_requests(request: dict[str, Any], translate: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    try:
        out = translate(request)
    except REFUSED:
        return
    assert json.loads(json.dumps(out)) == out
    msgspec.json.encode(out)


EVIL = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 2**40) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([
        "type", "message", "delta", "index", "content_block", "usage", "input_tokens", "output_tokens", "stop_reason", "text", "partial_json",
        "finish_reason", "tool_calls", "function", "name", "arguments", "id", "content", "error", "choices"]), inner,
        max_size=5),
    max_leaves=12,
)  # fmt: skip
KINDS = st.sampled_from(
    ["message_start", "content_block_start", "content_block_delta", "content_block_stop", "message_delta", "message_stop", "ping", "error", "?"]
)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(KINDS, EVIL), max_size=6),
    st.sampled_from(["/v1/messages", "/v1/chat/completions", "/v1/responses"]),
    st.booleans(),
)
def test_fuzz_streams_of_targets(events: list[tuple[str, Any]], path: str, chat_door: bool) -> None:
    """Any JSON in any event of a target: the client gets whole events and one ending, in its own dialect; the worker lives."""
    rig_, one = shared_liar(chat_door)
    data = b""
    for kind, value in events:
        body = json.dumps({**value, "type": kind} if isinstance(value, dict) and not chat_door else value).encode()
        data += (b"data: " if chat_door else b"event: " + kind.encode() + b"\ndata: ") + body + b"\n\n"
    one.said = SSE + (b"%x\r\n%b\r\n" % (len(data), data) if data else b"") + b"0\r\n\r\n"
    one.requests = 0
    rig_.call(lambda: rig_.worker.live.health.good(0, 0.01))
    asked = {"model": MODEL, "max_tokens": 5, "stream": True, "input" if "responses" in path else "messages": [{"role": "user", "content": "hi"}]}
    status, _, body = post(rig_, asked, path=path)
    assert status in (200, 502, 500, 529, 429, 400, 503)
    assert [name for name, _ in each(body)].count(b"message_start") <= 1
    assert not body.rstrip().endswith(b"data:")
    assert post(rig_, b"{}", path="/v1/messages")[0] == 400, "the worker lives"


_SHARED: dict[bool, tuple[Rig, Liar, tempfile.TemporaryDirectory[str]]] = {}


def shared_liar(chat_door: bool) -> tuple[Rig, Liar]:
    """One rig for all examples of a fuzz."""
    if chat_door not in _SHARED:
        one = Liar(b"")
        folder = tempfile.TemporaryDirectory(prefix="polysilicon-test-")
        quick = msgspec.structs.replace(
            FAST, first_byte_timeout_s=0.3, stall_timeout_s=0.3, breaker_failures=10**9, eject_min_requests=10**9, attempts=1
        )
        made = Rig(
            Path(folder.name), [endpoint("liar", "openai" if chat_door else "claude")], targets={"liar": {"port": one.port}}, reliability=quick
        )
        _SHARED[chat_door] = (made, one, folder)
    return _SHARED[chat_door][:2]


@pytest.fixture(scope="module", autouse=True)
def closed_afterwards() -> Iterator[None]:
    yield
    for made, one, folder in _SHARED.values():
        made.close()
        one.end()
        folder.cleanup()
    _SHARED.clear()
