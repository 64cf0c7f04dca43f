"""C05: the catalogue entry of Maia 200."""

import pytest
from chip_entry import checked


def test_maia_200_as_announced_and_null_where_unpublished():
    chip = checked("Maia 200", unknown=("all_in_w", "scale_out_gb_per_s"))
    assert chip.dense_tflop_per_s == {"fp4": 10145, "fp8": 5072}  # no BF16 figure was found, none is made up
    assert (chip.hbm_gb, chip.hbm_gb_per_s, chip.sram_mb, chip.scale_up_gb_per_s, chip.scale_up_chips, chip.tdp_w) == (
        216,
        7000,
        272,
        1400,
        6144,
        750,
    )
    assert chip.process == "TSMC N3"
    assert chip.available_from.isoformat() == "2026-01-26"
    assert chip.facts["hbm_gb"].basis == "announced"
    assert pytest.approx(1.4) == chip.scale_up_gb_per_s / 1e3
