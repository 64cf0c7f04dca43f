"""X04: H100 peaks are sparse figures; dense is half."""

from audited import covering


def test_the_audit_says_so():
    first, second = covering("X04")
    assert first.verdict == "ambiguous" and first.readings["dense"][0] < 0.51 * 4 and first.readings["with 2:4 sparsity"][0] > 3.9
    assert "dense is half" in first.note and second.verdict == "holds"
