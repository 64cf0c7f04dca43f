"""X24: 10 B$ of revenue to Nvidia is an outflow."""

from audited import covering


def test_the_audit_says_so():
    (f,) = covering("X24")
    assert f.verdict == "contradicted_by_source" and f.recomputed == (-10, -10)
    assert "sign error" in f.correction and "outflow" in f.correction and "through Azure" in f.correction
