"""An engine whose quality gate is not passed carries a trial's share and no more."""

from toy import offer, port, solve, work, world


def share(gate):
    ports = (port("cuda-hopper"), port("maia", quality_gate=gate))
    found = solve(world([work(rps=100.0)], [offer("h100", 2.0), offer("maia200", 1.0)], ports=ports))
    return sum(p.share_frac for p in found.placements if p.chip == "maia200")


def test_m09():
    assert round(share("failed"), 6) == 0.05 and round(share("passed"), 6) == 1.0
