"""X33: ranges without a source are recorded as assumptions."""

from audited import covering


def test_the_audit_says_so():
    port, drop, deficit = covering("X33")
    assert port.verdict == "contradicted_by_source" and port.recomputed == (0, 0)
    assert drop.verdict == deficit.verdict == "unsupported"
    assert all("without source: an assumption" in f.note or "no source: an assumption" in f.note for f in (port, drop, deficit))
