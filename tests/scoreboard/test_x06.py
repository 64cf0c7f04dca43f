"""X06: GB200 20/10/5 PF are per GPU and sparse."""

from audited import covering


def test_the_audit_says_so():
    (f,) = covering("X06")
    assert f.verdict == "ambiguous" and f.readings["one GPU dense"] == (10, 10) and f.readings["one GPU with 2:4 sparsity"] == (20, 20)
    assert "state the basis" in f.correction
