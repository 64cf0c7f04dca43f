"""X27: all three clouds: a dated fact."""

from audited import covering


def test_the_audit_says_so():
    (f,) = covering("X27")
    assert f.verdict == "holds" and f.as_of == "2025-11" and "dated fact" in f.note
