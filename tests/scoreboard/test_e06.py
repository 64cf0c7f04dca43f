"""E06: math per watt at the article's figures contradicts its own sentence."""

from audited import covering
from pytest import approx

from polysilicon.economics.energy import tflop_per_j


def test_per_watt():
    assert tflop_per_j(10_000, 1000) == 10 and tflop_per_j(4_000, 350) == approx(11.4, abs=0.05)
    (claim,) = covering("X07")
    assert claim.verdict == "contradicts_own_premises"
