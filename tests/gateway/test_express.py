"""The short way and the long way are twins: the same bytes to the target and to the client, the same lines, counters and budgets."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from rig import FAST, key

from polysilicon.cloud.token_price import TokenPrice
from polysilicon.gateway import heads, ledger
from polysilicon.gateway.express import Flight
from polysilicon.gateway.heads import Head
from polysilicon.gateway.http import Inbound
from polysilicon.gateway.tariff import compile_price
from polysilicon.gateway.upstream import Connection, Pool
from polysilicon.gateway.wiring import Budget, Route, Secret, Target, Variant, Wiring
from polysilicon.gateway.worker import Worker

SECRET = Secret(token="env:RIG_TOKEN")
CLIENTS = 4


class Wire:
    """A transport that goes nowhere; its other end is the test."""

    def __init__(self) -> None:
        self.out: list[bytes] = []
        self.closed = False
        self.protocol: Any = None

    def write(self, data: bytes) -> None:
        if not self.closed:
            self.out.append(data)

    def get_extra_info(self, name: str) -> None:
        return None

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            asyncio.get_running_loop().call_soon(self.protocol.connection_lost, None)

    abort = close

    def pause_reading(self) -> None:
        pass

    resume_reading = pause_reading


def wiring(state: str) -> Wiring:
    price = compile_price(TokenPrice("m", "t", 4.0, 20.0, 0.4, 5.0, 8.0))
    unknown = compile_price(TokenPrice("m", "t", 4.0, 20.0, None, None, None))
    rows = [("a", "claude", "m", price), ("b", "anthropic", "m", price), ("c", "openai", "g", price), ("d", "openai", "g", unknown)]
    targets = tuple(Target(i, name, door, "http", "127.0.0.1", 9, "", "aws", "us-east-1", secret=SECRET) for i, (name, door, _, _) in enumerate(rows))
    variants = tuple(
        Variant(i, f"{model}@{name}", model, i, f"{model}-{name}", "TPU v7", "", "", "production", 1.0, "passed", tariff)
        for i, (name, _, model, tariff) in enumerate(rows)
    )
    routes = (Route("m", "m", "", "", (0, 1), (0.7, 0.3), "t"), Route("g", "g", "", "", (2, 3), (0.6, 0.4), "t"))
    keys = (key("k1", budgets=(0, 1), requests_per_minute=100_000), key("k2", models=("m",)))
    budgets = (Budget(0, "key:k1", "key:k1", 10**15), Budget(1, "team:core", "team:core", 10**15))
    reliability = msgspec.structs.replace(
        FAST, breaker_open_s=1e6, rate_limit_open_s=1e6, first_byte_timeout_s=1e3, stall_timeout_s=1e3, total_timeout_s=1e4
    )
    return Wiring("d", "p", state, "127.0.0.1", 0, 1, targets, variants, routes, keys, budgets, reliability)


def request(body: bytes, *, chat: bool = False, extra: bytes = b"", who: bytes = b"k1") -> bytes:
    path = b"/v1/chat/completions" if chat else b"/v1/messages"
    return b"POST %b HTTP/1.1\r\nhost: x\r\nx-api-key: sk-%b\r\n%bcontent-length: %d\r\n\r\n%b" % (path, who, extra, len(body), body)


def said(**more: Any) -> bytes:
    body = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "hello"}], **more}
    return json.dumps(body, separators=(",", ":")).encode()


TURNS = [{"role": "user", "content": "hello"}, {"role": "assistant", "content": "hi"}, {"role": "user", "content": "more"}]
REQUESTS = [
    request(said()),
    request(said()),
    request(said(messages=TURNS)),
    request(said(model="g"), chat=True),
    request(said(model="g", user="u"), chat=True),
    request(said(stream=True)),
    request(said(model="g", stream=True, stream_options={"include_usage": True}), chat=True),
    request(said(), who=b"k2"),
    request(said(model="nobody")),
    request(said(model="g"), who=b"k2", chat=True),
    request(said(metadata={"user_id": "u7"}, max_tokens=None)),
    request(said(), extra=b"traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n"),
    request(b'{"model":"m","model":"m","stream":false}'),
    request(said(), extra=b"traceparent: 00-1af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n"),
    request(b'{"model":"m"'),
    request(b"\xff\xfe"),
    request(said(), extra=b"traceparent: \r\n"),
    request(said(content="\u00e9".encode().decode("latin-1"))),
    request(said(max_tokens=1.5)),
    request(said(), extra=b"anthropic-beta: x-1\r\n"),
    request(said(), extra=b"anthropic-version: 2026-10-21\r\n"),
    request(said(), who=b"nobody"),
    request(said(), extra=b"x-session-id: s1\r\n"),
    request(said(messages=[{"role": "user", "content": [{"type": "image"}]}])),
    request(b"[]"),
]
MESSAGE = {
    "id": "m1",
    "type": "message",
    "content": [{"type": "text", "text": "w"}],
    "stop_reason": "end_turn",
    "usage": {"input_tokens": 100, "cache_read_input_tokens": 50, "output_tokens": 30, "service_tier": "standard"},
}
CHAT = {
    "id": "c1",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "w"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 150, "completion_tokens": 30, "prompt_tokens_details": {"cached_tokens": 50}},
}
EVENTS = [
    {"type": "message_start", "message": {"id": "m", "usage": {"input_tokens": 10, "output_tokens": 1}}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "w"}},
    {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 5}},
    {"type": "message_stop"},
]


def answer(body: Any, head: bytes = b"request-id: r1\r\n", status: bytes = b"200 OK") -> bytes:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return b"HTTP/1.1 %b\r\ncontent-type: application/json\r\n%bcontent-length: %d\r\n\r\n%b" % (status, head, len(data), data)


def stream_answer(*, chat: bool) -> bytes:
    if chat:
        events = (
            b'data: {"choices":[{"index":0,"delta":{"content":"w"},"finish_reason":"stop"}]}\n\ndata: {"choices":[],"usage":{"prompt_tokens":4,'
            b'"completion_tokens":2}}\n\ndata: [DONE]\n\n'
        )
    else:
        events = b"".join(b"event: %b\ndata: %b\n\n" % (e["type"].encode(), json.dumps(e).encode()) for e in EVENTS)  # type: ignore[attr-defined]
    return b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(events), events)


def answers_to(data: bytes) -> list[bytes]:
    """What a target may say to a request: the usual first and often, then all sorts."""
    chat = data.startswith(b"POST /v1/chat")
    good: Any = CHAT if chat else MESSAGE
    if b'"stream":true' in data:
        return [stream_answer(chat=chat), stream_answer(chat=chat)[:-9], answer({"error": {"type": "overloaded_error"}}, status=b"529 Overloaded")]
    without = {name: value for name, value in good.items() if name != "usage"}
    dated = [answer(good, b"date: Thu, 26 Nov 2026 01:00:0%d GMT\r\nx-request-id: q-%d\r\n" % (i, i)) for i in range(3)]
    always_new = b"anthropic-ratelimit-tokens-remaining: %d\r\nrequest-id: r-%d\r\nCF-RAY: 9a%d-FRA\r\nConnection: keep-alive\r\n"
    limits = [answer(good, always_new % (999 - i, i, i)) for i in range(4)]
    odd = [b"connection: keep-alive, x", b"connection: close", b"proxy-connection: close"]
    odd += [b"x: a\rb", b"x: \xe9", b"x:\ty", b"x:", b"x : y", b" x: y"]
    return [
        answer(good),
        answer(good),
        answer(good),
        *dated,
        *limits,
        *(answer(good, b"%b\r\nrequest-id: r1\r\n" % line) for line in odd),
        *(answer(good, b"%b\r\nrequest-id: r2\r\n" % line.replace(b"close", b"keep-alive")) for line in odd),
        answer(good, b"connection: keep-alive\r\nConnection: close\r\n"),
        limits[0].replace(b"keep-alive", b"close"),
        answer(good, b"request-id: r2\r\n"),
        answer(without),
        answer(b"{}"),
        answer(b"{nonsense"),
        answer(good, b""),
        answer(good, b"connection: close\r\n"),
        answer(good, b"x-ms-is-spilled-over: true\r\n"),
        answer(good) + b"HTTP/1.1 2",
        answer(good, b"request-id: r1\r\nRequest-Id: r9\r\n"),
        answer(good, b"request-id: \r\n"),
        answer({**good, "usage": {"output_tokens": "x"}}),
        answer({"error": {"type": "rate_limit_error", "message": "slow"}}, b"retry-after: 1\r\n", b"429 Too Many"),
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"",
        answer(b'{"error": {"type": "invalid_request_error", "message": "no"}}', status=b"400 Bad Request"),
        b"HTTP/1.1 100 Continue\r\n\r\n" + answer(good),
        answer(good).replace(b"content-length: ", b"content-length: 1"),
        answer(good, b"transfer-encoding: chunked\r\n"),
        b"nonsense\r\n\r\n",
        answer({**good, "usage": {**good["usage"], "cache_creation_input_tokens": 5}}),
        answer(good).replace(b"request-id: r1", b"request-id: \x00"),
    ]


Step = tuple[str, int, int]


def told(steps: list[Step], *, short: bool) -> dict[str, Any]:
    """What becomes of a tale, with and without the short way."""
    flown = 0

    async def go(folder: str) -> dict[str, Any]:
        nonlocal flown
        worker = Worker(wiring(folder), 0)
        if not short:
            worker.server.short = None
        take = worker.express._send

        def send(flight: Any, live: Any) -> None:
            nonlocal flown
            flown += 1
            take(flight, live)

        worker.express._send = send  # type: ignore[method-assign]
        waiting: list[tuple[Wire, bytes]] = []
        asked: list[bytes] = []
        connecting: list[Connection] = []
        wires: list[list[Wire]] = [[] for _ in range(CLIENTS)]

        def connect_client(i: int) -> None:
            wire = Wire()
            wire.protocol = Inbound(worker.server)
            wires[i].append(wire)
            wire.protocol.connection_made(wire)

        class Target(Wire):
            def write(self, data: bytes) -> None:
                super().write(data)
                waiting.append((self, data))
                asked.append(data)

        def connect(pool: Pool, on_done: Callable[..., None]) -> Any:
            wire = Target()
            connection = wire.protocol = Connection(pool)
            connection.connection_made(wire)  # type: ignore[arg-type]
            pool.open += 1
            connecting.append(connection)

            def done() -> None:
                connecting.remove(connection)
                on_done(connection, None)

            return asyncio.get_running_loop().call_soon(done)

        async def turn() -> None:
            for _ in range(4):
                await asyncio.sleep(0)

        for i in range(CLIENTS):
            connect_client(i)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Pool, "connect", connect)
            for verb, i, j in steps:
                if verb == "answer" and (worker.express._requests or connecting):
                    await turn()  # a target cannot answer what was held back; and who waits for a connection is asked as soon as the others
                if verb == "ask":
                    wire = wires[i % CLIENTS][-1]
                    if worker.express.flown or (wire.protocol.current is not None and (worker.express.answers or worker.express._requests)):
                        await turn()  # nor can a client know an answer in the turn in which it came
                    if wire.closed:
                        connect_client(i % CLIENTS)
                    elif wire.protocol.current is None:
                        wire.protocol.data_received(REQUESTS[j % len(REQUESTS)])
                elif verb == "answer" and waiting:
                    wire, data = waiting.pop(i % len(waiting))
                    if not wire.closed:
                        good = answers_to(data)
                        piece = good[j % len(good)] if j < 1000 else good[0]
                        if piece:
                            cut = j % len(piece) if j % 3 == 0 else len(piece)
                            wire.protocol.data_received(piece[:cut])
                            if cut < len(piece) and not wire.closed:
                                wire.protocol.data_received(piece[cut:])
                        else:
                            wire.close()
                elif verb == "leave":
                    await turn()  # what was held was heard before it left, and what comes after it is not
                    wires[i % CLIENTS][-1].close()
                    await turn()
                elif verb == "drop":
                    wires[i % CLIENTS][-1].protocol.connection_lost(None)
                elif verb == "turn":
                    await turn()
            await turn()
            for wire in [w for row in wires for w in row]:
                wire.close()
            await turn()
            worker.ledger.flush()
            entries, torn = ledger.read(Path(folder) / "ledger") if list((Path(folder) / "ledger").glob("w*")) else ([], 0)
            live = worker.live
            times = (10, 11, 12)  # columns of the tally that hold times
            out = {
                "asked": sorted(asked),
                "heard": [re.sub(rb"ps-[0-9a-f]{10}", b"ps", b"".join(w.out)) for row in wires for w in row],
                "entries": [
                    {k: v for k, v in msgspec.structs.asdict(e).items() if k not in ("id", "at_s", "ttft_s", "seconds")} | {"n": e.id[-8:]}
                    for e in sorted(entries, key=lambda e: (e.id[-8:], e.kind, e.attempts))
                ],
                "torn": torn,
                "tally": [[n for c, n in enumerate(row) if c not in times] for row in live.tally],
                "budgets": [(live.budgets.spent(b), live.budgets.reserved(b)) for b in range(2)],
                "health": (live.health.failures, live.health.reason, live.health.shut, live.health.requests, live.health.probing),
                "router": (live.router.load, live.router._credit, live.router._carried, sorted(live.router._sessions)),
                "refused": worker.refused,
                "left": len(worker.exchanges),
                "counter": worker.counter,
            }
            worker.ledger.close()
            live.close()
            return out

    with TemporaryDirectory() as folder:
        out = asyncio.run(go(folder))
    out["flown"] = flown
    return out


step = st.one_of(
    st.tuples(st.just("ask"), st.integers(0, CLIENTS - 1), st.one_of(st.integers(0, 1), st.integers(0, len(REQUESTS) - 1))),
    st.tuples(st.just("answer"), st.integers(0, 3), st.one_of(st.just(1000), st.just(1000), st.integers(0, 999))),
    st.tuples(st.just("leave"), st.integers(0, CLIENTS - 1), st.just(0)),
    st.tuples(st.just("turn"), st.just(0), st.just(0)),
    st.tuples(st.just("turn"), st.just(0), st.just(0)),
)
WARM: list[Step] = [
    s for j in [0, 3, 5, 2, *range(len(REQUESTS))] for _ in range(3) for s in (("ask", j, j), ("turn", 0, 0), ("answer", 0, 1000), ("turn", 0, 0))
]
FULL: list[Step] = [("ask", i, i & 1) for i in range(CLIENTS)] + [("turn", 0, 0)] + [("answer", 0, 1000)] * CLIENTS + [("turn", 0, 0)]


def same(steps: list[Step]) -> int:
    long, quick = told(steps, short=False), told(steps, short=True)
    flown = int(quick.pop("flown"))
    assert not long.pop("flown")
    for name, value in long.items():
        assert quick[name] == value, name
    return flown


def test_answers_whose_heads_are_always_new_fly_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is left of a rate limit, an id, a date: real targets never say the same head twice, and only the first is parsed."""
    parsed = 0
    parse = Connection.parse

    def counted(self: Connection, data: bytes) -> None:
        nonlocal parsed
        parsed += 1
        parse(self, data)

    monkeypatch.setattr(Connection, "parse", counted)
    new = [k for k, a in enumerate(answers_to(b"")) if b"keep-alive\r\ncontent" in a and b"ratelimit" in a and k % 3]  # in one piece each
    assert len(new) >= 2
    told([s for n in range(24) for s in (("ask", 0, 0), ("turn", 0, 0), ("answer", 0, new[n % len(new)]), ("turn", 0, 0))], short=True)
    assert parsed <= 4  # the first of each of two targets, and one more that began on the long way


def test_a_target_that_never_names_the_same_headers_is_not_studied_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    made = 0
    compiled = heads.re.compile

    def counted(pattern: bytes) -> Any:
        nonlocal made
        made += 1
        return compiled(pattern)

    monkeypatch.setattr(heads.re, "compile", counted)
    answers = heads.Answers()
    for n in range(3_000):
        answers.keep(answer(MESSAGE, b"x-%d: y\r\n" % n))
    assert 50 <= made < 60
    answers._vain = 0
    answers.keep(answer(MESSAGE))
    found = answers.find(answer(MESSAGE, b"request-id: other\r\n").partition(b"\r\n\r\n")[0] + b"\r\n\r\n")
    assert found is not None and (found.id, found.length) == ("other", len(json.dumps(MESSAGE)))


def test_usual_requests_fly() -> None:
    assert same(WARM) > 30
    assert same(WARM + 3 * FULL) > 40
    refused: list[Step] = [*WARM[:24], *(2 * FULL), ("ask", 0, 18), ("ask", 1, 0), ("answer", 0, 1000), ("ask", 0, 0)]
    assert same(refused) > 8, "one that is refused is not overtaken by the next"


def test_an_answer_that_was_held_counts_though_its_client_leaves() -> None:
    """It has come, and is paid for."""
    tale: list[Step] = [*WARM[:8], *FULL, ("ask", 0, 0), ("ask", 1, 0), ("turn", 0, 0), ("answer", 0, 1000), ("answer", 0, 1000)]
    told_ = told([*tale, ("drop", 0, 0), ("drop", 1, 0), ("turn", 0, 0)], short=True)
    assert [e["outcome"] for e in told_["entries"]] == ["ok"] * 8
    assert told_["left"] == 0
    assert told_["budgets"][0][1] == 0


@settings(max_examples=120, deadline=None)
@given(st.lists(step, min_size=4, max_size=40), st.booleans())
@example([("turn", 0, 0), ("ask", 0, 4), ("ask", 1, 4), ("answer", 1, 1000)], True)
@example([("ask", 0, 0), ("leave", 1, 0), ("answer", 0, 1000), ("ask", 0, 2)], True)
def test_twins(steps: list[Step], crowded: bool) -> None:
    """Whatever clients and targets say, in whatever order, alone or many in one turn of the loop."""
    same([*WARM[:24], *(2 * FULL if crowded else []), *steps])


def test_an_answer_that_cannot_be_handed_on_takes_no_other_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """All that came in one turn are settled together; then each is handed on, whatever becomes of the one before."""
    answered = Inbound.answered
    handed: list[int] = []

    def faulty(self: Inbound, request: Any, now_s: float = 0.0) -> None:
        if isinstance(request, Flight):
            handed.append(request.number)
            if request.number == 11:
                raise ZeroDivisionError
        answered(self, request, now_s)

    tale = [*WARM[:24], *(2 * FULL)]
    usual = told(tale, short=True)
    monkeypatch.setattr(Inbound, "answered", faulty)
    found = told(tale, short=True)
    assert handed[-4:] == [11, 12, 13, 14]  # of one turn
    assert found["budgets"] == usual["budgets"]
    assert found["entries"] == usual["entries"]
    assert found["left"] == 0


def test_one_that_fails_takes_no_other_with_it(tmp_path: Path) -> None:
    """A fault of ours cuts one connection; what else was held comes in the next turn."""

    async def go() -> tuple[list[int], list[bool]]:
        worker = Worker(wiring(str(tmp_path)), 0)
        wires = [Wire(), Wire(), Wire()]
        for wire in wires:
            wire.protocol = Inbound(worker.server)
            wire.protocol.connection_made(wire)
        seen: list[int] = []

        def fly(inbound: Inbound, head: Head, body: bytes, trace: bytes, now_s: float, wall_s: float) -> bool:
            seen.append(len(body))
            if body == b"1":
                raise ZeroDivisionError
            return True

        worker.express.fly = fly  # type: ignore[method-assign]
        worker.express.busy = True
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)
        for wire, body in zip(wires, [b"1", b"22", b"333"], strict=True):
            assert worker.express.take(wire.protocol, Head(b"POST", b"/", b"", {}), body, b"")
        for _ in range(5):
            await asyncio.sleep(0)
        closed = [wire.closed for wire in wires]
        worker.ledger.close()
        worker.live.close()
        return seen, closed

    assert asyncio.run(go()) == ([1, 2, 3], [True, False, False])
