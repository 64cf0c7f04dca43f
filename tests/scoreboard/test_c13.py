"""C13: what fits follows memory and bytes per parameter; 27T at FP4 is a rack."""

from dataclasses import replace

import pytest
from chip_entry import KNOWN
from hypothesis import given, settings
from hypothesis import strategies as st

from polysilicon.catalogue.compare import params_that_fit
from polysilicon.errors import DoesNotFit
from polysilicon.model.layout import Layout
from polysilicon.performance import step_times


@settings(max_examples=30, deadline=None)
@given(st.floats(20, 400), st.floats(1.0, 3.0))
def test_more_memory_never_fits_less(hbm_gb, factor):
    model, chip = KNOWN.model("llama-3.1-70b"), KNOWN.chip("H100")

    def room(gb, precision):
        try:
            return step_times(model, replace(chip, hbm_gb=gb), Layout(precision, "fp8", tp=4)).kv_tokens
        except DoesNotFit:
            return 0

    for precision in ("bf16", "fp8", "fp4"):
        assert room(hbm_gb * factor, precision) >= room(hbm_gb, precision)
    assert room(hbm_gb, "fp4") >= room(hbm_gb, "fp8") >= room(hbm_gb, "bf16")


def test_27_trillion_need_a_rack():
    assert pytest.approx(13.5) == 27e12 * 0.5 / 1e12
    assert params_that_fit(KNOWN.chip("GB200").hbm_gb, 4) < 27e12
