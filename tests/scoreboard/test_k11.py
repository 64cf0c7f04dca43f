"""K11: the same conversion for TPU capacity; 35 GW is ten times the filing's 3.5."""

from audited import covering
from pytest import approx

from polysilicon import catalogue
from polysilicon.economics.energy import capacity


def test_claim_carries_source_and_verdict():
    (claim,) = covering("X28")
    assert claim.verdict == "contradicted_by_source" and claim.ratio == approx(0.1)
    assert any("Broadcom filing" in p.source for p in claim.premises)


def test_conversion():
    watts = catalogue.load().chip("tpu-v7").all_in_w or 1000.0
    assert capacity(3.5, rack_kw=64 * watts / 1000, rack_chips=64).chips == approx(3.5e9 / watts)
