"""Heads that repeat need no second parse: one that llhttp has found good is known byte for byte, but for the values of a few headers.

Clients and targets say the same head again and again: only its length changes, a trace's id, the date. What may change is cut out and
must then be plain words itself; what is left has to be the same bytes. Any other byte, and the message is parsed.
"""

from __future__ import annotations

from typing import Any

_WORD = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_.:, "  # what a value that is cut out may be made of
_END = b"\r\n\r\n"
_LENGTHS = (b"\r\ncontent-length: ", b"\r\nContent-Length: ")
_TRACE = b"\r\ntraceparent: "
_DATE, _OWN_ID, _OTHER_ID = b"\r\ndate: ", b"\r\nrequest-id: ", b"\r\nx-request-id: "
_CUT = b"\x00"  # stands for what was cut out; no good head has it
_FRAMING = (b"transfer-encoding", b"connection", b"upgrade", b"trailer")  # say more of how an answer ends than its length does
_REQUESTS, _ANSWERS = 1_000, 200
_PATIENCE, _PAUSE = 50, 1_000  # answers in vain until a target's heads are taken for ever new, and until they are looked at again


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

    def clear(self) -> None:
        """Know nothing."""
        self.exact.clear()
        self._kinds.clear()

    def keep(self, kind: bytes, head: Head) -> None:
        """Know a head that was parsed."""
        if kind.lower().count(_TRACE.rstrip()) > 1:
            return  # doubled: which of them was cut out is not what counts
        if len(self._kinds) >= _REQUESTS:
            self.clear()
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
    """The heads of a target's good answers: 200, of a stated length, on a connection that stays open."""

    def __init__(self) -> None:
        self.exact: dict[bytes, Answer] = {}
        self._kinds: dict[bytes, tuple[bytes, bytes, bool]] = {}  # fixed ids, as far as they are, and whether it was spilled
        self._last = b""
        self._vain = 0

    def find(self, head: bytes) -> Answer | None:
        """Return what is known of a head that is not known to the byte."""
        self._vain += 1
        if self._vain > _PATIENCE:
            if self._vain > _PAUSE:
                self._vain = 0
            return None
        kind, length, own, other = self._cut(head)
        fixed = self._kinds.get(kind)
        if fixed is None or _CUT in head:
            return None
        self._vain = 0
        answer = Answer(length, own or fixed[0] or other or fixed[1], fixed[2])
        if head == self._last:
            if len(self.exact) >= _ANSWERS:
                self.exact.clear()
            self.exact[head] = answer
        self._last = head
        return answer

    def keep(self, data: bytes, headers: dict[bytes, bytes]) -> None:
        """Know the head of an answer that came in one piece and was parsed."""
        self._vain += 1
        if self._vain > _PATIENCE:
            return
        end = data.find(_END) + 4
        head = data[:end]
        kind, length, own, other = self._cut(head)
        if length != len(data) - end or not head.startswith(b"HTTP/1.1 200 ") or not headers.keys().isdisjoint(_FRAMING):
            return
        lower = head.lower()
        if any(lower.count(name.rstrip()) > 1 for name in (_OWN_ID, _OTHER_ID, _LENGTHS[0])):
            return
        if len(self._kinds) >= _ANSWERS:
            self._kinds.clear()
        ids = [b"" if cut else headers.get(name, b"") for cut, name in ((own, b"request-id"), (other, b"x-request-id"))]
        self._kinds[kind] = ids[0], ids[1], b"x-ms-is-spilled-over" in headers

    @staticmethod
    def _cut(head: bytes) -> tuple[bytes, int, bytes, bytes]:
        kind, length = _without_length(head)
        kind, _ = _without(kind, _DATE)
        kind, own = _without(kind, _OWN_ID)
        kind, other = _without(kind, _OTHER_ID)
        return kind, length, own, other
