"""X10: 120 ms to 50 ms, 58 % less: arithmetic ok."""

from audited import covering


def test_the_audit_says_so():
    assert [f.verdict for f in covering("X10")] == ["holds"] * 3
