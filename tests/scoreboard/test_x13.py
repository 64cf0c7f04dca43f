"""X13: 576 GPUs are eight NVL72, and 0.36 of 4,000 H100."""

from audited import covering


def test_the_audit_says_so():
    count, equal = covering("X13")
    assert count.recomputed == (72, 72) and "8 racks" in count.correction
    assert abs(equal.ratio - 0.364) < 0.001 and "0.364x" in equal.correction
