"""Ask an issuer: plain HTTP, bounded, without redirects, and no word of a secret in what is said about a failure."""

from __future__ import annotations

import http.client
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from typing import Any

import msgspec

from polysilicon.errors import PolysiliconError

_MOST_BYTES = 256 * 1024


class _Stay(urllib.request.HTTPRedirectHandler):
    """A redirect would carry the proof elsewhere."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


def ask(
    url: str,
    *,
    form: Mapping[str, str] | None = None,
    data: bytes | None = None,
    headers: Mapping[str, str] | None = None,
    method: str = "",
    timeout_s: float = 10.0,
) -> bytes:
    """Return an issuer's answer to a form, to other data, or to a bare question.

    Raises: PolysiliconError with its status and error code, never with what was sent.
    """
    sent = urllib.parse.urlencode(form).encode() if form is not None else data
    request = urllib.request.Request(url, sent, dict(headers or {}), method=method or ("POST" if sent is not None else "GET"))
    local = urllib.parse.urlsplit(url).scheme == "http"  # metadata servers and loopback: never by a proxy
    handlers: list[Any] = [_Stay(), *([urllib.request.ProxyHandler({})] if local else [])]
    host = urllib.parse.urlsplit(url).netloc
    try:
        with urllib.request.build_opener(*handlers).open(request, timeout=timeout_s) as answer:
            said = answer.read(_MOST_BYTES)
    except urllib.error.HTTPError as error:
        with error:
            code = _code(error.read(4096))
        raise PolysiliconError(f"{host} answered {error.code}{f' ({code})' if code else ''}") from None
    except (OSError, http.client.HTTPException, ValueError) as error:
        reason = getattr(error, "reason", error)
        raise PolysiliconError(f"{host} cannot be asked: {type(reason).__name__}") from None
    return bytes(said or b"")


def ask_json(url: str, **more: Any) -> dict[str, Any]:
    """Return an issuer's answer as an object.

    Raises: PolysiliconError when it is none.
    """
    try:
        return msgspec.json.decode(ask(url, **more), type=dict[str, Any])
    except msgspec.MsgspecError:
        raise PolysiliconError(f"{urllib.parse.urlsplit(url).netloc} sent no JSON object") from None


def field(answer: Mapping[str, Any], name: str) -> str:
    """Return a field that must be there, as one line of printable text.

    Raises: PolysiliconError naming the field.
    """
    value = answer.get(name)
    if not isinstance(value, str) or not value or any(ord(c) < 33 or ord(c) > 126 for c in value):
        raise PolysiliconError(f"the issuer's answer has no usable {name}")
    return value


def life_s(answer: Mapping[str, Any], name: str = "expires_in") -> float:
    """Return how long a token holds, as said.

    Raises: PolysiliconError when it is not said, or not a time.
    """
    try:
        seconds = float(answer[name])
    except (KeyError, TypeError, ValueError):
        raise PolysiliconError(f"the issuer's answer has no usable {name}") from None
    if not 0.0 < seconds < 1e7:
        raise PolysiliconError(f"the issuer's {name} is {seconds:g}")
    return seconds


def _code(body: bytes) -> str:
    """Return an error's short code: a word, never free text."""
    try:
        given = msgspec.json.decode(body, type=dict[str, Any])
    except msgspec.MsgspecError:
        return ""
    error = given.get("error") or given.get("code") or given.get("Code") or ""
    word = error.get("status", "") if isinstance(error, dict) else error
    return word if isinstance(word, str) and len(word) < 64 and word.replace("_", "").isalnum() else ""
