"""M09: the router refuses more than a pilot's weight until the quality gate is recorded as passed."""

from pathlib import Path

from live import ask, endpoint, post, running

from polysilicon.gateway.controller import Controller


def test_no_gate_no_weight(tmp_path: Path) -> None:
    variants = {"new": {"stage": "production", "gate": "", "chip": "Maia 200"}}
    with running(tmp_path, [endpoint("old", "claude"), endpoint("new", "openai")], weights=[0.2, 0.8], variants=variants) as rig:
        controller = Controller(rig.wiring)

        def share(n: int) -> float:
            return sum(post(rig, ask())[1]["x-polysilicon-target"] == "new" for _ in range(n)) / n

        assert share(200) <= 0.01
        controller.promotions.set_stage("opus@new", "production", "passed")
        controller.tick()
        for _ in range(600):
            controller.tick(controller.broker.directive.written_s + 60.0)
        assert share(100) >= 0.6
        controller.promotions.set_stage("opus@new", "production", "failed")
        controller.tick()
        assert share(20) == 0.0
        controller.close()
