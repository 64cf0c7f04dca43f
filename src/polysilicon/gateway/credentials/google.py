"""Google's access tokens: a service account's signed grant, a user's refresh token, another platform's word, or the machine's own server.

Source: developers.google.com, "Using OAuth 2.0 for Server to Server Applications" (JWT bearer grant, RFC 7523); cloud.google.com,
"Authenticate with the metadata server".
"""

from __future__ import annotations

import base64
import time
from collections.abc import Callable
from typing import Any

import msgspec

from polysilicon.errors import PolysiliconError
from polysilicon.gateway.credentials import federation
from polysilicon.gateway.credentials.asking import ask_json, field, life_s
from polysilicon.gateway.credentials.keyfile import KeyFile
from polysilicon.gateway.credentials.renewed import Fetched
from polysilicon.gateway.wiring import Renew

_SCOPE = "https://www.googleapis.com/auth/cloud-platform"
_TOKEN = "https://oauth2.googleapis.com/token"
_METADATA = "http://metadata.google.internal/computeMetadata/v1/instance/service-accounts/default/token"


def from_key(settings: Renew) -> Fetched:
    """Return a token for a key file of any kind that Google writes."""
    return _of(KeyFile.read(settings.file), settings)


def _of(key: KeyFile, settings: Renew) -> Fetched:
    kind = key.text("type")
    if kind == "service_account":
        url = settings.url or key.url("token_uri", _TOKEN)
        form = {"grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer", "assertion": assertion(key, url, settings.scope or _SCOPE)}
        return _token(ask_json(url, form=form))
    if kind == "authorized_user":
        form = {"grant_type": "refresh_token", **{name: key.text(name) for name in ("client_id", "client_secret", "refresh_token")}}
        return _token(ask_json(settings.url or key.url("token_uri", _TOKEN), form=form))
    if kind == "external_account":
        return federation.exchange(key, settings)
    if kind == "impersonated_service_account":
        return federation.impersonate(key, settings, _of(key.part("source_credentials"), settings).values[0])
    known = "service_account, authorized_user, external_account or impersonated_service_account"
    raise key.wrong("type", f'is "{kind[:40]}"; {known} are known')


def from_metadata(settings: Renew) -> Fetched:
    """Return a token from the metadata server; it may be older than new, so its rest of life counts."""
    return _token(ask_json(settings.url or _METADATA, headers={"metadata-flavor": "Google"}, timeout_s=5.0))


def assertion(key: KeyFile, audience: str, scope: str, now_s: float | None = None) -> str:
    """Return a service account's signed claim, good for one hour.

    Raises: PolysiliconError when the signing library is missing or the key is no key.
    """
    try:
        from cryptography.hazmat.primitives import hashes, serialization
        from cryptography.hazmat.primitives.asymmetric import padding, rsa
    except ImportError:
        raise PolysiliconError("signing needs the extra `google`: pip install polysilicon[google]") from None
    issued = int(time.time() if now_s is None else now_s)
    head = {"alg": "RS256", "typ": "JWT", "kid": key.text("private_key_id", "")}
    claims = {"iss": key.text("client_email"), "scope": scope, "aud": audience, "iat": issued, "exp": issued + 3600}
    pem = key.text("private_key")
    text = b".".join(_base64(msgspec.json.encode(part)) for part in (head, claims))
    try:
        private = serialization.load_pem_private_key(pem.encode(), None)
    except (ValueError, TypeError):
        raise key.wrong("private_key", "is no key") from None
    if not isinstance(private, rsa.RSAPrivateKey):
        raise key.wrong("private_key", "is not of RSA")
    return b".".join((text, _base64(private.sign(text, padding.PKCS1v15(), hashes.SHA256())))).decode()


def _base64(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def _token(answer: dict[str, Any]) -> Fetched:
    return Fetched((field(answer, "access_token"),), life_s(answer))


FETCH: dict[str, Callable[[Renew], Fetched]] = {"google-key": from_key, "google-metadata": from_metadata}
