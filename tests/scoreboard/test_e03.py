"""E03: a power purchase agreement: price, megawatts, start, carbon, on a site of a plan and in the cost of a rack."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
from audited import planner_world, run
from pytest import approx

from polysilicon import catalogue, planner
from polysilicon.cloud.site import PowerPurchase, Site
from polysilicon.economics.cost import Rack, chip_hour, vary
from polysilicon.errors import InputErrors, MissingFact
from polysilicon.scenario import load, resolve

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "own-power.yaml"
NUCLEAR = PowerPurchase(96.0, 60.0, "2028-01-01", g_co2_per_kwh=12.0)
SITE = Site("crane", "azure", "eastus", it_mw=100.0, pue=1.2, usd_per_kwh=0.09, g_co2_per_kwh=380.0, purchases=(NUCLEAR,))


def test_the_site_pays_the_blend_from_the_agreement_on():
    assert SITE.power_on("2027-12-31") == (0.09, 380.0)
    assert SITE.power_on("2028-01-01") == approx(((96 * 0.06 + 24 * 0.09) / 120, (96 * 12 + 24 * 380) / 120))
    assert replace(SITE, purchases=()).power_on("2028-01-01") == (0.09, 380.0)
    with pytest.raises(MissingFact, match="it_mw"):
        replace(SITE, it_mw=None).power_on("2028-01-01")


def test_the_plan_pays_it_from_that_quarter_on():
    w = planner_world()
    chat = w.work(rps=100.0)
    bought = PowerPurchase(0.12, 50.0, "2026-07-01", g_co2_per_kwh=0.0)  # of 0.2 MW x 1.2: half
    bare = Site("e", "azure", "eastus", it_mw=0.2, pue=1.2, usd_per_kwh=0.10, g_co2_per_kwh=400.0, usd_per_tonne_co2=100.0)

    def energy(site):
        return planner.plan(w.world([chat], [w.offer("h100", 2.0)], months=12, sites=(site,)), w.table([chat]), gap_frac=1e-6).energy_usd

    quarters = [90, 91, 92, 92]
    grid, blend = 0.10 + 400e-6 * 100, 0.075 + 200e-6 * 100
    hours = [24.0 * d for d in quarters]
    expected = (sum(hours[:2]) * grid + sum(hours[2:]) * blend) / (sum(hours) * grid)
    assert energy(replace(bare, purchases=(bought,))) / energy(bare) == approx(expected, rel=1e-6)


def test_the_example_site_has_one():
    site = resolve(load(EXAMPLE), catalogue.load()).sites[0]
    assert site.power_on("2027-06-30") == (0.09, 380.0)
    assert site.power_on("2027-07-01") == approx(((0.9 * 0.06 + 0.3 * 0.09) / 1.2, (0.9 * 12 + 0.3 * 380) / 1.2))
    assert "fine" in run("check", str(EXAMPLE)).stdout


def test_an_agreement_without_a_load_is_refused_with_its_place(tmp_path):
    (tmp_path / "s.yaml").write_text(re.sub(r"    it_mw: 1.0.*\n", "", EXAMPLE.read_text()))
    with pytest.raises(InputErrors, match="covers a share of it_mw") as caught:
        load(tmp_path / "s.yaml")
    assert "s.yaml:" in str(caught.value)


def test_the_rack_pays_the_blend():
    half = chip_hour(vary(Rack(), {"ppa_frac": 0.5, "ppa_usd_per_mwh": 50.0}))
    assert half.power_usd / chip_hour(Rack()).power_usd == approx(60 / 70)
