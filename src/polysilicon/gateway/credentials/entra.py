"""Microsoft Entra's access tokens for Foundry: a client's secret, a federated workload's token, or the machine's managed identity.

Source: learn.microsoft.com, "Microsoft identity platform and the OAuth 2.0 client credentials flow"; "How managed identities for
Azure resources work with Azure virtual machines".
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from polysilicon.errors import PolysiliconError
from polysilicon.gateway.credentials.asking import ask_json, field, life_s
from polysilicon.gateway.credentials.renewed import Fetched
from polysilicon.gateway.secrets import SecretValue
from polysilicon.gateway.wiring import Renew

_SCOPE = "https://ai.azure.com/.default"
_AUTHORITY = "https://login.microsoftonline.com"
_METADATA = "http://169.254.169.254/metadata/identity/oauth2/token"


def from_secret(settings: Renew) -> Fetched:
    """Return a token for a client and its secret."""
    return _grant(settings, {"client_secret": SecretValue(settings.client_secret, where="renew.client_secret").get()})


def from_workload(settings: Renew) -> Fetched:
    """Return a token for a client whose platform vouches for it in a file that it renews."""
    try:
        vouched = Path(settings.file).read_text().strip()
    except OSError as error:
        raise PolysiliconError(f"{settings.file} cannot be read: {error.strerror}") from error
    return _grant(settings, {"client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer", "client_assertion": vouched})


def from_metadata(settings: Renew) -> Fetched:
    """Return a token for the machine's own identity, or for one of several by its client id."""
    asked = {"api-version": "2018-02-01", "resource": (settings.scope or _SCOPE).removesuffix("/.default")}
    if settings.client_id:
        asked["client_id"] = settings.client_id
    return _token(ask_json(f"{settings.url or _METADATA}?{urlencode(asked)}", headers={"metadata": "true"}, timeout_s=5.0))


def _grant(settings: Renew, proof: dict[str, str]) -> Fetched:
    url = f"{settings.url or _AUTHORITY}/{quote(settings.tenant, safe='')}/oauth2/v2.0/token"
    form = {"grant_type": "client_credentials", "client_id": settings.client_id, "scope": settings.scope or _SCOPE, **proof}
    return _token(ask_json(url, form=form))


def _token(answer: dict[str, Any]) -> Fetched:
    return Fetched((field(answer, "access_token"),), life_s(answer))


FETCH: dict[str, Callable[[Renew], Fetched]] = {
    "entra-secret": from_secret, "entra-workload": from_workload, "entra-metadata": from_metadata,
}  # fmt: skip
