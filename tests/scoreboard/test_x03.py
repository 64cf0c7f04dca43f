"""X03: 6 B$ a year from 30 B$ over 5 years."""

from audited import covering


def test_the_audit_says_so():
    (f,) = covering("X03")
    assert f.verdict == "holds" and f.recomputed == (6, 6)
