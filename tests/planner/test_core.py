"""Hand-solved cases: merit order, terms, commitments, ports, limits, and one bill."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest
from world import NATIVE, offer, point, port, table, work, world

from polysilicon import planner
from polysilicon.cloud.contract import Contract, DiscountTier
from polysilicon.cloud.site import Site
from polysilicon.errors import Infeasible, InputErrors
from polysilicon.portfolio import Plan
from polysilicon.scenario.schema import LimitsPart, SurvivePart

HOURS_Q1 = 90 * 24.0


def solve(resolved, **more):
    return planner.plan(resolved, more.pop("table", table(resolved.workloads)), gap_frac=1e-6, **more)


def test_cheapest_per_token_wins():
    found = solve(world([work(rps=100.0)], [offer("h100", 2.0), offer("gb200", 5.0)]))
    assert found.objective_usd == pytest.approx(100 / 3 * 5.0 * HOURS_Q1)
    assert {p.chip for p in found.placements} == {"gb200"}
    assert found.status == "optimal" and found.gap_frac <= 1e-6


def test_merit_order_spills_to_the_next_when_the_best_is_full():
    found = solve(world([work(rps=100.0)], [offer("h100", 2.0), offer("gb200", 5.0, max_chips=20.0)]))
    assert found.objective_usd == pytest.approx((20 * 5.0 + 40 * 2.0) * HOURS_Q1)
    worth = {p.limit: p.usd for p in found.shadow_prices}
    assert worth["allocation:azure-gb200-on_demand"] == pytest.approx(3 * 2.0 - 5.0)
    assert worth["chip-hour:gb200@azure/eastus"] == pytest.approx(6.0)


def test_reserved_blocks_are_whole_and_paid_idle_or_not():
    terms = offer("gb200", 3.0, kind="reserved", min_term_months=12, block_chips=72)
    found = solve(world([work(rps=90.0)], [offer("h100", 2.5), terms]))
    assert found.objective_usd == pytest.approx(30 * 2.5 * 3 * HOURS_Q1) or found.objective_usd == pytest.approx(72 * 3.0 * HOURS_Q1)
    assert found.objective_usd == pytest.approx(min(72 * 3.0, 90 * 2.5) * HOURS_Q1)


def test_batch_fills_the_valley():
    blocks = (("peak", 12.0, 1.5), ("valley", 12.0, 0.5))
    terms = offer("h100", 1.0, kind="reserved", min_term_months=3)
    resolved = world([work(rps=100.0, peak=1.5), work("batch", rps=25.0, batch=True)], [terms], blocks=blocks)
    found = solve(resolved)
    assert found.objective_usd == pytest.approx(150 * HOURS_Q1)  # 50 idle chips by night are worth 25 by the day


def test_a_port_is_started_only_where_it_pays():
    ports = (port("cuda-hopper"), port("maia", "none", cost_usd=1e6, lead_months=6.0, upkeep_usd_per_year=0.0))
    offers = [offer("h100", 2.0), offer("maia200", 1.0)]
    small = solve(world([work(rps=50.0)], offers, ports=ports, months=24))
    large = solve(world([work(rps=500.0)], offers, ports=ports, months=24))
    assert not small.ports
    assert large.ports[0]["live"] == "2026-07-01" and large.port_usd == 1e6
    early = [p for p in large.placements if p.period < 2]
    assert {p.chip for p in early} == {"h100"} and {p.chip for p in large.placements if p.period >= 2} == {"maia200"}


def test_take_or_pay_is_paid_where_spend_stays_below():
    macc = Contract("macc", "azure", "committed_spend", "2026-01-01", "2027-01-01", commit_usd=5e6)
    found = solve(world([work(rps=100.0)], [offer("h100", 2.0)], months=12, contracts=(macc,)))
    used = 100 * 2.0 * 365 * 24
    assert found.bill_usd == pytest.approx(5e6) and used < 5e6
    assert sum(c.shortfall_usd for c in found.contracts) == pytest.approx(5e6 - used)
    assert {p.per: p.usd for p in found.shadow_prices}["$ of commitment"] == pytest.approx(1.0, rel=2e-6)


def test_discount_and_volume_tier():
    tiers = (DiscountTier(0.0, 0.05), DiscountTier(1e6, 0.15))
    macc = Contract("macc", "azure", "committed_spend", "2026-01-01", "2027-01-01", discount_tiers=tiers)
    found = solve(world([work(rps=100.0)], [offer("h100", 2.0), offer("h100", 1.88, cloud="aws")], months=12, contracts=(macc,)))
    listed = 100 * 2.0 * 365 * 24
    assert found.objective_usd == pytest.approx(min(listed * 0.95 - 0.10 * (listed - 1e6), 100 * 1.88 * 365 * 24))


def test_power_limits_a_site_and_has_a_price():
    site = Site("east", "azure", "eastus", it_mw=0.07)  # 50 H100 at 1.4 kW
    found = solve(world([work(rps=100.0)], [offer("h100", 1.0), offer("h100", 2.0, cloud="aws")], sites=(site,)))
    assert found.objective_usd == pytest.approx((50 + 100) * HOURS_Q1)
    worth = next(p for p in found.shadow_prices if p.limit == "power:east")
    assert worth.usd == pytest.approx(1.0 / 0.0014 * 730.0) and worth.per == "MW-month"


def test_survives_the_loss_of_any_cloud():
    limits = LimitsPart(utilisation_max_frac=1.0, survive_loss_of=(SurvivePart(kind="cloud", demand_frac=0.9),))
    offers = [
        offer("h100", 1.0, kind="reserved", min_term_months=3),
        offer("h100", 2.0, cloud="aws", kind="reserved", min_term_months=3),
    ]
    found = solve(world([work(rps=100.0)], offers, limits=limits))
    assert found.objective_usd == pytest.approx((90 * 1.0 + 90 * 2.0) * HOURS_Q1)


def test_cloud_share_cap():
    limits = LimitsPart(utilisation_max_frac=1.0, cloud_share_max_frac=0.6)
    found = solve(world([work(rps=100.0)], [offer("h100", 1.0), offer("h100", 2.0, cloud="aws")], limits=limits))
    spend = {h.cloud: h.bill_usd for h in found.holdings}
    assert max(spend.values()) / sum(spend.values()) == pytest.approx(0.6)


def test_the_clash_is_named_with_what_each_limit_would_have_to_give():
    site = Site("east", "azure", "eastus", it_mw=0.07)
    with pytest.raises(Infeasible) as error:
        solve(world([work(rps=100.0)], [offer("h100", 1.0)], sites=(site,)))
    words = str(error.value)
    assert "the demand of workload chat; it would have to give 50.0% of it" in words
    assert "the power of site east; it would have to give 0.07 MW" in words
    assert error.value.exit_code == 3


def test_a_model_that_is_ported_nowhere_says_so():
    with pytest.raises(Infeasible, match="nothing is known of a port"):
        solve(world([work(rps=100.0)], [offer("h100", 1.0)], ports=()))


def test_unserved_demand_has_a_price_only_if_stated():
    resolved = world([work(rps=100.0)], [offer("h100", 1.0, max_chips=60.0)])
    with pytest.raises(Infeasible, match="the chips that azure-h100-on_demand can give"):
        solve(resolved)
    stated = replace(resolved.scenario, workloads=(type("W", (), {"id": "chat", "unserved_usd_per_mtok": 1.0})(),))
    resolved.scenario = stated
    found = solve(resolved)
    assert found.unserved_usd == pytest.approx(40 * 3600 * HOURS_Q1 * 1200 / 1e6)
    assert "goes unserved" in found.notes[-1]


def test_zero_demand_costs_nothing():
    found = solve(world([work(rps=0.0)], [offer("h100", 1.0)]))
    assert found.objective_usd == 0.0 and not found.holdings


def test_wild_numbers_are_refused_all_at_once():
    bad = [offer("h100", float("nan")), offer("gb200", -1.0)]
    with pytest.raises(InputErrors) as error:
        solve(world([work(rps=float("inf"))], bad))
    assert len(error.value.problems) == 3


def test_a_plan_survives_its_json():
    found = solve(world([work(rps=100.0)], [offer("h100", 2.0)]))
    assert msgspec.json.decode(found.to_json(), type=Plan) == found


def test_per_token_offers_are_one_more_placement():
    api = offer("", None, kind="per_token", id="api", model="m", usd_per_mtok_in=1.0, usd_per_mtok_out=4.0)
    found = solve(world([work(rps=0.5)], [offer("h100", 2.0, block_chips=8), api]))
    per_request = (1000 * 1.0 + 200 * 4.0) / 1e6
    assert found.objective_usd == pytest.approx(min(0.5 * 3600 * HOURS_Q1 * per_request, 8 * 2.0 * HOURS_Q1))


def test_headroom_asks_for_more_chips():
    resolved = world([work(rps=100.0)], [offer("h100", 2.0)])
    assert solve(resolved, headroom_frac={"chat": 0.25}).objective_usd == pytest.approx(1.25 * solve(resolved).objective_usd)


def test_a_pilot_carries_its_share_and_no_more():
    ports = (port("cuda-hopper"), port("maia", "pilot", max_share_frac=0.2))
    found = solve(world([work(rps=100.0)], [offer("h100", 2.0), offer("maia200", 1.0)], ports=ports))
    assert {p.chip: round(p.share_frac, 6) for p in found.placements} == {"h100": 0.8, "maia200": 0.2}
    assert {p.chip: p.stage for p in found.placements} == {"h100": "production", "maia200": "pilot"}


def test_native_ports_are_the_default_world():
    assert all(p.status == "production" for p in NATIVE) and point("w", "h100", 2.0).requests_per_s == 2.0
