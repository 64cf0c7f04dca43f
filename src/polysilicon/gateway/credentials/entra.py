"""Microsoft Entra's access tokens for Foundry: a client's secret or certificate, a federated workload's token, or a managed identity.

Source: learn.microsoft.com, "Microsoft identity platform and the OAuth 2.0 client credentials flow", "... application authentication
certificate credentials", "How managed identities for Azure resources work with Azure virtual machines", "... App Service and Azure Functions".
"""

from __future__ import annotations

import base64
import os
import secrets
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import msgspec

from polysilicon.errors import PolysiliconError
from polysilicon.gateway.credentials.asking import ask_json, field, life_s
from polysilicon.gateway.credentials.keyfile import is_near, read_text
from polysilicon.gateway.credentials.renewed import Fetched
from polysilicon.gateway.secrets import SecretValue
from polysilicon.gateway.wiring import Renew

_SCOPE = "https://ai.azure.com/.default"
_AUTHORITY = "https://login.microsoftonline.com"
_BEARER = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_METADATA = "http://169.254.169.254/metadata/identity/oauth2/token"


def from_secret(settings: Renew) -> Fetched:
    """Return a token for a client and its secret."""
    return _grant(settings, {"client_secret": SecretValue(settings.client_secret, where="renew.client_secret").get()})


def from_workload(settings: Renew) -> Fetched:
    """Return a token for a client whose platform vouches for it in a file that it renews."""
    return _grant(settings, {"client_assertion_type": _BEARER, "client_assertion": read_text(settings.file)})


def from_certificate(settings: Renew) -> Fetched:
    """Return a token for a client that signs with its certificate's key: one PEM file with both."""
    signed = assertion(settings.file, settings.client_id, _token_url(settings))
    return _grant(settings, {"client_assertion_type": _BEARER, "client_assertion": signed})


def assertion(path: str, client_id: str, audience: str, now_s: float | None = None) -> str:
    """Return a client's claim, signed with its certificate's key and good for ten minutes.

    Raises: PolysiliconError when the signing library is missing or the file holds no certificate or no RSA key.
    """
    try:
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes, serialization
        from cryptography.hazmat.primitives.asymmetric import padding, rsa
    except ImportError:
        raise PolysiliconError("signing needs the extra `google` (cryptography): pip install polysilicon[google]") from None
    pem = read_text(path).encode()
    try:
        certificate = x509.load_pem_x509_certificate(pem)
    except ValueError:
        raise PolysiliconError(f"{path}: no certificate (BEGIN CERTIFICATE) can be read") from None
    try:
        private = serialization.load_pem_private_key(pem, None)
    except (ValueError, TypeError):
        raise PolysiliconError(f"{path}: no key without a password (BEGIN PRIVATE KEY) can be read") from None
    if not isinstance(private, rsa.RSAPrivateKey):
        raise PolysiliconError(f"{path}: the key is not of RSA")
    issued = int(time.time() if now_s is None else now_s)
    head = {"alg": "PS256", "typ": "JWT", "x5t#S256": _base64(certificate.fingerprint(hashes.SHA256())).decode()}
    claims = {"aud": audience, "iss": client_id, "sub": client_id, "jti": secrets.token_hex(16), "nbf": issued, "exp": issued + 600}
    text = b".".join(_base64(msgspec.json.encode(part)) for part in (head, claims))
    signature = private.sign(text, padding.PSS(padding.MGF1(hashes.SHA256()), padding.PSS.DIGEST_LENGTH), hashes.SHA256())
    return b".".join((text, _base64(signature))).decode()


def _base64(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def from_app_service(settings: Renew) -> Fetched:
    """Return a token where the platform (App Service, Container Apps, Functions) gives an address and a header by environment variables."""
    url, proof = settings.url or os.environ.get("IDENTITY_ENDPOINT", ""), os.environ.get("IDENTITY_HEADER", "")
    for name, value in (("IDENTITY_ENDPOINT", url), ("IDENTITY_HEADER", proof)):
        if not value:
            raise PolysiliconError(f"{name} is not set: this is no App Service, Container App or Function with an identity")
    if not is_near(urlsplit(url).hostname or ""):
        raise PolysiliconError("IDENTITY_ENDPOINT is not on this machine")
    asked = {"api-version": "2019-08-01", "resource": (settings.scope or _SCOPE).removesuffix("/.default")}
    if settings.client_id:
        asked["client_id"] = settings.client_id
    answer = ask_json(f"{url}?{urlencode(asked)}", headers={"x-identity-header": proof}, timeout_s=5.0)
    try:
        left_s = float(answer["expires_on"]) - time.time()
    except (KeyError, TypeError, ValueError):
        raise PolysiliconError("the issuer's answer has no usable expires_on") from None
    if left_s <= 0.0:
        raise PolysiliconError("the token that was issued has expired already")
    return Fetched((field(answer, "access_token"),), left_s)


def from_metadata(settings: Renew) -> Fetched:
    """Return a token for the machine's own identity, or for one of several by its client id."""
    asked = {"api-version": "2018-02-01", "resource": (settings.scope or _SCOPE).removesuffix("/.default")}
    if settings.client_id:
        asked["client_id"] = settings.client_id
    return _token(ask_json(f"{settings.url or _METADATA}?{urlencode(asked)}", headers={"metadata": "true"}, timeout_s=5.0))


def _grant(settings: Renew, proof: dict[str, str]) -> Fetched:
    form = {"grant_type": "client_credentials", "client_id": settings.client_id, "scope": settings.scope or _SCOPE, **proof}
    return _token(ask_json(_token_url(settings), form=form))


def _token_url(settings: Renew) -> str:
    return f"{(settings.url or _AUTHORITY).rstrip('/')}/{quote(settings.tenant, safe='')}/oauth2/v2.0/token"


def _token(answer: dict[str, Any]) -> Fetched:
    return Fetched((field(answer, "access_token"),), life_s(answer))


FETCH: dict[str, Callable[[Renew], Fetched]] = {
    "entra-secret": from_secret, "entra-workload": from_workload, "entra-metadata": from_metadata,
    "entra-certificate": from_certificate, "entra-app-service": from_app_service,
}  # fmt: skip
