"""M08: software makes the same chip faster over time, by a stated rate; none by default."""

import pytest
from chip_entry import KNOWN

from polysilicon.application.workload import Lengths, Slo
from polysilicon.performance import best, improved_frac


def test_no_gain_unless_stated():
    assert improved_frac(3.0) == 1.0


def test_a_gain_raises_what_a_period_can_serve():
    model, chip = KNOWN.model("llama-3.1-70b"), KNOWN.chip("H100")
    now, later = (best(model, chip, Lengths(1000, 300), Slo(2, 0.05), efficiency_frac=improved_frac(y, gain_per_year_frac=0.15)) for y in (0, 2))
    assert now is not None
    assert later is not None
    assert later.tok_per_s_per_chip > 1.1 * now.tok_per_s_per_chip
    assert improved_frac(2, gain_per_year_frac=0.15) == pytest.approx(1.3225)
