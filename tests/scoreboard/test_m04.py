"""M04: config.json of dense, GQA, MoE and MLA models gives the published sizes."""

import pytest
from chip_entry import KNOWN

from polysilicon.catalogue.compare import params_that_fit

PUBLISHED = [
    ("llama-3.1-8b", 8.03),
    ("llama-3.1-70b", 70.6),
    ("llama-3.1-405b", 405.9),
    ("qwen3-30b-a3b", 30.5),
    ("qwen3-235b-a22b", 235),
    ("deepseek-v3", 671),
]


@pytest.mark.parametrize(("name", "params"), PUBLISHED)
def test_weight_bytes_within_one_percent(name, params):
    assert KNOWN.model(name).weight_bytes("bf16") == pytest.approx(params * 1e9 * 2, rel=0.01)


def test_270_billion_fit_one_gpu_and_27_trillion_a_whole_rack():
    gpu, rack = KNOWN.chip("GB200"), KNOWN.system("NVL72")
    assert params_that_fit(gpu.hbm_gb, 4) == pytest.approx(279e9)
    assert params_that_fit(gpu.hbm_gb, 4) < 27e12
    assert params_that_fit(rack.hbm_gb, 4, reserve_frac=0.0) == pytest.approx(26.8e12, rel=0.01)
