"""C12: decode time of a long context is bytes over the bandwidth of the chips that hold them."""

import pytest
from chip_entry import KNOWN

from polysilicon.model.layout import Layout
from polysilicon.performance import step_times
from polysilicon.performance.steps import ground
from polysilicon.silicon.roofline import Work, memory_s


def test_400_gb_on_one_h100_one_gb200_and_five_h100():
    h100, gb200 = KNOWN.chip("H100").need("hbm_gb_per_s"), KNOWN.chip("GB200").need("hbm_gb_per_s")
    work = Work(hbm_bytes=400e9)
    one, other = memory_s(work.hbm_bytes, h100), memory_s(work.hbm_bytes, gb200)
    assert one == pytest.approx(0.1194, abs=1e-4)
    assert other == pytest.approx(0.050, abs=1e-4)
    assert 1 - other / one == pytest.approx(0.58, abs=0.005)
    assert memory_s(work.shared_by(5).hbm_bytes, h100) == pytest.approx(0.0239, abs=1e-4)


def test_a_models_decode_step_is_weights_and_cache_over_what_its_chips_reach():
    """Llama 3.1 70B: the cache takes its bytes over the bandwidth reached, and shards over the chips that hold it."""
    model, chip = KNOWN.model("llama-3.1-70b"), KNOWN.chip("H100")
    one, eight = (step_times(model, chip, Layout("fp4", "fp8", tp=tp)) for tp in (1, 8))
    g = ground(model, chip, "fp4", "fp8")
    tokens = 400e9 / model.kv_bytes_per_token("fp8")
    reached = chip.need("hbm_gb_per_s") * 1e9 * g.eff.kv_memory_frac * g.eff.kv_factor * g.eff.memory_factor
    assert one.kv_s_per_token * tokens == pytest.approx(400e9 / reached, rel=0.02)
    assert eight.kv_s_per_token == pytest.approx(one.kv_s_per_token / 8)  # eight heads, eight chips
    assert one.tokens_s[1] > model.weight_bytes("fp4") / (chip.need("hbm_gb_per_s") * 1e9)
