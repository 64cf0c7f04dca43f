"""X20: 10-20x growth from its volumes is 8-100x."""

from audited import covering


def test_the_audit_says_so():
    (f,) = covering("X20")
    assert f.verdict == "contradicts_own_premises" and [round(x, 9) for x in f.recomputed] == [8, 100]
