"""X25: 28 B$ of Azure AI revenue needs a source."""

from audited import covering


def test_the_audit_says_so():
    (f,) = covering("X25")
    assert f.verdict == "contradicted_by_source" and "needs a source" in f.correction and "unverified" in f.note
