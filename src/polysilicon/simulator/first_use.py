"""Compile ahead of time: an installer calls `warm` so that nobody waits at the first replay."""

from __future__ import annotations

import numpy as np

from polysilicon.application.trace import Trace
from polysilicon.performance import StepTimes
from polysilicon.simulator.compiled import is_warm
from polysilicon.simulator.fleet import Fleet, Pool


def warm() -> bool:
    """Compile the loop by replaying two requests, unless this version's machine code is on disk; return whether it had to."""
    if is_warm():
        return False
    from polysilicon.simulator.run import simulate

    tokens_s = np.full(513, 0.01)
    tokens_s[0] = 0.0
    times = StepTimes(tokens_s, 0.0, 0.0, 0.0, 0, 0.0, kv_tokens=4096)
    simulate(Fleet((Pool("one", times),)), Trace(np.array([0.0, 0.1]), np.array([8, 8], np.int32), np.array([2, 2], np.int32)))
    return True
