"""C09: the catalogue entry of TPU v6e and v7 (Ironwood)."""

import pytest
from chip_entry import checked


def test_trillium_equals_the_vendor_table():
    chip = checked("Trillium", unknown=("process", "tdp_w", "all_in_w", "sram_mb"))
    assert chip.dense_tflop_per_s == {"bf16": 918, "int8": 1840}  # no FP8
    assert (chip.hbm_gb, chip.hbm_gb_per_s, chip.scale_up_gb_per_s, chip.scale_up_chips) == (32, 1638, 400, 256)


def test_ironwood_equals_the_vendor_table():
    chip = checked("Ironwood", unknown=("process", "sram_mb"))
    assert chip.all_in_w == pytest.approx(10e6 / 9216, abs=0.1)
    assert chip.dense_tflop_per_s == {"bf16": 2307, "fp8": 4614}  # no int8
    assert (chip.hbm_gb, chip.hbm_gb_per_s, chip.scale_up_gb_per_s, chip.scale_up_chips) == (192, 7380, 600, 9216)
    assert chip.facts["tdp_w"].basis == "estimate"
    assert chip.scale_out_gb_per_s == pytest.approx(100 / 8)
