"""Proofs by another platform's word: Google's external accounts, roles of AWS profiles, Entra's certificates and platform identities."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote

import pytest
from issuer import Issuer
from rig import Rig, ask, endpoint, post

from polysilicon.errors import PolysiliconError
from polysilicon.gateway.credentials import aws, entra, google
from polysilicon.gateway.sigv4 import AwsKey, Signer
from polysilicon.gateway.wiring import Renew, Secret

AUDIENCE = "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/q"
JWT = "urn:ietf:params:oauth:token-type:jwt"


def later(hours: float = 1.0) -> str:
    return (datetime.now(UTC) + timedelta(hours=hours)).strftime("%Y-%m-%dT%H:%M:%SZ")


def sts(access: str = "ASIA1") -> str:
    return (f"<R><Credentials><AccessKeyId>{access}</AccessKeyId><SecretAccessKey>s/+1</SecretAccessKey><SessionToken>tok==</SessionToken>"
            f"<Expiration>{later()}</Expiration></Credentials></R>")  # fmt: skip


def external(folder: Path, issuer: Issuer, source: dict[str, Any], **more: Any) -> Renew:
    path = folder / "external.json"
    path.write_text(json.dumps({
        "type": "external_account", "audience": AUDIENCE, "subject_token_type": JWT, "token_url": issuer.url + "/v1/token",
        "credential_source": source, **more,
    }))  # fmt: skip
    return Renew("google-key", file=str(path))


@pytest.mark.parametrize("shape", ["text", "json"])
def test_a_platforms_token_in_a_file_is_exchanged(issuer: Issuer, tmp_path: Path, shape: str) -> None:
    token = tmp_path / "token"
    token.write_text("eyJ.platform\n" if shape == "text" else '{"id_token": "eyJ.platform"}')
    form = {} if shape == "text" else {"format": {"type": "json", "subject_token_field_name": "id_token"}}
    issuer.answer = lambda _path, _form: (200, {"access_token": "ya29.fed", "expires_in": 3599, "issued_token_type": "x", "token_type": "Bearer"})
    found = google.from_key(external(tmp_path, issuer, {"file": str(token), **form}))
    assert (found.values, found.life_s) == (("ya29.fed",), 3599.0)
    method, path, _, asked = issuer.asked[-1]
    assert (method, path) == ("POST", "/v1/token")
    assert asked == {
        "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange", "audience": AUDIENCE, "subject_token_type": JWT,
        "scope": "https://www.googleapis.com/auth/cloud-platform", "subject_token": "eyJ.platform",
        "requested_token_type": "urn:ietf:params:oauth:token-type:access_token",
    }  # fmt: skip


def test_a_platforms_token_at_an_address_as_a_service_account(issuer: Issuer, tmp_path: Path) -> None:
    def answer(path: str, _form: dict[str, str]) -> tuple[int, Any]:
        if path == "/platform":
            return 200, {"access_token": "eyJ.azure"}
        if path == "/v1/token":
            return 200, {"access_token": "federated", "expires_in": 3600}
        return 200, {"accessToken": "ya29.account", "expireTime": later(0.5)}

    issuer.answer = answer
    form = {"type": "json", "subject_token_field_name": "access_token"}
    source = {"url": issuer.url + "/platform", "headers": {"Metadata": "True"}, "format": form}
    account = issuer.url + "/v1/projects/-/serviceAccounts/gw@p.iam.gserviceaccount.com:generateAccessToken"
    settings = external(tmp_path, issuer, source, service_account_impersonation_url=account, client_id="c/1", client_secret="s:2")
    found = google.from_key(settings)
    assert found.values == ("ya29.account",)
    assert 1700 < found.life_s <= 1800
    (_, _, first, _), (_, _, second, asked), (_, path, third, _) = issuer.asked
    assert first["metadata"] == "True"
    assert asked["subject_token"] == "eyJ.azure"
    assert second["authorization"] == "Basic " + base64.b64encode(b"c%2F1:s%3A2").decode()
    assert (third["authorization"], path.endswith(":generateAccessToken")) == ("Bearer federated", True)
    assert json.loads(issuer.bodies[-1]) == {"scope": ["https://www.googleapis.com/auth/cloud-platform"], "lifetime": "3600s"}


def test_a_machine_of_aws_vouches_by_a_signed_question(issuer: Issuer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name, raising=False)

    def answer(path: str, _form: dict[str, str]) -> tuple[int, Any]:
        if path.endswith("/api/token"):
            return 200, "session"
        if path.endswith("availability-zone"):
            return 200, "eu-west-1b"
        if path.endswith("security-credentials/"):
            return 200, "role"
        if path.endswith("/role"):
            return 200, {"AccessKeyId": "ASIA9", "SecretAccessKey": "s9", "Token": "t9", "Expiration": later()}
        return 200, {"access_token": "ya29.aws", "expires_in": 3600}

    issuer.answer = answer
    base = issuer.url + "/latest"
    source = {
        "environment_id": "aws1", "region_url": base + "/meta-data/placement/availability-zone", "imdsv2_session_token_url": base + "/api/token",
        "url": base + "/meta-data/iam/security-credentials",
        "regional_cred_verification_url": "https://sts.{region}.amazonaws.com?Action=GetCallerIdentity&Version=2011-06-15",
    }  # fmt: skip
    settings = external(tmp_path, issuer, source, subject_token_type="urn:ietf:params:aws:token-type:aws4_request")
    assert google.from_key(settings).values == ("ya29.aws",)
    said = json.loads(unquote(issuer.asked[-1][3]["subject_token"]))
    headers = {h["key"]: h["value"] for h in said["headers"]}
    assert (said["method"], said["url"]) == ("POST", "https://sts.eu-west-1.amazonaws.com?Action=GetCallerIdentity&Version=2011-06-15")
    assert headers["x-goog-cloud-target-resource"] == AUDIENCE
    assert headers["x-amz-security-token"] == "t9"
    at_s = datetime.strptime(headers["x-amz-date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()
    again = Signer(AwsKey("ASIA9", "s9", "t9"), "eu-west-1", "sts").sign(
        "POST", "/", {"host": "sts.eu-west-1.amazonaws.com", "x-goog-cloud-target-resource": AUDIENCE}, b"",
        query="Action=GetCallerIdentity&Version=2011-06-15", at_s=at_s,
    )  # fmt: skip
    assert headers["Authorization"] == again["authorization"]


def test_a_logged_in_user_as_a_service_account(issuer: Issuer, tmp_path: Path) -> None:
    path = tmp_path / "adc.json"
    user = {"type": "authorized_user", "client_id": "c", "client_secret": "s", "refresh_token": "r", "token_uri": issuer.url + "/t"}
    account = {"service_account_impersonation_url": issuer.url + "/account:generateAccessToken", "source_credentials": user}
    path.write_text(json.dumps({"type": "impersonated_service_account", **account}))
    answers = {"/t": {"access_token": "user", "expires_in": 60}, "/account:generateAccessToken": {"accessToken": "ya29.a", "expireTime": later()}}
    issuer.answer = lambda path, _form: (200, answers[path])
    assert google.from_key(Renew("google-key", file=str(path))).values == ("ya29.a",)
    assert issuer.asked[-1][2]["authorization"] == "Bearer user"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"audience": None}, "audience is missing"), ({"audience": 7}, "audience is not text"),
        ({"token_url": "http://evil.example/t"}, "token_url must be"),
        ({"credential_source": None}, "credential_source is missing"), ({"credential_source": "x"}, "credential_source is not an object"),
        ({"credential_source": {}}, "credential_source.file is missing"),
        ({"credential_source": {"executable": {"command": "sh"}}}, "credential_source.executable is not supported"),
        ({"credential_source": {"url": "http://evil.example/"}}, "credential_source.url must be"),
        ({"credential_source": {"file": "/nowhere/token"}}, "/nowhere/token cannot be read"),
        ({"service_account_impersonation_url": "ftp://x"}, "service_account_impersonation_url must be"), ({"type": "magic"}, 'type is "magic"'),
        ({"type": "service_account"}, "client_email is missing"), ({"type": "authorized_user"}, "client_id is missing"),
    ],
)  # fmt: skip
def test_a_key_file_that_is_wrong_is_named_with_its_field(issuer: Issuer, tmp_path: Path, change: dict[str, Any], said: str) -> None:
    token = tmp_path / "token"
    token.write_text("eyJ.secret")
    issuer.answer = lambda _path, _form: (200, {"access_token": "t", "expires_in": 60})
    settings = external(tmp_path, issuer, {"file": str(token)}, **change)
    with pytest.raises(PolysiliconError, match=said) as caught:
        google.from_key(settings)
    assert "external.json" in str(caught.value) or "/nowhere" in str(caught.value)
    assert "eyJ.secret" not in str(caught.value)


def test_a_vertex_target_behind_a_federation(rig: Callable[..., Rig], issuer: Issuer, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("eyJ.platform")
    spec = endpoint("v", "vertex")
    spec.keys = ("ya29.fed",)
    issuer.answer = lambda _path, _form: (200, {"access_token": "ya29.fed", "expires_in": 3600})
    r = rig([spec], targets={"v": {"secret": Secret(renew=external(tmp_path, issuer, {"file": str(token)}))}})
    assert [post(r, ask(stream=bool(i % 2)))[0] for i in range(4)] == [200] * 4


def test_roles_of_profiles_are_assumed(issuer: Issuer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, token = tmp_path / "credentials", tmp_path / "token"
    token.write_text("eyJ.platform")
    file.write_text(
        "[default]\naws_access_key_id=AK\naws_secret_access_key=SK\n"
        "[gw]\nrole_arn=arn:aws:iam::1:role/gw\nsource_profile=default\nexternal_id=x-1\n[two]\nrole_arn=arn:aws:iam::1:role/two\nsource_profile=gw\n"
        f"[web]\nrole_arn=arn:aws:iam::1:role/web\nweb_identity_token_file={token}\n[env]\nrole_arn=r\ncredential_source=Environment\n"
        "[loop]\nrole_arn=r\nsource_profile=loop\n[none]\nrole_arn=r\n[half]\naws_access_key_id=A\n[sso]\nsso_session=x\n"
    )
    issuer.answer = lambda _path, form: (200, sts("ASIA" + form["RoleArn"][-2:]))
    settings = Renew("aws-profile", file=str(file), url=issuer.url, region="eu-west-1")

    def of(profile: str) -> tuple[str, ...]:
        return aws.from_profile(Renew("aws-profile", file=str(file), profile=profile, url=issuer.url, region=settings.region)).values

    assert of("gw") == ("ASIAgw", "s/+1", "tok==")
    _, _, headers, form = issuer.asked[-1]
    assert (form["Action"], form["ExternalId"]) == ("AssumeRole", "x-1")
    assert "Credential=AK/" in headers["authorization"]
    assert "/eu-west-1/sts/aws4_request" in headers["authorization"]
    at_s = datetime.strptime(headers["x-amz-date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()
    said = {"host": headers["host"], "content-type": "application/x-www-form-urlencoded"}
    signed = Signer(AwsKey("AK", "SK"), "eu-west-1", "sts").sign("POST", "/", said, issuer.bodies[-1].encode(), at_s=at_s)
    assert signed["authorization"] == headers["authorization"]
    assert of("two")[0] == "ASIAwo"
    assert issuer.asked[-1][2]["x-amz-security-token"] == "tok==", "a role assumed by a role"
    assert of("web")[0] == "ASIAeb"
    assert parse_qs(issuer.bodies[-1])["WebIdentityToken"] == ["eyJ.platform"]
    for profile, words in (("loop", "itself"), ("none", "source_profile"), ("half", "aws_secret_access_key is missing"), ("sso", "sso_session"),
                           ("env", "AWS_ACCESS_KEY_ID"), ("other", "no profile")):  # fmt: skip
        monkeypatch.delenv("AWS_ACCESS_KEY_ID", raising=False)
        with pytest.raises(PolysiliconError, match=words) as caught:
            of(profile)
        assert str(file) in str(caught.value)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "SE")
    assert of("env")[0] == "ASIAr"


def test_the_usual_files_and_a_containers_variables(issuer: Issuer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    with pytest.raises(PolysiliconError, match="credentials cannot be read"):
        aws.from_profile(Renew("aws-profile"))
    (tmp_path / ".aws").mkdir()
    (tmp_path / ".aws" / "config").write_text("[profile gw]\nrole_arn=arn:x\nsource_profile=base\n")
    (tmp_path / ".aws" / "credentials").write_text("[base]\naws_access_key_id=AB\naws_secret_access_key=SB\n")
    issuer.answer = lambda path, _form: (
        200, sts() if path == "/" else {"AccessKeyId": "ASIA3", "SecretAccessKey": "s3", "Token": "t3", "Expiration": later()}
    )  # fmt: skip
    assert aws.from_profile(Renew("aws-profile", profile="gw", url=issuer.url)).values[0] == "ASIA1"
    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", issuer.url + "/v1/creds")
    monkeypatch.setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN", "allowed")
    assert aws.from_container(Renew("aws-container")).values[0] == "ASIA3"
    assert issuer.asked[-1][2]["authorization"] == "allowed"
    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://evil.example/")
    with pytest.raises(PolysiliconError, match="AWS_CONTAINER_CREDENTIALS_FULL_URI"):
        aws.from_container(Renew("aws-container"))


def test_entra_by_certificate(issuer: Issuer, tmp_path: Path) -> None:
    rsa = pytest.importorskip("cryptography.hazmat.primitives.asymmetric.rsa", reason="the extra `google` is not installed")
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import padding

    private = rsa.generate_private_key(65537, 2048)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "gw")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(private.public_key()).serial_number(1)
        .not_valid_before(now).not_valid_after(now + timedelta(days=1)).sign(private, hashes.SHA256())
    )  # fmt: skip
    pem = private.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path = tmp_path / "client.pem"
    path.write_bytes(pem + certificate.public_bytes(serialization.Encoding.PEM))
    issuer.answer = lambda _path, _form: (200, {"access_token": "eyJ.t", "expires_in": 3599})
    settings = Renew("entra-certificate", url=issuer.url, tenant="t", client_id="c", file=str(path))
    assert entra.from_certificate(settings).values == ("eyJ.t",)
    form = issuer.asked[-1][3]
    assert form["client_assertion_type"].endswith("jwt-bearer")
    head, claims, signature = form["client_assertion"].split(".")

    def part(text: str) -> bytes:
        return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))

    pss = padding.PSS(padding.MGF1(hashes.SHA256()), padding.PSS.DIGEST_LENGTH)
    private.public_key().verify(part(signature), f"{head}.{claims}".encode(), pss, hashes.SHA256())
    assert part(json.loads(part(head))["x5t#S256"]) == certificate.fingerprint(hashes.SHA256())
    said = json.loads(part(claims))
    assert (said["aud"], said["iss"], said["sub"]) == (issuer.url + "/t/oauth2/v2.0/token", "c", "c")
    assert said["exp"] - said["nbf"] == 600
    for text, words in ((pem, "no certificate"), (certificate.public_bytes(serialization.Encoding.PEM), "no key"), (b"", "is empty")):
        path.write_bytes(text)
        with pytest.raises(PolysiliconError, match=words) as caught:
            entra.from_certificate(settings)
        assert "client.pem" in str(caught.value)


def test_entra_by_the_platforms_own_address(issuer: Issuer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("IDENTITY_ENDPOINT", raising=False)
    with pytest.raises(PolysiliconError, match="IDENTITY_ENDPOINT is not set"):
        entra.from_app_service(Renew("entra-app-service"))
    monkeypatch.setenv("IDENTITY_ENDPOINT", issuer.url + "/msi/token")
    monkeypatch.setenv("IDENTITY_HEADER", "proof")
    issuer.answer = lambda _path, _form: (200, {"access_token": "eyJ.p", "expires_on": str(int(time.time()) + 3000)})
    found = entra.from_app_service(Renew("entra-app-service", client_id="c"))
    assert found.values == ("eyJ.p",)
    assert 2900 < found.life_s <= 3000
    _, path, headers, query = issuer.asked[-1]
    assert (path, headers["x-identity-header"]) == ("/msi/token", "proof")
    assert query == {"api-version": "2019-08-01", "resource": "https://ai.azure.com", "client_id": "c"}
    monkeypatch.setenv("IDENTITY_ENDPOINT", "http://evil.example/")
    with pytest.raises(PolysiliconError, match="not on this machine"):
        entra.from_app_service(Renew("entra-app-service"))
