"""Step times one can do by hand."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from polysilicon.performance import StepTimes


@pytest.fixture(scope="session")
def flat() -> Callable[..., StepTimes]:
    """Every step takes `base_s` plus `token_s` a token; nothing else costs anything."""

    def make(base_s: float = 0.01, token_s: float = 0.0, *, budget: int = 100, kv_tokens: int = 100_000, **more: float) -> StepTimes:
        tokens = np.arange(budget + 1)
        table = np.where(tokens > 0, base_s + token_s * tokens, 0.0)
        values = {"sequence_s": 0.0, "kv_s_per_token": 0.0, "window_s_per_token": 0.0, "window_tokens": 0, "pair_s": 0.0} | more
        return StepTimes(tokens_s=table, kv_tokens=kv_tokens, **values)

    return make
