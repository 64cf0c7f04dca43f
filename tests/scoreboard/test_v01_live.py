"""V01: exploratory, pilot and production traffic are told apart, capped, and shown by stage."""

from pathlib import Path

from live import ask, endpoint, post, running

from polysilicon.gateway.controller import Controller
from polysilicon.gateway.wiring import STAGE_CAPS


def test_caps_by_stage_and_a_report_by_stage(tmp_path: Path) -> None:
    variants = {"c": {"stage": "canary", "gate": "passed"}, "p": {"stage": "pilot", "gate": ""}, "s": {"stage": "shadow", "gate": ""}}
    doors = [endpoint("main", "claude"), endpoint("c", "vertex"), endpoint("p", "foundry"), endpoint("s", "openai")]
    with running(tmp_path, doors, weights=[0.25] * 4, variants=variants) as rig:
        for _ in range(200):
            post(rig, ask())
        entries = rig.ledger(200)
        controller = Controller(rig.wiring)
        controller.tick()
        by_stage = controller.status()["by"]["stage"]
        controller.close()
    shares = {stage: sum(e.stage == stage for e in entries) / len(entries) for stage in STAGE_CAPS}
    assert shares["canary"] <= STAGE_CAPS["canary"]
    assert shares["pilot"] <= STAGE_CAPS["pilot"]
    assert shares["shadow"] == 0.0
    assert shares["canary"] > 0.08
    assert {k: v["requests"] for k, v in by_stage.items()} == {s: round(200 * f) for s, f in shares.items() if f}
