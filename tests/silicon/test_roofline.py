"""Rooflines by hand, bounds, precision fall-back, collectives."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polysilicon.errors import MissingFact
from polysilicon.silicon.chip import Chip
from polysilicon.silicon.network import SHARP_FACTOR, Links, all_reduce_s, all_to_all_s, send_s
from polysilicon.silicon.roofline import Work, lower_bound_s, math_precision, math_s, memory_s, smooth_max, upper_bound_s

H100 = Chip("h100", "H100", "Nvidia", "cuda-hopper", 80, 3350, {"fp8": 1978.0, "bf16": 989.0}, {}, 450, 8, 50)
B300 = Chip("b300", "B300", "Nvidia", "cuda-blackwell", 288, 7750, {"fp4": 14000.0, "fp8": 4500.0, "int8": 153.5, "bf16": 2250.0})


def test_decode_of_400_gb_by_hand():
    assert memory_s(400e9, 3350.0) * 1e3 == pytest.approx(119.4, abs=0.05)
    assert memory_s(400e9, 8000.0) * 1e3 == pytest.approx(50.0)
    assert memory_s(Work(hbm_bytes=400e9).shared_by(5).hbm_bytes, 3350.0) * 1e3 == pytest.approx(23.9, abs=0.05)
    assert math_s(989e12, 989.0) == pytest.approx(1.0)


def test_missing_precisions_fall_back_and_say_so():
    assert math_precision(H100, "fp8") == ("fp8", "")
    name, note = math_precision(H100, "fp4")
    assert name == "bf16"
    assert "h100 has no fp4 math" in note
    assert math_precision(B300, "int8")[0] == "bf16"  # 153 TOPS are fewer than bf16 has
    with pytest.raises(MissingFact, match="dense_tflop_per_s"):
        math_precision(Chip("x", "X", "V", "f"), "bf16")


@settings(max_examples=40, deadline=None)
@given(st.floats(1e6, 1e16), st.floats(1e3, 1e13), st.floats(1.0, 8.0))
def test_bounds_hold_the_smooth_roofline(flop, hbm_bytes, sharpness):
    work = Work(flop, hbm_bytes)
    time = float(smooth_max(math_s(flop, 989.0, 0.7), memory_s(hbm_bytes, 3350.0, 0.8), sharpness))
    assert lower_bound_s(work, tflop_per_s=989.0, hbm_gb_per_s=3350.0) <= time * (1 + 1e-9)
    assert time <= upper_bound_s(work, tflop_per_s=989.0, hbm_gb_per_s=3350.0)


def test_work_adds_up():
    assert Work(1, 2, 3, 4) + Work(1, 1, 1, 1) == Work(2, 3, 4, 5)


def test_all_reduce_is_alpha_beta():
    links = Links(450e9, 8, latency_s=2e-6)
    assert float(all_reduce_s(0.0, 8, links)) == pytest.approx(3 * 2e-6)
    assert float(all_reduce_s(450e9, 8, links)) == pytest.approx(1.75 + 6e-6)
    assert float(all_reduce_s(1e9, 1, links)) == 0.0
    assert float(all_reduce_s(1e9, 16, links)) > float(all_reduce_s(1e9, 8, links))


def test_in_network_reduction_halves_the_bytes_and_is_off_by_default():
    plain, sharp = Links(450e9, 8, latency_s=0.0), Links(450e9, 8, latency_s=0.0, sharp_factor=SHARP_FACTOR)
    assert plain.sharp_factor == 1.0
    assert float(all_reduce_s(1e9, 8, plain)) / float(all_reduce_s(1e9, 8, sharp)) == pytest.approx(SHARP_FACTOR)


@settings(max_examples=40, deadline=None)
@given(st.floats(1e3, 1e10), st.sampled_from([2, 4, 8, 16, 72]), st.floats(1.1, 10.0))
def test_collectives_grow_with_bytes_and_shrink_with_links(size, chips, factor):
    slow, fast = Links(450e9, 72), Links(450e9 * factor, 72)
    for collective in (all_reduce_s, all_to_all_s):
        assert float(collective(size * factor, chips, slow)) > float(collective(size, chips, slow))
        assert float(collective(size, chips, fast)) < float(collective(size, chips, slow))


def test_exchange_beyond_the_domain_is_slower():
    links = Links(450e9, 8)
    assert float(all_to_all_s(1e9, 16, links)) > 3 * float(all_to_all_s(1e9, 8, links))
    assert float(send_s(1e9, links, inside_domain=False)) > float(send_s(1e9, links))
    assert np.all(all_to_all_s(np.array([1e6, 1e9]), np.array([1, 8]), links) >= 0)
