"""AWS keys that expire: a profile's file, a web identity's role, a container's or the machine's own role.

Source: docs.aws.amazon.com, AssumeRoleWithWebIdentity; "Retrieve security credentials from instance metadata" (IMDSv2); "Container
credential provider".
"""

from __future__ import annotations

import configparser
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from polysilicon.errors import PolysiliconError
from polysilicon.gateway.credentials.asking import ask, ask_json, field
from polysilicon.gateway.credentials.renewed import Fetched
from polysilicon.gateway.wiring import Renew

_METADATA = "http://169.254.169.254"
_CONTAINER = "http://169.254.170.2"
_LOOK_AGAIN_S = 60.0  # a profile's file may be rewritten at any time
_NAMES = ("AccessKeyId", "SecretAccessKey")


def from_profile(settings: Renew) -> Fetched:
    """Return the keys of a profile in a shared credentials file."""
    path = Path(settings.file or Path.home() / ".aws" / "credentials").expanduser()
    parser = configparser.RawConfigParser()
    try:
        parser.read_string(path.read_text())
    except OSError as error:
        raise PolysiliconError(f"{path} cannot be read: {error.strerror}") from error
    except configparser.Error:
        raise PolysiliconError(f"{path} is not a credentials file") from None
    name = settings.profile or "default"
    if not parser.has_section(name):
        raise PolysiliconError(f'{path} has no profile "{name}"')
    found = dict(parser[name])
    keys = (field(found, "aws_access_key_id"), field(found, "aws_secret_access_key"), found.get("aws_session_token", ""))
    return Fetched(keys, _LOOK_AGAIN_S * 1.25)


def from_web_identity(settings: Renew) -> Fetched:
    """Return the keys of a role that a platform's token may assume: STS's one operation that needs no signature."""
    try:
        vouched = Path(settings.file).read_text().strip()
    except OSError as error:
        raise PolysiliconError(f"{settings.file} cannot be read: {error.strerror}") from error
    asked = {"Action": "AssumeRoleWithWebIdentity", "Version": "2011-06-15", "RoleArn": settings.role, "RoleSessionName": "polysilicon",
             "WebIdentityToken": vouched}  # fmt: skip
    url = settings.url or f"https://sts.{settings.region or 'us-east-1'}.amazonaws.com/"
    text = ask(url, form=asked).decode("utf-8", "replace")
    found = dict(re.findall(r"<(AccessKeyId|SecretAccessKey|SessionToken|Expiration)>([^<]*)</", text))
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
    head = {}
    if settings.file:
        try:
            head["authorization"] = Path(settings.file).read_text().strip()
        except OSError as error:
            raise PolysiliconError(f"{settings.file} cannot be read: {error.strerror}") from error
    return _keys(ask_json(settings.url or _CONTAINER, headers=head, timeout_s=5.0))


def _keys(answer: Mapping[str, Any]) -> Fetched:
    access, secret = (field(answer, name) for name in _NAMES)
    until = datetime.fromisoformat(field(answer, "Expiration").replace("Z", "+00:00"))
    life_s = (until - datetime.now(UTC)).total_seconds()
    if life_s <= 0.0:
        raise PolysiliconError("the keys that were issued have expired already")
    return Fetched((access, secret, field(answer, "Token")), life_s)


FETCH: dict[str, Callable[[Renew], Fetched]] = {
    "aws-profile": from_profile, "aws-web-identity": from_web_identity, "aws-metadata": from_metadata, "aws-container": from_container,
}  # fmt: skip
