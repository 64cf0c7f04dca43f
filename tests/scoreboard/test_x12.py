"""X12: 130 TB/s is the aggregate; NVL72 has one tier."""

from audited import covering


def test_the_audit_says_so():
    aggregate, bisection, tiers = covering("X12")
    assert aggregate.verdict == "holds" and bisection.recomputed == (64.8, 64.8) and tiers.recomputed == (1, 1)
    assert "aggregate" in bisection.correction and "single tier" in tiers.correction
