"""The binary frames of AWS event streams, to and from events, with both checksums verified.

Frame: total length (4), headers length (4), CRC-32 of these eight bytes (4), headers, payload, CRC-32 of all before (4).
A header: name length (1), name, value type (1; 7 = string), value length (2), value. All numbers are big-endian.
Source: AWS SDK documentation, "event stream encoding".
"""

from __future__ import annotations

import base64
import binascii
import struct
from zlib import crc32

import msgspec

from polysilicon.errors import UpstreamError

MAX_FRAME_BYTES = 16 * 1024 * 1024
_FIXED_SIZES = {0: 0, 1: 0, 2: 1, 3: 2, 4: 4, 5: 8, 8: 8, 9: 16}


class _Chunk(msgspec.Struct):
    bytes: str


_CHUNK = msgspec.json.Decoder(_Chunk)


def encode(headers: dict[str, str], payload: bytes) -> bytes:
    """Return one frame.

    >>> frame = encode({":event-type": "chunk"}, b"{}")
    >>> len(frame), Frames().feed(frame)
    (38, [({':event-type': 'chunk'}, b'{}')])
    """
    packed = b"".join(
        bytes([len(name)]) + name.encode() + b"\x07" + struct.pack(">H", len(value.encode())) + value.encode() for name, value in headers.items()
    )
    prelude = struct.pack(">II", 16 + len(packed) + len(payload), len(packed))
    body = prelude + struct.pack(">I", crc32(prelude)) + packed + payload
    return body + struct.pack(">I", crc32(body))


def encode_event(event_json: bytes) -> bytes:
    """Return the frame Bedrock sends for one Messages event."""
    payload = b'{"bytes":"' + base64.b64encode(event_json) + b'"}'
    return encode({":event-type": "chunk", ":content-type": "application/json", ":message-type": "event"}, payload)


def encode_exception(kind: str, message: str) -> bytes:
    """Return the frame Bedrock sends when a stream fails."""
    payload = msgspec.json.encode({"message": message})
    return encode({":exception-type": kind, ":content-type": "application/json", ":message-type": "exception"}, payload)


class Frames:
    """Cut bytes, in whatever pieces they come, into frames."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[tuple[dict[str, str], bytes]]:
        """Return the frames that are complete: their headers and payload.

        Raises: UpstreamError when a length or a checksum is wrong; nothing after it can be trusted.
        """
        data = self._rest + data if self._rest else data
        frames = []
        at = 0
        while len(data) - at >= 12:
            total, header_bytes, prelude_crc = struct.unpack_from(">III", data, at)
            if crc32(data[at : at + 8]) != prelude_crc or not 16 + header_bytes <= total <= MAX_FRAME_BYTES:
                raise UpstreamError("an event stream frame's length fails its checksum")
            if len(data) - at < total:
                break
            end = at + total - 4
            if crc32(data[at:end]) != struct.unpack_from(">I", data, end)[0]:
                raise UpstreamError("an event stream frame fails its checksum")
            frames.append((_headers(data[at + 12 : at + 12 + header_bytes]), data[at + 12 + header_bytes : end]))
            at += total
        self._rest = data[at:]
        return frames

    @property
    def pending(self) -> bool:
        """Return whether a frame is cut in the middle."""
        return bool(self._rest)


def _headers(data: bytes) -> dict[str, str]:
    headers: dict[str, str] = {}
    at = 0
    try:
        while at < len(data):
            size = data[at]
            name = data[at + 1 : at + 1 + size].decode()
            kind = data[at + 1 + size]
            at += 2 + size
            if kind in (6, 7):
                (size,) = struct.unpack_from(">H", data, at)
                headers[name] = data[at + 2 : at + 2 + size].decode() if kind == 7 else ""
                at += 2 + size
            else:
                at += _FIXED_SIZES[kind]
    except (IndexError, KeyError, struct.error, UnicodeDecodeError) as error:
        raise UpstreamError("an event stream frame's headers cannot be read") from error
    return headers


class ToSse:
    """Turn Bedrock's frames into the server-sent events of the Messages API."""

    def __init__(self) -> None:
        self._frames = Frames()

    def feed(self, data: bytes) -> bytes:
        """Return the events that are complete, as SSE text.

        Raises: UpstreamError when a frame or its payload cannot be read.
        """
        out = []
        for headers, payload in self._frames.feed(data):
            kind = headers.get(":message-type", "event")
            if kind != "event":
                out.append(_error_event(headers, payload))
                continue
            try:
                event = base64.b64decode(_CHUNK.decode(payload).bytes, validate=True)
                name = msgspec.json.decode(event, type=_Typed).type
            except (msgspec.MsgspecError, RecursionError, binascii.Error, UnicodeDecodeError) as error:
                raise UpstreamError("an event stream frame holds no Messages event") from error
            out.append(b"event: " + name.encode() + b"\ndata: " + event.replace(b"\n", b" ") + b"\n\n")
        return b"".join(out)

    @property
    def pending(self) -> bool:
        """Return whether a frame is cut in the middle."""
        return self._frames.pending


class _Typed(msgspec.Struct):
    type: str


_ERROR_TYPES = {
    "throttlingException": "rate_limit_error",
    "validationException": "invalid_request_error",
    "serviceUnavailableException": "overloaded_error",
    "modelTimeoutException": "timeout_error",
}


def _error_event(headers: dict[str, str], payload: bytes) -> bytes:
    kind = headers.get(":exception-type") or headers.get(":error-code") or "api_error"
    error_type = _ERROR_TYPES.get(kind, "api_error")
    try:
        message = msgspec.json.decode(payload, type=dict[str, msgspec.Raw]).get("message", msgspec.Raw(b'""'))
        text = msgspec.json.decode(message, type=str)
    except (msgspec.MsgspecError, RecursionError):
        text = headers.get(":error-message", "")
    return b"event: error\ndata: " + msgspec.json.encode({"type": "error", "error": {"type": error_type, "message": f"{kind}: {text}"}}) + b"\n\n"
