"""Poorer tools make a port dearer and slower: beyond some effort it is not started."""

from toy import offer, port, solve, work, world

from polysilicon.planner.ports import with_tooling


def test_l09():
    plain = port("maia", "none", cost_usd=1e6, engineer_months=30.0, lead_months=6.0)
    started, costs = [], []
    for factor in (0.5, 1.0, 2.0, 6.0):
        ports = (port("cuda-hopper"), with_tooling(plain, factor))
        found = solve(world([work(rps=200.0)], [offer("h100", 2.0), offer("maia200", 1.0)], ports=ports, months=24))
        started.append(bool(found.ports))
        costs.append(found.objective_usd)
    assert started[0] and not started[-1] and costs == sorted(costs)
