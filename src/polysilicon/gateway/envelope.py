"""What a request says that decides its way and its price; the rest of its body is passed on unread."""

from __future__ import annotations

from zlib import crc32

import msgspec

Envelope = dict[str, msgspec.Raw]
decode_envelope = msgspec.json.Decoder(Envelope).decode
_INT = msgspec.json.Decoder(int | None).decode
_DIALECTS = {
    b"/v1/messages": ("messages", "create"), b"/anthropic/v1/messages": ("messages", "create"),
    b"/v1/messages/count_tokens": ("messages", "count"), b"/anthropic/v1/messages/count_tokens": ("messages", "count"),
    b"/v1/chat/completions": ("chat", "create"), b"/openai/v1/chat/completions": ("chat", "create"),
    b"/v1/responses": ("responses", "create"), b"/openai/v1/responses": ("responses", "create"),
}  # fmt: skip
_MOST = ("max_tokens", "max_completion_tokens", "max_output_tokens")
_IMAGE_TOKENS = 5_000  # more than any provider counts for one image
_PROMPT_OVERHEAD_TOKENS = 1_000  # what a provider adds around tools and the system prompt
_LOOK_TOKENS = 16_384  # how far into a prompt its first answer is looked for


def dialect_of(path: bytes) -> tuple[str, str] | None:
    """Return the dialect and operation of a path, None for any other path."""
    return _DIALECTS.get(path)


def most_tokens(envelope: Envelope) -> int:
    """Return the output that a request allows, 0 where it does not say."""
    for name in _MOST:
        raw = envelope.get(name)
        if raw is not None:
            n = _INT(raw)
            if n is not None:
                return n if n > 0 else 0
    return 0


def prompt_bound(body: bytes) -> int:
    """Return more tokens than any provider will count for a request: one for each byte, and what is not text on top."""
    return len(body) + _PROMPT_OVERHEAD_TOKENS + body.count(b'"image') * _IMAGE_TOKENS


def conversation_of(envelope: Envelope, given: bytes, seed: int, size: int) -> tuple[int, int]:
    """Return the number of a request's conversation, and the one it will have if this is its first turn; one of the two is 0.

    It is told by what the client calls it, else by its first turn.
    """
    if not given:
        raw = envelope.get("prompt_cache_key") or envelope.get("metadata") or envelope.get("user")
        if raw is not None:
            text = bytes(raw)
            given = text if text.startswith(b'"') or b'"user_id"' in text else b""
    if given:
        return crc32(given, seed) or 1, 0
    raw = envelope.get("messages") or envelope.get("input")
    text = b"" if raw is None else bytes(raw) if size < 4 * _LOOK_TOKENS else bytes(memoryview(raw)[: 4 * _LOOK_TOKENS])
    at = text.find(b'"assistant"')
    end = text.rfind(b"}", 0, min(at, 4096) if at >= 0 else 4096) + 1  # the first turn alone, whatever follows it
    number = crc32(text[: end or 4096], seed) or 1
    return (0, number) if at < 0 else (number, 0)
