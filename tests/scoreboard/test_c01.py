"""C01: the catalogue entry of the H100 (Hopper)."""

import pytest
from chip_entry import checked


def test_h100_equals_the_vendor_table():
    chip = checked("H100")
    assert chip.dense_tflop_per_s == {"fp8": 1978, "int8": 1978, "bf16": 989}
    assert chip.sparse_tflop_per_s == {"fp8": 3958, "bf16": 1979}
    assert (chip.hbm_gb, chip.hbm_gb_per_s, chip.scale_up_gb_per_s, chip.scale_up_chips, chip.tdp_w) == (80, 3350, 450, 8, 700)
    assert chip.all_in_w == pytest.approx(10_200 / 8)
    assert chip.process == "TSMC 4N"
    assert chip.available_from.year == 2022
