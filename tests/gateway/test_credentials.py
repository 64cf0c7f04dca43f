"""Credentials that expire: issued by servers on loopback, renewed ahead of their end, failures told, secrets never."""

from __future__ import annotations

import base64
import json
import os
import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from issuer import Issuer
from rig import Rig, ask, endpoint, post

from polysilicon.errors import InputError, InputErrors, PolysiliconError
from polysilicon.gateway import config
from polysilicon.gateway.compile import compile_wiring
from polysilicon.gateway.credentials import Fetched, Renewed, aws, entra, google, renewed
from polysilicon.gateway.wiring import Renew, Secret


def key_file(folder: Path, issuer: Issuer) -> tuple[Path, Any]:
    rsa = pytest.importorskip("cryptography.hazmat.primitives.asymmetric.rsa", reason="the extra `google` is not installed")
    from cryptography.hazmat.primitives import serialization

    private = rsa.generate_private_key(65537, 2048)
    pem = private.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()).decode()
    path = folder / "key.json"
    path.write_text(json.dumps({"type": "service_account", "client_email": "gw@p.iam.gserviceaccount.com", "private_key": pem,
                                "private_key_id": "kid1", "token_uri": issuer.url + "/token"}))  # fmt: skip
    return path, private.public_key()


def part(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def test_a_service_accounts_grant_is_signed_as_asked(issuer: Issuer, tmp_path: Path) -> None:
    path, public = key_file(tmp_path, issuer)
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import padding

    issuer.answer = lambda _path, _form: (200, {"access_token": "ya29.one", "expires_in": 3599, "token_type": "Bearer"})
    assert google.from_key(Renew("google-key", file=str(path))) == Fetched(("ya29.one",), 3599.0)
    method, at, _, form = issuer.asked[0]
    assert (method, at, form["grant_type"]) == ("POST", "/token", "urn:ietf:params:oauth:grant-type:jwt-bearer")
    head, claims, signature = form["assertion"].split(".")
    public.verify(part(signature), f"{head}.{claims}".encode(), padding.PKCS1v15(), hashes.SHA256())
    said = json.loads(part(claims))
    assert json.loads(part(head)) == {"alg": "RS256", "typ": "JWT", "kid": "kid1"}
    assert said["iss"] == "gw@p.iam.gserviceaccount.com"
    assert said["aud"] == issuer.url + "/token"
    assert said["scope"].endswith("/auth/cloud-platform")
    assert said["exp"] - said["iat"] == 3600
    assert abs(said["iat"] - time.time()) < 60


def test_a_users_login_and_the_metadata_server(issuer: Issuer, tmp_path: Path) -> None:
    path = tmp_path / "adc.json"
    path.write_text(json.dumps({"type": "authorized_user", "client_id": "c", "client_secret": "s", "refresh_token": "r", "token_uri": issuer.url}))
    issuer.answer = lambda _path, _form: (200, {"access_token": "ya29.two", "expires_in": 1200})
    assert google.from_key(Renew("google-key", file=str(path))).values == ("ya29.two",)
    assert issuer.asked[-1][3] == {"grant_type": "refresh_token", "client_id": "c", "client_secret": "s", "refresh_token": "r"}
    assert google.from_metadata(Renew("google-metadata", url=issuer.url + "/token")).life_s == 1200.0
    assert issuer.asked[-1][2]["metadata-flavor"] == "Google"


def test_entra_by_secret_workload_and_machine(issuer: Issuer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_ENTRA", "client-secret")
    issuer.answer = lambda _path, _form: (200, {"access_token": "eyJ.t", "expires_in": "3599"})
    settings = Renew("entra-secret", url=issuer.url, tenant="t/1", client_id="c", client_secret="env:TEST_ENTRA")
    assert entra.from_secret(settings) == Fetched(("eyJ.t",), 3599.0)
    assert issuer.asked[-1][1] == "/t%2F1/oauth2/v2.0/token"
    assert issuer.asked[-1][3] == {"grant_type": "client_credentials", "client_id": "c", "scope": "https://ai.azure.com/.default",
                                   "client_secret": "client-secret"}  # fmt: skip
    vouched = tmp_path / "token"
    vouched.write_text("eyJ.platform\n")
    entra.from_workload(Renew("entra-workload", url=issuer.url, tenant="t", client_id="c", file=str(vouched)))
    assert issuer.asked[-1][3]["client_assertion"] == "eyJ.platform"
    entra.from_metadata(Renew("entra-metadata", url=issuer.url + "/token", client_id="c2"))
    method, _, headers, query = issuer.asked[-1]
    assert (method, headers["metadata"]) == ("GET", "true")
    assert query == {"api-version": "2018-02-01", "resource": "https://ai.azure.com", "client_id": "c2"}


def test_aws_by_profile_web_identity_machine_and_container(issuer: Issuer, tmp_path: Path) -> None:
    file = tmp_path / "credentials"
    file.write_text("[default]\naws_access_key_id=A\naws_secret_access_key=S\n[gw]\naws_access_key_id = AK\naws_secret_access_key = SK%/+\n"
                    "aws_session_token = T\n")  # fmt: skip
    assert aws.from_profile(Renew("aws-profile", file=str(file))).values == ("A", "S", "")
    assert aws.from_profile(Renew("aws-profile", file=str(file), profile="gw")).values == ("AK", "SK%/+", "T")
    until = (datetime.now(UTC) + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    vouched = tmp_path / "token"
    vouched.write_text("eyJ.platform")
    issuer.answer = lambda _path, _form: (200, (
        "<AssumeRoleWithWebIdentityResponse><AssumeRoleWithWebIdentityResult><Credentials><AccessKeyId>ASIA1</AccessKeyId><SecretAccessKey>s/+1"
        f"</SecretAccessKey><SessionToken>tok==</SessionToken><Expiration>{until}</Expiration></Credentials></AssumeRoleWithWebIdentityResult>"
        "</AssumeRoleWithWebIdentityResponse>"))  # fmt: skip
    found = aws.from_web_identity(Renew("aws-web-identity", url=issuer.url, role="arn:aws:iam::1:role/gw", file=str(vouched)))
    assert found.values == ("ASIA1", "s/+1", "tok==")
    assert 3590 < found.life_s <= 3600
    assert issuer.asked[-1][3]["RoleArn"] == "arn:aws:iam::1:role/gw"

    def machine(path: str, _form: dict[str, str]) -> tuple[int, Any]:
        if path == "/latest/api/token":
            return 200, "imds-token"
        if path.endswith("security-credentials/"):
            return 200, "the-role\n"
        return 200, {"Code": "Success", "AccessKeyId": "ASIA2", "SecretAccessKey": "s2", "Token": "t2", "Expiration": until}

    issuer.answer = machine
    issuer.asked.clear()
    assert aws.from_metadata(Renew("aws-metadata", url=issuer.url)).values == ("ASIA2", "s2", "t2")
    assert [(m, p) for m, p, _, _ in issuer.asked] == [
        ("PUT", "/latest/api/token"), ("GET", "/latest/meta-data/iam/security-credentials/"),
        ("GET", "/latest/meta-data/iam/security-credentials/the-role"),
    ]  # fmt: skip
    assert issuer.asked[2][2]["x-aws-ec2-metadata-token"] == "imds-token"
    vouched.write_text("allowed")
    assert aws.from_container(Renew("aws-container", url=issuer.url + "/v1/credentials", file=str(vouched))).values == ("ASIA2", "s2", "t2")
    assert issuer.asked[-1][2]["authorization"] == "allowed"


def test_renewed_ahead_of_the_end_and_failures_are_told(capfd: pytest.CaptureFixture[str]) -> None:
    """By a clock of the test's own: never a moment without a valid proof while the issuer is well; then told once, and again when it is over."""
    clock = {"now": 0.0}
    state: dict[str, Any] = {"n": 0, "bad": False}

    def fetch() -> Fetched:
        state["n"] += 1
        if state["bad"]:
            raise PolysiliconError("issuer answered 503")
        return Fetched((f"token{state['n']}",), 900.0)

    one = Renewed(fetch, "target v", lambda: clock["now"])
    for turn in range(5):
        pause = one.turn()
        assert pause < 900.0
        for _ in range(10):
            assert one.get() == (f"token{turn + 1}",)
            clock["now"] += pause / 10
    state["bad"] = True
    pauses = [one.turn() for _ in range(7)]
    assert pauses == [1.0, 2.0, 5.0, 10.0, 30.0, 30.0, 30.0]
    assert one.get() == ("token5",), "the last one holds to its end"
    clock["now"] += 900.0
    with pytest.raises(InputError, match="issuer answered 503"):
        one._thread = one._thread or threading.current_thread()  # no thread of its own: the test takes the turns
        one.get()
    state["bad"] = False
    assert one.turn() == 600.0
    assert one.get() == ("token13",)
    said = [json.loads(line)["event"] for line in capfd.readouterr().err.splitlines()]
    assert said == ["credentials not renewed", "credentials renewed again"], "told once, not at every try"


def test_a_refusal_asks_for_a_new_one_at_once_but_not_all_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    came = queue.SimpleQueue[int]()
    clock = {"now": 0.0}

    def fetch() -> Fetched:
        came.put(1)
        return Fetched(("long",), 3600.0)

    one = Renewed(fetch, "target v", lambda: clock["now"])
    one.start(wait_s=10.0)
    assert came.get(timeout=10.0)
    one.hurry()
    assert not one._wake.is_set(), "it has just been fetched"
    clock["now"] = 11.0
    one.hurry()
    assert came.get(timeout=10.0)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ((200, "not json"), "no JSON"), ((200, {"expires_in": 3}), "access_token"),
        ((200, {"access_token": "a\r\nx: y", "expires_in": 3}), "access_token"),
        ((200, {"access_token": "a", "expires_in": -1}), "expires_in"), ((200, {"access_token": "a"}), "expires_in"),
        ((400, {"error": "invalid_grant", "error_description": "assertion eyJsecret"}), "answered 400 .invalid_grant."),
        ((302, {}), "answered 302"), ((200, "x" * 300_000), "no JSON"),
    ],
)  # fmt: skip
def test_issuers_that_lie_or_refuse(issuer: Issuer, answer: tuple[int, Any], said: str) -> None:
    issuer.answer = lambda _path, _form: answer
    with pytest.raises(PolysiliconError, match=said) as caught:
        google.from_metadata(Renew("google-metadata", url=issuer.url))
    assert "eyJsecret" not in str(caught.value)
    assert all(path != "/elsewhere" for _, path, _, _ in issuer.asked), "a proof follows no redirect"


def test_a_vertex_target_lives_on_tokens_that_end(rig: Callable[..., Rig], issuer: Issuer, tmp_path: Path) -> None:
    """The door takes only the two latest tokens; requests go on while a new one is fetched: none is refused, none waits for a token."""
    path, _ = key_file(tmp_path, issuer)
    issued: list[str] = []
    spec = endpoint("v", "vertex")
    came = queue.SimpleQueue[str]()

    def answer(_path: str, _form: dict[str, str]) -> tuple[int, Any]:
        issued.append(f"ya29.{len(issued)}")
        spec.keys = tuple(issued[-2:])
        came.put(issued[-1])
        return 200, {"access_token": issued[-1], "expires_in": 3600.0}

    issuer.answer = answer
    r = rig([spec], targets={"v": {"secret": Secret(renew=Renew("google-key", file=str(path)))}})
    keeper = r.worker.live.doors[0].renewed
    assert keeper is not None
    came.get(timeout=10.0)
    with ThreadPoolExecutor(4) as pool:
        for _ in range(4):
            under_way = [pool.submit(post, r, ask()) for _ in range(8)]
            keeper._wake.set()
            latest = came.get(timeout=10.0)
            assert [f.result()[0] for f in under_way] == [200] * 8
            while keeper.get() != (latest,):  # it is on its way from the issuer to the keeper
                time.sleep(0.001)
            assert post(r, ask())[0] == 200
    assert len(issued) == 5
    assert r.emulator["v"].seen.requests == 36, "no request was tried twice"
    texts = [p.read_bytes() for p in tmp_path.rglob("*") if p.is_file() and p != path]
    assert not any(t.encode() in text for t in issued for text in texts), "tokens are kept in memory alone"


def test_without_a_token_the_target_is_failed_over(rig: Callable[..., Rig], issuer: Issuer) -> None:
    issuer.answer = lambda _path, _form: (503, {})
    secret = Secret(renew=Renew("entra-metadata", url=issuer.url + "/t1"))
    r = rig([endpoint("f", "foundry"), endpoint("c", "claude")], weights=[1.0, 0.0], targets={"f": {"secret": secret}})
    status, headers, _ = post(r, ask())
    assert (status, headers["x-polysilicon-target"]) == (200, "c")
    assert r.emulator["f"].seen.requests == 0


def test_signed_doors_take_issued_keys(rig: Callable[..., Rig], issuer: Issuer) -> None:
    until = (datetime.now(UTC) + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    keys = {"AccessKeyId": os.environ["RIG_ACCESS"], "SecretAccessKey": os.environ["RIG_SECRET"], "Token": "session", "Expiration": until}
    issuer.answer = lambda _path, _form: (200, keys)
    secret = Secret(renew=Renew("aws-container", url=issuer.url + "/creds"))
    r = rig([endpoint(d, d) for d in ("bedrock", "bedrock-messages", "aws-platform")],
            targets={d: {"secret": secret} for d in ("bedrock", "bedrock-messages", "aws-platform")})  # fmt: skip
    assert [post(r, ask(stream=bool(i % 2)))[0] for i in range(6)] == [200] * 6
    assert len(issuer.asked) == 1, "three targets that ask alike share one keeper"


def test_the_file_says_what_is_missing_or_does_not_fit() -> None:
    def load(door: str, renew: str) -> Any:
        served = "{m: {price: {usd_per_mtok_in: 1, usd_per_mtok_out: 2}}}"
        return config.load_text(
            "polysilicon: 1\nlisten: {open: true}\ntargets:\n"
            f"  - {{id: a, door: {door}, url: 'https://x', cloud: c, region: eu-west-1, project: p, secret: {{renew: {renew}}}, models: {served}}}\n"
        )

    wiring = compile_wiring(load("bedrock", "{kind: aws-web-identity, role: r, file: /t}"))
    assert wiring.targets[0].secret.renew == Renew("aws-web-identity", file="/t", role="r", region="eu-west-1")
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(wiring), type=type(wiring)) == wiring
    for door, renew, said in (
        ("vertex", "{kind: google-key}", "needs file"), ("foundry", "{kind: entra-secret, tenant: t}", "client_id, client_secret"),
        ("vertex", "{kind: aws-metadata}", "proves nothing"), ("vertex", "{kind: google-metadata, url: 'http://evil.example/'}", "https"),
        ("vertex", "{kind: google-metadata, url: 'http://127.evil.example/'}", "https"), ("vertex", "{kind: magic}", "google-key"),
        ("foundry", "{kind: entra-secret, tenant: t, client_id: c, client_secret: plain}", "env:NAME"),
    ):  # fmt: skip
        with pytest.raises(InputErrors, match=said):
            load(door, renew)
    assert renewed(Renew("aws-profile", file="/x"), "a") is renewed(Renew("aws-profile", file="/x"), "b")
