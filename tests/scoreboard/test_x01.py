"""X01: 45 = 30 + 5 + 10 adds up, but sums opposite directions."""

from audited import covering


def test_the_audit_says_so():
    (f,) = covering("X01")
    assert f.verdict == "holds" and f.recomputed == (45, 45)
    assert "opposite directions" in f.note and "net outside money 15 B$" in f.note
