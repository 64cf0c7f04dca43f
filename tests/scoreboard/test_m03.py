"""M03: classes of models (GPT-4 and GPT-5, Claude) with their price history and quality tier; a decay fitted to each."""

import json
import math

import pytest
from audited import run

from polysilicon import catalogue
from polysilicon.cloud.token_price import TokenPrice
from polysilicon.economics.price_history import CLASSES, history, trend

KNOWN = catalogue.load().token_prices


@pytest.mark.parametrize("name", CLASSES)
def test_each_class_has_a_tier_a_dated_history_and_a_fit_with_its_band(name):
    found = trend(KNOWN, name)
    assert found.tier in ("frontier", "middle", "small") and len(found.observations) >= 4
    assert all(o.day and o.source and o.usd_per_mtok > 0 for o in found.observations)
    assert found.low_per_year_frac <= found.per_year_frac <= found.high_per_year_frac
    if found.per_year_frac < -1e-9:
        assert found.half_life_months == pytest.approx(12 * math.log(2) / -math.log1p(found.per_year_frac))
    else:
        assert found.half_life_months is None


def test_gpt_4_to_gpt_5_fell_tenfold_and_then_rose():
    seen = {o.model: o.usd_per_mtok for o in history(KNOWN, "gpt")}
    assert seen["gpt-4"] / seen["gpt-5-2025-08-07"] > 10
    newest = trend(KNOWN, "gpt")
    assert newest.last_year_frac > 0 and newest.class_rises >= 3


def test_a_fit_finds_the_decay_that_made_the_prices():
    made = [
        TokenPrice(f"claude-opus-{i}", "anthropic", p, p, as_of=f"{2024 + i // 4}-{3 * (i % 4) + 1:02d}-01")
        for i in range(9)
        for p in [40.0 * 0.5 ** (i / 4)]  # halves each year
    ]
    found = trend(made, "claude-opus")
    assert found.half_life_months == pytest.approx(12, rel=0.02) and found.projected(12)[1] == pytest.approx(5.0, rel=0.02)
    # the first of all is there from the first record on, so its launch is not known and it is left out
    assert len(found.observations) == 8


def test_a_release_and_its_alias_count_once():
    both = [TokenPrice("claude-opus-4-1-20250805", "anthropic", 15.0, 75.0, as_of="2025-08"),
            TokenPrice("claude-opus-4-1", "anthropic", 15.0, 75.0, as_of="2025-11")]  # fmt: skip
    assert [o.model for o in history(both, "claude-opus")] == ["claude-opus-4-1-20250805"]


def test_the_command_tells_them():
    rows = {c["name"]: c for c in json.loads(run("prices", "--json").stdout)["classes"]}
    assert set(rows) == set(CLASSES) and rows["gpt"]["tier"] == "frontier" and len(rows["gpt"]["projected_usd_per_mtok"]) == 3
