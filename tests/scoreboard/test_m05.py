"""M05: a hypothetical model of three trillion parameters, MoE or dense, over racks."""

import pytest
from chip_entry import KNOWN

from polysilicon.errors import DoesNotFit
from polysilicon.exchange.reference import scaled
from polysilicon.model.layout import Layout
from polysilicon.performance import step_times


@pytest.mark.parametrize("active", [100e9, 3e12])
def test_three_trillion_parameters_need_a_rack(active):
    model, chip = scaled("hypothetical-3t", 3e12, active), KNOWN.chip("GB200")
    assert model.total_params == pytest.approx(3e12, rel=0.3)
    with pytest.raises(DoesNotFit):
        step_times(model, chip, Layout("fp4", "fp8", tp=8))
    assert step_times(model, chip, Layout("fp4", "fp8", tp=64)).kv_tokens > 0
