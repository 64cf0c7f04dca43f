"""X29: 30 % against one's own fleet, not against rivals."""

from audited import covering


def test_the_audit_says_so():
    (f,) = covering("X29")
    assert f.verdict == "contradicted_by_source" and "own fleet" in f.why and "baseline" in f.note
