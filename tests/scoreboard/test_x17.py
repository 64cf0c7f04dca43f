"""X17: 10x price drop: arithmetic ok."""

from audited import covering


def test_the_audit_says_so():
    (f,) = covering("X17")
    assert f.verdict == "holds" and abs(f.recomputed[0] - 10) < 1e-9
