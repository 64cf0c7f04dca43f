"""X32: budgets of 2024-2025 for a chip of 2026."""

from audited import covering


def test_the_audit_says_so():
    (f,) = covering("X32")
    assert f.verdict == "contradicted_by_source" and f.recomputed == (2026, 2026) and "date conflict" in f.note
