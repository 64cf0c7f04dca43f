"""A port is a project: it may be chosen, costs money, and carries traffic only once it is done."""

from toy import offer, port, solve, work, world


def test_l02():
    ports = (port("cuda-hopper"), port("maia", "none", engineer_months=40.0, lead_months=9.0))
    found = solve(world([work(rps=500.0)], [offer("h100", 2.0), offer("maia200", 1.0)], ports=ports, months=24))
    (project,) = found.ports
    assert project["usd"] == 40 * 25_000.0 and found.port_usd == project["usd"]
    live = int(project["live_period"])
    assert live - int(project["start_period"]) == 3
    assert all(p.chip == "h100" for p in found.placements if p.period < live)
    assert any(p.chip == "maia200" for p in found.placements if p.period >= live)
    assert any(a.subject == "engineer-month" for a in found.assumptions)
