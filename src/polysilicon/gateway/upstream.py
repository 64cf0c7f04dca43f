"""The side models are on: keep-alive pools of HTTP/1.1 connections, one pool a target; answers are handed on piece by piece."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections import deque
from collections.abc import Callable
from typing import Protocol, cast

import httptools

from polysilicon.errors import UpstreamError
from polysilicon.gateway.heads import Answers
from polysilicon.gateway.tls import Sealed

MAX_HEAD_BYTES = 64 * 1024
_LINE = b"\r\n"
_SPARE_AFTER_S = 0.005  # a connection made ahead of need is begun when the request that used one up has most likely had its first words


def one_chunk(data: bytes) -> bytes:
    r"""Return what a piece carries that is one whole chunk, as plain as can be; else nothing.

    >>> one_chunk(b"5\r\nhello\r\n"), one_chunk(b"05\r\nhello\r\n"), one_chunk(b"0\r\n\r\n")
    (b'hello', b'', b'')
    """
    at = data.find(_LINE, 0, 8)
    size = len(data) - at - 4
    if at > 0 and size > 0 and data[:at] == b"%x" % size and data.endswith(_LINE):
        return data[at + 2 : -2]
    return b""


Relay = Callable[[bytes], bool]  # takes a piece, or leaves it and returns False


class Caller(Protocol):
    """Who asked, and takes the answer as it comes."""

    def upstream_head(self, status: int, headers: dict[bytes, bytes]) -> None:
        """Take the answer's head."""

    def upstream_data(self, data: bytes) -> None:
        """Take some of the body."""

    def upstream_end(self) -> None:
        """Learn that the answer is whole."""

    def upstream_lost(self, error: UpstreamError) -> None:
        """Learn that there will be no (more) answer."""


class Quick(Protocol):
    """Who asked the short way: takes a usual answer that comes in one piece, and makes way for a `Caller` where it is not usual."""

    def hear(self, connection: Connection, data: bytes) -> bool:
        """Take the first piece of an answer; or put a caller in place and return False."""

    def lost(self) -> None:
        """Learn that the connection is closed: put a caller in place, unless the answer has come."""


class Connection(asyncio.Protocol):
    """One connection to a target; carries one exchange at a time."""

    __slots__ = ("_between", "_body", "_chunk_over", "_done", "_error", "_head_bytes", "_headers", "_in_body", "_keep", "_parser", "_until_close",
                 "caller", "closed", "fresh", "idle_since_s", "pool", "quick", "received_bytes", "relay", "transport")  # fmt: skip

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self.caller: Caller | None = None
        self.quick: Quick | None = None  # asked the short way; then there is no caller yet
        self.relay: Relay | None = None  # may take what comes between two chunks past the parser and the caller
        self.closed = False
        self.fresh = True
        self.idle_since_s = 0.0
        self.received_bytes = 0
        self._error = ""
        self._parser = httptools.HttpResponseParser(self)
        self._headers: dict[bytes, bytes] = {}
        self._body: list[bytes] = []
        self._done = False
        self._keep = False
        self._in_body = False
        self._until_close = False
        self._head_bytes = 0
        self._chunk_over = False
        self._between = False  # the parser waits for a chunk: one that comes whole need not be parsed

    def _reset(self) -> None:
        """Be ready for the next answer; after a whole one that keeps the connection open the parser is, too."""
        self._headers = {}
        self._done = False
        self._in_body = False
        self._head_bytes = 0
        self._chunk_over = self._between = False
        self.relay = None
        self.received_bytes = 0

    def send(self, caller: Caller, data: bytes) -> None:
        """Send one request; the answer goes to `caller`."""
        self.caller = caller
        self.transport.write(data)

    def drop(self) -> None:
        """Let go: whatever still comes is for nobody."""
        self.caller = self.relay = None
        if not self.closed:
            self.closed = True
            self.pool.open -= 1
            self.transport.abort()

    def slow(self, slow: bool) -> None:
        """Read no faster than the client does."""
        if not self.closed:
            if slow:
                self.transport.pause_reading()
            else:
                self.transport.resume_reading()

    # --- the transport's calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send small writes at once."""
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is one in all but name
        plain = self.transport.get_extra_info("socket")
        if plain is not None and plain.family in (socket.AF_INET, socket.AF_INET6):
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def connection_lost(self, exc: Exception | None) -> None:
        """Take the end: an answer without a stated length is whole, any other is cut."""
        if self.quick is not None:
            self.quick.lost()
        if not self.closed:
            self.closed = True
            self.pool.open -= 1
        self.pool.forget(self)
        del self._parser  # it holds us
        caller, self.caller = self.caller, None
        if caller is None:
            return
        if self._in_body and self._until_close and exc is None:
            caller.upstream_end()
        else:
            words = self._error or ("closed in the middle of its answer" if self.received_bytes else "closed without an answer")
            caller.upstream_lost(UpstreamError(words))

    def data_received(self, data: bytes) -> None:
        """Take some of an answer."""
        relay = self.relay
        if relay is not None and self._between and relay(data):
            return
        quick = self.quick
        if quick is None or not quick.hear(self, data):
            self.parse(data)

    def parse(self, data: bytes) -> None:
        """Parse, hand on, and give the connection back once the answer is whole."""
        caller = self.caller
        if caller is None:  # nobody asked: the peer is not to be trusted with a next request
            self.pool.forget(self)
            self.drop()
            return
        self.received_bytes += len(data)
        if self._between:
            piece = one_chunk(data)
            if piece:
                caller.upstream_data(piece)
                return
        if not self._in_body:
            self._head_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            if not self._done:
                self._error = f"sent what is not HTTP: {type(error).__name__}"
        self._between = self._chunk_over and data.endswith(_LINE)  # else it has some of the next one's length
        if not self._in_body and self._head_bytes > MAX_HEAD_BYTES:
            self._error = "sent a head that is too large"
        if self._body and self.caller is caller:
            body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
            self._body.clear()
            caller.upstream_data(body)
        if self.caller is not caller:  # the caller has let go meanwhile
            return
        if self._error:
            self.caller = None
            error_words = self._error
            self.drop()
            caller.upstream_lost(UpstreamError(error_words))
        elif self._done:
            self.caller = None
            if self._keep and not self._until_close:
                if self._head_bytes == len(data) == self.received_bytes and self._parser.get_status_code() == 200:
                    self.pool.answers.keep(data)
                self._reset()
                self.pool.release(self)
            else:
                self.drop()
            caller.upstream_end()

    # --- the parser's calls

    def on_message_begin(self) -> None:
        """Refuse what comes after a whole answer: it belongs to no request."""
        if self._done:
            self._error = "sent more than one answer"

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take one header."""
        self._headers[name.lower()] = value

    def on_headers_complete(self) -> None:
        """Hand the head on; interim answers (1xx) are passed over."""
        status = self._parser.get_status_code()
        if status < 200:
            self._headers = {}
            return
        self._in_body = True
        self._keep = self._parser.should_keep_alive()  # known now; once the answer is whole the parser has forgotten
        headers = self._headers
        self._until_close = (
            b"content-length" not in headers and b"chunked" not in headers.get(b"transfer-encoding", b"").lower() and status not in (204, 304)
        )
        if self.caller is not None:
            self.caller.upstream_head(status, headers)

    def on_body(self, body: bytes) -> None:
        """Take a piece of the body."""
        self._body.append(body)

    def on_chunk_header(self) -> None:
        """Learn that a chunk has begun."""
        self._chunk_over = False

    def on_chunk_complete(self) -> None:
        """Learn that a chunk is whole."""
        self._chunk_over = True

    def on_message_complete(self) -> None:
        """Note that the answer is whole."""
        if self._in_body:
            self._done = True


class Pool:
    """The connections to one target: idle ones kept warm, new ones made on demand."""

    def __init__(
        self,
        host: str,
        port: int,
        *,
        tls: ssl.SSLContext | None = None,
        connect_timeout_s: float = 5.0,
        idle_timeout_s: float = 60.0,
    ) -> None:
        self.host = host
        self.port = port
        self.tls = tls
        self.connect_timeout_s = connect_timeout_s
        self.idle_timeout_s = idle_timeout_s
        self.loop = asyncio.get_running_loop()
        self.open = 0
        self.answers = Answers()
        self._closed = False
        self._ahead = 0  # connections being made that nobody waits for
        self._idle: deque[Connection] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        self._address: tuple[str, float] = ("", 0.0)
        self._layer: Sealed | None = None  # the last one made: its session may be resumed

    def idle(self) -> Connection | None:
        """Return a warm connection, the most recently used one, or None."""
        idle = self._idle
        while idle:
            connection = idle.pop()
            if not connection.closed and not connection.transport.is_closing():
                if len(idle) + self._ahead < self.open >> 3:
                    self._ahead += 1
                    self.loop.call_later(_SPARE_AFTER_S, self._begin_spare)
                return connection
        return None

    def _begin_spare(self) -> None:
        if self._closed:
            self._ahead -= 1
        else:
            self.connect(self._spare)

    def _spare(self, connection: Connection | None, error: UpstreamError | None) -> None:
        """Keep a connection made ahead of need: as many wait as an eighth of those open, so that a burst need not shake hands first."""
        self._ahead -= 1
        if connection is not None:
            connection.fresh = False  # it may have been closed by the time it is used
            connection.idle_since_s = self.loop.time()
            self._idle.appendleft(connection)

    def connect(self, on_done: ConnectDone) -> asyncio.Task[None]:
        """Make a connection and hand it, or the error, to `on_done`."""
        task = self.loop.create_task(self._connect(on_done))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _connect(self, on_done: ConnectDone) -> None:
        try:
            async with asyncio.timeout(self.connect_timeout_s):
                address = await self._resolve()
                connection = Connection(self)
                if self.tls is None:
                    await self.loop.create_connection(lambda: connection, address, self.port)
                else:
                    await self._seal(self.tls, connection, address)
        except TimeoutError:
            on_done(None, UpstreamError(f"did not accept a connection in {self.connect_timeout_s:g} s"))
        except ssl.SSLError as error:
            on_done(None, UpstreamError(f"TLS failed: {error.reason or type(error).__name__}"))
        except OSError as error:
            self._address = ("", 0.0)
            on_done(None, UpstreamError(f"cannot be reached: {error.strerror or type(error).__name__}"))
        else:
            self.open += 1
            on_done(connection, None)

    async def _seal(self, tls: ssl.SSLContext, connection: Connection, address: str) -> None:
        session = self._layer.session if self._layer is not None else None  # asked now: its ticket comes after the handshake
        layer = Sealed(tls, self.host, connection, session)
        transport, _ = await self.loop.create_connection(lambda: layer, address, self.port)
        try:
            await layer.ready
        except BaseException:
            transport.abort()
            raise
        self._layer = layer

    async def _resolve(self) -> str:
        """Return the address, looked up at most once in 30 s."""
        address, until_s = self._address
        if self.loop.time() > until_s:
            found = await self.loop.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM)
            address = str(found[0][4][0])
            self._address = (address, self.loop.time() + 30.0)
        return address

    def release(self, connection: Connection) -> None:
        """Keep a connection for the next request."""
        self.keep(connection, self.loop.time())

    def keep(self, connection: Connection, now_s: float) -> None:
        """Keep a connection; `now_s` is the loop's time, or near enough."""
        connection.fresh = False
        connection.idle_since_s = now_s
        self._idle.append(connection)

    def forget(self, connection: Connection) -> None:
        """Take a closed connection out."""
        if connection in self._idle:
            self._idle.remove(connection)

    def sweep(self) -> None:
        """Close what has been idle for too long, oldest first."""
        limit_s = self.loop.time() - self.idle_timeout_s
        while self._idle and self._idle[0].idle_since_s < limit_s:
            self._idle.popleft().drop()

    def close(self) -> None:
        """Close all idle connections and stop those being made."""
        self._closed = True
        for task in list(self._tasks):
            task.cancel()
        while self._idle:
            self._idle.popleft().drop()


class ConnectDone(Protocol):
    """Takes a new connection, or the reason why there is none."""

    def __call__(self, connection: Connection | None, error: UpstreamError | None) -> None:
        """Take it."""
