"""R04: in-network reduction is a factor on all-reduce, off by default."""

import pytest

from polysilicon.silicon.network import SHARP_FACTOR, Links, all_reduce_s


def test_the_toggle_changes_all_reduce_by_the_documented_factor():
    off, on = Links(900e9, 72, latency_s=0.0), Links(900e9, 72, latency_s=0.0, sharp_factor=SHARP_FACTOR)
    assert off.sharp_factor == 1.0
    assert float(all_reduce_s(1e9, 72, off)) == pytest.approx(SHARP_FACTOR * float(all_reduce_s(1e9, 72, on)))
