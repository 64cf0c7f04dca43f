"""Content that goes from the target to the client as it came is what the long way would have said, whatever else the stream holds."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from test_express import Wire, request, said, wiring

from polysilicon.gateway import ledger
from polysilicon.gateway.attempt import Attempt
from polysilicon.gateway.http import Inbound
from polysilicon.gateway.upstream import Connection
from polysilicon.gateway.worker import Worker

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


def event(name: str, **data: object) -> bytes:
    return f"event: {name}\ndata: {json.dumps({'type': name, **data})}\n\n".encode()


def delta(text: str) -> bytes:
    return event("content_block_delta", index=0, delta={"type": "text_delta", "text": text})


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


START = event("message_start", message={"id": "m", "usage": {"input_tokens": 10, "output_tokens": 1}})
STOP = event("message_delta", delta={"stop_reason": "end_turn"}, usage={"output_tokens": 5}) + event("message_stop")
ERROR = event("error", error={"type": "overloaded_error", "message": "no"})
HALF, CUT = delta("half"), chunk(delta("cut"))
PIECES = [
    *(chunk(delta(text)) for text in ("w", "w", "an error", '"usage":1', "event: message_stop\n\n", "\u00e9\r")),
    chunk(delta("a") + delta("b")), chunk(delta("a")) + chunk(delta("b")), chunk(HALF[:30]), chunk(HALF[30:]), CUT[:25], CUT[25:],
    chunk(delta("crlf").replace(b"\n", b"\r\n")), chunk(delta("mixed")[:-2] + b"\r\n\r\n" + event("ping")), chunk(delta("a") + ERROR),
    chunk(event("ping")), chunk(STOP), chunk(START), b"0\r\n\r\n", chunk(ERROR), chunk(b"event: content_block_delta\n\n\n"), b"nonsense", b"",
]  # fmt: skip


def heard(pieces: list[bytes], *, old: bool) -> tuple[list[bytes], list[dict[str, object]], int]:
    """What a client hears, in how it was written; the ledger; and how many pieces were passed on as they came."""
    passed = 0
    relay = Attempt._relay

    def counted(self: Attempt, data: bytes) -> bool:
        nonlocal passed
        taken = relay(self, data)
        passed += taken
        return taken

    async def go(folder: str) -> tuple[list[bytes], list[dict[str, object]]]:
        worker = Worker(wiring(folder), 0)
        client, target = Wire(), Wire()
        client.protocol = Inbound(worker.server)
        client.protocol.connection_made(client)
        pool = worker.live.pools[0]
        connection = target.protocol = Connection(pool)
        connection.connection_made(target)  # type: ignore[arg-type]
        pool.open += 1
        pool.release(connection)
        asked = request(said(stream=True))
        client.protocol.data_received(asked.replace(b"HTTP/1.1", b"HTTP/1.0", 1) if old else asked)
        for _ in range(4):
            await asyncio.sleep(0)
        for piece in (HEAD + chunk(START + delta("first")), *pieces):
            if target.closed or not connection.caller:
                break
            if piece:
                connection.data_received(piece)
            else:
                client.close()
                await asyncio.sleep(0)
        target.close()
        for _ in range(8):
            await asyncio.sleep(0)
        worker.ledger.flush()
        entries = ledger.read(Path(folder) / "ledger")[0]
        worker.ledger.close()
        worker.live.close()
        times = ("id", "at_s", "ttft_s", "seconds")
        return client.out[1:], [{k: v for k, v in msgspec.structs.asdict(e).items() if k not in times} for e in entries]

    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(Attempt, "_relay", counted)
        out, entries = asyncio.run(go(folder))
    return out, entries, passed


@settings(max_examples=200, deadline=None)
@given(st.lists(st.one_of(st.sampled_from(PIECES[:2]), st.sampled_from(PIECES)), max_size=10), st.booleans())
@example([PIECES[8], PIECES[0], PIECES[9], chunk(STOP), b"0\r\n\r\n"], False)
@example([PIECES[0], b"", PIECES[0]], False)
def test_content_that_goes_on_as_it_came_changes_nothing(pieces: list[bytes], old: bool) -> None:
    short = heard(pieces, old=old)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Attempt, "relay_to", lambda self, client: None)
        long = heard(pieces, old=old)
    assert short[:2] == long[:2]
    assert long[2] == 0


def test_content_goes_on_as_it_came() -> None:
    tokens = [chunk(delta(f"t{i}")) for i in range(20)]
    out, (entry,), passed = heard([*tokens, chunk(STOP), b"0\r\n\r\n"], old=False)
    assert passed == 20
    assert out[1:21] == tokens
    assert (entry["outcome"], entry["output_tokens"]) == ("ok", 5)
    out, (entry,), passed = heard(tokens, old=False)
    assert (passed, entry["outcome"], entry["output_tokens"], entry["estimated"]) == (20, "cut", 21, True), "what went on is counted where it is cut"
    assert heard(tokens, old=True)[2] == 0, "HTTP/1.0 knows no chunks"
