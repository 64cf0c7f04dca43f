"""X22: 60-70 % of 30 B$ is 18-21 B$."""

from audited import covering


def test_the_audit_says_so():
    (f,) = covering("X22")
    assert f.verdict == "holds" and f.recomputed == (18, 21)
