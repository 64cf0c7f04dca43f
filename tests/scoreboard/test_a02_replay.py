"""A02 in simulation: real agent sessions on a prefix cache; the hit rate is what their prompts share."""

from dataclasses import replace

import numpy as np
import pytest

from polysilicon import simulator
from polysilicon.application.read import read
from polysilicon.performance import StepTimes
from polysilicon.simulator.fleet import Fleet, Pool


@pytest.mark.shared
def test_real_coding_agents_find_what_a_published_analysis_says_they_share(shared_dir):
    trace = read(shared_dir / "traces/claude-code-weka/requests.csv.gz", limit=8_000)
    tokens = np.arange(8193)
    times = StepTimes(np.where(tokens > 0, 0.006 + 2e-5 * tokens, 0.0), 1e-5, 2e-8, 0.0, 0, 0.0, 20_000_000)
    found = {}
    for kv_tokens in (20_000_000, 2_000_000):
        pool = Pool("agents", replace(times, kv_tokens=kv_tokens), 4, routing="prefix")
        result = simulator.simulate(Fleet((pool,)), trace)
        assert result.done.all()
        found[kv_tokens] = result.requests["cached_tokens"].sum() / trace.isl_tokens.sum()
    assert 0.93 < found[20_000_000] < 0.975  # the trace's own analysis: 96.3 % against the previous request of the thread
    assert found[2_000_000] < found[20_000_000]
