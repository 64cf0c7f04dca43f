"""D07: the circle investor - lab - cloud - investor is found; 15/30 = 50 % is printed."""

from audited import EXAMPLE, example, projected, run

from polysilicon.economics.flows import circularity


def test_circles_and_ratio():
    found = circularity(example(), projected())
    assert ("nvidia", "anthropic", "microsoft") in {c.parties for c in found.circles}
    assert ("microsoft", "anthropic") in {c.parties for c in found.circles}
    assert found.kappa_ratio == 0.5 and found.outside_need_usd == 15e9
    assert [round(found.round_trip_ratio[p], 2) for p in ("microsoft", "nvidia")] == [6.0, 1.09]


def test_printed():
    out = run("deal", str(EXAMPLE), "--draws", "0").stdout
    assert "15/30 = 50%" in out and "nvidia -> anthropic -> microsoft -> nvidia" in out
