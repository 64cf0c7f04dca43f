"""A new engine loses 30 to 50 % at first unless a port says otherwise, and climbs from there."""

from dataclasses import replace

from toy import offer, port, tables, work, world

from polysilicon.planner import ports
from polysilicon.planner.problem import efficiency


def eta(target):
    question = tables(world([work(rps=100.0)], [offer("maia200", 1.0)], ports=(target,), months=24))
    return next(a.efficiency_frac for a in question.arcs if a.port >= 0 and question.candidates[a.port].start == 0)


def test_l03():
    plain = port("maia", "none", cost_usd=1e6, lead_months=6.0)
    default = eta(plain)
    assert default[1] == 0.0 and 0.5 <= ports.with_learning(plain).initial_efficiency_frac <= 0.7
    assert list(default[2:]) == sorted(default[2:]) and default[-1] == 1.0
    stated = replace(plain, initial_efficiency_frac=0.9, ramp_months=3.0)
    assert eta(stated)[2] > 0.9 and efficiency(stated, 0.0) == 0.9
