"""Google's workload identity federation: another platform vouches for us, Google's token service takes its word, no key is kept.

Source: cloud.google.com, "Workload Identity Federation" and "Obtain short-lived tokens"; AIP-4117 (external account credentials); RFC 8693.
"""

from __future__ import annotations

import base64
import os
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote, urlsplit

import msgspec

from polysilicon.errors import PolysiliconError
from polysilicon.gateway.credentials import aws
from polysilicon.gateway.credentials.asking import ask, ask_json, field, life_s
from polysilicon.gateway.credentials.keyfile import KeyFile, read_text
from polysilicon.gateway.credentials.renewed import Fetched
from polysilicon.gateway.sigv4 import AwsKey, Signer
from polysilicon.gateway.wiring import Renew

_SCOPE = "https://www.googleapis.com/auth/cloud-platform"
_STS = "https://sts.googleapis.com/v1/token"
_EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
_ACCESS = "urn:ietf:params:oauth:token-type:access_token"


def exchange(key: KeyFile, settings: Renew) -> Fetched:
    """Return a token for a file of type `external_account`: the platform's proof, exchanged; as a service account where one is named."""
    form = {
        "grant_type": _EXCHANGE, "audience": key.text("audience"), "scope": settings.scope or _SCOPE, "requested_token_type": _ACCESS,
        "subject_token_type": key.text("subject_token_type"), "subject_token": _subject(key),
    }  # fmt: skip
    headers = {}
    if key.has("client_id"):
        pair = f"{quote(key.text('client_id'), safe='')}:{quote(key.text('client_secret'), safe='')}"
        headers["authorization"] = "Basic " + base64.b64encode(pair.encode()).decode()
    elif key.has("workforce_pool_user_project"):
        form["options"] = quote(msgspec.json.encode({"userProject": key.text("workforce_pool_user_project")}).decode(), safe="")
    answer = ask_json(settings.url or key.url("token_url", _STS), form=form, headers=headers)
    token = Fetched((field(answer, "access_token"),), life_s(answer))
    return impersonate(key, settings, token.values[0]) if key.has("service_account_impersonation_url") else token


def impersonate(key: KeyFile, settings: Renew, token: str) -> Fetched:
    """Return a service account's token, got with our own."""
    asked = {"scope": [settings.scope or _SCOPE], "lifetime": "3600s"}
    headers = {"authorization": f"Bearer {token}", "content-type": "application/json"}
    answer = ask_json(key.url("service_account_impersonation_url"), headers=headers, data=msgspec.json.encode(asked))
    try:
        until = datetime.fromisoformat(field(answer, "expireTime").replace("Z", "+00:00"))
        left_s = (until - datetime.now(UTC)).total_seconds()
    except (ValueError, TypeError):
        raise PolysiliconError("the issuer's answer has no usable expireTime") from None
    if left_s <= 0.0:
        raise PolysiliconError("the token that was issued has expired already")
    return Fetched((field(answer, "accessToken"),), left_s)


def _subject(key: KeyFile) -> str:
    """Return the platform's proof of who we are."""
    source = key.part("credential_source")
    if source.has("environment_id"):
        return _signed_by_aws(key, source)
    if source.has("file"):
        return _of_format(source, read_text(source.text("file")))
    if source.has("url"):
        raw = ask(source.url("url"), headers=source.mapping("headers"), timeout_s=5.0)
        return _of_format(source, raw.decode("utf-8", "replace").strip())
    kinds = [name for name in ("executable", "certificate") if source.has(name)]
    raise source.wrong(kinds[0] if kinds else "file", "is not supported: file, url and AWS are" if kinds else "is missing; so is url")


def _of_format(source: KeyFile, text: str) -> str:
    form = source.part("format") if source.has("format") else KeyFile(source.path, {})
    if form.text("type", "text") == "text":
        return text
    name = form.text("subject_token_field_name")
    try:
        value = msgspec.json.decode(text, type=dict[str, Any]).get(name)
    except msgspec.MsgspecError:
        value = None
    if not isinstance(value, str) or not value:
        raise form.wrong("subject_token_field_name", f'names "{name[:60]}", which the platform\'s answer does not hold as text')
    return value


def _signed_by_aws(key: KeyFile, source: KeyFile) -> str:
    """Return a signed question to AWS, who are we: Google asks it in our place."""
    if source.text("environment_id") != "aws1":
        raise source.wrong("environment_id", "is not aws1")
    env = os.environ
    region = env.get("AWS_REGION") or env.get("AWS_DEFAULT_REGION")
    if not region:
        region = ask(source.url("region_url"), headers=_session(source), timeout_s=5.0).decode("latin-1").strip()[:-1]
    if env.get("AWS_ACCESS_KEY_ID") and env.get("AWS_SECRET_ACCESS_KEY"):
        pair = AwsKey(env["AWS_ACCESS_KEY_ID"], env["AWS_SECRET_ACCESS_KEY"], env.get("AWS_SESSION_TOKEN", ""))
    else:
        at = urlsplit(source.url("url"))
        pair = AwsKey(*aws.from_metadata(Renew("aws-metadata", url=f"{at.scheme}://{at.netloc}")).values)
    url = source.text("regional_cred_verification_url").replace("{region}", region)
    parts = urlsplit(url)
    headers = {"host": parts.netloc, "x-goog-cloud-target-resource": key.text("audience")}
    proof = Signer(pair, region, "sts").sign("POST", parts.path or "/", headers, b"", query=parts.query)
    signed = headers | {"Authorization" if name == "authorization" else name: value for name, value in proof.items()}
    asked = {"url": url, "method": "POST", "headers": [{"key": name, "value": value} for name, value in sorted(signed.items())]}
    return quote(msgspec.json.encode(asked).decode(), safe="")


def _session(source: KeyFile) -> dict[str, str]:
    """Return the metadata service's session, where the file says that it asks for one."""
    if not source.has("imdsv2_session_token_url"):
        return {}
    head = {"x-aws-ec2-metadata-token-ttl-seconds": "300"}
    token = ask(source.url("imdsv2_session_token_url"), headers=head, method="PUT", timeout_s=5.0)
    return {"x-aws-ec2-metadata-token": token.decode("latin-1").strip()}
