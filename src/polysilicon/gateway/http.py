"""The side clients see: a strict HTTP/1.1 server protocol with hard limits, and its own response framing.

llhttp refuses what is ambiguous (both lengths, doubled lengths, bare line feeds, spaces before colons); this module adds sizes,
counts, deadlines and order: pipelined requests are answered one after another, a slow client is read no faster than it is served.

A head that a connection sends twice, and that llhttp has found good, is remembered (`heads`); a request that comes whole in one piece
with a remembered head is not parsed again, and is offered to the worker's short way first.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, cast

import httptools
import msgspec

from polysilicon.gateway.heads import Head, Requests

_REASONS = {
    200: b"OK", 400: b"Bad Request", 401: b"Unauthorized", 402: b"Payment Required", 403: b"Forbidden", 404: b"Not Found",
    405: b"Method Not Allowed", 408: b"Request Timeout", 409: b"Conflict", 413: b"Content Too Large", 414: b"URI Too Long",
    422: b"Unprocessable Content", 429: b"Too Many Requests", 431: b"Request Header Fields Too Large", 500: b"Internal Server Error",
    502: b"Bad Gateway", 503: b"Service Unavailable", 504: b"Gateway Timeout", 529: b"Overloaded",
}  # fmt: skip
_SINGLE = frozenset((b"authorization", b"x-api-key", b"api-key", b"host", b"content-type", b"content-length", b"transfer-encoding"))


@dataclass(frozen=True, slots=True)
class Limits:
    """What one client may ask of a connection."""

    head_bytes: int = 32 * 1024
    headers: int = 100
    url_bytes: int = 4096
    body_bytes: int = 64 * 1024 * 1024
    pipelined: int = 16
    connections: int = 10_000
    head_timeout_s: float = 10.0
    body_timeout_s: float = 20.0  # without a byte
    idle_timeout_s: float = 75.0
    stall_timeout_s: float = 60.0  # a client that does not read its answer


_SPECIAL = (b"transfer-encoding", b"expect", b"upgrade")


class Watcher(Protocol):
    """Who answers a request, and wants to know what becomes of the client."""

    def client_gone(self) -> None:
        """Learn that the client has closed; nobody reads the rest."""

    def client_slow(self, slow: bool) -> None:
        """Learn that the client reads more slowly than it is written to, or has caught up."""


class Answering(Protocol):
    """Whatever answers a connection's current request."""

    keep_alive: bool
    watcher: Watcher | None


class Request:
    """One request, whole; answered by `respond`, or by `begin`, `write` and `end`. What is usual stands on the class, not in each request."""

    method = b""
    path = b""
    query = b""
    body = b""
    keep_alive = True
    started = False
    watcher: Watcher | None = None
    is_old = False  # HTTP/1.0 knows no chunks
    chunked = False  # the answer is sent in chunks

    def __init__(self, connection: Inbound, known: Head | None = None, body: bytes = b"", trace: bytes = b"") -> None:
        self.connection = connection
        self.headers: dict[bytes, bytes] = {}
        if known is not None:
            self.method, self.path, self.query, self.headers = known.method, known.path, known.query, known.headers
            self.body = body
            if trace:
                self.headers = {**known.headers, b"traceparent": trace}

    def respond(self, status: int, body: bytes, headers: bytes = b"", *, content_type: bytes = b"application/json") -> None:
        """Answer whole. `headers` are finished lines, each ending in CRLF."""
        connection = self.connection
        if self.started or connection.closed:
            return
        self.started = True
        last = b"" if self.keep_alive and not connection.server.draining else self._connection_header()
        connection.transport.write(
            b"HTTP/1.1 %d %b\r\ncontent-type: %b\r\ncontent-length: %d\r\n%b%b\r\n%b"
            % (status, _REASONS.get(status, b"Status"), content_type, len(body), headers, last, body)
        )
        connection.answered(self)

    def begin(self, status: int, headers: bytes = b"", *, content_type: bytes = b"text/event-stream; charset=utf-8") -> None:
        """Begin an answer of unknown length."""
        if self.started or self.connection.closed:
            return
        self.started = True
        self.chunked = not self.is_old
        if not self.chunked:
            self.keep_alive = False
        framing = b"transfer-encoding: chunked\r\n" if self.chunked else b""
        self.connection.transport.write(
            b"HTTP/1.1 %d %b\r\ncontent-type: %b\r\ncache-control: no-cache\r\n%b%b%b\r\n"
            % (status, _REASONS.get(status, b"Status"), content_type, framing, headers, self._connection_header())
        )

    def write(self, data: bytes) -> None:
        """Send a piece of the answer now."""
        if data and not self.connection.closed:
            self.connection.transport.write(b"%x\r\n%b\r\n" % (len(data), data) if self.chunked else data)

    def end(self) -> None:
        """Finish an answer that was begun."""
        if not self.connection.closed:
            if self.chunked:
                self.connection.transport.write(b"0\r\n\r\n")
            self.connection.answered(self)

    def cut(self) -> None:
        """Close without finishing the answer, so that the client cannot take it for whole."""
        self.connection.abort()

    def _connection_header(self) -> bytes:
        if self.connection.server.draining:
            self.keep_alive = False
        return b"" if self.keep_alive else b"connection: close\r\n"

    def header(self, name: bytes) -> str:
        """Return a header's value as text, empty where absent."""
        return self.headers.get(name, b"").decode("latin-1")


Handler = Callable[[Request], None]
Short = Callable[["Inbound", Head, bytes, bytes], bool]  # takes a request whose head is known, or leaves it to the handler


def error_body(kind: str, message: str, *, openai: bool = False) -> bytes:
    """Return an error in the dialect of the caller."""
    if openai:
        return msgspec.json.encode({"error": {"message": message, "type": kind, "param": None, "code": kind}})
    return msgspec.json.encode({"type": "error", "error": {"type": kind, "message": message}})


class Inbound(asyncio.Protocol):
    """One client connection."""

    __slots__ = (
        "_bad", "_begun", "_body", "_body_bytes", "_head_bytes", "_headers", "_last_kind", "_limits", "_parser", "_queue", "_reading_head",
        "_request", "_url", "closed", "current", "deadline_s", "server", "transport",
    )  # fmt: skip

    def __init__(self, server: Server) -> None:
        self.server = server
        self._limits = server.limits
        self.closed = True
        self.deadline_s = 0.0
        self._parser = httptools.HttpRequestParser(self)
        self._queue: deque[Request] = deque()
        self.current: Answering | None = None
        self._request = Request(self)
        self._headers = self._request.headers
        self._body: list[bytes] = []
        self._body_bytes = 0
        self._head_bytes = 0
        self._begun = False  # the parser is within a request: what comes next is the rest of it, whatever it looks like
        self._reading_head = True
        self._url = b""
        self._last_kind = b""
        self._bad: tuple[int, str, str] | None = None

    # --- the transport's calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take a new connection, or refuse it where there are too many."""
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is one in all but name
        self.closed = False
        if len(self.server.connections) >= self.server.limits.connections or self.server.draining:
            self._refuse(503, "overloaded_error", "too many connections")
            return
        self.server.connections.add(self)
        self.deadline_s = self.server.now() + self.server.limits.idle_timeout_s

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell whoever is answering that nobody listens."""
        self.closed = True
        self.server.connections.discard(self)
        current, self.current = self.current, None
        self._queue.clear()
        if current is not None and current.watcher is not None:
            current.watcher.client_gone()
        self.server.connection_closed()
        # the parser holds us, and the next request does: without this a closed connection and its last body wait for the collector of cycles
        del self._parser
        del self._request

    def eof_received(self) -> bool:
        """Keep a half-closed connection open while an answer is under way."""
        return self.current is not None

    def data_received(self, data: bytes) -> None:
        """Parse; whatever is wrong is refused once and the connection closed."""
        if self.closed or self._bad:
            return
        kind = trace = body = b""
        if self.current is None and not self._begun and not self._queue:
            server = self.server
            end = data.find(b"\r\n\r\n") + 4
            found = server.heads.exact.get(data[:end])
            if found is not None and found[1] == len(data) - end:
                known: Head | None = found[0]
                body = data[end:]
            else:
                kind, trace, body = server.heads.cut(data)
                known = server.heads.find(kind, trace, data, body)
            if known is not None:
                if server.short is None or not server.short(self, known, body, trace):
                    self.start(Request(self, known, body, trace))
                return
        if self._reading_head:
            self._head_bytes += len(data)
            if self._head_bytes > self._limits.head_bytes and b"\r\n\r\n" not in data[: self._limits.head_bytes]:
                self._refuse(431, "invalid_request_error", "the request's head is too large")
                return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._bad = self._bad or (400, "invalid_request_error", "protocol upgrades are not offered")
        except httptools.HttpParserCallbackError as error:
            if not isinstance(error.__context__, _RefusedError):
                raise
        except httptools.HttpParserError as error:
            self._bad = self._bad or (400, "invalid_request_error", f"the request is not HTTP: {error}")
        if kind and not self._bad and self._reading_head:
            self._remember(kind, body)
        if self.current is None and not self.closed:
            if self._bad and not self._queue:
                self._refuse(*self._bad)
            elif not self._reading_head:
                self.deadline_s = self.server.now() + self._limits.body_timeout_s
            elif self._head_bytes == len(data):  # the first piece of a head: the rest must follow
                self.deadline_s = self.server.now() + self._limits.head_timeout_s

    def _remember(self, kind: bytes, body: bytes) -> None:
        """Remember the head of the request just parsed if it is the second time that it comes, and nothing about it is special."""
        request = self._request
        if kind != self._last_kind:
            self._last_kind = kind
        elif request.body == body and request.keep_alive and not request.is_old and request.headers.keys().isdisjoint(_SPECIAL):
            varies = (b"content-length", b"traceparent") if b"\x00" in kind else (b"content-length",)
            headers = {name: value for name, value in request.headers.items() if name not in varies}
            self.server.heads.keep(kind, Head(request.method, request.path, request.query, headers))

    def pause_writing(self) -> None:
        """Slow the source down."""
        self.deadline_s = self.server.now() + self.server.limits.stall_timeout_s
        if self.current is not None and self.current.watcher is not None:
            self.current.watcher.client_slow(True)

    def resume_writing(self) -> None:
        """Let the source go on."""
        self.deadline_s = float("inf") if self.current is not None else self.server.now() + self.server.limits.idle_timeout_s
        if self.current is not None and self.current.watcher is not None:
            self.current.watcher.client_slow(False)

    # --- the parser's calls

    def on_message_begin(self) -> None:
        """Start a request."""
        self._begun = True
        self._request = Request(self)
        self._headers = self._request.headers
        self._body_bytes = 0
        self._url = b""

    def on_url(self, url: bytes) -> None:
        """Take a piece of the target."""
        self._url = self._url + url if self._url else url
        if len(self._url) > self._limits.url_bytes:
            self._wrong(414, "invalid_request_error", "the request's target is too long")

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take one header; those that decide framing or identity may come once."""
        name = name.lower()
        if name in self._headers and name in _SINGLE:
            self._wrong(400, "invalid_request_error", f"header {name.decode('latin-1')} is given twice")
        self._headers[name] = value
        if len(self._headers) > self._limits.headers:
            self._wrong(431, "invalid_request_error", "the request has too many headers")

    def on_headers_complete(self) -> None:
        """Check what can be checked before the body is read."""
        request = self._request
        headers = self._headers
        url = self._url
        self._reading_head = False
        request.method = self._parser.get_method()
        if not self._parser.should_keep_alive():
            request.keep_alive = False
        if not request.keep_alive or b"connection" in headers:  # else it is 1.1: nothing older stays open unasked
            request.is_old = self._parser.get_http_version() == "1.0"
        if b"\r" in url or not url.startswith(b"/"):
            self._wrong(400, "invalid_request_error", "the request's target must be a path")
        if b"?" in url:
            request.path, _, request.query = url.partition(b"?")
        else:
            request.path = url
        if b"upgrade" in headers or request.method == b"CONNECT":
            self._wrong(400, "invalid_request_error", "protocol upgrades and tunnels are not offered")
        length = headers.get(b"content-length")
        if length is not None and int(length) > self._limits.body_bytes:
            self._wrong(413, "request_too_large", f"the request's body is larger than {self._limits.body_bytes} bytes")
        if b"expect" in headers and self.current is None and headers[b"expect"].lower() == b"100-continue":
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        """Take a piece of the body."""
        self._body_bytes += len(body)
        if self._body_bytes > self._limits.body_bytes:
            self._wrong(413, "request_too_large", f"the request's body is larger than {self._limits.body_bytes} bytes")
        self._body.append(body)

    def on_message_complete(self) -> None:
        """Answer the request, or queue it behind the one being answered."""
        request = self._request
        pieces = self._body
        request.body = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        pieces.clear()
        self._begun = False
        self._reading_head = True
        self._head_bytes = 0
        if self.current is None:
            self.start(request)
            return
        self._queue.append(request)
        if len(self._queue) >= self._limits.pipelined:
            self.transport.pause_reading()

    # --- answering

    def start(self, request: Request) -> None:
        """Have a request answered."""
        self.current = request
        self.deadline_s = float("inf")
        self.server.handler(request)

    def answered(self, request: Answering, now_s: float = 0.0) -> None:
        """Go on to the next request of the connection; `now_s` spares a look at the clock."""
        if request is not self.current:
            return
        self.current = None
        request.watcher = None
        if not request.keep_alive or self.server.draining:
            self.close()
            return
        limits = self._limits
        self.deadline_s = (now_s or self.server.now()) + (limits.head_timeout_s if self._begun else limits.idle_timeout_s)
        if self._queue:
            self.server.loop.call_soon(self._next)
        elif self._bad:
            self._refuse(*self._bad)

    def _next(self) -> None:
        if self._queue and self.current is None and not self.closed:
            request = self._queue.popleft()
            if len(self._queue) < self._limits.pipelined // 2:
                self.transport.resume_reading()
            self.start(request)

    def _wrong(self, status: int, kind: str, message: str) -> None:
        self._bad = (status, kind, message)
        raise _RefusedError

    def _refuse(self, status: int, kind: str, message: str) -> None:
        if not self.closed:
            self._bad = (status, kind, message)
            body = error_body(kind, message)
            self.transport.write(
                b"HTTP/1.1 %d %b\r\ncontent-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%b"
                % (status, _REASONS.get(status, b"Status"), len(body), body)
            )
            self.close()

    @property
    def busy(self) -> bool:
        """Return whether a request is being answered."""
        return self.current is not None

    def expire(self) -> None:
        """Close a connection whose deadline has passed; say so where a request was begun."""
        if self.current is None and (self._head_bytes or self._begun):
            self._refuse(408, "invalid_request_error", "the request took too long to arrive")
        else:
            self.abort()

    def close(self) -> None:
        """Close once what was written is sent."""
        self.server.connections.discard(self)
        self.transport.close()
        self.closed = True

    def abort(self) -> None:
        """Close at once."""
        self.transport.abort()


class _RefusedError(Exception):
    """Stops the parser; the reason is kept by the connection."""


class Server:
    """Listen, keep the connections, enforce their deadlines, drain."""

    def __init__(self, handler: Handler, limits: Limits | None = None) -> None:
        self.handler = handler
        self.loop = asyncio.get_running_loop()
        self.now = time.monotonic
        self.connections: set[Inbound] = set()
        self.limit(limits or Limits())
        self.short: Short | None = None
        self.draining = False
        self.port = 0
        self._listener: asyncio.Server | None = None
        self._drained = asyncio.Event()

    async def listen(self, host: str, port: int, *, reuse_port: bool = False, tls: ssl.SSLContext | None = None) -> None:
        """Accept connections."""
        self._listener = await self.loop.create_server(lambda: Inbound(self), host, port, backlog=2048, ssl=tls, reuse_port=reuse_port or None)
        self.port = self._listener.sockets[0].getsockname()[1]

    def limit(self, limits: Limits) -> None:
        """Set the limits of connections to come, and forget the heads that were known."""
        self.limits = limits
        self.heads = Requests(limits.head_bytes, limits.body_bytes)

    def forgive(self, late_s: float) -> None:
        """Put deadlines off by the time that nobody could read."""
        for connection in self.connections:
            connection.deadline_s += late_s

    def sweep(self) -> None:
        """Close connections past their deadline; called several times a second."""
        now = self.now()
        for connection in [c for c in self.connections if c.deadline_s < now]:
            connection.expire()

    def connection_closed(self) -> None:
        """Note that one connection less is open."""
        if self.draining and not self.connections:
            self._drained.set()

    async def drain(self, seconds: float) -> bool:
        """Stop accepting, let running answers finish, close; return whether all did in time."""
        self.draining = True
        if self._listener is not None:
            self._listener.close()
        for connection in [c for c in self.connections if not c.busy]:
            connection.close()
        if self.connections:
            try:
                async with asyncio.timeout(seconds):
                    await self._drained.wait()
            except TimeoutError:
                for connection in list(self.connections):
                    connection.abort()
                return False
        return True
