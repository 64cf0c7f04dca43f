"""M01: closed models have a price and an assumed size, never a stated one."""

import json
from datetime import date

import pytest
from chip_entry import KNOWN
from command import run


@pytest.mark.parametrize(
    ("name", "usd_in", "usd_out"), [("claude-sonnet-4-5", 3, 15), ("claude-opus-4-1", 15, 75), ("claude-haiku-4-5", 1, 5)]
)
def test_price_is_known_and_architecture_assumed(name, usd_in, usd_out):
    profile, price = KNOWN.profile(name), KNOWN.price(name, on=date(2025, 11, 22))
    assert profile.assumption
    assert (price.usd_per_mtok_in, price.usd_per_mtok_out) == (usd_in, usd_out)
    for parameter in ("active_params.low", "active_params.high", "architecture", "stand_in"):
        assert parameter not in profile.facts or profile.facts[parameter].basis in ("estimate", "assumed")


def test_a_user_sets_the_size_with_a_band(tmp_path):
    from polysilicon.catalogue import load

    file = tmp_path / "o.yaml"
    file.write_text(
        "source: my guess\nas_of: 2026-11\n"
        "profiles:\n  claude-sonnet-4-5:\n"
        "    active_params: {low: {value: 50, unit: 1e9 params}, high: {value: 90, unit: 1e9 params}}\n"
    )
    assert load(file).profile("claude-sonnet-4-5").active_params == (50e9, 90e9)


def test_the_command_marks_them_as_assumptions():
    document = json.loads(run("models", "--json").stdout)
    assert all(p["assumption"] for p in document["profiles"])
    assert not any(m["assumption"] for m in document["models"])
