"""Shares by region, and squared shares: the limit itself always holds, at no more than half a percent of it, priced by its dual."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from world import CHIPS, offer, table, work, world

from polysilicon import planner
from polysilicon.errors import Infeasible
from polysilicon.portfolio import concentration, hhi
from polysilicon.scenario.schema import LimitsPart


def solve(offers, **limits):
    resolved = world([work(rps=100.0)], offers, limits=LimitsPart(utilisation_max_frac=1.0, **limits))
    return planner.plan(resolved, table(resolved.workloads), gap_frac=1e-6)


def shares(plan, of):
    total = sum(h.bill_usd for h in plan.holdings)
    return {name: sum(h.bill_usd for h in plan.holdings if of(h) == name) / total for name in {of(h) for h in plan.holdings}}


def test_region_cap_by_hand():
    found = solve([offer("h100", 1.0), offer("h100", 2.0, region="westus", id="west")], region_share_max_frac=0.6)
    assert shares(found, lambda h: h.region) == pytest.approx({"eastus": 0.6, "westus": 0.4})
    assert next(p for p in found.shadow_prices if p.limit.startswith("region-share")).usd > 0


def test_hhi_of_two_by_hand():
    """x^2 + (1 - x)^2 = 0.58 at x = 0.7: the cheaper cloud gets 70 % of spend."""
    found = solve([offer("h100", 1.0), offer("h100", 2.0, cloud="aws")], cloud_hhi_max_frac=0.58)
    split = shares(found, lambda h: h.cloud)
    assert hhi(split.values()) <= 0.58 + 1e-9 and split["azure"] == pytest.approx(0.7, abs=0.003)
    worth = next(p for p in found.shadow_prices if p.limit == "cloud-hhi")
    looser = solve([offer("h100", 1.0), offer("h100", 2.0, cloud="aws")], cloud_hhi_max_frac=0.581)
    assert worth.usd / 10 == pytest.approx(found.objective_usd - looser.objective_usd, rel=0.15)


@settings(max_examples=12, deadline=None)
@given(st.floats(0.26, 0.95), st.lists(st.floats(0.5, 4.0), min_size=4, max_size=4))
def test_the_limit_holds_and_costs_little_more_than_it_must(most, prices):
    clouds = ("azure", "aws", "gcp", "oracle")
    found = solve([offer("h100", p, cloud=c) for c, p in zip(clouds, prices, strict=True)], cloud_hhi_max_frac=most)
    by = concentration(found, {c.id: c.vendor for c in CHIPS.values()})
    measured = next(c.hhi for c in by if (c.by, c.of) == ("cloud", "dollars"))
    free = solve([offer("h100", p, cloud=c) for c, p in zip(clouds, prices, strict=True)])
    assert measured <= most + 1e-7
    assert measured >= most * 0.99 - 1e-7 or found.objective_usd == pytest.approx(free.objective_usd, rel=1e-6)


def test_fewer_suppliers_than_the_limit_needs_is_said_in_its_words():
    with pytest.raises(Infeasible, match=r"the HHI limit of 0\.4 over clouds"):
        solve([offer("h100", 1.0), offer("h100", 2.0, cloud="aws")], cloud_hhi_max_frac=0.4)
