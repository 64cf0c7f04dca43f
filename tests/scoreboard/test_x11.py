"""X11: 5.76 PB should be some 13.4 TB; 576 TB/s is the bandwidth."""

from audited import covering


def test_the_audit_says_so():
    (f,) = covering("X11")
    assert f.verdict == "contradicted_by_source" and abs(f.recomputed[0] - 72 * 0.186) < 1e-9
    assert "576 TB/s is its aggregate bandwidth" in f.correction and round(1 / f.ratio) == 430
