"""A01: an office suite as an application, with diurnal enterprise traffic, a promise, a model and a fixed cloud."""

from pathlib import Path

import numpy as np

from polysilicon import catalogue, scenario
from polysilicon.application.generate import generate

EXAMPLE = Path(__file__).resolve().parents[2] / "examples/productivity-suite.yaml"


def test_example_contains_it_and_its_day_is_an_office_day():
    resolved = scenario.resolve(scenario.load(EXAMPLE), catalogue.load())
    suite = next(w for w in resolved.workloads if w.id == "office-suite")
    assert suite.clouds == ("azure",) and suite.slo.ttft_s == 1.5 and suite.model == "qwen3-32b"
    day = generate(suite.traffic, seconds=86_400, mean_rps=2.0, seed=1, blocks=False)
    hours = np.bincount((day.arrival_s // 3600).astype(int), minlength=24)
    local = np.roll(hours, -6)  # its users are six hours behind UTC
    assert local[9:17].mean() > 4 * local[0:6].mean()
    assert local[12] < local[10] and local[12] < local[14]  # lunch
