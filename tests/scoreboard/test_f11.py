"""A year's budget is kept, or the plan says by how much it falls short."""

import pytest
from toy import offer, solve, work, world

from polysilicon.errors import Infeasible
from polysilicon.scenario.schema import LimitsPart

NEED = 100 * 2.0 * 365 * 24.0


def test_f11():
    offers = [offer("h100", 2.0)]
    kept = solve(world([work(rps=100.0)], offers, months=12, limits=LimitsPart(utilisation_max_frac=1.0, budget_usd_per_year=((2026, NEED * 1.01),))))
    assert kept.bill_usd <= NEED * 1.01
    with pytest.raises(Infeasible) as error:
        solve(world([work(rps=100.0)], offers, months=12, limits=LimitsPart(utilisation_max_frac=1.0, budget_usd_per_year=((2026, NEED * 0.9),))))
    assert f"the budget of 2026; it would have to give {NEED * 0.1:,.4g} $ a year" in str(error.value)
