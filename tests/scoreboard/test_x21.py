"""X21: 5 B$ for 10-15k GPUs is 333-500 k$ a GPU."""

from audited import covering


def test_the_audit_says_so():
    (f,) = covering("X21")
    assert f.verdict == "contradicted_by_source" and "333.3 k$/chip to 500 k$/chip" in f.correction and "81.94 k$/chip" in f.correction
