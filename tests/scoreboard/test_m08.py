"""Joint engineering improves an engine year by year; nothing unless stated."""

from toy import offer, port, solve, work, world


def chips(rate):
    ports = (port("cuda-hopper", improvement_per_year_frac=rate),)
    found = solve(world([work(rps=100.0)], [offer("h100", 2.0)], ports=ports, months=36, period="year"))
    return [p.chips for p in found.placements]


def test_m08():
    assert [round(c, 6) for c in chips(0.0)] == [100.0] * 3
    assert [round(c, 3) for c in chips(0.25)] == [100.0, 80.0, 64.0]
