"""R03: collectives by domain size and link speed: alpha-beta by hand, and all-to-all beyond the domain is slower."""

import pytest

from polysilicon.silicon.network import Links, all_reduce_s, all_to_all_s

NVL72 = Links(900e9, 72, scale_out_bytes_per_s=50e9)
NODE8 = Links(900e9, 8, scale_out_bytes_per_s=50e9)


def test_alpha_and_beta_by_hand():
    assert float(all_reduce_s(0.0, 8, NODE8)) == pytest.approx(3 * 5e-6)  # log2(8) latencies
    assert float(all_reduce_s(9e9, 8, NODE8)) == pytest.approx(3 * 5e-6 + 2 * 7 / 8 * 9e9 / 900e9)
    assert float(all_to_all_s(9e9, 8, NODE8)) == pytest.approx(5e-6 + 7 / 8 * 9e9 / 900e9)


def test_expert_traffic_is_slower_beyond_the_domain():
    inside, beyond = float(all_to_all_s(64e6, 64, NVL72)), float(all_to_all_s(64e6, 64, NODE8))
    assert beyond > 5 * inside
    assert float(all_reduce_s(64e6, 64, NODE8)) > float(all_reduce_s(64e6, 64, NVL72))
    assert float(all_to_all_s(64e6, 64, Links(1800e9, 72))) < inside
