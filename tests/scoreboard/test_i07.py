"""I07: a news or newsletter site is stated as out of scope."""

from pathlib import Path


def test_scope_page_rules_out_news():
    text = (Path(__file__).resolve().parents[2] / "docs/scope.md").read_text()
    assert "newsletter" in text and "It does not" in text
