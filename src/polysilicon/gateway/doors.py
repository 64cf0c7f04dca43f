"""The doors one model is sold at: how each wants to be asked, and what its refusals mean.

Source: anthropic 2.12.0 (its clients for Bedrock, Vertex, Foundry, AWS and Google Cloud) and the vendors' documentation.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import msgspec

from polysilicon.errors import InputError
from polysilicon.gateway import policy
from polysilicon.gateway.credentials import renewed
from polysilicon.gateway.secrets import SecretValue
from polysilicon.gateway.sigv4 import AwsKey, Signer
from polysilicon.gateway.wiring import NEW, OLD, Target, Variant

_ENCODE = msgspec.json.Encoder().encode
_IN_BODY = {"bedrock": "bedrock-2023-05-31", "vertex": "vertex-2023-10-16"}  # what these two call 2023-06-01
_SIGV4_SERVICE = {"bedrock": "bedrock", "bedrock-messages": "bedrock-mantle", "aws-platform": "aws-external-anthropic"}
_USUAL_AUTH = {
    "claude": "x-api-key", "aws-platform": "sigv4", "bedrock": "sigv4", "bedrock-messages": "sigv4", "vertex": "bearer",
    "google-cloud": "bearer", "foundry": "x-api-key", "anthropic": "x-api-key", "openai": "bearer",
}  # fmt: skip
_NO_COUNT = ("bedrock", "openai")


@dataclass(slots=True)
class Ask:
    """What a client asks, in the dialect of the door."""

    operation: str  # create or count
    stream: bool
    envelope: dict[str, Any]
    version: str = OLD  # of the Messages API, as the client speaks it
    beta: bytes = b""


class Door:
    """One target's way of being asked."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self.kind = target.door
        self.dialect = "chat" if self.kind == "openai" else "messages"
        self.binary = self.kind == "bedrock"
        self.auth = target.auth or _USUAL_AUTH[self.kind]
        where = f"targets[{target.index}].secret"
        self.renewed = renewed(target.secret.renew, f"target {target.id}") if target.secret.renew is not None else None
        if self.renewed is not None:
            self.auth = "sigv4" if target.secret.renew.kind.startswith("aws") else "bearer"  # type: ignore[union-attr]
        elif self.auth == "sigv4" and not (target.secret.access_key and target.secret.secret_key):
            self.auth = "bearer" if target.secret.token and self.kind != "aws-platform" else "x-api-key"
        secret = target.secret
        self._token = SecretValue(secret.token, where=where) if secret.token else None
        self._pair: tuple[SecretValue, SecretValue] | None = None
        self._session = SecretValue(secret.session_token, where=where) if secret.session_token else None
        if self.auth == "sigv4" and self.renewed is None:
            self._pair = (SecretValue(secret.access_key, where=where), SecretValue(secret.secret_key, where=where))
        self._signer: Signer | None = None
        self.simple = self.kind not in _IN_BODY and self.auth != "sigv4"  # the body says all that the head does not, and needs no proof
        default_port = 443 if target.scheme == "https" else 80
        self._host = target.host if target.port == default_port else f"{target.host}:{target.port}"
        self._heads: dict[tuple[int, str, bool, str], bytes] = {}
        self._head_token = ""

    def check(self, *, patient: bool = False) -> None:
        """Read every secret once, so that a missing one is found at the start.

        One that is fetched and cannot be now is an error too, unless `patient`: the target is then failed over until it can be.

        Raises: InputError naming the reference.
        """
        if self.renewed is not None:
            self.renewed.start(wait_s=5.0)
            if not patient:
                self.renewed.get()
        for secret in (self._token, self._session, *(self._pair or ())):
            if secret is not None:
                secret.get()

    def supports(self, operation: str) -> bool:
        """Return whether the door offers the operation."""
        return operation != "count" or self.kind not in _NO_COUNT

    def version(self, asked: str) -> str:
        """Return the version of the Messages API this target will be spoken to in."""
        return policy.choose_version(asked, self.target.versions)

    def request(self, variant: Variant, ask: Ask, stripped: list[str]) -> bytes:
        """Return the whole HTTP request for one variant; what its version made us take out is added to `stripped`."""
        version = ""
        if self.dialect == "messages":
            version = ask.version if ask.version in self.target.versions else self.version(ask.version)
        if self.simple and version < NEW:
            return self.simple_request(variant, ask.envelope, ask.operation, stream=ask.stream, version=version, beta=ask.beta)
        envelope = dict(ask.envelope)
        if version >= NEW:
            stripped += policy.apply(envelope, version)
        self._shape(envelope, variant, ask, version)
        body = _ENCODE(envelope)
        if self.auth == "sigv4":
            return self._signed(self._path(variant, ask.operation, ask.stream), version, ask, body)
        head = self._head(version, variant, ask.operation, ask.stream)
        return _with_body(head, b"" if self.binary else ask.beta, body)

    def simple_request(self, variant: Variant, envelope: dict[str, Any], operation: str, *, stream: bool, version: str, beta: bytes) -> bytes:
        """Do what `request` does where the door is `simple` and the version takes nothing out."""
        return self.simple_with(self._head(version, variant, operation, stream), variant, envelope, stream=stream, beta=beta)

    def simple_with(self, head: bytes, variant: Variant, envelope: dict[str, Any], *, stream: bool, beta: bytes) -> bytes:
        """Do what `simple_request` does, with the head that `simple_heads` returned."""
        envelope = envelope.copy()
        envelope["model"] = variant.name
        if stream and self.dialect == "chat":
            envelope["stream_options"] = {"include_usage": True}
        body = _ENCODE(envelope)
        return _with_body(head, beta, body) if beta else b"%bcontent-length: %d\r\n\r\n%b" % (head, len(body), body)

    def simple_heads(self, variant: Variant, operation: str, version: str) -> tuple[bytes, bytes, float]:
        """Return the heads of a request without and with a stream, and until when they hold: as long as the token is not read anew."""
        heads = self._head(version, variant, operation, False), self._head(version, variant, operation, True)
        return *heads, self._token.until_s if self._token is not None and self.renewed is None else float("-inf")

    # --- shape

    def _shape(self, envelope: dict[str, Any], variant: Variant, ask: Ask, version: str) -> None:
        """Put the model, the version and the betas where this door wants them."""
        if self.kind not in _IN_BODY:
            envelope["model"] = variant.name
        else:
            envelope.pop("model", None)
            envelope["anthropic_version"] = _IN_BODY[self.kind] if version == OLD else version
            if self.kind == "vertex" and ask.operation == "count":
                envelope["model"] = variant.name
        if self.binary:
            envelope.pop("stream", None)
            if ask.beta:
                envelope["anthropic_beta"] = [b.strip() for b in ask.beta.decode("latin-1").split(",")]
        if self.dialect == "chat" and ask.stream:
            envelope["stream_options"] = {"include_usage": True}

    def _path(self, variant: Variant, operation: str, stream: bool) -> str:
        target = self.target
        count = operation == "count"
        if self.kind == "bedrock":
            verb = "invoke-with-response-stream" if stream else "invoke"
            path = f"/model/{quote(variant.name, safe='')}/{verb}"
        elif self.kind == "vertex":
            where = f"/v1/projects/{_option(target, 'project')}/locations/{target.region}/publishers/anthropic/models"
            if count:
                path = f"{where}/count-tokens:rawPredict"
            else:
                path = f"{where}/{quote(variant.name, safe='@')}:{'streamRawPredict' if stream else 'rawPredict'}"
        elif self.kind == "google-cloud":
            path = f"/v1/projects/{_option(target, 'project')}/locations/{target.region}/workspaces/{_option(target, 'workspace')}/invoke/v1/messages"
        elif self.kind in ("foundry", "bedrock-messages"):
            path = "/anthropic/v1/messages"
        elif self.kind == "openai":
            path = "/v1/chat/completions"
        else:
            path = "/v1/messages"
        if count and self.kind != "vertex":
            path += "/count_tokens"
        return target.prefix + path

    # --- head and proof

    def _lines(self, version: str) -> dict[str, str]:
        lines = {"host": self._host, "content-type": "application/json"}
        if self.dialect == "messages" and self.kind not in _IN_BODY:
            lines["anthropic-version"] = version
        if self.kind == "aws-platform":
            lines["anthropic-workspace-id"] = _option(self.target, "workspace")
        return lines

    def _head(self, version: str, variant: Variant, operation: str, stream: bool) -> bytes:
        token = self.renewed.get()[0] if self.renewed is not None else self._token.get() if self._token is not None else ""
        if token != self._head_token:
            self._heads.clear()
            self._head_token = token
        key = (variant.index, operation, stream, version)
        head = self._heads.get(key)
        if head is None:
            lines = self._lines(version)
            if token and self.auth == "bearer":
                lines["authorization"] = f"Bearer {token}"
            elif token:
                lines[self.auth] = token
            text = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
            head = self._heads[key] = f"POST {self._path(variant, operation, stream)} HTTP/1.1\r\n{text}".encode("latin-1")
        return head

    def _signed(self, path: str, version: str, ask: Ask, body: bytes) -> bytes:
        if self.renewed is not None:
            key = AwsKey(*self.renewed.get())
        else:
            assert self._pair is not None
            key = AwsKey(self._pair[0].get(), self._pair[1].get(), self._session.get() if self._session else "")
        if self._signer is None or self._signer.key != key:
            self._signer = Signer(key, self.target.region, _SIGV4_SERVICE[self.kind])
        lines = self._lines(version)
        if ask.beta and not self.binary:
            lines["anthropic-beta"] = ask.beta.decode("latin-1")
        lines |= self._signer.sign("POST", path, lines, body)
        text = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        return f"POST {path} HTTP/1.1\r\n{text}content-length: {len(body)}\r\n\r\n".encode("latin-1") + body


def _with_body(head: bytes, beta: bytes, body: bytes) -> bytes:
    if beta:
        return b"%banthropic-beta: %b\r\ncontent-length: %d\r\n\r\n%b" % (head, beta, len(body), body)
    return b"%bcontent-length: %d\r\n\r\n%b" % (head, len(body), body)


def _option(target: Target, name: str) -> str:
    try:
        return target.options[name]
    except KeyError:
        raise InputError(f'a {target.door} target needs "{name}"', where=f"targets[{target.index}]") from None


# --- refusals


@dataclass(frozen=True, slots=True)
class Refusal:
    """What an answer that is not 200 means for us."""

    kind: str  # rate, spend, overloaded, auth, server, missing, request
    status: int
    message: str
    elsewhere: bool  # another target may well answer
    shut_s: float  # how long to leave this target alone; 0: count it as one failure
    headers: bytes = b""


_SPEND = (b"enforced_spend_limit_reached", b"spend limit", b"credit balance", b"billing_error", b"insufficient_quota")


def classify(status: int, headers: dict[bytes, bytes], body: bytes, *, rate_limit_open_s: float = 2.0) -> Refusal:
    """Return what a refusal means: whose fault it is, whether to ask elsewhere, how long to stay away.

    >>> classify(429, {b"retry-after": b"7"}, b"{}").shut_s, classify(400, {}, b"{}").elsewhere
    (7.0, False)
    """
    message = _message(body) or f"status {status}"
    low = body[:4096].lower()
    if status in (402, 429) and any(word in low for word in _SPEND):
        return Refusal("spend", 429, message, True, 300.0)
    if status == 429:
        return Refusal("rate", 429, message, True, _retry_after_s(headers) or rate_limit_open_s)
    if status == 529:
        return Refusal("overloaded", 529, message, True, _retry_after_s(headers) or rate_limit_open_s)
    if status in (401, 403, 407):
        return Refusal("auth", 502, "the target refused our credentials", True, 60.0)
    if status == 404:
        return Refusal("missing", 404, message, True, 0.0)
    if status in (408, 409) or status >= 500 or status < 400:
        shut_s = _retry_after_s(headers) if status == 503 else 0.0
        return Refusal("server", status if status >= 500 else 502, message, True, shut_s)
    return Refusal("request", status, message, False, 0.0)


def _retry_after_s(headers: dict[bytes, bytes]) -> float:
    try:
        if b"retry-after-ms" in headers:
            return min(600.0, max(0.0, float(headers[b"retry-after-ms"]) / 1000))
        return min(600.0, max(0.0, float(headers.get(b"retry-after", b"0"))))
    except ValueError:
        return 0.0  # an HTTP date: not worth a parser, the usual pause holds


def _message(body: bytes) -> str:
    try:
        given = msgspec.json.decode(body[:65536])
    except (msgspec.MsgspecError, RecursionError):
        return ""
    error = given.get("error", given) if isinstance(given, dict) else {}
    text = error.get("message", "") if isinstance(error, dict) else error
    return text[:500] if isinstance(text, str) else ""
