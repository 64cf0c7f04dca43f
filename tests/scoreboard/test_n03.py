"""N03: many suppliers hedge: the variance of the bill falls."""

from pytest import approx

from polysilicon.economics.kpi import cost_variance


def test_variance_falls_with_suppliers():
    rho, s = 0.3, 0.4
    drawn = {n: cost_variance([1.0] * n, [s] * n, rho, draws=40_000) for n in (1, 2, 4)}
    assert drawn[1] > drawn[2] > drawn[4]
    for n, value in drawn.items():
        assert value == approx(s**2 * (1 / n + rho * (1 - 1 / n)), rel=0.03)
    assert cost_variance([1, 1], [s, s], 1.0) == approx(cost_variance([1], [s], 1.0), rel=0.05)
