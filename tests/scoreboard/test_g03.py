"""G03: who supplies, owns and rivals whom; shared ownership is flagged with its path."""

from audited import EXAMPLE, example, run

from polysilicon.economics.flows import entanglements


def test_flags():
    words = " | ".join(entanglements(example()))
    assert "path microsoft - openai - anthropic" in words
    assert "nvidia owns part of anthropic, which pays microsoft, which buys from nvidia" in words


def test_they_are_printed():
    assert "path microsoft - openai - anthropic" in run("deal", str(EXAMPLE), "--draws", "0").stdout
