"""V03: a measured result overrides what the model or a vendor says, and is marked measured."""

import pytest
from chip_entry import KNOWN

from polysilicon.application.workload import Lengths, Slo
from polysilicon.model.layout import Layout
from polysilicon.performance import Observation, Own, table


def test_an_imported_result_changes_the_basis_and_the_number():
    model, chip, shape = KNOWN.model("llama-3.1-70b"), KNOWN.chip("Maia 200"), Lengths(1000, 300)
    before = table(model, chip, shape, Slo(2, 0.1), layouts=[Layout("fp8", "fp8", tp=4)])
    p = before[0]
    assert p.basis == "datasheet"
    seen = Observation(model.id, chip.id, 4, "fp8", 1000, 300, p.batch, 2 * p.tpot_s)
    points = table(model, chip, shape, Slo(2, 0.1), layouts=[Layout("fp8", "fp8", tp=4)], own=Own(seen=(seen,)))
    after = next(q for q in points if q.basis == "measured")
    assert after.tpot_s == pytest.approx(2 * p.tpot_s)
    assert after.tok_per_s_per_chip < p.tok_per_s_per_chip / 1.5
    assert after.error_frac < p.error_frac
