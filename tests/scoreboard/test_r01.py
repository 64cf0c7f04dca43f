"""R01: the GB200 NVL72 rack as a system."""

import pytest
from chip_entry import KNOWN


def test_numbers_are_72_times_the_gpu():
    rack, gpu = KNOWN.system("gb200-nvl72"), KNOWN.chip("gb200")
    assert (rack.chips, rack.cpus, rack.domains, rack.cooling) == (72, 36, 1, "liquid")
    assert rack.hbm_gb == 72 * gpu.hbm_gb
    assert rack.scale_up_aggregate_gb_per_s == 72 * 2 * gpu.scale_up_gb_per_s
    assert rack.facts["dense_tflop_per_s.fp8"].value == 72 * gpu.dense_tflop_per_s["fp8"]
    assert rack.facts["hbm_aggregate_gb_per_s"].value == 72 * gpu.hbm_gb_per_s


def test_power_and_price_of_the_rack_are_sourced():
    rack = KNOWN.system("gb200-nvl72")
    assert rack.rack_kw == 120
    assert rack.rack_kw * 1e3 / 72 == pytest.approx(KNOWN.chip("gb200").all_in_w, abs=0.1)
    assert (rack.facts["price_low_usd"].value, rack.facts["price_high_usd"].value) == (2e6, 3e6)
    assert all(rack.facts[p].source in KNOWN.sources for p in ("rack_kw", "price_low_usd"))
