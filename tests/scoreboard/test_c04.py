"""C04: the catalogue entry of Vera Rubin."""

import pytest
from chip_entry import checked


def test_rubin_keeps_the_disputed_figure_apart():
    chip = checked("Vera Rubin", unknown=("sram_mb", "tdp_w", "scale_out_gb_per_s"))
    assert chip.dense_tflop_per_s["fp4"] == 35000
    assert chip.facts["dense_tflop_per_s.fp4"].basis == "estimate"
    assert chip.facts["dense_tflop_per_s.fp4.high"].value == 50000
    assert (chip.hbm_gb, chip.hbm_gb_per_s, chip.scale_up_gb_per_s) == (288, 22000, 1800)
    assert chip.all_in_w == pytest.approx(230_000 / 72, abs=0.1)
    assert chip.available_from.year == 2026
