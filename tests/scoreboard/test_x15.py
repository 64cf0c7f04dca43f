"""X15: 40-80 thousand homes is 1.5 kW a home."""

from audited import covering


def test_the_audit_says_so():
    (f,) = covering("X15")
    assert "1.5 kW/home" in f.note and "order of magnitude" in f.note
    assert round(f.recomputed[0]) == 49053
