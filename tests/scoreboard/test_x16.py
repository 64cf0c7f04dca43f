"""X16: 0.03 $ per 1K is 30 $ per M and conflicts with 3-15."""

from audited import covering


def test_the_audit_says_so():
    (f,) = covering("X16")
    assert f.verdict == "contradicted_by_source" and abs(f.recomputed[0] - 0.004375) < 1e-12
    assert "30 $/Mtok" in f.correction and "conflicts with $3-15/Mtok" in f.correction
