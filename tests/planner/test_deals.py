"""Deals inside a plan: a commitment drawn down, a right to early chips, an option on more capacity."""

from __future__ import annotations

import pytest
from world import offer, table, work, world

from polysilicon import planner
from polysilicon.cloud.contract import Contract
from polysilicon.planner.usage import bills


def solve(resolved):
    return planner.plan(resolved, table(resolved.workloads), gap_frac=1e-6)


def test_commitment_is_drawn_down_and_the_rest_is_paid():
    deal = Contract(
        "azure-30b",
        "azure",
        "committed_spend",
        "2026-01-01",
        "2031-01-01",
        commit_usd=30e6,
        eligible=("azure-h100*",),
        draw_schedule=tuple((f"{2026 + i}-01-01", 6e6 * i) for i in range(1, 6)),
    )
    resolved = world([work(rps=200.0)], [offer("h100", 2.0), offer("gb200", 5.5)], months=60, period="year", contracts=(deal,))
    question = planner.problem(resolved, table(resolved.workloads))
    program, solution, _ = planner.solved(question, gap_frac=1e-6)
    found = next(b for b in bills(program, solution.values).bills if b.contract == "azure-30b")
    eligible = sum(line.eligible_usd for line in found.lines)
    assert found.total_usd == pytest.approx(30e6)
    assert sum(line.shortfall_usd for line in found.lines) == pytest.approx(30e6 - eligible)
    assert sum(line.drawdown_usd for line in found.lines) == pytest.approx(eligible)
    rows = found.focus_rows(question.calendar)
    assert len(rows) == 5 and {"BilledCost", "EffectiveCost", "CommitmentDiscountId", "ChargePeriodStart"} <= set(rows[0])


def gb200(early):
    right = [offer("gb200", 4.0, id="right", max_chips=30.0)] if early else []
    offers = [*right, offer("gb200", 4.0, id="queue", available_from="2026-07-01"), offer("h100", 2.0)]
    found = solve(world([work(rps=100.0)], offers, months=12))
    return [sum(p.chips for p in found.placements if p.chip == "gb200" and p.period == y) for y in range(4)]


def test_without_the_right_the_new_chip_comes_later():
    with_right, without = gb200(True), gb200(False)
    assert with_right[0] > 0 and without[0] == 0.0 and sum(without) < sum(with_right)


OPTION = Contract("one-gw", "azure", "capacity_mw", "2026-01-01", "2027-01-01", chip="gb200", it_mw=0.19, usd_per_chip_hour=4.0, signed=False)


def taken(rps):
    found = solve(world([work(rps=rps)], [offer("h100", 2.0)], months=12, contracts=(OPTION,)))
    return any("contract one-gw is taken" in note for note in found.notes)


def test_an_option_is_exercised_only_in_the_money():
    assert taken(400.0)  # 100 chips at 4.0 for work that else costs 300 x 2.0
    assert not taken(100.0)  # paid in full, used by a third


def test_two_unsigned_discounts_and_a_tier_are_billed_as_planned():
    a = Contract("edp", "aws", "committed_spend", "2026-01-01", "2027-01-01", commit_usd=1e6, discount_tiers=((0.0, 0.2),), signed=False)
    resolved = world([work(rps=100.0)], [offer("h100", 2.0), offer("h100", 2.2, cloud="aws")], months=12, contracts=(a,))
    found = solve(resolved)
    assert found.objective_usd == pytest.approx(100 * 2.2 * 0.8 * 8760.0)
    assert not any("differs" in n for n in found.notes)


def test_a_lease_by_month_and_what_is_used_beyond_its_share():
    lease = Contract(
        "lease",
        "azure",
        "lease",
        "2026-01-01",
        "2027-01-01",
        chip="h100",
        chips=80.0,
        usd_per_chip_hour=1.5,
        take_or_pay_frac=0.5,
        usd_per_month=1000.0,
    )
    found = solve(world([work(rps=100.0)], [offer("h100", 2.0)], months=12, contracts=(lease,)))
    assert found.bill_usd == pytest.approx((80 * 1.5 + 20 * 2.0) * 8760.0 + 12_000.0)
    assert not any("differs" in n for n in found.notes)
