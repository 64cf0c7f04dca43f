"""C07: the catalogue entry of Inferentia 2."""

import pytest
from chip_entry import checked


def test_inferentia2_equals_the_neuron_documents():
    chip = checked("Inf2", unknown=("process", "tdp_w", "all_in_w", "scale_up_gb_per_s", "scale_out_gb_per_s"))
    assert chip.dense_tflop_per_s == {"fp8": 190, "bf16": 190}
    assert chip.hbm_gb == 32
    assert chip.hbm_gb_per_s == pytest.approx(820 * 2**30 / 1e9)
    assert chip.scale_up_chips == 12
