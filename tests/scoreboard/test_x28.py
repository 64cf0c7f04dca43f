"""X28: 35 GW is 3.5 GW."""

from audited import covering


def test_the_audit_says_so():
    (f,) = covering("X28")
    assert f.verdict == "contradicted_by_source" and f.recomputed == (3.5, 3.5) and abs(f.ratio - 0.1) < 1e-12
    assert "Broadcom filing" in f.correction
