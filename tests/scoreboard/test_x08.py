"""X08: 27T at FP4 is a rack, not a GPU."""

from audited import covering


def test_the_audit_says_so():
    (f,) = covering("X08")
    assert f.verdict == "contradicted_by_source" and abs(f.recomputed[0] - 0.372) < 1e-9
    assert "13.5 TB: a rack" in f.correction
