"""Heads that repeat need no second parse: one that llhttp has found good is known byte for byte, but for the values of a few headers.

Clients say the same head again and again: only its length changes, a trace's id. What may change is cut out and must then be plain words
itself; what is left has to be the same bytes. Targets say the same headers with other values, of which few count. Anything else is parsed.
"""

from __future__ import annotations

import re
from typing import Any

_WORD = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_.:, "  # what a value that is cut out may be made of
_END = b"\r\n\r\n"
_LENGTHS = (b"\r\ncontent-length: ", b"\r\nContent-Length: ")
_TRACE = b"\r\ntraceparent: "
_CUT = b"\x00"  # stands for what was cut out; no good head has it
_NAME = re.compile(rb"\r\n([^:\r\n]+):")
_PLAIN = rb"[ -~]*"  # what a value in an answer's head may be
_FRAMING = frozenset((b"transfer-encoding", b"upgrade", b"trailer", b"proxy-connection"))  # say more of how an answer ends than its length does
_READ = {
    b"content-length": rb" *(?P<length>[0-9]{1,9}) *",
    b"connection": rb" *(?i:keep-alive) *",
    b"request-id": rb"(?P<own>[ -~]*)",
    b"x-request-id": rb"(?P<other>[ -~]*)",
}
_REQUESTS, _ANSWERS, _SHAPES = 1_000, 200, 8
_PATIENCE, _PAUSE = 50, 1_000  # shapes made in vain until a target's names are taken for ever new, and until one more is made


class Head:
    """A request's head that was parsed before, without its length and its trace."""

    __slots__ = ("headers", "method", "path", "query", "way")

    def __init__(self, method: bytes, path: bytes, query: bytes, headers: dict[bytes, bytes]) -> None:
        self.method = method
        self.path = path
        self.query = query
        self.headers = headers
        self.way: Any = None  # what the worker has made of it


def _without_length(head: bytes) -> tuple[bytes, int]:
    """Return a head without the digits of its length, and the length; -1 where it states none, or not as usual."""
    at = head.find(_LENGTHS[0])
    if at < 0:
        at = head.find(_LENGTHS[1])
        if at < 0:
            return b"", -1
    stop = head.find(b"\r", at + 18)
    digits = head[at + 18 : stop]
    if len(digits) > 9 or not digits.isdigit():
        return b"", -1
    return head[: at + 18] + head[stop:], int(digits)


def _without(head: bytes, name: bytes) -> tuple[bytes, bytes]:
    """Return a head without the value of a header, and the value; as it is where the header is not there, or is not plain words."""
    at = head.find(name)
    if at < 0:
        return head, b""
    at += len(name)
    stop = head.find(b"\r", at)
    value = head[at:stop]
    if not value or len(value) > 100 or value.translate(None, _WORD) or value[:1] == b" " or value[-1:] == b" ":
        return head, b""
    return head[:at] + _CUT + head[stop:], value


class Requests:
    """The heads that clients repeat."""

    def __init__(self, head_bytes: int, body_bytes: int) -> None:
        self.exact: dict[bytes, tuple[Head, int]] = {}  # with their lengths: nothing need be cut out
        self._kinds: dict[bytes, Head] = {}
        self._head_bytes = head_bytes
        self._body_bytes = body_bytes
        self._last = b""

    def __len__(self) -> int:
        return len(self._kinds)

    def cut(self, data: bytes) -> tuple[bytes, bytes, bytes]:
        """Return the head, without what changes, the trace and the body of a piece that is one whole message; else empty strings."""
        end = data.find(_END, 0, self._head_bytes) + 4
        if end < 4:
            return b"", b"", b""
        head = data[:end]
        kind, length = _without_length(head)
        if length != len(data) - end or length > self._body_bytes or _CUT in head:
            return b"", b"", b""
        kind, trace = _without(kind, _TRACE)
        return kind, trace, data[end:]

    def find(self, kind: bytes, trace: bytes, data: bytes, body: bytes) -> Head | None:
        """Return a head that is known; one that comes unchanged, length and all, is found without cutting from then on."""
        head = self._kinds.get(kind)
        if head is not None and not trace:
            whole = data[: len(data) - len(body)]
            if whole == self._last:
                if len(self.exact) >= _REQUESTS:
                    self.exact.clear()
                self.exact[whole] = head, len(body)
            self._last = whole
        return head

    def keep(self, kind: bytes, head: Head) -> None:
        """Know a head that was parsed."""
        if kind.lower().count(_TRACE.rstrip()) > 1:
            return  # doubled: which of them was cut out is not what counts
        if len(self._kinds) >= _REQUESTS:
            self.exact.clear()
            self._kinds.clear()
        self._kinds[kind] = head


class Answer:
    """What is to be known of a good answer's head."""

    __slots__ = ("id", "id_line", "length", "spilled")

    def __init__(self, length: int, upstream_id: bytes, spilled: bool) -> None:
        self.length = length
        self.id = upstream_id[:100].decode("latin-1")
        self.id_line = b"request-id: %b\r\n" % upstream_id if upstream_id else b""
        self.spilled = spilled


class Answers:
    """The heads of a target's good answers: 200, of a stated length, on a connection that stays open.

    Real targets say something new in every head: what is left of a rate limit, how long they took, a date, a cookie. None of it is passed
    on or acted upon, so a head is known by its first line and the names of its headers, once one of these was parsed; values must be
    plain text on one line each. Those that count are read: the length, the id, whether the connection stays.
    """

    def __init__(self) -> None:
        self.exact: dict[bytes, Answer] = {}
        self._shapes: list[tuple[re.Pattern[bytes], bool]] = []  # the last one met first; and whether such an answer was spilled
        self._last = b""
        self._vain = 0

    def find(self, head: bytes) -> Answer | None:
        """Return what is known of a head that is not known to the byte."""
        shapes = self._shapes
        for at, (shape, spilled) in enumerate(shapes):
            found = shape.fullmatch(head)
            if found is not None:
                self._vain = 0
                if at:
                    shapes.insert(0, shapes.pop(at))
                return self._read(head, found.groupdict(b""), spilled)
        return None

    def _read(self, head: bytes, said: dict[str, bytes], spilled: bool) -> Answer:
        upstream_id = said.get("own", b"").strip(b" ") or said.get("other", b"").strip(b" ")
        answer = Answer(int(said["length"]), upstream_id, spilled)
        if head == self._last:
            if len(self.exact) >= _ANSWERS:
                self.exact.clear()
            self.exact[head] = answer
        self._last = head
        return answer

    def keep(self, data: bytes) -> None:
        """Know the shape of the head of a good answer that came in one piece and was parsed, and left its connection open."""
        self._vain += 1
        if self._vain > _PATIENCE and self._vain % _PAUSE:
            return
        head = data[: data.find(_END) + 4]
        names = _NAME.findall(head)
        lower = [name.lower() for name in names]
        if not head.startswith(b"HTTP/1.1 200 ") or b"content-length" not in lower or not _FRAMING.isdisjoint(lower):
            return
        if any(lower.count(name) > 1 for name in _READ):
            return  # doubled: which of them counts is the parser's to say
        lines = [b"\r\n%b:%b" % (re.escape(name), _READ.get(low, _PLAIN)) for name, low in zip(names, lower, strict=True)]
        shape = re.compile(re.escape(head[: head.find(b"\r")]) + b"".join(lines) + _END)
        if shape.fullmatch(head):  # else it is more than plain lines
            self._shapes.insert(0, (shape, b"x-ms-is-spilled-over" in lower))
            del self._shapes[_SHAPES:]
