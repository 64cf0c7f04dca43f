"""TLS to a target: any pieces, large answers, the other side's close and nonsense, sessions that are resumed, names that must match."""

from __future__ import annotations

import asyncio
import ssl
import subprocess
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from polysilicon.errors import UpstreamError
from polysilicon.gateway.upstream import Connection, Pool

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tls")
    names = "subjectAltName=DNS:localhost"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost", "-addext", names]
    subprocess.run([*command, "-keyout", str(folder / "k.pem"), "-out", str(folder / "c.pem")], check=True, capture_output=True)
    both = folder / "both.pem"
    both.write_bytes((folder / "k.pem").read_bytes() + (folder / "c.pem").read_bytes())
    return both


class Caller:
    def __init__(self) -> None:
        self.status, self.body, self.pieces = 0, b"", 0
        self.done: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def upstream_head(self, status: int, headers: dict[bytes, bytes]) -> None:
        self.status = status

    def upstream_data(self, data: bytes) -> None:
        self.body += data
        self.pieces += 1

    def upstream_end(self) -> None:
        self.done.set_result("")

    def upstream_lost(self, error: UpstreamError) -> None:
        self.done.set_result(error.message)


def talk(certificate: Path, serve: Serve, says: list[bytes], *, version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3, host: str = "localhost") -> Any:
    """Ask a TLS server, one request a connection unless it is kept; return what came of each, and the pool's last session."""

    async def go() -> list[tuple[int, bytes, str, int]]:
        ours = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        ours.load_cert_chain(certificate)
        ours.maximum_version = version
        server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=ours)
        theirs = ssl.create_default_context(cafile=str(certificate))
        pool = Pool("127.0.0.1", server.sockets[0].getsockname()[1], tls=theirs, connect_timeout_s=2.0)
        pool.host = host
        pool._address = ("127.0.0.1", 1e18)
        out = []
        for said in says:
            connection = pool.idle()
            if connection is None:
                made: asyncio.Future[tuple[Connection | None, UpstreamError | None]] = asyncio.get_running_loop().create_future()
                pool.connect(lambda c, e, made=made: made.set_result((c, e)))  # type: ignore[misc]
                connection, error = await made
                if connection is None:
                    assert error is not None
                    out.append((0, b"", error.message, 0))
                    continue
            caller = Caller()
            connection.send(caller, said)
            async with asyncio.timeout(5):
                words = await caller.done
            out.append((caller.status, caller.body, words, len(caller.body) and caller.pieces))
        pool.close()
        server.close()
        return out

    return asyncio.run(go())


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer with what was asked, in odd pieces."""
    while True:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError:
            break
        length = int(head.split(b"content-length: ")[1].split(b"\r")[0])
        body = await reader.readexactly(length)
        answer = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (length, body)
        for at in range(0, len(answer), 70_001):
            writer.write(answer[at : at + 70_001])
            await writer.drain()
    writer.close()


def post(body: bytes) -> bytes:
    return b"POST / HTTP/1.1\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_what_is_sent_comes_back(certificate: Path, version: ssl.TLSVersion) -> None:
    bodies = [b"x", b"y" * 500, bytes(range(256)) * 4_000, b"z"]
    out = talk(certificate, echo, [post(b) for b in bodies], version=version)
    assert [(status, body, words) for status, body, words, _ in out] == [(200, b, "") for b in bodies]


def test_a_name_that_does_not_match_is_refused(certificate: Path) -> None:
    [(_, _, words, _)] = talk(certificate, echo, [post(b"x")], host="example.com")
    assert words.startswith("TLS failed")


def test_an_unknown_issuer_is_refused(certificate: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ssl, "create_default_context", lambda cafile=None: ssl._create_default_https_context())
    [(_, _, words, _)] = talk(certificate, echo, [post(b"x")])
    assert "CERTIFICATE_VERIFY_FAILED" in words


def test_a_close_ends_an_answer_without_a_length_and_cuts_one_with(certificate: Path) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        said = await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\n\r\nall of it" if b"0" in said else b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\nhalf")
        writer.close()

    out = talk(certificate, serve, [post(b""), b"POST / HTTP/1.1\r\n\r\n"])
    assert [row[:3] for row in out[:1]] == [(200, b"all of it", "")]
    assert out[1][2] == "closed in the middle of its answer"


def test_plain_words_on_a_sealed_connection_cut_it(certificate: Path) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        raw = writer.transport.get_extra_info("socket")
        import os

        os.write(raw.fileno(), b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")
        await asyncio.sleep(0.2)
        writer.close()

    [(status, body, words, _)] = talk(certificate, serve, [post(b"")])
    assert (status, body, words) == (0, b"", "closed without an answer")


def test_sessions_are_resumed(certificate: Path) -> None:
    seen: list[bool] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        seen.append(writer.get_extra_info("ssl_object").session_reused)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}")
        writer.close()

    out = talk(certificate, serve, [post(b"")] * 3)
    assert [row[1] for row in out] == [b"{}"] * 3
    assert seen == [False, True, True]
