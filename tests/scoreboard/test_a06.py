"""A06: a million requests are made, and reproducible; benchmarks/traffic.py says how fast."""

import numpy as np

from polysilicon.application.generate import Traffic, generate, stream


def test_a_million_requests_of_a_busy_service():
    trace = generate(Traffic("chat", peak_to_mean_ratio=1.0), seconds=3600, mean_rps=1e6 / 3600, seed=7, blocks=False)
    assert len(trace) == 1_000_000
    assert np.all(np.diff(trace.arrival_s) >= 0)
    assert abs(np.median(trace.isl_tokens) - 1020) < 30


def test_billions_a_day_come_in_pieces_of_bounded_size():
    pieces = stream("chat", seconds=86_400, mean_rps=40_000, seed=7, block_requests=100_000)  # 3.5 billion a day
    first, second = next(pieces), next(pieces)
    assert len(first) < 150_000 and len(second) < 150_000
    assert first.arrival_s[-1] <= second.arrival_s[0]
