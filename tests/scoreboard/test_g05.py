"""G05: carbon by region, location-based, in grams per million tokens."""

import pytest
from audited import planner_world

from polysilicon import planner
from polysilicon.cloud.site import Site
from polysilicon.economics.kpi import carbon_by_region
from polysilicon.errors import MissingFact


def test_grams_per_million_tokens():
    w = planner_world()
    chat = w.work(rps=100.0)
    plan = planner.plan(w.world([chat], [w.offer("h100", 2.0)]), w.table([chat]), gap_frac=1e-6)
    site = Site("e", "azure", "eastus", pue=1.2, g_co2_per_kwh=400.0)
    found = carbon_by_region(plan, {"azure/eastus": site})["azure/eastus"]
    # one request/s and chip at 700 W, 1,200 tokens a request: 700 x 1.2 / 1200 J a token
    assert found["g_per_mtok"] == pytest.approx(700 * 1.2 / 1200 / 3.6e6 * 400 * 1e6, rel=1e-6)
    with pytest.raises(MissingFact):
        carbon_by_region(plan, {})
