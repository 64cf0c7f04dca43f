"""W08: regulation is watched without a figure."""

from audited import run


def test_listed():
    out = run("watch", "--today", "2026-06-01").stdout
    assert "regulation" in out and "no figure" in out
