"""X07: lower power per FLOP is contradicted by its own figures."""

from audited import covering


def test_the_audit_says_so():
    (f,) = covering("X07")
    assert f.verdict == "contradicts_own_premises" and abs(f.recomputed[0] - (10 / 1000) / (4 / 350)) < 1e-9
    assert "11.43" in f.correction and "10 TFLOP/J" in f.correction
