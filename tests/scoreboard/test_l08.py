"""L08: a canary that becomes slow, or wrong, is rolled back to nothing."""

from pathlib import Path

import pytest
from live import ask, endpoint, post, running

from polysilicon.gateway.config import PromotionPart
from polysilicon.gateway.controller import Controller
from polysilicon.gateway.emulator import Fault, FleetModel
from polysilicon.gateway.wiring import Reliability


@pytest.mark.parametrize("trouble", ["latency", "errors"])
def test_a_bad_canary_goes_to_zero(tmp_path: Path, trouble: str) -> None:
    canary = endpoint("new", "vertex", model=FleetModel(ttft_s=0.05 if trouble == "latency" else 0.004, tpot_s=0.0))
    if trouble == "errors":
        canary.faults = [Fault("cut-after", frac=0.5)]
    steady = endpoint("old", "claude", model=FleetModel(ttft_s=0.004, tpot_s=0.0))
    trial_only = Reliability(breaker_failures=10**6, eject_min_requests=10**6)  # what ends the canary here is its trial alone
    with running(
        tmp_path,
        [steady, canary],
        weights=[0.5, 0.5],
        variants={"new": {"stage": "canary", "gate": "passed", "share_max_frac": 0.5}},
        reliability=trial_only,
    ) as rig:
        controller = Controller(rig.wiring, promotion=PromotionPart(samples_min=50, latency_factor_max=1.5))
        stopped_after = None
        for i in range(1500):
            post(rig, ask(stream=True))
            if i % 20 == 19:
                rig.call(rig.worker.ledger.flush)
                controller.tick()
                if controller.promotions.stages["opus@new"][1] == "failed":
                    stopped_after = i
                    break
        assert stopped_after is not None, controller.promotions.trials
        directive = controller.tick()
        assert directive.weights[0] == [1.0, 0.0]
        assert directive.caps[1] == 0.0
        assert {post(rig, ask())[1]["x-polysilicon-target"] for _ in range(10)} == {"old"}
        assert trouble in controller.promotions.log[0]
        controller.close()
