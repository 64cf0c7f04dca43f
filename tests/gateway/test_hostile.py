"""Hostile clients and hostile targets: refused, bounded, never a crash and never another's answer."""

from __future__ import annotations

import asyncio
import json
import socket
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rig import MODEL, Rig, ask, endpoint, post

from polysilicon.errors import UpstreamError
from polysilicon.gateway import eventstream, http, sse, usage
from polysilicon.gateway.ledger import Entry, Tail, line
from polysilicon.gateway.usage import Used

BODY = json.dumps(ask()).encode()


def talk(r: Rig, *pieces: bytes, pause_s: float = 0.0, half_close: bool = False, wait_s: float = 3.0) -> bytes:
    with socket.create_connection(("127.0.0.1", r.port), timeout=wait_s) as client:
        try:
            for piece in pieces:
                client.sendall(piece)
                time.sleep(pause_s)
            if half_close:
                client.shutdown(socket.SHUT_WR)
        except OSError:
            pass
        out = b""
        try:
            while data := client.recv(65536):
                out += data
        except (TimeoutError, ConnectionError):
            pass
        return out


def head(extra: bytes = b"", length: int | None = None) -> bytes:
    return b"POST /v1/messages HTTP/1.1\r\nhost: x\r\nx-api-key: sk-k1\r\nconnection: close\r\n%bcontent-length: %d\r\n\r\n" % (
        extra, len(BODY) if length is None else length)  # fmt: skip


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (head(b"transfer-encoding: chunked\r\n") + BODY, 400),
        (head(b"content-length: 3\r\n") + BODY, 400),
        (head().replace(b"\r\n", b"\n") + BODY, 400),
        (head(b"transfer-encoding : chunked\r\n") + BODY, 400),
        (head(b"x-api-key: other\r\n") + BODY, 400),
        (head(b"host: other\r\n") + BODY, 400),
        (b"POST http://169.254.169.254/latest HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n", 400),
        (b"CONNECT internal:80 HTTP/1.1\r\nhost: internal\r\n\r\n", 400),
        (b"GET /" + b"a" * 5000 + b" HTTP/1.1\r\nhost: x\r\n\r\n", 414),
        (b"GET / HTTP/1.1\r\nhost: x\r\n" + b"".join(b"h%d: 1\r\n" % i for i in range(150)) + b"\r\n", 431),
        (b"GET / HTTP/1.1\r\nhost: x\r\nbig: " + b"a" * 40_000 + b"\r\n\r\n", 431),
        (head(length=10**12), 413),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
        (b"GET /ws HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n", 400),
        (b"GET /nothing HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n", 404),
        (b"DELETE /v1/messages HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n", 405),
        (head(length=5) + b"\xff\xfe\x00{}", 400),
        (head(length=11) + b'{"model":1}', 400),
        (head(length=2) + b"[]", 400),
        (head(b"anthropic-version: 2031-01-01\r\n") + BODY, 400),
    ],
)  # fmt: skip
def test_refused(rig: Callable[..., Rig], raw: bytes, status: int) -> None:
    r = rig([endpoint("t", "claude")])
    answer = talk(r, raw)
    assert answer.startswith(b"HTTP/1.1 %d " % status), answer[:300]
    assert r.emulator["t"].seen.requests == 0
    assert post(r, ask())[0] == 200


def test_invalid_utf8_is_refused_before_a_target_sees_it(rig: Callable[..., Rig]) -> None:
    r = rig([endpoint("t", "claude")])
    assert post(r, BODY.replace(b"hello", b"he\xff\xfe"))[0] == 400
    assert r.emulator["t"].seen.requests == 0


def test_doubled_fields_have_one_meaning(rig: Callable[..., Rig]) -> None:
    """The target reads the very model that was checked, whichever of two a parser would take."""
    r = rig([endpoint("t", "claude")])
    doubled = b'{"model":"forbidden",' + BODY[1:]
    assert post(r, doubled)[0] == 200
    assert r.emulator["t"].seen.bodies[-1].count(b'"model"') == 1


def test_pipelined_requests_are_answered_in_order(rig: Callable[..., Rig]) -> None:
    r = rig([endpoint("t", "claude")])
    one = head().replace(b"connection: close\r\n", b"") + BODY
    answer = talk(r, one + one + head() + BODY)
    assert answer.count(b"HTTP/1.1 200 OK") == 3
    assert [e.outcome for e in r.ledger(3)] == ["ok"] * 3


def test_a_head_that_came_in_two_pieces_behind_another_request_is_one_request(rig: Callable[..., Rig]) -> None:
    """Its second piece looks like a whole request that is known; it is the rest of the one that was begun."""
    r = rig([endpoint("t", "claude")])
    one = head().replace(b"connection: close\r\n", b"") + BODY
    with socket.create_connection(("127.0.0.1", r.port), timeout=5) as client:

        def hear(count: int) -> bytes:
            out = b""
            while out.count(b"HTTP/1.1 ") < count or not out.endswith(b"}"):
                out += client.recv(65536)
            return out

        for _ in range(3):  # by now its head is known
            client.sendall(one)
            assert hear(1).startswith(b"HTTP/1.1 200")
        client.sendall(one + b"POST /v1/messages HTTP/1.1\r\nx-junk: ")
        assert hear(1).startswith(b"HTTP/1.1 200")
        client.sendall(one)
        assert hear(1).startswith(b"HTTP/1.1 200")
        client.sendall(b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n")
        assert hear(1).endswith(b'{"status":"ok"}')


def test_pipelined_good_then_bad(rig: Callable[..., Rig]) -> None:
    r = rig([endpoint("t", "claude")])
    answer = talk(r, head().replace(b"connection: close\r\n", b"") + BODY + b"GARBAGE\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200 OK")
    assert b"HTTP/1.1 400" in answer


def test_half_closed_clients_still_get_their_answer(rig: Callable[..., Rig]) -> None:
    r = rig([endpoint("t", "claude")])
    assert talk(r, head() + BODY, half_close=True).startswith(b"HTTP/1.1 200")


def test_slow_loris_is_cut(rig: Callable[..., Rig]) -> None:
    r = rig([endpoint("t", "claude")])
    r.worker.server.limits = http.Limits(head_timeout_s=0.2, body_timeout_s=0.2, idle_timeout_s=0.3)
    began = time.monotonic()
    assert talk(r, b"POST /v1/messages HTTP/1.1\r\n").startswith(b"HTTP/1.1 408")
    assert talk(r, head() + BODY[:10]).startswith(b"HTTP/1.1 408")
    assert talk(r) == b""
    drip = [bytes([c]) for c in b"POST /v1/messages HTTP/1.1\r\nhost: x\r\n"]
    assert b"408" in talk(r, *drip, pause_s=0.02)
    assert time.monotonic() - began < 4.0


def test_chunked_bodies_and_old_clients(rig: Callable[..., Rig]) -> None:
    r = rig([endpoint("t", "claude")])
    chunked = head().replace(b"content-length: %d\r\n" % len(BODY), b"transfer-encoding: chunked\r\n") + b"%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY)
    assert talk(r, chunked).startswith(b"HTTP/1.1 200")
    old = talk(r, (head() + json.dumps(ask(stream=True)).encode()).replace(b"HTTP/1.1", b"HTTP/1.0").replace(
        b"content-length: %d" % len(BODY), b"content-length: %d" % len(json.dumps(ask(stream=True)))))  # fmt: skip
    assert b"transfer-encoding" not in old
    assert b"message_stop" in old


def test_user_supplied_urls_are_never_fetched(rig: Callable[..., Rig]) -> None:
    """An image by URL goes to the target as it is: the gateway connects to targets of its configuration, to nothing else."""
    r = rig([endpoint("t", "claude")], standard_loop=True)
    seen: list[object] = []
    loop_connect = r.loop.create_connection
    r.loop.create_connection = lambda *a, **k: (seen.append(a[1:3]), loop_connect(*a, **k))[1]  # type: ignore[method-assign]
    image = {"type": "image", "source": {"type": "url", "url": "http://169.254.169.254/latest/meta-data"}}
    assert post(r, ask() | {"messages": [{"role": "user", "content": [image]}]}, headers={"host": "169.254.169.254"})[0] == 200
    assert seen == [("127.0.0.1", r.emulator["t"].port)]


def test_secrets_are_nowhere(rig: Callable[..., Rig], tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    import os

    r = rig([endpoint("t", "claude"), endpoint("b", "bedrock")])
    r.emulator["t"].spec.keys = ("other",)
    texts = [repr(post(r, ask())) for _ in range(3)]
    r.ledger(3)
    texts += [path.read_bytes().decode("latin-1") for path in tmp_path.rglob("*") if path.is_file()]
    texts += [repr(vars(door)) if hasattr(door, "__dict__") else repr(door) for door in r.worker.live.doors if not door._heads]
    captured = capfd.readouterr()
    everything = "".join(texts) + captured.out + captured.err
    for secret in (os.environ["RIG_TOKEN"], os.environ["RIG_SECRET"], "sk-k1"):
        assert secret not in everything
    assert "hello there" not in everything, "prompts are kept nowhere"


def test_a_closed_connection_leaves_nothing_behind(rig: Callable[..., Rig]) -> None:
    """Neither a connection nor its last body waits for the collector of cycles, which a worker runs seldom: memory is freed at once."""
    import gc

    r = rig([endpoint("t", "claude"), endpoint("u", "vertex")])
    big = json.dumps(ask(text="x" * 100_000)).encode()
    ways: list[Callable[[], object]] = [
        lambda: post(r, big), lambda: post(r, ask(stream=True)), lambda: talk(r, head(length=len(big)) + big[:50_000], wait_s=0.05),
        lambda: talk(r, b"GARBAGE\r\n\r\n"),
        lambda: r.call(lambda: [connection.abort() for connection in list(r.worker.server.connections)]),
        lambda: r.call(lambda: [c.transport.abort() for pool in r.worker.live.pools for c in list(pool._idle)]),
    ]  # fmt: skip
    for way in ways:
        way()
    time.sleep(0.2)

    def watch() -> None:
        gc.collect()
        gc.disable()
        gc.set_debug(gc.DEBUG_SAVEALL)

    def found() -> set[str]:
        gc.collect()
        names = {type(thing).__qualname__ for thing in gc.garbage}
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()
        return names

    r.call(watch)
    try:
        for _ in range(5):
            for way in ways:
                way()
        time.sleep(0.2)
    finally:
        left = r.call(found)
    assert not left & {"Inbound", "Request", "Connection", "Exchange", "Attempt", "HttpRequestParser", "HttpResponseParser"}, left


# --- fuzz


@settings(max_examples=50, deadline=None)
@given(st.binary(max_size=400), st.lists(st.integers(1, 400), max_size=6))
def test_fuzz_http_parser(raw: bytes, cuts: list[int]) -> None:
    """Whatever bytes, however cut: either a request, or one refusal; no exception."""

    class Transport(asyncio.Transport):
        def __init__(self) -> None:
            super().__init__()
            self.out = b""
            self.closed = False

        def write(self, data: bytes) -> None:  # type: ignore[override]
            self.out += data

        def close(self) -> None:
            self.closed = True

        abort = close
        pause_reading = resume_reading = lambda self: None  # type: ignore[assignment]

    async def go() -> None:
        server = http.Server(lambda request: request.respond(200, b"{}"))
        connection = http.Inbound(server)
        transport = Transport()
        connection.connection_made(transport)
        data = raw
        for cut in cuts:
            connection.data_received(data[:cut])
            data = data[cut:]
        if data:
            connection.data_received(data)
        assert transport.out.count(b"HTTP/1.1 400") <= 1

    asyncio.run(go())


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.sampled_from([b"event: ping\ndata: {}\n\n", b"data: x\n\n", b": note\n\n", b"data: a\r\n\r\n"]), max_size=8),
    st.data(),
)
def test_fuzz_sse_cuts(events: list[bytes], data: st.DataObject) -> None:
    """However a stream is cut in transport, the events are the same."""
    whole = b"".join(events)
    cutter = sse.Events()
    out, at = b"", 0
    while at < len(whole):
        step = data.draw(st.integers(1, len(whole)))
        out += cutter.feed(whole[at : at + step])
        at += step
    assert list(sse.each(out)) == list(sse.each(whole))
    assert not cutter.pending


@settings(max_examples=100, deadline=None)
@given(st.lists(st.binary(max_size=60), max_size=5), st.integers(1, 40), st.integers(0, 500), st.integers(1, 255))
def test_fuzz_event_stream(payloads: list[bytes], step: int, position: int, change: int) -> None:
    """Frames survive any cutting; a changed byte is never taken for data."""
    raw = b"".join(eventstream.encode({":event-type": "chunk"}, p) for p in payloads)
    frames = eventstream.Frames()
    out = [payload for i in range(0, len(raw), step) for _, payload in frames.feed(raw[i : i + step])]
    assert out == payloads
    if raw:
        position %= len(raw)
        damaged = raw[:position] + bytes([raw[position] ^ change]) + raw[position + 1 :]
        try:
            good = [payload for _, payload in eventstream.Frames().feed(damaged)]
        except UpstreamError:
            return
        assert good == payloads[: len(good)]
        assert len(good) < len(payloads)


@settings(max_examples=100, deadline=None)
@given(st.recursive(st.none() | st.integers() | st.text(max_size=8) | st.booleans(), lambda inner: st.dictionaries(
    st.sampled_from(["usage", "input_tokens", "output_tokens", "cache_read_input_tokens", "cache_creation", "prompt_tokens_details", "x"]), inner),
    max_leaves=8))  # fmt: skip
def test_fuzz_usage_is_never_negative(body: object) -> None:
    for reader in (usage.of_message, usage.of_chat, usage.of_response):
        used = Used()
        try:
            reader(json.dumps(body).encode(), used)
        except Exception as error:
            assert type(error).__module__.startswith("msgspec")
        assert min(used.fresh_tokens, used.cached_tokens, used.write_5m_tokens, used.write_1h_tokens, used.output_tokens) >= 0


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 5), st.integers(0, 2000), st.integers(1, 255))
def test_fuzz_ledger_recovers_what_is_whole(rows: int, position: int, change: int) -> None:
    entry = Entry("1", 1.0, "request", "ok", 200, MODEL, MODEL, "t", "v", "", "aws", "us", "production", cost_nano_usd=5)
    whole = line(entry)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "w00-000000.log").write_bytes(whole * rows + whole[: position % len(whole)])
        tail = Tail(folder)
        assert list(tail.read(whole=True)) == [entry] * rows
        damaged = bytearray(whole)
        damaged[position % (len(whole) - 1)] ^= change
        (folder / "w01-000000.log").write_bytes(bytes(damaged) + whole)
        assert list(tail.read(whole=True)).count(entry) in (0, 1, 2)
        assert tail.torn >= (1 if position % len(whole) else 0)


def test_signature_matches_the_published_example() -> None:
    """AWS Signature Version 4, the documentation's example request to IAM."""
    import calendar

    from polysilicon.gateway.sigv4 import AwsKey, Signer

    signer = Signer(AwsKey("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"), "us-east-1", "iam")
    at_s = calendar.timegm((2015, 8, 30, 12, 36, 0))
    headers = {"host": "iam.amazonaws.com", "content-type": "application/x-www-form-urlencoded; charset=utf-8"}
    signed = signer.sign("GET", "/", headers, b"", query="Action=ListUsers&Version=2010-05-08", at_s=at_s)
    assert signed["authorization"].endswith("Signature=5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7")
    assert "wJalr" not in repr(signer.key)
