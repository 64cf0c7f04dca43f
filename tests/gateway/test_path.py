"""The data path's short cuts say what the long way says: remembered heads, a parser used again, sums done once per lane."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from itertools import pairwise

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from rig import Rig, ask, endpoint, post

from polysilicon.cloud.token_price import TokenPrice
from polysilicon.errors import MissingFact, UpstreamError
from polysilicon.gateway import http, upstream
from polysilicon.gateway.tariff import Meter, Tariff, compile_price, cost_nano_usd, list_nano_usd, meter_nano_usd
from polysilicon.gateway.upstream import Connection, Pool
from polysilicon.gateway.usage import Used

HEAD = (
    b"POST /v1/messages?x=1 HTTP/1.1\r\nhost: x\r\nx-api-key: k\r\nconnection: keep-alive\r\nx-note: content-length: 9\r\n"
    b"content-length: %d\r\nx-last: 1\r\n\r\n"
)


NEW = [b"", b"\r\n", b"\n", b"1", b"+", b" ", b"content-length: 3\r\n", b"\x00", b"{}", HEAD]


class Transport:
    """What a protocol writes to."""

    def __init__(self) -> None:
        self.out = b""
        self.closed = False

    def write(self, data: bytes) -> None:
        self.out += data

    def get_extra_info(self, name: str) -> None:
        return None

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    abort = close

    def pause_reading(self) -> None:
        pass

    resume_reading = pause_reading


def heard(pieces: list[bytes], warm: list[bytes]) -> tuple[list[object], bytes, int]:
    """What a server makes of the pieces, after it has answered the warm ones on another connection; and how many heads it remembers."""
    seen: list[object] = []

    async def go() -> tuple[bytes, int]:
        def handle(request: http.Request) -> None:
            headers = {name: value for name, value in request.headers.items() if name != b"content-length"}
            seen.append((request.method, request.path, request.query, headers, request.body, request.keep_alive))
            request.respond(200, b"{}")

        server = http.Server(handle, http.Limits(body_bytes=2_000, head_bytes=1_000))
        for batch in (warm, pieces):
            connection = http.Inbound(server)
            transport = Transport()
            connection.connection_made(transport)  # type: ignore[arg-type]
            seen.clear()
            for piece in batch:
                if not transport.closed:
                    connection.data_received(piece)
                await asyncio.sleep(0)
                await asyncio.sleep(0)
        return transport.out, len(server.heads)

    out, heads = asyncio.run(go())
    return seen, out, heads


def test_a_head_that_comes_again_is_remembered() -> None:
    said = [HEAD % 5 + b"hello", HEAD % 2 + b"{}", HEAD % 3 + b"abc"]
    seen, _, heads = heard(said, [])
    assert heads == 1
    assert [s[4] for s in seen] == [b"hello", b"{}", b"abc"]  # type: ignore[index]
    assert seen[2:] == heard(said[2:], said)[0]
    assert heard([HEAD % 5 + b"hello"], [])[2] == 0, "once is not again"
    chunked = b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"
    assert heard([chunked] * 3, [])[2] == 0
    expecting = b"POST / HTTP/1.1\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\n{}"
    assert heard([expecting] * 3, [])[2] == 0


@settings(max_examples=300, deadline=None)
@given(
    edits=st.lists(st.tuples(st.integers(0, 400), st.sampled_from(NEW), st.integers(0, 3)), max_size=4),
    cuts=st.lists(st.integers(0, 700), max_size=2),
    length=st.integers(0, 6),
    begun=st.sampled_from([b"", b"\r\n", b"POST /v1/messages HTTP/1.1\r\nx-a: ", b"POST / HTTP/1.1\r\ncontent-length: 300\r\n\r\n"]),
)  # fmt: skip
@example(edits=[], cuts=[len(HEAD % 5) + 5 + 33], length=5, begun=b"POST /v1/messages HTTP/1.1\r\nx-a: ")
def test_remembered_heads_change_nothing(edits: list[tuple[int, bytes, int]], cuts: list[int], length: int, begun: bytes) -> None:
    """Whatever is changed in a message, in whatever pieces it comes, behind whatever was begun: a server that remembers its head says what
    one that does not says.
    """
    raw = HEAD % length + b"hello"
    for at, new, gone in edits:
        raw = raw[:at] + new + raw[at + gone :]
    if begun:
        raw = HEAD % 5 + b"hello" + begun + raw
    borders = sorted({0, len(raw), *[c for c in cuts if c < len(raw)]})
    pieces = [raw[a:b] for a, b in pairwise(borders)] + [HEAD % 2 + b"{}"]
    warm = [HEAD % 5 + b"hello", HEAD % 5 + b"hello"]
    assert heard(pieces, warm)[2] >= 1
    cold_seen, cold_out, _ = heard(pieces, [])
    warm_seen, warm_out, _ = heard(pieces, warm)
    assert (warm_seen, warm_out) == (cold_seen, cold_out)


class Caller:
    """Takes an answer."""

    def __init__(self) -> None:
        self.status, self.body, self.end, self.lost = 0, b"", False, ""

    def upstream_head(self, status: int, headers: dict[bytes, bytes]) -> None:
        self.status = status

    def upstream_data(self, data: bytes) -> None:
        self.body += data

    def upstream_end(self) -> None:
        self.end = True

    def upstream_lost(self, error: UpstreamError) -> None:
        self.lost = error.message


STREAM = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"


ODD = [
    b"0\r\n\r\n", b"5\r\nhel", b"lo\r\n", b"1", b"0\r\n", b"\r\n", b"-1\r\n\r\n", b"+3\r\nabc\r\n", b"3\r\nabc\r\n3\r\nabc\r\n", b"3\r\nabcd\r",
]  # fmt: skip
text = st.binary(min_size=1, max_size=30)


@settings(max_examples=300, deadline=None)
@given(
    pieces=st.lists(st.one_of(
        text.map(lambda b: b"%x\r\n%b\r\n" % (len(b), b)), text.map(lambda b: b"%X;x=1\r\n%b\r\n" % (len(b), b)), st.sampled_from(ODD),
    ), max_size=8),
    begun=st.sampled_from([
        STREAM, STREAM[:-2], STREAM + b"2\r\nab\r\n", STREAM + b"2\r\nab\r\n1", b"HTTP/1.1 200 OK\r\ncontent-length: 30\r\n\r\n",
    ]),
)  # fmt: skip
@example(pieces=[b"3\r\nabc\r\n"], begun=STREAM + b"2\r\nab\r\n1")
def test_whole_chunks_past_the_parser_change_nothing(pieces: list[bytes], begun: bytes) -> None:
    """A connection that lets whole chunks past its parser hears what one that parses everything does."""

    async def hear() -> tuple[int, bytes, bool, str, bool]:
        connection, transport, caller = Connection(Pool("x", 1)), Transport(), Caller()
        connection.connection_made(transport)  # type: ignore[arg-type]
        connection.send(caller, b"")
        for piece in (begun, *pieces):
            if not transport.closed:
                connection.data_received(piece)
        return caller.status, caller.body, caller.end, caller.lost, transport.closed

    short = asyncio.run(hear())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(upstream, "one_chunk", lambda data: b"")
        assert asyncio.run(hear()) == short


ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"


@pytest.mark.parametrize("more", [ANSWER, ANSWER[:20], b"HTTP/1.1 2"])
def test_what_comes_after_an_answer_is_never_taken_for_the_next(more: bytes) -> None:
    async def go() -> None:
        pool = Pool("x", 1)
        connection = Connection(pool)
        transport = Transport()
        connection.connection_made(transport)  # type: ignore[arg-type]
        first, second, third = Caller(), Caller(), Caller()
        for caller in (first, second):
            connection.send(caller, b"")
            connection.data_received(ANSWER[:30])
            connection.data_received(ANSWER[30:])
            assert (caller.status, caller.body, caller.end) == (200, b"{}", True)
            assert pool.idle() is connection
        connection.send(third, b"")
        connection.data_received(ANSWER + more)
        assert not third.end
        assert "more than one answer" in third.lost
        assert transport.closed
        assert pool.idle() is None

    asyncio.run(go())


rate = st.integers(-1, 40_000_000)
count = st.integers(0, 1_000_000)


@settings(max_examples=300, deadline=None)
@given(
    rates=st.tuples(rate, rate, rate, rate, rate), whole=st.booleans(), batch=st.booleans(), long=st.booleans(), factor=st.booleans(),
    discount=st.sampled_from([0.0, 0.15, 0.333]), provisioned=st.booleans(), tokens=st.tuples(count, count, count, count, count),
    tier=st.sampled_from(["", "standard", "batch", "priority"]),
)  # fmt: skip
def test_a_meter_is_its_tariff(
    rates: tuple[int, int, int, int, int], whole: bool, batch: bool, long: bool, factor: bool, discount: float, provisioned: bool,
    tokens: tuple[int, int, int, int, int], tier: str,
) -> None:  # fmt: skip
    if whole:
        rates = tuple(max(0, r) // 1000 * 1000 for r in rates)  # type: ignore[assignment]
    half = tuple(r // 2 if r > 0 else r for r in rates)
    tariff = Tariff("v", rates, half if batch else None, half if long else None, 200_000 if long else 0, discount,  # type: ignore[arg-type]
                    {"tier:priority": 1.7} if factor else {}, provisioned)  # fmt: skip
    used = Used(*tokens, tier=tier)
    try:
        expected = meter_nano_usd(tariff, used), list_nano_usd(tariff, used), cost_nano_usd(tariff, used)
    except MissingFact:
        with pytest.raises(MissingFact):
            Meter(tariff).price(used, tokens)
        return
    assert Meter(tariff).price(used, tokens) == expected
    assert Meter(tariff).cost_nano_usd(used, tokens) == expected[2]


def test_a_moved_price_is_the_next_requests_price(rig: Callable[..., Rig]) -> None:
    """Lanes are made anew under a new directive: price version, plan number and the others' costs follow at once."""
    r = rig([endpoint("a", "claude"), endpoint("b", "claude")], weights=[1.0, 0.0])
    post(r, ask())
    live = r.worker.live
    dearer = compile_price(TokenPrice("opus", "x", 50.0, 250.0, valid_from="2026-11-01"))
    directive = msgspec.structs.replace(live.router.directive, number=2, tariffs={0: dearer, 1: dearer})
    r.call(lambda: live.table.write(directive))
    _, headers, _ = post(r, ask())
    before, after = r.ledger(2)
    assert headers["x-polysilicon-price"] == after.price_version == dearer.version != before.price_version
    assert headers["x-polysilicon-plan"].endswith("/2")
    assert int(headers["x-polysilicon-cost-nano-usd"]) == after.cost_nano_usd == after.fresh_tokens * 50_000 + after.output_tokens * 250_000
    assert after.others == {"opus@b": after.cost_nano_usd}
