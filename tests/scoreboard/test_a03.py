"""A03: three traffic classes with different mixes and promises in the sample; the simulator tells each its own numbers."""

from pathlib import Path

import numpy as np

from polysilicon import catalogue, scenario
from polysilicon.application.generate import generate, merge
from polysilicon.performance import StepTimes
from polysilicon.simulator import simulate
from polysilicon.simulator.fleet import Fleet, Pool

EXAMPLE = Path(__file__).resolve().parents[2] / "examples/productivity-suite.yaml"


def test_three_classes_differ_and_have_metrics_each():
    resolved = scenario.resolve(scenario.load(EXAMPLE), catalogue.load())
    assert len(resolved.workloads) == 3
    assert len({w.traffic["profile"] for w in resolved.workloads}) == 3
    assert len({(w.slo.ttft_s, w.slo.tpot_s) for w in resolved.workloads}) == 3
    ratio = [w.lengths.isl_tokens / w.lengths.osl_tokens for w in resolved.workloads]
    assert max(ratio) > 20 * min(ratio)
    trace = merge(
        [
            generate(w.traffic, seconds=60, mean_rps=2.0, seed=1, start_hour=17, workload=w.id, blocks=False)
            for w in resolved.workloads
        ]
    )
    times = StepTimes(np.r_[0.0, 0.004 + 2e-6 * np.arange(1, 8193)], 1e-6, 1e-9, 0.0, 0, 1e-12, 4_000_000)
    fleet = Fleet(
        (Pool("pool", times, replicas=4),),
        {w.id: {"pool": 1.0} for w in resolved.workloads},
        slos={w.id: w.slo for w in resolved.workloads},
    )
    told = simulate(fleet, trace, seed=1).summary()
    assert set(told) == {w.id for w in resolved.workloads}
    assert all(numbers["done"] > 0 and numbers["promises"] for numbers in told.values())
    assert len({numbers["input_tokens"] for numbers in told.values()}) == 3
