"""C06: the catalogue entry of Trainium 2 and 3."""

import pytest
from chip_entry import checked


def test_trainium2_equals_the_neuron_documents():
    chip = checked("Trainium2", unknown=("process", "all_in_w"))
    assert chip.dense_tflop_per_s == {"fp8": 1299, "bf16": 667}
    assert chip.sparse_tflop_per_s["fp8"] == 2563
    assert (chip.hbm_gb, chip.hbm_gb_per_s, chip.sram_mb, chip.scale_up_chips) == (96, 2900, 224, 64)
    assert chip.facts["tdp_w"].basis == "estimate"  # AWS publishes none


def test_trainium3_has_no_fp4_speed_up():
    chip = checked("Trainium3", unknown=("all_in_w",))
    assert chip.dense_tflop_per_s == {"fp4": 2517, "fp8": 2517, "bf16": 671}
    assert (chip.hbm_gb, chip.hbm_gb_per_s, chip.sram_mb, chip.scale_up_chips) == (144, pytest.approx(4900), 256, 144)
    assert chip.facts["scale_up_gb_per_s.low"].value < chip.facts["scale_up_gb_per_s.high"].value
