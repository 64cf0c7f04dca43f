"""C02: the catalogue entry of GB200 and B200 (Blackwell)."""

import pytest
from chip_entry import checked


def test_gb200_equals_the_vendor_table():
    chip = checked("GB200", unknown=("sram_mb",))
    assert chip.dense_tflop_per_s == {"fp4": 10000, "fp8": 5000, "int8": 5000, "bf16": 2500}
    assert chip.sparse_tflop_per_s == {"fp4": 20000, "fp8": 10000, "bf16": 5000}
    assert (chip.hbm_gb, chip.hbm_gb_per_s, chip.scale_up_gb_per_s, chip.scale_up_chips, chip.tdp_w) == (186, 8000, 900, 72, 1200)
    assert chip.all_in_w == pytest.approx(120_000 / 72, abs=0.1)


def test_b200_equals_the_vendor_table():
    chip = checked("B200", unknown=("sram_mb",))
    assert chip.dense_tflop_per_s == {"fp4": 9000, "fp8": 4500, "int8": 4500, "bf16": 2250}
    assert (chip.hbm_gb, chip.hbm_gb_per_s, chip.scale_up_chips, chip.tdp_w) == (180, 7700, 8, 1000)
