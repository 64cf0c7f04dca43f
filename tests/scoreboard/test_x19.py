"""X19: break-even volume is low by 16.7x."""

from audited import covering


def test_the_audit_says_so():
    (f,) = covering("X19")
    assert f.verdict == "contradicts_own_premises" and abs(f.ratio - 16.6667) < 1e-3
    assert "1,000 M$/month" in f.correction and "60 M$/month" in f.correction and "16.67x" in f.correction
