"""N05: a library of contracts, compared side by side by comparable units, each with the assumption behind it."""

import json

import pytest
from audited import run

from polysilicon.errors import InputError


def test_side_by_side():
    out = run("deals", "--compare", "microsoft-iren,openai-nvidia-letter").stdout
    words = " ".join(out.split())
    assert "gb300 at 1,889 W all-in" in words and "campus power at an assumed PUE" in words
    assert "not all of these bind" in words  # a letter beside a contract is said to be none


def test_same_units_for_all():
    rows = {d["id"]: d for d in json.loads(run("deals", "--compare", "anthropic-aws,microsoft-iren", "--json").stdout)["deals"]}
    assert list(rows) == ["anthropic-aws", "microsoft-iren"]
    assert rows["anthropic-aws"]["usd_per_gw_year"] == pytest.approx(2e9)
    assert rows["microsoft-iren"]["chip_year"]["kind"] == "own" and rows["anthropic-aws"]["chip_year"]["kind"] == "yardstick"


def test_an_unknown_deal_is_named():
    from polysilicon.cli.deal import deals

    with pytest.raises(InputError, match=r"anthropic-awz.*not in the library"):
        deals(compare="anthropic-awz")
