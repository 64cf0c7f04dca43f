"""C03: the catalogue entry of GB300 and B300 (Blackwell Ultra)."""

import pytest
from chip_entry import checked


@pytest.mark.parametrize(
    ("name", "fp4", "int8", "domain", "watts"), [("GB300", 15000, 165, 72, 1400), ("B300", 14000, 153.5, 8, 1100)]
)
def test_blackwell_ultra_equals_the_vendor_table(name, fp4, int8, domain, watts):
    chip = checked(name, unknown=("sram_mb",))
    assert (chip.dense_tflop_per_s["fp4"], chip.dense_tflop_per_s["int8"]) == (fp4, int8)
    assert (chip.hbm_gb, chip.scale_up_chips, chip.tdp_w) == (288, domain, watts)
