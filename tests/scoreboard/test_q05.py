"""Q05: who is next is not predicted; deals are templates only, and the documents say so."""

from audited import ROOT


def test_documents_say_so():
    text = " ".join((ROOT / "docs/guides/model-a-deal.md").read_text().split())
    assert "does not predict" in text and "recast" in text
