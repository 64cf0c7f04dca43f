"""Serving as users run it: processes, the operator's side, reload, a killed worker; the file's errors; promotion; compilers."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec
import pytest
from rig import MODEL, Rig, ask, endpoint, post, upstream_name

from polysilicon.catalogue import load as load_catalogue
from polysilicon.cloud.token_price import TokenPrice
from polysilicon.errors import InputErrors, MissingFact
from polysilicon.gateway import config
from polysilicon.gateway.compile import compile_wiring
from polysilicon.gateway.config import PromotionPart
from polysilicon.gateway.controller import Controller
from polysilicon.gateway.emulator import FleetModel
from polysilicon.gateway.promotion import PASSED, STOPPED, Promotions, Trial
from polysilicon.gateway.samples import Sample, SampleTail
from polysilicon.gateway.tariff import compile_price
from polysilicon.gateway.wiring import Reliability
from polysilicon.web.live import page

RUN = [sys.executable, "-c", "from polysilicon.cli.app import main; main()"]


def file_text(r: Rig, **listen: Any) -> str:
    """A gateway's file for the emulated doors of a rig."""
    lines = [
        "polysilicon: 1", f"listen: {json.dumps({'host': '127.0.0.1', 'port': 0, **listen})}",
        "admin: {host: 127.0.0.1, port: 0, key: env:RIG_ADMIN}", "targets:",
    ]  # fmt: skip
    for t in r.wiring.targets:
        price = "{usd_per_mtok_in: 3, usd_per_mtok_out: 15, usd_per_mtok_cached: 0.3, usd_per_mtok_write_5m: 3.75}"
        lines += [f"  - id: {t.id}", f"    door: {t.door}", f"    url: http://127.0.0.1:{t.port}", f"    cloud: {t.cloud}", f"    region: {t.region}",
                  "    secret: {token: env:RIG_TOKEN}", "    project: p",
                  f"    models: {{{MODEL}: {{name: {upstream_name(t.door)}, price: {price}}}}}"]  # fmt: skip
    lines += ["keys:", f"  - {{id: k1, sha256: {sha256(b'sk-k1').hexdigest()}, team: core, application: demo}}"]
    lines += ["broker: {tick_s: 0.2}", "drain_s: 5"]
    return "\n".join(lines) + "\n"


class Served:
    """`polysilicon serve` as a process."""

    def __init__(self, folder: Path, text: str) -> None:
        self.path = folder / "gateway.yaml"
        # a free port that both workers can share
        import socket

        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.admin = probe.getsockname()[1]
        self.write(text)
        os.environ["RIG_ADMIN"] = "admin-secret-key"
        self.log = (folder / "log").open("w+")
        self.process = subprocess.Popen([*RUN, "serve", "--config", str(self.path)], stderr=self.log, stdout=subprocess.DEVNULL)
        self.wait(lambda: self.api("/health") is not None and post(self, ask())[0] == 200)  # type: ignore[arg-type]

    def write(self, text: str) -> None:
        text = text.replace('"port": 0', f'"port": {self.port}', 1).replace("port: 0, key", f"port: {self.admin}, key", 1)
        self.path.write_text(text)

    def wait(self, condition: Callable[[], Any], seconds: float = 25.0) -> None:
        until = time.monotonic() + seconds
        while True:
            try:
                if condition():
                    return
            except OSError:
                pass
            if time.monotonic() > until or self.process.poll() is not None:
                self.log.seek(0)
                raise AssertionError(self.log.read())
            time.sleep(0.05)

    def api(self, path: str, body: Any = None, key: str = "admin-secret-key") -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{self.admin}{path}", data, {"authorization": f"Bearer {key}"})
        with urllib.request.urlopen(request, timeout=5) as answer:
            text = answer.read().decode()
            return json.loads(text) if "json" in answer.headers["content-type"] else text

    def close(self) -> str:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(20)
        self.log.seek(0)
        text = self.log.read()
        self.log.close()
        return text


@pytest.fixture
def served(rig: Callable[..., Rig], tmp_path: Path) -> Iterator[tuple[Served, Rig]]:
    r = rig([endpoint("a", "claude"), endpoint("b", "vertex")])
    one = Served(tmp_path, file_text(r, workers=2))
    yield one, r
    if one.process.poll() is None:
        one.close()


def test_served_by_processes(served: tuple[Served, Rig]) -> None:
    """Two workers on one port, the admin side, a worker that is killed, a reload, a drain."""
    s, r = served
    for _ in range(10):
        assert post(s, ask())[0] == 200  # type: ignore[arg-type]
    s.wait(lambda: s.api("/api/status")["entries"] >= 11)
    status = s.api("/api/status")
    assert sum(v["requests"] for v in status["by"]["application"].values()) == status["entries"]
    assert "polysilicon_tokens_total" in s.api("/metrics")
    with pytest.raises(urllib.error.HTTPError, match="401"):
        s.api("/api/status", key="wrong")
    with pytest.raises(urllib.error.HTTPError, match="400"):
        s.api(f"/api/variants/{MODEL}@nothing/open", {"open": False})

    s.api(f"/api/variants/{MODEL}@a/open", {"open": False, "why": "maintenance"})
    time.sleep(0.05)
    assert {post(s, ask())[1]["x-polysilicon-target"] for _ in range(8)} == {"b"}, "within one request of every worker"  # type: ignore[arg-type]
    s.api(f"/api/variants/{MODEL}@a/open", {"open": True})

    children = subprocess.run(["pgrep", "-P", str(s.process.pid)], capture_output=True, text=True, check=True).stdout.split()
    assert len(children) == 2
    os.kill(int(children[0]), signal.SIGKILL)
    s.wait(lambda: len(subprocess.run(["pgrep", "-P", str(s.process.pid)], capture_output=True, text=True, check=False).stdout.split()) == 2)
    s.wait(lambda: post(s, ask())[0] == 200)  # type: ignore[arg-type]

    s.write(file_text(r, workers=2).replace(f"{{{MODEL}:", f"{{{MODEL}-new:"))
    digest = s.api("/api/reload", {})["digest"]
    assert digest != status["plan"]
    s.wait(lambda: post(s, ask() | {"model": f"{MODEL}-new"})[0] == 200)  # type: ignore[arg-type]
    new = file_text(r, workers=2).replace(f"{{{MODEL}:", f"{{{MODEL}-new:")
    for text, told in (
        ("polysilicon: 1\n", "targets"),
        (new.replace('"workers": 2', '"workers": 3'), "listen.workers: was 2 at the start, and cannot become 3 while the gateway serves"),
        (new + "state: elsewhere\n", "/elsewhere while the gateway serves"),
    ):
        s.write(text)
        with pytest.raises(urllib.error.HTTPError, match="400") as refused:
            s.api("/api/reload", {})
        assert told in refused.value.read().decode()
        assert post(s, ask() | {"model": f"{MODEL}-new"})[0] == 200  # type: ignore[arg-type]
    s.write(new + "body_bytes: 2000\n")
    s.api("/api/reload", {})
    long = ask(text="x" * 3000) | {"model": f"{MODEL}-new"}
    s.wait(lambda: all(post(s, long)[0] == 413 for _ in range(8)))  # type: ignore[arg-type]
    log = s.close()
    assert s.process.returncode == 0
    assert "hello there" not in log
    assert "secret" not in log.replace("reload refused", "")
    assert all(json.loads(row) for row in log.splitlines())


def test_dry_run_explains(rig: Callable[..., Rig], tmp_path: Path) -> None:
    r = rig([endpoint("a", "claude"), endpoint("b", "vertex")])
    path = tmp_path / "gateway.yaml"
    path.write_text(file_text(r))
    done = subprocess.run([*RUN, "serve", "--config", str(path), "--dry-run", "--json"], capture_output=True, text=True, check=True)
    answer = json.loads(done.stdout)
    assert [row["share"] for row in answer["routes"]] == [0.5, 0.5]
    assert answer["routes"][0]["why"] == "equal shares"


def test_example_file_is_right_but_for_its_secrets() -> None:
    from importlib.resources import files

    text = (files("polysilicon.gateway") / "gateway.example.yaml").read_text()
    settings = config.load_text(text)
    wiring = compile_wiring(settings)
    assert {t.door for t in wiring.targets} == {"claude", "bedrock", "openai"}
    assert wiring.keys[0].budgets == (0,)


def test_every_problem_of_the_file_at_once_with_its_place() -> None:
    text = """polysilicon: 1
targets:
  - id: a
    door: claud
    url: https://x
    cloud: aws
    region: r
    secret: {token: sk-live-123}
    models: {m: {stage: production, weigth: 3}}
keys:
  - {id: k, sha256: abc}
"""
    with pytest.raises(InputErrors) as caught:
        config.load_text(text, "g.yaml")
    said = str(caught.value)
    assert "g.yaml:4:11" in said
    assert "sk-live-123" not in said
    assert "env:NAME" in said
    assert 'did you mean "weight"?' in said
    assert len(caught.value.problems) >= 4


def test_a_price_that_nobody_knows_is_not_guessed() -> None:
    text = (
        "polysilicon: 1\nlisten: {open: true}\ntargets:\n  - {id: a, door: claude, url: 'https://x', cloud: c, region: r, models: {unheard-of: {}}}\n"
    )
    with pytest.raises(MissingFact):
        compile_wiring(config.load_text(text), prices=load_catalogue().token_prices)


def test_live_page_asks_nobody_else() -> None:
    text = page()
    assert not re.search(r"(?:src|href)\s*=|https?://|@import", text)
    assert "innerHTML" not in text


# --- promotion


def drive(trial: Trial, rng: random.Random, *, drop: float = 0.0, length: float = 1.0, slow: float = 1.0, most: int = 5000) -> str:
    for _ in range(most):
        reference = rng.random() < 0.93
        good = reference and rng.random() >= drop / 0.93 if rng.random() < 0.95 else rng.random() < 0.93 - drop
        tokens = max(1, round(300 * length * rng.lognormvariate(0, 0.5)))
        verdict = trial.add(Sample("v", good, reference, tokens, 300.0 * 2.718281828**0.0, False, 0.5 * slow * rng.lognormvariate(0, 0.3), 0.5))
        if verdict != "going":
            return verdict
    return "going"


@pytest.mark.parametrize(("change", "verdict", "least"), [
    ({"drop": 0.02}, STOPPED, 0.95), ({"length": 1.2}, STOPPED, 0.95), ({"length": 0.8}, STOPPED, 0.95), ({"slow": 1.5}, STOPPED, 0.95),
    ({}, PASSED, 0.95),
])  # fmt: skip
def test_power_of_the_trials(change: dict[str, float], verdict: str, least: float) -> None:
    """Two points of quality, a fifth of length, half as slow again: stopped; no difference: passed. Both in at least 95 of 100."""
    verdicts = [drive(Trial("v", "shadow", PromotionPart()), random.Random(seed), **change) for seed in range(60)]
    assert verdicts.count(verdict) / len(verdicts) >= least, verdicts


def test_promotions_go_up_by_evidence_and_down_at_once() -> None:
    up = Promotions(PromotionPart(automatic=True, samples_min=60), {"v": ("shadow", "")})
    rng = random.Random(3)
    for _ in range(20_000):
        up.add(Sample("v", True, True, round(300 * rng.lognormvariate(0, 0.2)), 300.0, False, 0.5, 0.5))
    assert up.stages["v"] == ("production", "passed")
    assert [line.split(": ")[1] for line in up.log] == ["shadow -> pilot", "pilot -> canary", "canary -> production"]
    down = Promotions(PromotionPart(), {"v": ("canary", "passed")})
    for _ in range(200):
        down.add(Sample("v", False, True, 300, 300.0, True, 0.5, 0.5))
    assert down.stages["v"] == ("canary", "failed")
    by_hand = Promotions(PromotionPart(), {"v": ("pilot", "")})
    assert by_hand.promote("v") == "pilot", "no gate, no canary"


def test_a_shadow_shows_latency_too(rig: Callable[..., Rig]) -> None:
    """Answers asked for whole compare in time: a slow variant is known as such before any client waits for it."""
    r = rig(
        [endpoint("a", "claude"), endpoint("new", "openai", model=FleetModel(ttft_s=0.5, tpot_s=0.0))], weights=[1.0, 0.0],
        variants={"new": {"stage": "shadow", "gate": ""}}, shadow_frac={f"{MODEL}@new": 1.0},
        reliability=Reliability(first_byte_timeout_s=20.0, stall_timeout_s=20.0, total_timeout_s=30.0),
    )  # fmt: skip
    for stream in (False, False, True):
        post(r, ask(stream=stream))
    r.ledger(6)
    samples = SampleTail(Path(r.wiring.state) / "samples").read()
    assert sorted(s.ttft_s > 0.4 and s.reference_ttft_s > 0 for s in samples) == [False, True, True], samples
    assert sum(s.ttft_s == 0 for s in samples) == 1, "a stream's first token and a whole answer do not compare"


def test_a_verdict_holds_over_restarts_until_the_file_says_otherwise(tmp_path: Path) -> None:
    """A canary that was stopped does not come back by a reload; a stage that the file states anew counts."""
    memory, stated = tmp_path / "promotions.json", {"v": ("canary", "passed"), "w": ("shadow", "")}
    first = Promotions(PromotionPart(), stated, memory)
    for _ in range(200):
        first.add(Sample("v", False, True, 300, 300.0, True, 0.5, 0.5))
    first.promote("w")
    again = Promotions(PromotionPart(), stated, memory)
    assert again.stages == {"v": ("canary", "failed"), "w": ("pilot", "")}
    changed = Promotions(PromotionPart(), {"v": ("pilot", "passed"), "w": ("shadow", "")}, memory)
    assert changed.stages == {"v": ("pilot", "passed"), "w": ("pilot", "")}
    again.set_stage("v", "canary", "passed")
    assert Promotions(PromotionPart(), stated, memory).stages["v"] == ("canary", "passed")
    memory.write_text("{torn")
    assert Promotions(PromotionPart(), stated, memory).stages == stated


def test_only_what_is_wrong_is_told() -> None:
    with pytest.raises(InputErrors) as caught:
        config.load_text(
            "polysilicon: 1\nlisten: {open: true}\ntargets:\n  - {id: a, door: claude, url: 'https://x', cloud: c, region: r, "
            "models: {m: {price: {usd_per_mtok_in: 1, usd_per_mtok_out: -2}}}}\n"
        )
    assert [p.message for p in caught.value.problems] == ["targets[0].models.m.price.usd_per_mtok_out: Input should be greater than or equal to 0"]


def test_shadow_traffic_is_sampled_compared_and_paid_for(rig: Callable[..., Rig]) -> None:
    r = rig(
        [endpoint("a", "claude"), endpoint("new", "openai")], weights=[1.0, 0.0], variants={"new": {"stage": "shadow", "gate": ""}},
        shadow_frac={f"{MODEL}@new": 0.5},
    )  # fmt: skip
    for i in range(10):
        assert post(r, ask(stream=bool(i % 2)))[1]["x-polysilicon-target"] == "a"
    entries = r.ledger(15)
    shadows = [e for e in entries if e.kind == "shadow"]
    assert len(shadows) == 5
    assert all(e.cost_nano_usd > 0 and e.target == "new" for e in shadows)
    controller = Controller(r.wiring)
    controller.tick()
    trial = controller.promotions.trials[f"{MODEL}@new"]
    assert (trial.samples, trial.errors) == (5, 0)
    controller.close()


# --- a plan compiled for other gateways


def test_wiring_from_a_plan(rig: Callable[..., Rig]) -> None:
    from plans import plan

    price = "{usd_per_mtok_in: 1, usd_per_mtok_out: 2}"
    text = f"""polysilicon: 1
listen: {{open: true}}
plan_models: {{planned: {MODEL}}}
targets:
  - {{id: a, door: openai, url: 'http://h:1', cloud: aws, region: us-east-1, models: {{{MODEL}: {{chip: TRN2, gate: passed, price: {price}}}}}}}
  - {{id: b, door: openai, url: 'http://h:2', cloud: gcp, region: us-east5, models: {{{MODEL}: {{chip: TPUv7, gate: passed, price: {price}}}}}}}
"""
    wiring = compile_wiring(config.load_text(text), plan())
    assert [(r.id, r.weights) for r in wiring.routes] == [(f"{MODEL}/chat", (0.7, 0.3))]
    with pytest.raises(InputErrors, match="places"):
        compile_wiring(config.load_text(text.replace("region: us-east5", "region: elsewhere")), plan())


def test_a_target_takes_its_price_from_the_catalogue_by_name() -> None:
    from polysilicon import catalogue

    text = """polysilicon: 1
listen: {open: true}
targets:
  - {id: a, door: anthropic, url: 'http://h:1', cloud: aws, region: us-east-1, models: {claude-opus-4-5: {price: anthropic/claude-opus-4-5-20251101}}}
"""
    wiring = compile_wiring(config.load_text(text), prices=catalogue.load().token_prices)
    tariff = wiring.variants[0].tariff
    assert tariff.batch is not None and tariff.rates[0] > 0
    with pytest.raises((InputErrors, MissingFact), match="token price"):
        compile_wiring(config.load_text(text.replace("20251101", "19991101")), prices=catalogue.load().token_prices)


def test_story_in_short(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The one-minute demonstration, told in a quarter of it."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    done = subprocess.run([*RUN, "live", "--seconds", "15", "--port", "0", "--json"], capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr
    outcome = json.loads(done.stdout)
    assert outcome["errors"] <= 0.01 * outcome["requests"]
    assert len(outcome["acts"]) == 6
    assert "Maia 200" in outcome["by_chip"]
    assert any("canary -> production" in line for line in outcome["promotions"]), (outcome["promotions"], outcome["acts"], outcome["requests"])
    assert [p.name for p in tmp_path.iterdir()] == [], "nothing is left behind"


def test_a_story_that_is_stopped_leaves_nothing_behind(tmp_path: Path) -> None:
    """A signal to end, as a supervisor sends it: the folder goes, and no process stays."""
    process = subprocess.Popen([*RUN, "live", "--seconds", "60", "--port", "0"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                               env={**os.environ, "TMPDIR": str(tmp_path)})  # fmt: skip
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("live page:"):
            break
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith("polysilicon-live-")]
    process.terminate()
    process.communicate(timeout=60)
    assert process.returncode == 143
    assert list(tmp_path.iterdir()) == []


def test_emulate_as_a_command() -> None:
    done = subprocess.run([*RUN, "emulate", "--seconds", "0.1", "--json"], capture_output=True, text=True, check=True)
    assert len(json.loads(done.stdout)) == 9
    shown = subprocess.run([*RUN, "emulate", "--show"], capture_output=True, text=True, check=True).stdout
    assert "endpoints:" in shown


def test_ledger_commands(rig: Callable[..., Rig], tmp_path: Path) -> None:
    r = rig([endpoint("a", "claude")])
    for _ in range(3):
        post(r, ask())
    r.ledger(3)
    state = r.wiring.state
    shown = json.loads(
        subprocess.run([*RUN, "ledger", "show", state, "--by", "application", "--json"], capture_output=True, text=True, check=True).stdout
    )
    assert shown["rows"][0]["lines"] == 3
    subprocess.run([*RUN, "ledger", "focus", state, "-o", str(tmp_path / "focus")], capture_output=True, check=True)
    assert (tmp_path / "focus" / "cost_and_usage.csv").read_text().startswith("BilledCost")
    bill = tmp_path / "bill.csv"
    bill.write_text("target,model,day,usd,tokens\na,opus,2020-01-01,1,1\n")
    assert subprocess.run([*RUN, "ledger", "reconcile", str(bill), "--state", state], capture_output=True, check=False).returncode == 4


def test_directive_survives_torn_reads(tmp_path: Path) -> None:
    """A reader that meets a half-written table keeps what it has."""
    from polysilicon.gateway.table import Table
    from polysilicon.gateway.wiring import Directive

    table, reader = Table(tmp_path / "t", 1, 1), Table(tmp_path / "t", 1, 1)
    directive = Directive(1, 0.0, [[1.0]], [1.0], [True], [1.0], ["production"])
    table.write(directive)
    assert reader.read() == directive
    assert not reader.changed()
    table._sequence[0] |= 1
    assert reader.changed()
    assert reader.read() is None
    table.write(msgspec.structs.replace(directive, number=2))
    assert reader.read().number == 2  # type: ignore[union-attr]


def test_switches_are_told_once_with_what_moved(tmp_path: Path) -> None:
    """Forty steps of one ramp are one switch on the page: its reason, from where to where, how long it took."""
    from polysilicon.gateway.broker.tick import Logged, View
    from polysilicon.gateway.controller import switches
    from polysilicon.gateway.wiring import Directive, Reliability, Route, Target, Variant, Wiring

    targets = tuple(Target(i, n, "claude", "http", "h", 1, "", n, "us") for i, n in enumerate(("aws", "gcp")))
    price = TokenPrice("m", "p", 1.0, 2.0)
    tariff = compile_price(price)
    variants = tuple(Variant(i, f"m@{t.id}", "m", i, "m", "", "", "", "production", 1.0, "passed", tariff) for i, t in enumerate(targets))
    wiring = Wiring("d", "p", "/n", "h", 0, 1, targets, variants, (Route("m", "m", "", "", (0, 1), (1.0, 0.0), ""),), (), (), Reliability())

    def logged(number: int, share: float, reason: str) -> Logged:
        weights = [[share, 1.0 - share]]
        return Logged(View(100.0 + number, [1.0], [0.75]), Directive(number, 0.0, weights, [], [], [], [], reason=reason))

    ramp = [logged(2 + i, 1.0 - i / 40, "m: price: 20.0% cheaper") for i in range(1, 41)]
    log = [logged(1, 1.0, "plan"), *ramp, logged(50, 0.0, "m: availability")]
    assert [(s["reason"], s["moved"], s["seconds"]) for s in switches(log, wiring)] == [
        ("plan", "", 0.0), ("m: price: 20.0% cheaper", "aws 100% to 0%, gcp 0% to 100%", 39.0), ("m: availability", "", 0.0),
    ]  # fmt: skip
