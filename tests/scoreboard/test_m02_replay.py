"""M02 in simulation: as many long sessions run at once as the KV cache holds, one more waits."""

import numpy as np
import pytest

from polysilicon import catalogue, simulator
from polysilicon.application.trace import Trace
from polysilicon.model.layout import Layout
from polysilicon.performance import step_times
from polysilicon.simulator.fleet import Fleet, Pool


@pytest.mark.parametrize("context", [120_000, 200_000])
def test_concurrent_long_sessions_are_what_the_memory_holds(context):
    known = catalogue.load()
    times = step_times(known.model("llama-3.1-70b"), known.chip("gb300"), Layout("fp8", "fp8", tp=2), max_step_tokens=3_500_000)
    held = times.kv_tokens // context
    n = held + 1
    assert held >= 5 and n * (context - 200) > times.kv_tokens
    trace = Trace(np.zeros(n), np.full(n, context - 200, np.int32), np.full(n, 200, np.int32))
    rows = simulator.simulate(Fleet((Pool("a", times, watermark_frac=0.0),)), trace).requests
    assert (rows["start_s"][:held] == 0.0).all() and rows["preemptions"].sum() == 0
    assert rows["start_s"][held] == pytest.approx(rows["done_s"][:held].min() - times.first_token_s)  # its client hears later
