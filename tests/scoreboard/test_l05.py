"""The gain from which a port pays: closed form and the program's switch point agree within 1 %."""

import pytest

from polysilicon.model.port_value import PortTerms, break_even_gain_frac
from polysilicon.planner.port_surface import PortProgram


@pytest.mark.parametrize("spend", [0.1e9, 0.5e9, 1e9, 10e9])
@pytest.mark.parametrize("terms", [PortTerms(), PortTerms(drop_frac=0.0), PortTerms(may_wait=True), PortTerms(overlap_years=0.0)])
def test_l05(spend, terms):
    closed = break_even_gain_frac(spend, terms=terms)
    assert PortProgram(terms=terms).switch_gain_frac(spend) == pytest.approx(closed, rel=0.01)


def test_no_gain_pays_for_too_little_volume():
    assert break_even_gain_frac(0.05e9) is None and PortProgram().switch_gain_frac(0.05e9) is None


def test_the_planner_switches_where_the_arithmetic_says():
    """The whole planner, months by month, against the closed form within 1 %: traffic waits while the new engine is dearer."""
    from toy import offer, port, solve, work, world

    terms = PortTerms(cost_usd=2e6, upkeep_usd_per_year=1e5, lead_years=0.5, drop_frac=0.3, ramp_years=0.5, movable_frac=1.0,
                      overlap_years=0.0, discount_per_year_frac=0.10, may_wait=True)
    spend = 100 * 2.0 * 8760.0 * 5
    gain = break_even_gain_frac(spend, horizon_years=2.0, terms=terms)

    def starts(g):
        terms = {"cost_usd": 2e6, "upkeep_usd_per_year": 1e5, "lead_months": 6.0, "initial_efficiency_frac": 0.7, "ramp_months": 6.0}
        ports = (port("cuda-hopper"), port("maia", "none", **terms))
        offers = [offer("h100", 2.0), offer("maia200", 2.0)]
        found = solve(world([work(rps=500.0)], offers, ports=ports, months=24, period="month", discount=0.1), {"h100": 1.0, "maia200": 1.0 + g})
        return bool(found.ports)

    assert not starts(gain * 0.99) and starts(gain * 1.01)
