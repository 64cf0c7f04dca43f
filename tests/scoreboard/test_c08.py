"""C08: the catalogue entry of TPU v5p."""

import pytest
from chip_entry import checked


def test_tpu_v5p_equals_the_vendor_table():
    chip = checked("TPU v5p", unknown=("process", "tdp_w", "all_in_w", "sram_mb"))
    assert chip.dense_tflop_per_s == {"bf16": 459, "int8": 918}
    assert (chip.hbm_gb, chip.hbm_gb_per_s, chip.scale_up_gb_per_s, chip.scale_up_chips) == (95, 2765, 600, 8960)
    assert chip.scale_out_gb_per_s == pytest.approx(50 / 8)
