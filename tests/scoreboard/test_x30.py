"""X30: 20-30 % as hundreds of millions implies 0.67-4.5 B$ of spend."""

from audited import covering


def test_the_audit_says_so():
    (f,) = covering("X30")
    assert f.verdict == "holds" and "0.6667 B$/yr to 4.5 B$/yr" in f.note
