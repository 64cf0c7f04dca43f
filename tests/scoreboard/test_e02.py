"""E02: homes-equivalent, with the kilowatts per home it assumes and where they come from."""

from audited import run
from pytest import approx

from polysilicon.economics.energy import home_kw, homes


def test_sixty_megawatts():
    assert homes(60, kw_per_home=1.5) == 40_000
    assert homes(60, kw_per_home=home_kw(10_715)) == approx(49_053, abs=1)


def test_the_assumption_and_its_alternative_are_printed():
    out = " ".join(run("tco", "--gw", "0.06", "--set", "pue=1.0").stdout.split())
    assert "49,053 homes at 1.22 kW" in out and "Energy Information Administration" in out and "1.5 kW would give 40,000" in out
