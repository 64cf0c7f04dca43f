"""Server-sent events: cut a byte stream at event borders, read an event's name and data."""

from __future__ import annotations

from collections.abc import Iterator

from polysilicon.errors import UpstreamError

MAX_EVENT_BYTES = 8 * 1024 * 1024


class Events:
    r"""Cut bytes, in whatever pieces they come, at blank lines, so that only whole events are passed on.

    >>> cut = Events()
    >>> cut.feed(b"data: 1\n"), cut.feed(b"\ndata: 2\n\nda"), cut.pending
    (b'', b'data: 1\n\ndata: 2\n\n', True)
    """

    __slots__ = ("rest",)

    def __init__(self) -> None:
        self.rest = b""

    def feed(self, data: bytes) -> bytes:
        """Return the whole events, as they came.

        Raises: UpstreamError when one event grows past `MAX_EVENT_BYTES`.
        """
        if self.rest:
            data = self.rest + data
        if data.endswith(b"\n\n"):
            self.rest = b""
            return data
        cut = data.rfind(b"\n\n")
        crlf = data.rfind(b"\r\n\r\n")
        end = max(cut + 2 if cut >= 0 else 0, crlf + 4 if crlf >= 0 else 0)
        self.rest = data[end:]
        if len(self.rest) > MAX_EVENT_BYTES:
            raise UpstreamError(f"an event is larger than {MAX_EVENT_BYTES} bytes")
        return data[:end]

    @property
    def pending(self) -> bool:
        """Return whether an event is cut in the middle."""
        return bool(self.rest.strip())


def each(events: bytes) -> Iterator[tuple[bytes, bytes]]:
    r"""Yield the name and the data of each event in whole events; comments yield nothing.

    >>> list(each(b"event: ping\ndata: {}\n\n: note\n\ndata: [DONE]\n\n"))
    [(b'ping', b'{}'), (b'', b'[DONE]')]
    """
    if b"\r" in events:
        events = events.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    for block in events.split(b"\n\n"):
        name = b""
        data: list[bytes] = []
        for line in block.split(b"\n"):
            if line.startswith(b"data:"):
                data.append(line[6:] if line[5:6] == b" " else line[5:])
            elif line.startswith(b"event:"):
                name = line[6:].strip()
        if data:
            yield name, b"\n".join(data)


def event(name: str, data: bytes) -> bytes:
    """Return one named event."""
    return b"event: " + name.encode() + b"\ndata: " + data + b"\n\n"
