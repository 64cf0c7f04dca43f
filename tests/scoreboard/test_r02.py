"""R02: a placement may span the scale-up domain and uses its pooled memory; short of it, the error says by how much."""

import pytest
from chip_entry import KNOWN

from polysilicon.errors import DoesNotFit
from polysilicon.model.layout import Layout
from polysilicon.performance import layouts, step_times

MODEL, CHIP, RACK = KNOWN.model("kimi-k2"), KNOWN.chip("gb200"), KNOWN.system("NVL72")


def test_too_big_for_eight_gpus_and_it_says_how_short():
    weights_gb = MODEL.weight_bytes("bf16") / 1e9
    assert weights_gb > 8 * CHIP.hbm_gb
    with pytest.raises(DoesNotFit) as caught:
        step_times(MODEL, CHIP, Layout("bf16", "bf16", tp=8))
    assert "GB a chip short" in str(caught.value)
    assert "in all" in str(caught.value)


def test_it_fits_the_domain_of_the_rack():
    assert MODEL.weight_bytes("bf16") / 1e9 < RACK.hbm_gb
    wide = [choice for choice in layouts(MODEL, CHIP, RACK, precisions=("bf16",)) if 8 < choice.chips <= RACK.chips]
    times = step_times(MODEL, CHIP, max(wide, key=lambda choice: (choice.chips, choice.tp)))
    kv_gb = times.kv_tokens * MODEL.kv_bytes_per_token("bf16") / 1e9
    one_gpu_gb = CHIP.hbm_gb
    assert one_gpu_gb < kv_gb < RACK.hbm_gb  # the cache is pooled: larger than any one GPU, within the rack
