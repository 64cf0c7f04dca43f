"""Ramps within a representative day, by hand: rented chips that cannot leave overnight are paid for, a site's load moves slowly."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from world import offer, table, work, world

from polysilicon import planner
from polysilicon.cloud.site import Site
from polysilicon.planner.dispatch import Dispatcher, Market
from polysilicon.planner.money import power_coefficients
from polysilicon.planner.ramps import steps

DAY = (("day", 12.0, 1.5), ("night", 12.0, 0.5))
HOURS = 90 * 24.0


def solved(resolved):
    tables = planner.problem(resolved, table(resolved.workloads))
    program, solution, _ = planner.solved(tables, gap_frac=1e-6)
    return program, solution


def test_chips_that_leave_slowly_are_paid_overnight():
    """15 chips by day, 5 by night, 12 hours between the middles: at 0.5 chips an hour 9 are still there at night."""
    for ramp, night in ((None, 5.0), (10.0 / 12.0, 5.0), (0.5, 9.0), (0.0, 15.0)):
        slow = replace(offer("h100", 2.0), ramp_chips_per_hour=ramp)
        program, solution = solved(world([work(rps=10.0, peak=1.5)], [slow], blocks=DAY))
        assert solution.objective_usd == pytest.approx((15.0 + night) * 2.0 * HOURS / 2), ramp
        assert solution.values[program.blocks["rent"]] * program.chip_unit == pytest.approx([15.0, night])


def test_slow_chips_serve_the_base_and_fast_ones_the_peak():
    slow, fast = replace(offer("h100", 2.0), ramp_chips_per_hour=0.0), offer("h100", 3.0, cloud="aws")
    _, solution = solved(world([work(rps=10.0, peak=1.5)], [slow, fast], blocks=DAY))
    assert solution.objective_usd == pytest.approx((5.0 * 2.0 * 2 + 10.0 * 3.0) * HOURS / 2)


def test_a_sites_load_changes_no_faster_than_it_may():
    site = Site("hall", "azure", "eastus", ramp_mw_per_hour=0.4e-3)  # 4.8 kW between the middles; free: 10 chips x 1.4 kW less
    loads, costs = {}, {}
    for name, sites in (("free", ()), ("slow", (site,)), ("slack", (replace(site, ramp_mw_per_hour=1.0),))):
        program, solution = solved(world([work(rps=10.0, peak=1.5)], [offer("h100", 2.0)], blocks=DAY, sites=sites))
        mw = np.zeros(2)
        for _, slot, label, watts in power_coefficients(program)[0]:
            np.add.at(mw, slot, watts / 1e6 * solution.values[label])
        loads[name], costs[name] = mw, solution.objective_usd
    assert abs(loads["free"][0] - loads["free"][1]) > 4.8e-3
    assert abs(loads["slow"][0] - loads["slow"][1]) == pytest.approx(4.8e-3) and costs["slow"] > costs["free"]
    assert costs["slack"] == pytest.approx(costs["free"])


def test_the_day_is_a_ring_and_a_single_block_has_no_ramp():
    tables = planner.problem(world([work()], [offer("h100", 2.0)], blocks=(("a", 6.0, 1.0), ("b", 8.0, 1.0), ("c", 10.0, 1.0))), {})
    first, second, hours = steps(tables)
    assert list(zip(first.tolist(), second.tolist(), hours.tolist(), strict=True)) == [(0, 1, 7.0), (1, 2, 9.0), (2, 0, 8.0)]
    assert not len(steps(planner.problem(world([work()], [offer("h100", 2.0)]), {}))[0])


def test_dispatch_keeps_ramps_inside_a_day_and_forgets_them_between_days():
    demand = np.array([[5.0, 15.0, 5.0, 15.0]])
    market = Market(
        held_chips=np.zeros((1, 4)), offer_pool=np.array([0]), offer_usd_per_chip_hour=np.full((1, 4), 2.0), offer_max_chips=np.full((1, 4), np.inf),
        arc_workload=np.array([0]), arc_pool=np.array([0]), arc_rps_per_chip=np.array([1.0]), demand_rps=demand, wait_hours=np.array([0]),
        unserved_usd_per_request=np.array([1.0]), day_snapshots=2,
    )  # fmt: skip
    free = Dispatcher(market).solve()
    slow = Dispatcher(replace(market, offer_ramp_chips=np.array([4.0]))).solve()
    assert free.rented_chips[0] == pytest.approx([5.0, 15.0, 5.0, 15.0])
    assert slow.rented_chips[0] == pytest.approx([11.0, 15.0, 11.0, 15.0]) and slow.usd == pytest.approx(2.0 * 52)
