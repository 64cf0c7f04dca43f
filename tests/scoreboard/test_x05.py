"""X05: PCIe power beside SXM bandwidth."""

from audited import covering


def test_the_audit_says_so():
    (f,) = covering("X05")
    assert f.verdict == "contradicted_by_source" and f.recomputed == (700, 700)
    assert "PCIe" in f.correction and "3.35 TB/s" in f.correction
