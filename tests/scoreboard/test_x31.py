"""X31: it is the third cloud."""

from audited import covering


def test_the_audit_says_so():
    (f,) = covering("X31")
    assert f.verdict == "contradicts_own_premises" and f.recomputed == (3, 3) and "third" in f.correction
