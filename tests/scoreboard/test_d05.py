"""D05: 45 B$ is the gross of both directions, 15 B$ the net outflow; both are shown."""

from audited import EXAMPLE, example, projected, run

from polysilicon.economics.flows import circularity


def test_gross_and_net():
    found = circularity(example(), projected())
    assert (found.gross_usd, found.net_usd) == (45e9, 15e9)


def test_both_are_printed():
    assert "gross 45 B$, net 15 B$ out of the buyer" in run("deal", str(EXAMPLE), "--draws", "0").stdout
