"""P01: 10x a year is a half-life of 3.6 months; set beside dated prices, which rose as well as fell."""

import json

import pytest
from audited import run

from polysilicon import catalogue
from polysilicon.economics.price_history import CLASSES, half_life_months, projected_usd_per_mtok, trend
from polysilicon.errors import InputError


def test_half_life():
    assert half_life_months(10, 12) == pytest.approx(3.612, abs=1e-3)
    assert projected_usd_per_mtok(30.0, 12, half_life_months(10, 12)) == pytest.approx(3.0)
    with pytest.raises(InputError, match="no half-life"):
        half_life_months(0.5, 12)


def test_dated_prices_fall_slower_and_some_rose():
    known = catalogue.load().token_prices
    opus = trend(known, "claude-opus")
    assert opus.half_life_months > 10 and opus.low_per_year_frac < opus.per_year_frac <= opus.high_per_year_frac
    assert {o.usd_per_mtok for o in opus.observations} >= {30.0, 10.0}
    assert sum(trend(known, name).rises for name in CLASSES) > 0


def test_command_calls_projections_scenarios():
    assert "never facts" in run("prices").stdout
    assert len(json.loads(run("prices", "--json").stdout)["classes"]) >= 5
