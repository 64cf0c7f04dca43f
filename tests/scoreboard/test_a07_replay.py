"""A07 in simulation: the chip that is said to answer long questions within a second does so when they are replayed."""

import numpy as np

from polysilicon import catalogue, simulator
from polysilicon.application.generate import Traffic, generate, lengths
from polysilicon.application.presets import preset
from polysilicon.performance import best, step_times
from polysilicon.simulator.fleet import Fleet, Pool


def test_a_yes_holds_in_the_replay():
    known = catalogue.load()
    asked = preset("multi-document")
    model, chip = known.model("qwen3-32b"), known.chip("b200-sxm")
    point = best(model, chip, lengths(asked.profile), asked.slo)
    assert point is not None and point.ttft_s <= asked.slo.ttft_s
    trace = generate(Traffic(asked.profile, peak_to_mean_ratio=1.0), seconds=1800, mean_rps=0.5 * point.requests_per_s, seed=3, workload="q")
    pool = Pool("a", step_times(model, chip, point.layout), max_batch=point.batch * 2, routing="prefix")
    result = simulator.simulate(Fleet((pool,), slos={"q": asked.slo}), trace)
    warm = result.requests["arrival_s"] > 600.0  # the cache starts empty
    assert result.done.all() and trace.isl_tokens.mean() > 10_000
    assert np.quantile(result.ttft_s[warm], 0.5) < asked.slo.ttft_s
