"""Which version of the Messages API a target is spoken to in, and what must change in a request for it.

Source: platform.claude.com, "API versioning": from 2026-10-21 on, `temperature`, `top_p` and `top_k` are refused even at their
defaults, `document` blocks in assistant turns are refused, and so are citations on the user's text blocks. The policy belongs
to the target, so it is applied anew to the client's own request whenever another target is tried.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from polysilicon.errors import InputError
from polysilicon.gateway.wiring import NEW, OLD

SAMPLING = ("temperature", "top_p", "top_k")
VERSIONS = (OLD, NEW)

Envelope = dict[str, Any]  # top-level fields; values are raw JSON where nothing needs to read them


def choose_version(asked: str, offered: Sequence[str]) -> str:
    """Return the version to speak to a target: the client's own where the target offers it, else the target's newest.

    >>> choose_version("2023-06-01", ["2026-10-21"]), choose_version("2023-06-01", ["2023-06-01", "2026-10-21"])
    ('2026-10-21', '2023-06-01')
    """
    return asked if asked in offered else max(offered)


def refuses(envelope: Envelope, version: str, sampling: str) -> str:
    """Return why a request cannot be made valid for a version, or the empty string."""
    if version < NEW:
        return ""
    if sampling == "refuse":
        given = [name for name in SAMPLING if name in envelope]
        if given:
            return f"{', '.join(given)} cannot be set in version {version}"
    raw = envelope.get("messages", b"")
    if b'"document"' in bytes(raw) and any(
        turn.get("role") == "assistant" and any(block.get("type") == "document" for block in _blocks(turn)) for turn in _turns(raw)
    ):
        return f"documents in assistant turns are not allowed in version {version}"
    return ""


def apply(envelope: Envelope, version: str) -> list[str]:
    """Take out of a request, in place, what a version refuses; return the names of what was taken out.

    >>> envelope = {"model": b'"m"', "temperature": b"1"}
    >>> apply(envelope, "2026-10-21"), list(envelope)
    (['temperature'], ['model'])
    """
    if version < NEW:
        return []
    stripped = [name for name in SAMPLING if envelope.pop(name, None) is not None]
    raw = envelope.get("messages", b"")
    if b'"citations"' in bytes(raw):
        turns = _turns(raw)
        found = False
        for turn in turns:
            if turn.get("role") == "user":
                for block in _blocks(turn):
                    found = (block.get("type") == "text" and block.pop("citations", None) is not None) or found
        if found:
            envelope["messages"] = msgspec.Raw(msgspec.json.encode(turns))
            stripped.append("citations")
    return stripped


def _turns(raw: Any) -> list[dict[str, Any]]:
    try:
        return msgspec.json.decode(bytes(raw), type=list[dict[str, Any]])
    except (msgspec.MsgspecError, RecursionError) as error:
        raise InputError("messages must be a list of turns", where="request.messages") from error


def _blocks(turn: dict[str, Any]) -> list[dict[str, Any]]:
    content = turn.get("content")
    return [block for block in content if isinstance(block, dict)] if isinstance(content, list) else []
