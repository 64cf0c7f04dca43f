"""N03: many suppliers hedge: the variance of the bill falls, in closed form and for plans made anew in drawn futures."""

import numpy as np
from pytest import approx
from toy import offer, tables, work, world

from polysilicon.economics.kpi import cost_variance
from polysilicon.planner.futures import spread


def test_variance_falls_with_suppliers():
    rho, s = 0.3, 0.4
    drawn = {n: cost_variance([1.0] * n, [s] * n, rho, draws=40_000) for n in (1, 2, 4)}
    assert drawn[1] > drawn[2] > drawn[4]
    for n, value in drawn.items():
        assert value == approx(s**2 * (1 / n + rho * (1 - 1 / n)), rel=0.03)
    assert cost_variance([1, 1], [s, s], 1.0) == approx(cost_variance([1], [s], 1.0), rel=0.05)


def test_a_plan_that_may_choose_among_suppliers_costs_less_and_varies_less_than_with_one():
    question = tables(world([work(rps=100.0)], [offer("h100", 2.0), offer("maia200", 4.0), offer("trn3", 3.0, cloud="aws")]))
    everybody, *alone = spread(question, count=100, seed=1, volatility=0.3)
    assert len(alone) == 3 and all(s.unserved_frac == 0 for s in alone)
    assert everybody.sd_usd < np.mean([s.sd_usd for s in alone]) and everybody.mean_usd < min(s.mean_usd for s in alone)
