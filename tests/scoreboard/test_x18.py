"""X18: 60 B$ of revenue for 30 B$ at 50 %."""

from audited import covering


def test_the_audit_says_so():
    (f,) = covering("X18")
    assert f.verdict == "holds" and f.recomputed == (60, 60)
