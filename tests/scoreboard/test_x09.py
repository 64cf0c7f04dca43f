"""X09: 400 GB for 200k tokens: 2 MB a token, more than one H100."""

from audited import covering


def test_the_audit_says_so():
    kv, fits = covering("X09")
    assert kv.verdict == "unsupported" and "2 MB/tok" in kv.note and "not physical" in kv.note
    assert fits.recomputed == (5, 5) and fits.verdict == "contradicted_by_source"
