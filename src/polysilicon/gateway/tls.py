"""TLS to a target, over a plain transport: the standard library's records, without a second layer of protocol and transport objects.

The event loop's own layer reads until nothing is left, which costs an exception an answer, keeps 256 KB a connection, and calls five
functions where one write and one read of a memory buffer do. Here a message in is decrypted in one go, one out is written in one go.
"""

from __future__ import annotations

import asyncio
import ssl
from typing import Any, Protocol, cast

_RECORD = 16 * 1024  # bytes: a read returns one record, whole


class Inner(Protocol):
    """Who speaks through the layer."""

    def connection_made(self, transport: Any) -> None:
        """Begin."""

    def data_received(self, data: bytes) -> None:
        """Take what was decrypted."""

    def connection_lost(self, exc: Exception | None) -> None:
        """Learn of the end."""


class Sealed(asyncio.Protocol):
    """The layer: a protocol to the plain transport, a transport to whoever is inside, from the end of the handshake on."""

    __slots__ = ("_in", "_inner", "_object", "_open", "_out", "_transport", "ready")

    def __init__(self, context: ssl.SSLContext, name: str, inner: Inner, session: ssl.SSLSession | None) -> None:
        self._in = ssl.MemoryBIO()
        self._out = ssl.MemoryBIO()
        self._object = context.wrap_bio(self._in, self._out, server_hostname=name, session=session)
        self._inner = inner
        self._open = False
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @property
    def session(self) -> ssl.SSLSession | None:
        """Return what a next connection may resume: it then need not look at certificates again."""
        return self._object.session

    # --- the plain transport's calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin the handshake."""
        self._transport = cast(asyncio.Transport, transport)
        self._shake()

    def data_received(self, data: bytes) -> None:
        """Decrypt, and hand on in one piece what came in one piece."""
        self._in.write(data)
        if not self._open:
            self._shake()
            if not self._open:
                return
        self._read()

    def connection_lost(self, exc: Exception | None) -> None:
        """Pass the end on."""
        if self._open:
            self._inner.connection_lost(exc)
        elif not self.ready.done():
            self.ready.set_exception(exc or ConnectionResetError("closed during the handshake"))

    # --- inside

    def _shake(self) -> None:
        try:
            self._object.do_handshake()
        except ssl.SSLWantReadError:
            self._flush()
        except ssl.SSLError as error:
            self._flush()  # the alert that says why
            if not self.ready.done():
                self.ready.set_exception(error)
            self._transport.close()
        else:
            self._flush()
            self._open = True
            self._inner.connection_made(self)
            if not self.ready.done():
                self.ready.set_result(None)

    def _read(self) -> None:
        pieces: list[bytes] = []
        over = False
        why: Exception | None = None
        try:
            while piece := self._object.read(_RECORD):
                pieces.append(piece)
                if not self._in.pending:
                    break
            else:
                over = True
        except ssl.SSLWantReadError:  # a record that has not come whole
            pass
        except ssl.SSLZeroReturnError:
            over = True
        except ssl.SSLError as error:
            why = error
        if self._out.pending:  # new keys, or an alert
            self._flush()
        if pieces:
            self._inner.data_received(pieces[0] if len(pieces) == 1 else b"".join(pieces))
        if why is not None:
            self._open = False
            self._transport.abort()
            self._inner.connection_lost(why)
        elif over:
            self._transport.close()

    def _flush(self) -> None:
        data = self._out.read()
        if data and not self._transport.is_closing():
            self._transport.write(data)

    # --- the inner protocol's calls

    def write(self, data: bytes) -> None:
        """Encrypt and send."""
        if self._transport.is_closing():
            return
        sent = self._object.write(data)
        while sent < len(data):
            sent += self._object.write(memoryview(data)[sent:])
        self._transport.write(self._out.read())

    def get_extra_info(self, name: str) -> Any:
        """Return what the plain transport knows."""
        return self._transport.get_extra_info(name)

    def is_closing(self) -> bool:
        """Return whether the connection is closed or closing."""
        return self._transport.is_closing()

    def abort(self) -> None:
        """Close at once."""
        self._transport.abort()

    def close(self) -> None:
        """Close once what was written is sent."""
        self._transport.close()

    def pause_reading(self) -> None:
        """Read no further for now."""
        self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Go on reading."""
        self._transport.resume_reading()
