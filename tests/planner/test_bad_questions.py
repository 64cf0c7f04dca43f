"""Questions that cannot be right: each gets a clear error, an infeasibility in the user's words, or a plan that says what is odd."""

from __future__ import annotations

import pytest
from world import CHIPS, offer, port, table, work, world

from polysilicon import planner
from polysilicon.cloud.contract import Contract
from polysilicon.errors import Infeasible, InputErrors
from polysilicon.scenario.schema import LimitsPart, SurvivePart

H100 = offer("h100", 2.0)
FULL = {"utilisation_max_frac": 1.0}


def solve(resolved, **more):
    return planner.plan(resolved, table(resolved.workloads), gap_frac=1e-6, **more)


def refused(resolved):
    with pytest.raises(Infeasible) as caught:
        solve(resolved)
    return caught.value.message


def macc(usd):
    return Contract("macc", "azure", "committed_spend", "2026-01-01", "2027-01-01", commit_usd=usd)


def test_a_commitment_above_all_capacity_is_paid_and_said():
    """20 chips at $2 for a year are $350,400 of a billion: the rest is paid, and the plan says why it must be."""
    found = solve(world([work(rps=10.0)], [offer("h100", 2.0, max_chips=20.0)], months=12, contracts=(macc(1e9),)))
    assert found.bill_usd == pytest.approx(1e9)
    (words,) = found.notes
    assert "1 B$ of commitment macc are paid for nothing" in words and "comes to 350,400 $" in words
    kept = solve(world([work(rps=10.0)], [H100], months=12, contracts=(macc(1e5),)))
    assert kept.notes == ()


def test_terms_that_bind_to_two_clouds_at_once_name_both():
    both = tuple(Contract(f"only-{c}", c, "committed_spend", "2026-01-01", "2027-01-01", exclusive=True) for c in ("azure", "aws"))
    words = refused(world([work(rps=1.0)], [H100, offer("h100", 2.0, cloud="aws")], contracts=both))
    assert "outside the one cloud that only-aws allows" in words and "outside the one cloud that only-azure allows" in words


@pytest.mark.parametrize("contracts", [(), (macc(1e5),)])
def test_zero_demand_costs_what_is_committed_and_nothing_else(contracts):
    found = solve(world([work(rps=0.0)], [H100], months=12, contracts=contracts))
    assert found.bill_usd == pytest.approx(1e5 if contracts else 0.0) and found.holdings == () and found.placements == ()


def test_a_model_that_is_ported_nowhere_says_what_is_missing():
    assert "nothing is known of a port" in refused(world([work(rps=1.0)], [H100], ports=()))
    unknown = (port("maia", "none"),)
    assert "what a port costs or takes is not known" in refused(world([work(rps=1.0)], [offer("maia200", 2.0)], ports=unknown))


def test_prices_that_are_no_numbers_are_refused_all_at_once():
    with pytest.raises(InputErrors) as caught:
        solve(world([work(rps=float("nan"))], [offer("h100", float("nan")), offer("gb200", -1.0), offer("trn3", float("inf"))]))
    assert len(caught.value.problems) == 4 and "is nan" in str(caught.value)


def test_a_horizon_that_ends_before_a_lead_time_says_so():
    terms = offer("h100", 2.0, kind="reserved", min_term_months=12, lead_time_months=6.0)
    assert "azure-h100-reserved: delivered 6 months after signing" in refused(world([work(rps=1.0)], [terms]))
    late = (port("maia", "none", cost_usd=1.0, lead_months=9.0),)
    assert "no port can be live in time" in refused(world([work(rps=1.0)], [offer("maia200", 2.0)], ports=late))
    assert "on sale from 2030-01-01" in refused(world([work(rps=1.0)], [offer("h100", 2.0, available_from="2030-01-01")]))
    ships = CHIPS["maia200"].available_from.isoformat()
    assert f"maia200 ships from {ships}" in refused(world([work(rps=1.0)], [offer("maia200", 2.0)], start="2025-01-01"))


def test_caps_below_what_pins_require_are_a_clash_or_idle_spending_that_is_told():
    """Azure must carry 10 of 11 requests; at most half of spend may go there. Where failures must be survived chips may idle: told."""
    works = [work(rps=10.0, clouds=("azure",)), work("b", rps=1.0, clouds=("aws",))]
    caps = LimitsPart(**FULL, cloud_share_max_frac=0.5)
    for more in ({}, {"max_chips": 5.0}):
        words = refused(world(works, [H100, offer("h100", 2.0, cloud="aws", **more)], limits=caps))
        assert "the 50% cap on cloud azure" in words and "the demand of workload chat" in words
    ready = LimitsPart(**FULL, cloud_share_max_frac=0.5, survive_loss_of=(SurvivePart(kind="region", demand_frac=0.01),))
    spare = [H100, offer("h100", 2.1, region="westus"), offer("h100", 2.0, cloud="aws"), offer("h100", 2.1, cloud="aws", region="us-west-2")]
    told = solve(world(works, spare, limits=ready))
    assert any("that serve nothing cost" in words for words in told.notes)


def test_units_that_look_wrong_are_taken_as_stated_and_told():
    found = solve(world([work(rps=1e8)], [offer("h100", 1e-9), offer("gb200", 9e4, cloud="aws")]))
    assert sum("is the unit right?" in note for note in found.notes) == 2 and found.bill_usd > 0
    assert solve(world([work(rps=1e-9)], [H100])).bill_usd == pytest.approx(0.0, abs=1e-3)
    with pytest.raises(InputErrors, match="mean_rps is"):
        solve(world([work(rps=1e30)], [H100]))


def test_whole_blocks_that_break_a_limit_are_no_plan():
    """Ten chips are needed, a thousand are sold at once, and half of what is held must be busy."""
    whole = offer("h100", 2.0, kind="reserved", min_term_months=12, block_chips=1000)
    assert "whole blocks and ports leave no plan" in refused(world([work(rps=10.0)], [whole], limits=LimitsPart(**FULL, utilisation_min_frac=0.5)))


def test_nothing_on_offer_is_said():
    assert "nothing is on offer" in refused(world([work(rps=1.0)], []))


def test_the_time_limit_returns_the_best_plan_with_its_gap():
    ports = (port("cuda-hopper"), port("maia", "none", cost_usd=1e5, lead_months=3.0), port("neuron", "none", cost_usd=2e5, lead_months=3.0))
    offers = [H100, offer("maia200", 1.0), offer("trn3", 1.2, cloud="aws"), offer("gb200", 5.0, kind="reserved", min_term_months=6, block_chips=8)]
    found = solve(world([work(rps=100.0), work("b", rps=40.0)], offers, ports=ports, months=24), seconds=1e-3)
    assert found.placements and found.bound_usd <= found.objective_usd and found.gap_frac >= 0.0


def lost_nvidia(offers, frac):
    limits = LimitsPart(utilisation_max_frac=0.5, survive_loss_of=(SurvivePart(kind="vendor", demand_frac=frac),))
    resolved = world([work(rps=100.0), work("code", rps=50.0)], offers, months=6, limits=limits)
    with pytest.raises(Infeasible) as error:
        planner.plan_problem(planner.problem(resolved, table(resolved.workloads)))
    return str(error.value)


def test_a_loss_that_nothing_can_make_good_says_by_how_much_it_must_give_and_for_whom():
    said = lost_nvidia([offer("h100", 2.0)], 0.8)
    assert "surviving the loss of vendor nvidia for 80% of interactive demand; it would have to give 80.0% of it" in said
    assert "nothing that is left could serve chat, code" in said


def test_a_loss_that_too_few_chips_are_left_for_says_how_much_each_limit_must_give():
    """40 chips x 1.5 requests/s x half busy serve 30 of 150 requests/s: 20 %; 80 % takes 160 chips."""
    said = lost_nvidia([offer("h100", 2.0), offer("trn3", 2.0, cloud="aws", max_chips=40.0)], 0.8)
    assert "surviving the loss of vendor nvidia for 80% of interactive demand; it would have to give 60.0% of it" in said
    assert "the chips on sale by the hour in trn3@aws/eastus, after a loss; it would have to give 120 chips" in said


@pytest.mark.parametrize("pad", [offer("h100", 0.1, cloud="aws"), offer("h100", 0.1, cloud="aws", kind="reserved", min_term_months=12)])
def test_a_cap_on_shares_is_not_kept_by_paying_for_chips_that_serve_nothing(pad):
    """All demand pinned to one cloud, and no cloud may have more than 30 %: two limits that clash, not a bill padded with idle chips."""
    limits = LimitsPart(utilisation_max_frac=1.0, cloud_share_max_frac=0.3)
    pinned = world([work(rps=100.0, clouds=("azure",))], [offer("h100", 2.0), pad], months=12, limits=limits)
    with pytest.raises(Infeasible, match="the 30% cap on cloud azure"):
        solve(pinned)
    free = world([work(rps=100.0, clouds=("azure",)), work("own", rps=250.0)], [offer("h100", 2.0), offer("h100", 2.1, cloud="aws")], months=12,
                 limits=LimitsPart(utilisation_max_frac=1.0, cloud_share_max_frac=0.72))  # fmt: skip
    busy = {p.period: 0.0 for p in solve(free).placements}
    plan = solve(free)
    for p in plan.placements:
        busy[p.period] += p.chips
    assert all(sum(h.chips for h in plan.holdings if h.period == y) == pytest.approx(chips) for y, chips in busy.items())
