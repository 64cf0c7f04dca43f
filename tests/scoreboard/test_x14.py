"""X14: 120 kW a rack; 60-120 MW for 500-1,000 racks, before PUE."""

from audited import covering


def test_the_audit_says_so():
    rack, build = covering("X14")
    assert rack.verdict == build.verdict == "holds" and build.recomputed == (60, 120)
    assert "before PUE" in build.note and "72 MW to 144 MW" in build.note
