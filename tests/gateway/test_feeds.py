"""Feeds that hang, drip or send garbage: the others are read, and the broker ticks on."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from test_broker import wiring

from polysilicon.gateway.broker.quotes import Feed
from polysilicon.gateway.config import BrokerPart, QuotePart
from polysilicon.gateway.controller import Controller
from polysilicon.gateway.serving import tick_forever


class Says:
    """A server that answers every connection with the same bytes, or with nothing."""

    def __init__(self, said: bytes | None) -> None:
        self.server = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.server.getsockname()[1]}/"
        self.said = said
        self.open: list[socket.socket] = []
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self.server.accept()
                self.open.append(client)
                if self.said is not None:
                    client.recv(9999)
                    client.sendall(self.said)
                    client.close()

    def end(self) -> None:
        self.server.close()
        for client in self.open:
            client.close()


GARBAGE = [
    b"SSH-2.0-OpenSSH_9.2\r\n", b"", b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n[", b"HTTP/1.1 500 No\r\n\r\n",
    b"HTTP/1.1 200 OK\r\n\r\n\x00\xff[{", b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n", b'HTTP/1.1 200 OK\r\n\r\n[{"target":7}]',
]  # fmt: skip


@pytest.mark.parametrize("said", GARBAGE)
def test_garbage_is_a_problem_told_and_the_last_good_word_stands(said: bytes) -> None:
    server = Says(said)
    feed = Feed(QuotePart(url=server.url), [])
    feed.quotes = kept = []
    feed.read(1.0)
    server.end()
    assert server.url in feed.problem
    assert feed.quotes is kept


@pytest.fixture
def silent() -> Iterator[Says]:
    one = Says(None)
    yield one
    one.end()


def test_a_feed_that_hangs_holds_nobody_up(tmp_path: Path, silent: Says) -> None:
    """The file beside it is read and followed, tick after tick, while the one that hangs is still being waited for."""
    file = tmp_path / "quotes.json"
    file.write_text("[]")
    w = msgspec.structs.replace(wiring([3.0, 3.1]), state=str(tmp_path / "state"))
    parts = (QuotePart(url=silent.url, every_s=0.01), QuotePart(file=str(file), every_s=0.01))
    settings = BrokerPart(mode="price", quotes=parts, tick_s=0.01, dwell_s=0.0, dwell_large_gain_s=0.0, ramp_per_minute_frac=1e6)
    controller = Controller(w, broker=settings)

    async def go() -> None:
        ticking = asyncio.create_task(tick_forever(lambda: controller))
        for dear, cheap in ((0, 1), (1, 0), (0, 1)):
            before = len(silent.open)
            file.write_text(json.dumps([{"target": f"t{dear}", "factor": 2.0}, {"target": f"t{cheap}", "factor": 1.0}]))
            async with asyncio.timeout(60):
                while controller.broker.directive.weights[0][cheap] < 1.0:
                    await asyncio.sleep(0.005)
            assert len(silent.open) - before <= 1 or controller.feeds[0].problem, "asked again only once it has given up"
        ticking.cancel()

    asyncio.run(go())
    controller.close()


def test_a_tick_that_fails_is_told_and_the_next_one_comes(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    w = msgspec.structs.replace(wiring([3.0, 3.1]), state=str(tmp_path / "state"))
    controller = Controller(w, broker=BrokerPart(tick_s=0.001))
    real, ticks = controller.tick, []

    def tick(now_s: float | None = None) -> object:
        ticks.append(1)
        if len(ticks) == 1:
            raise ZeroDivisionError("by chance")
        return real(now_s)

    controller.tick = tick  # type: ignore[method-assign,assignment]

    async def go() -> None:
        ticking = asyncio.create_task(tick_forever(lambda: controller))
        async with asyncio.timeout(60):
            while len(ticks) < 5:
                await asyncio.sleep(0.005)
        ticking.cancel()

    asyncio.run(go())
    assert "by chance" in capfd.readouterr().err
    controller.close()
