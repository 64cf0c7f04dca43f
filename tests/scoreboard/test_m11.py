"""Training blocks are deferrable chip-hours that compete for the same chips and leave fewer for inference."""

import pytest
from toy import offer, point, work, world

from polysilicon import planner


def plan(training):
    works = [work("chat", rps=50.0), *([work("training", rps=60.0 / 3600.0, batch=True, application="training")] if training else [])]
    resolved = world(works, [offer("h100", 2.0, max_chips=100.0), offer("h100", 4.0, cloud="aws")])
    chip_hour = 1.0 / 3600.0  # one request of training is one chip-hour
    speed = {("chat", "h100"): point("chat", "h100", 1.0), ("training", "h100"): point("training", "h100", chip_hour)}
    return planner.plan(resolved, speed, gap_frac=1e-6)


def test_m11():
    alone, both = plan(False), plan(True)
    assert {p.cloud for p in alone.placements} == {"azure"}
    assert sum(p.chips for p in both.placements if p.workload == "training") == pytest.approx(60.0)
    assert sum(h.chips for h in both.holdings if h.cloud == "aws") == pytest.approx(10.0)


FILE = """
polysilicon: 1
name: both
horizon: {start: 2027-01-01, months: 3}
workloads:
  - {id: chat, model: llama-3.1-8b, traffic: {profile: chat, mean_rps: 60}, slo: {ttft_s: 1.0, tpot_s: 0.03}}
offers:
  catalogue: false
  own:
    - {id: mine, cloud: azure, region: eastus, chip: gb200, kind: on_demand, usd_per_chip_hour: 3.0, max_chips: 100}
training: [{id: pretrain, chips: 64, on: [gb200], start: 2027-01-01, end: 2027-04-01}]
"""


def test_a_training_reservation_of_a_scenario_file_reduces_what_is_left_for_inference():
    from polysilicon import catalogue, scenario, study
    from polysilicon.errors import Infeasible

    known = catalogue.load()
    found = study.run(scenario.load_text(FILE, "s.yaml", known), known, proof=False).plan
    served = sum(p.peak_chips for p in found.placements)
    assert [(b.run, b.chips) for b in found.training] == [("pretrain", pytest.approx(64.0))]
    assert sum(h.peak_chips for h in found.holdings) >= 64.0 + served
    with pytest.raises(Infeasible, match="training pretrain"):
        study.run(scenario.load_text(FILE.replace("chips: 64", "chips: 100"), "s.yaml", known), known, proof=False)
