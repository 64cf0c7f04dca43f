"""X26: 15 B$ in against 30 B$ out: round trip 50 %."""

from audited import covering


def test_the_audit_says_so():
    (f,) = covering("X26")
    assert f.verdict == "holds" and "round-trip ratio is 50 %" in f.note
