"""A gateway's file drafted from a plan leads back to the plan; what a workload is pinned to holds whoever asks."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import date
from pathlib import Path

import msgspec
import pytest
from plans import plan
from typer.testing import CliRunner

from polysilicon.application.workload import Pins
from polysilicon.cli.app import build
from polysilicon.cloud.token_price import TokenPrice
from polysilicon.errors import InputError, InputErrors
from polysilicon.exchange.compilers import compile_plan
from polysilicon.gateway import config
from polysilicon.gateway.compile import compile_wiring, on_trial
from polysilicon.gateway.controller import Controller
from polysilicon.gateway.draft import draft
from polysilicon.gateway.lane import Lane, lane_of
from polysilicon.gateway.live import Live
from polysilicon.portfolio import DecodeSide, Holding, Plan

DAY = date(2026, 2, 1)


def european() -> Plan:
    """The small plan, its model known by a path, with a second workload that stays in Europe and chips held elsewhere."""
    made = plan()
    points = tuple(replace(s, model="models/office/config.json") for s in made.serving)
    points += (replace(points[0], workload="eu-chat"),)
    aws, gcp = made.placements
    here = replace(aws, workload="eu-chat", pool="TRN2@aws/eu-west-1+sovereign", region="eu-west-1", share_frac=1.0)
    held = Holding(0, "o", "aws", "us-east-1", "TRN2", "reserved", 64.0, 64.0, 1.0, 1.0)
    pins = {"eu-chat": Pins(regions=("eu",), tags=("sovereign",))}
    return replace(made, serving=points, placements=(aws, gcp, here), holdings=(held,), pins=pins)


def test_a_draft_leads_back_to_the_plan() -> None:
    text = draft(european(), on=DAY)
    settings = config.load_text(text)
    assert {t.id: (t.provisioned, t.tags) for t in settings.targets} == {
        "TRN2@aws/us-east-1": (True, ()), "TPUv7@gcp/us-east5": (False, ()), "TRN2@aws/eu-west-1+sovereign": (False, ("sovereign",)),
    }  # fmt: skip
    assert [t.max_concurrent for t in settings.targets] == [512, 512, 512], "64 chips at peak, 4 a replica, 32 requests each"
    wiring = compile_wiring(settings, european(), on=DAY)
    shares = {r.id: {wiring.variants[v].id: w for v, w in zip(r.variants, r.weights, strict=True)} for r in wiring.routes}
    assert shares["office/chat"] == pytest.approx(
        {"office@TRN2@aws/us-east-1": 0.7, "office@TPUv7@gcp/us-east5": 0.3, "office@TRN2@aws/eu-west-1+sovereign": 0.0}
    )
    assert shares["office/eu-chat"] == {"office@TRN2@aws/eu-west-1+sovereign": 1.0}, "what is paid for in America is no place for it"
    assert [k.workload for k in settings.keys] == ["chat", "eu-chat"]


def test_a_plan_that_buys_tokens_alone_is_drafted_and_exported_by_its_model() -> None:
    made = plan()
    bought = replace(made.placements[0], pool="fireworks-api", chip="", cloud="fireworks", region="", share_frac=1.0, peak_chips=0.0)
    made = replace(made, serving=(), placements=(bought,), models={"chat": "gpt-oss-120b"})
    settings = config.load_text(draft(made, on=DAY))
    assert [(t.id, t.cloud, t.secret.token, list(t.models)) for t in settings.targets] == [
        ("fireworks-api", "fireworks", "env:FIREWORKS_TOKEN", ["gpt-oss-120b"])
    ]
    (route,) = compile_wiring(settings, made, on=DAY, prices=[TokenPrice("gpt-oss-120b", "x", 0.1, 0.5)]).routes
    assert (route.id, route.weights) == ("gpt-oss-120b/chat", (1.0,))
    assert "openai/gpt-oss-120b" in compile_plan(made, "litellm")


def test_drafted_prices_are_the_plan_s_dollars_over_its_tokens() -> None:
    (first, _) = plan().placements
    point = plan().serving[0]
    (served, *_) = (t.models["planned"] for t in config.load_text(draft(plan(), on=DAY)).targets)
    outputs = first.usd / first.usd_per_mtok_out
    bill = served.price.usd_per_mtok_in * (first.mtok - outputs) + served.price.usd_per_mtok_out * outputs
    assert bill == pytest.approx(first.usd, rel=1e-5)
    assert served.price.usd_per_mtok_cached == served.price.usd_per_mtok_in
    assert served.price.usd_per_mtok_out * outputs == pytest.approx(first.usd * (1 - point.prefill_frac), rel=1e-5)


def test_a_pool_that_prefills_for_another_is_drafted_by_what_that_one_decodes() -> None:
    first, second = plan().serving
    points = (replace(first, phase="prefill"), replace(second, phase="decode", batch=100))
    side = DecodeSide("TPUv7@aws/us-east-1", "TPUv7", "aws", "us-east-1", 10.0, 16.0, "ethernet", 1.0, 0.0, 1e5)
    apart = replace(plan().placements[0], pool="TRN2@aws/us-east-1>TPUv7@aws/us-east-1", share_frac=1.0, decode=side)
    made = replace(plan(), serving=(), phase_serving=points, placements=(apart,))
    text = draft(made, on=DAY)
    (target,) = config.load_text(text).targets
    assert target.max_concurrent == 400, "16 chips at peak, 4 a replica, 100 requests each"
    assert target.models["planned"].price is None
    assert "the plan's dollars are those of two pools, 1 a million tokens in and out" in text
    with pytest.raises(InputError, match=r"plan\.serving: does not say how chat is served on TPUv7"):
        draft(replace(made, phase_serving=points[:1]), on=DAY)
    with pytest.raises(InputError, match=r"plan\.serving: does not say how chat is served on TRN2"):
        compile_plan(replace(plan(), serving=()), "skypilot", names={"planned": "a/b"})


def test_a_workload_that_no_target_may_serve_is_an_error_with_each_reason() -> None:
    made = replace(european(), pins={"eu-chat": Pins(regions=("jp",))})
    with pytest.raises(InputErrors, match=r'no target may serve workload "eu-chat": office@TRN2@aws/us-east-1: outside the regions .* \(jp\)'):
        compile_wiring(config.load_text(draft(made, on=DAY)), made, on=DAY)


def test_routes_whose_variants_are_all_on_trial_are_named(tmp_path: Path) -> None:
    text = draft(european(), on=DAY)
    wiring = compile_wiring(config.load_text(text), european(), on=DAY)
    told = [str(problem) for problem in on_trial(wiring)]
    assert len(told) == 2
    assert 'all variants of "office/eu-chat" are capped: at most 1% of its requests are served' in told[1]
    proven = compile_wiring(config.load_text(text.replace('gate: ""', "gate: passed")), european(), on=DAY)
    assert on_trial(proven) == []
    (tmp_path / "plan.json").write_bytes(european().to_json())
    runner, app = CliRunner(), build("serve")
    drafted = runner.invoke(app, ["serve", str(tmp_path / "plan.json"), "--example"])
    assert drafted.exit_code == 0
    assert config.load_text(drafted.stdout) == config.load_text(draft(european()))
    (tmp_path / "gateway.yaml").write_text(drafted.stdout)
    dry = runner.invoke(app, ["serve", str(tmp_path / "plan.json"), "-c", str(tmp_path / "gateway.yaml"), "--dry-run"])
    assert dry.exit_code == 1


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="counts open files in /proc")
def test_what_a_reload_replaces_holds_no_file(tmp_path: Path) -> None:
    wiring = compile_wiring(config.load_text(draft(european(), on=DAY)), european(), on=DAY, state=str(tmp_path))
    made = (*wiring.targets[:1], *(msgspec.structs.replace(t, provisioned_tokens_per_minute=600) for t in wiring.targets[1:]))
    wiring = msgspec.structs.replace(wiring, targets=made)

    async def files() -> list[int]:
        counts = []
        for _ in range(4):
            live = Live(wiring, 0)
            controller = Controller(wiring)
            controller.tick()
            live.refresh()
            live.close()
            controller.close()
            counts.append(len(list(Path("/proc/self/fd").iterdir())))
        return counts

    first, *_, last = asyncio.run(files())
    assert last == first


def test_a_client_cannot_leave_its_key_s_workload(tmp_path: Path) -> None:
    wiring = compile_wiring(config.load_text(draft(european(), on=DAY)), european(), on=DAY, state=str(tmp_path))
    keys = (wiring.keys[1], msgspec.structs.replace(wiring.keys[1], id="any", sha256="1" * 64, workload=""))

    async def routes() -> list[str]:
        live = Live(msgspec.structs.replace(wiring, keys=keys), 0)
        said = {b"x-polysilicon-workload": b"chat"}
        lanes = [
            lane_of(live, live._callers[key.sha256], b'"office"', "office", dialect="chat", operation="create", headers=said) for key in keys
        ]
        live.close()
        return [wiring.routes[lane.route].id for lane in lanes if isinstance(lane, Lane)]

    assert asyncio.run(routes()) == ["office/eu-chat", "office/chat"]
