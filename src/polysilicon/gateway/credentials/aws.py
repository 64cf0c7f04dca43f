"""AWS keys that expire: a profile's file or role, a web identity's role, a container's or the machine's own role.

Source: docs.aws.amazon.com, AssumeRoleWithWebIdentity; "Retrieve security credentials from instance metadata" (IMDSv2); "Container
credential provider".
"""

from __future__ import annotations

import configparser
import os
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

from polysilicon.errors import PolysiliconError
from polysilicon.gateway.credentials.asking import ask, ask_json, field
from polysilicon.gateway.credentials.keyfile import is_near, read_text
from polysilicon.gateway.credentials.renewed import Fetched
from polysilicon.gateway.sigv4 import AwsKey, Signer
from polysilicon.gateway.wiring import Renew

_METADATA = "http://169.254.169.254"
_CONTAINER = "http://169.254.170.2"
_LOOK_AGAIN_S = 60.0  # a profile's file may be rewritten at any time
_NAMES = ("AccessKeyId", "SecretAccessKey")


def from_profile(settings: Renew) -> Fetched:
    """Return the keys of a profile: written in its file, or of the role that it says to assume."""
    path = Path(settings.file).expanduser() if settings.file else Path.home() / ".aws" / "credentials"
    profiles = _profiles(path, given=bool(settings.file))
    return _of_profile(settings, path, profiles, settings.profile or "default", ())


def _profiles(path: Path, *, given: bool) -> dict[str, dict[str, str]]:
    """Return all profiles; `config` beside the usual file, where it exists, says what the credentials do not."""
    paths = [path] if given else [path.with_name("config"), path]
    if not given and not any(p.exists() for p in paths):
        raise PolysiliconError(f"{path} cannot be read: No such file or directory")
    out: dict[str, dict[str, str]] = {}
    for one in paths:
        if not given and not one.exists():
            continue
        parser = configparser.RawConfigParser()
        try:
            parser.read_string(one.read_text())
        except OSError as error:
            raise PolysiliconError(f"{one} cannot be read: {error.strerror}") from error
        except (configparser.Error, UnicodeDecodeError):
            raise PolysiliconError(f"{one} is not a credentials file") from None
        for name in parser.sections():
            out.setdefault(name.removeprefix("profile ").strip(), {}).update(parser[name])
    return out


def _of_profile(settings: Renew, path: Path, profiles: Mapping[str, Mapping[str, str]], name: str, above: tuple[str, ...]) -> Fetched:
    if name not in profiles:
        raise PolysiliconError(f'{path} has no profile "{name}"')
    if name in above:
        raise PolysiliconError(f'{path}: profile "{name}" has itself as its source')
    found = profiles[name]

    def say(word: str) -> PolysiliconError:
        return PolysiliconError(f'{path}: profile "{name}": {word}')

    if not found.get("role_arn"):
        for unknown in ("credential_process", "sso_session", "sso_start_url"):
            if unknown in found and "aws_access_key_id" not in found:
                raise say(f"{unknown} is not supported: let it write keys to the file")
        for needed in ("aws_access_key_id", "aws_secret_access_key"):
            if not found.get(needed):
                raise say(f"{needed} is missing")
        keys: tuple[str, ...] = (found["aws_access_key_id"], found["aws_secret_access_key"], found.get("aws_session_token", ""))
        return Fetched(keys, _LOOK_AGAIN_S * 1.25)
    role = found["role_arn"]
    if found.get("web_identity_token_file"):
        file = found["web_identity_token_file"]
        return from_web_identity(Renew("aws-web-identity", role=role, file=file, url=settings.url, region=settings.region))
    if found.get("source_profile"):
        keys = _of_profile(settings, path, profiles, found["source_profile"], (*above, name)).values
    elif found.get("credential_source") == "Environment":
        keys = tuple(os.environ.get(f"AWS_{x}", "") for x in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY", "SESSION_TOKEN"))
        if not all(keys[:2]):
            raise say("credential_source is Environment, but AWS_ACCESS_KEY_ID or AWS_SECRET_ACCESS_KEY is not set")
    elif found.get("credential_source") == "Ec2InstanceMetadata":
        keys = from_metadata(Renew("aws-metadata")).values
    else:
        raise say("role_arn needs source_profile, web_identity_token_file, or credential_source Environment or Ec2InstanceMetadata")
    return _assume(AwsKey(*keys), role, settings, found.get("external_id", ""))


def _assume(key: AwsKey, role: str, settings: Renew, external_id: str) -> Fetched:
    """Return the keys of a role, asked for with our own."""
    region = settings.region or "us-east-1"
    url = settings.url or f"https://sts.{region}.amazonaws.com/"
    asked = {"Action": "AssumeRole", "Version": "2011-06-15", "RoleArn": role, "RoleSessionName": "polysilicon"}
    if external_id:
        asked["ExternalId"] = external_id
    body = urlencode(asked).encode()
    parts = urlsplit(url)
    headers = {"host": parts.netloc, "content-type": "application/x-www-form-urlencoded"}
    signed = Signer(key, region, "sts").sign("POST", parts.path or "/", headers, body)
    return _of_sts(ask(url, data=body, headers={**headers, **signed}))


def from_web_identity(settings: Renew) -> Fetched:
    """Return the keys of a role that a platform's token may assume: STS's one operation that needs no signature."""
    asked = {"Action": "AssumeRoleWithWebIdentity", "Version": "2011-06-15", "RoleArn": settings.role, "RoleSessionName": "polysilicon",
             "WebIdentityToken": read_text(settings.file)}  # fmt: skip
    return _of_sts(ask(settings.url or f"https://sts.{settings.region or 'us-east-1'}.amazonaws.com/", form=asked))


def _of_sts(answer: bytes) -> Fetched:
    found = dict(re.findall(r"<(AccessKeyId|SecretAccessKey|SessionToken|Expiration)>([^<]*)</", answer.decode("utf-8", "replace")))
    return _keys({**found, "Token": found.get("SessionToken", "")})


def from_metadata(settings: Renew) -> Fetched:
    """Return the keys of the machine's role, by the metadata service's second version."""
    base = (settings.url or _METADATA).rstrip("/")
    head = {"x-aws-ec2-metadata-token-ttl-seconds": "300"}
    token = ask(f"{base}/latest/api/token", headers=head, method="PUT", timeout_s=5.0).decode("latin-1").strip()
    shown = {"x-aws-ec2-metadata-token": token}
    at = f"{base}/latest/meta-data/iam/security-credentials/"
    role = settings.role or ask(at, headers=shown, timeout_s=5.0).decode("latin-1").split("\n")[0].strip()
    return _keys(ask_json(at + role, headers=shown, timeout_s=5.0))


def from_container(settings: Renew) -> Fetched:
    """Return the keys of a container's role (ECS, EKS Pod Identity); the token that allows it stands in a file."""
    head = {"authorization": read_text(settings.file)} if settings.file else {}
    env = os.environ
    url = settings.url or env.get("AWS_CONTAINER_CREDENTIALS_FULL_URI") or _CONTAINER + env.get("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "")
    if not head and env.get("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"):
        head = {"authorization": read_text(env["AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"])}
    elif not head and env.get("AWS_CONTAINER_AUTHORIZATION_TOKEN"):
        head = {"authorization": env["AWS_CONTAINER_AUTHORIZATION_TOKEN"]}
    if not (url.startswith("https://") or is_near(urlsplit(url).hostname or "")):
        raise PolysiliconError("AWS_CONTAINER_CREDENTIALS_FULL_URI must be https://, or http:// of this machine or its link")
    return _keys(ask_json(url, headers=head, timeout_s=5.0))


def _keys(answer: Mapping[str, Any]) -> Fetched:
    access, secret = (field(answer, name) for name in _NAMES)
    try:
        life_s = (datetime.fromisoformat(field(answer, "Expiration").replace("Z", "+00:00")) - datetime.now(UTC)).total_seconds()
    except (ValueError, TypeError):
        raise PolysiliconError("the issuer's answer has no usable Expiration") from None
    if life_s <= 0.0:
        raise PolysiliconError("the keys that were issued have expired already")
    return Fetched((access, secret, field(answer, "Token")), life_s)


FETCH: dict[str, Callable[[Renew], Fetched]] = {
    "aws-profile": from_profile, "aws-web-identity": from_web_identity, "aws-metadata": from_metadata, "aws-container": from_container,
}  # fmt: skip
