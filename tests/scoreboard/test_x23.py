"""X23: easily recouping capex: 3.6-4.2 facilities against 40-60."""

from audited import covering


def test_the_audit_says_so():
    (f,) = covering("X23")
    assert f.verdict == "unsupported"
    for words in ("3.6 to 4.2 facilities", "36,000 GPU to 63,000 GPU", "600,000 GPU", "= 40 to 60 facilities"):
        assert words in f.note
