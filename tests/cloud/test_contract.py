"""Contracts price usage: hand-computed bills and properties that hold for any usage."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polysilicon.cloud.contract import BillingPeriod, Contract, DiscountTier, Usage, UsageLine, invoices, pay_as_you_go
from polysilicon.errors import MissingFact

QUARTERS = tuple(
    BillingPeriod(a, b, h)
    for a, b, h in (
        ("2026-01-01", "2026-04-01", 2160.0),
        ("2026-04-01", "2026-07-01", 2184.0),
        ("2026-07-01", "2026-10-01", 2208.0),
        ("2026-10-01", "2027-01-01", 2208.0),
    )
)


def usage(*usd, offer="x", cloud="aws"):
    return Usage(QUARTERS, tuple(UsageLine(i, offer, cloud, u, "chip-hour", 1.0) for i, u in enumerate(usd)))


YEAR = Contract("c", "aws", "committed_spend", "2026-01-01", "2027-01-01", commit_usd=100.0)


def totals(contract, *usd):
    return [round(line.total_usd, 6) for line in contract.bill(usage(*usd)).lines]


def test_under_use_is_paid_at_the_milestone():
    assert totals(YEAR, 10, 10, 10, 10) == [10, 10, 10, 70]


def test_milestones_with_and_without_rollover():
    schedule = replace(YEAR, draw_schedule=(("2026-07-01", 50.0), ("2027-01-01", 100.0)))
    assert totals(schedule, 60, 20, 5, 5) == [60, 20, 5, 15]
    assert totals(replace(schedule, rollover=False), 60, 20, 5, 5) == [60, 20, 5, 45]
    assert totals(schedule, 10, 10, 70, 0) == [10, 40, 70, 0]


def test_take_or_pay_share_and_drawdown():
    bill = replace(YEAR, take_or_pay_frac=0.8).bill(usage(30, 30, 30, 30))
    assert bill.total_usd == 120.0
    assert [line.drawdown_usd for line in bill.lines] == [30, 30, 20, 0]


def test_a_commitment_that_runs_on_is_accrued():
    long = replace(YEAR, end="2028-01-01", commit_usd=730.0)
    assert sum(totals(long, 10, 10, 10, 10)) == pytest.approx(365.0)


def test_tiers_rebate_the_dollars_above():
    tiers = replace(YEAR, commit_usd=0.0, discount_tiers=(DiscountTier(0.0, 0.1), DiscountTier(100.0, 0.3)))
    assert totals(tiers, 50, 50, 50, 50) == [45, 45, 45, 25]


def test_lease_pays_used_or_not_and_overage_beyond_its_share():
    lease = Contract("lease", "azure", "lease", "2026-04-01", "2026-10-01", chip="maia200", chips=10.0, usd_per_chip_hour=2.0, take_or_pay_frac=0.5)
    own = Usage(QUARTERS, (UsageLine(1, "lease", "azure", 21840.0, "chip-hour", 2.0),))
    assert [line.fixed_usd for line in lease.bill(own).lines] == [0, 21840.0, 22080.0, 0]
    assert [line.overage_usd for line in lease.bill(own).lines] == [0, 21840.0, 0, 0]


def test_megawatts_ramp_and_need_the_watts():
    deal = Contract(
        "gw",
        "azure",
        "capacity_mw",
        "2026-01-01",
        "2027-01-01",
        chip="gb200",
        it_mw=4.0,
        ramp_mw=(("2026-04-01", 2.0), ("2026-07-01", 4.0)),
        w_per_chip=2000.0,
    )
    assert [deal.chips_on(p.start) for p in QUARTERS] == [0, 1000, 2000, 2000]
    with pytest.raises(MissingFact, match="all_in_w"):
        replace(deal, w_per_chip=None).chips_on("2026-07-01")


def test_equity_is_paid_once_when_it_begins():
    assert totals(replace(YEAR, kind="equity_linked", commit_usd=0.0, equity_usd=7.0), 10, 0, 0, 0) == [3, 0, 0, 0]


def test_each_line_is_billed_once():
    lines = usage(5, 5, 5, 5).lines + usage(1, 1, 1, 1, offer="y", cloud="gcp").lines
    found = invoices([replace(YEAR, commit_usd=0.0), replace(YEAR, id="second", commit_usd=0.0)], Usage(QUARTERS, lines))
    assert found.total_usd == pytest.approx(24.0)
    assert found.contract_of == {"x": "c", "y": "gcp:pay-as-you-go"}


def test_focus_columns():
    row = YEAR.bill(usage(10, 10, 10, 10)).focus_rows(QUARTERS)[3]
    assert row["BilledCost"] == 70 and row["CommitmentDiscountStatus"] == "Unused" and row["x_ShortfallCost"] == 60


spends = st.lists(st.floats(0, 1e6), min_size=4, max_size=4)
terms = st.builds(
    lambda commit, share, roll, base, extra, at: replace(
        YEAR,
        commit_usd=commit,
        take_or_pay_frac=share,
        rollover=roll,
        draw_schedule=(("2026-07-01", commit / 3),),
        discount_tiers=(DiscountTier(0.0, base), DiscountTier(at, min(0.9, base + extra))),
    ),
    st.floats(0, 2e6),
    st.floats(0, 1),
    st.booleans(),
    st.floats(0, 0.4),
    st.floats(0, 0.4),
    st.floats(1, 1e6),
)


@settings(max_examples=50, deadline=None)
@given(terms, spends)
def test_never_less_than_the_commitment_nor_than_discounted_use(contract, usd):
    bill = contract.bill(usage(*usd))
    rebate = sum(line.rebate_usd for line in bill.lines)
    assert bill.total_usd + rebate >= contract.take_or_pay_frac * contract.commit_usd * (1 - 1e-9) - 1e-6
    assert bill.total_usd + rebate >= sum(usd) * (1 - contract.base_discount_frac()) - 1e-6


@settings(max_examples=50, deadline=None)
@given(terms, spends, st.integers(0, 3), st.floats(0, 1e5))
def test_more_use_never_lowers_the_bill_before_rebates(contract, usd, i, more):
    raised = [u + (more if k == i else 0) for k, u in enumerate(usd)]

    def invoiced(amounts):
        return sum(line.total_usd + line.rebate_usd for line in contract.bill(usage(*amounts)).lines)

    assert invoiced(raised) >= invoiced(usd) - 1e-6 * max(1.0, sum(usd))


@settings(max_examples=30, deadline=None)
@given(spends)
def test_pay_as_you_go_is_price_times_use(usd):
    assert pay_as_you_go("aws").bill_usd(usage(*usd)) == pytest.approx(sum(usd))


@given(st.lists(st.floats(0, 1e9, allow_nan=False), min_size=4, max_size=4))
def test_what_is_billed_adds_up_exactly(spent):
    bill = YEAR.bill(usage(*spent))
    rows = bill.focus_rows(QUARTERS)
    assert sum(row["BilledCost"] for row in rows) * 10**9 == bill.billed_nano_usd == sum(line.billed_nano_usd for line in bill.lines)
    assert abs(bill.billed_nano_usd / 1e9 - bill.total_usd) <= 1e-9 * max(1.0, bill.total_usd) + 1e-8
    for row, line in zip(rows, bill.lines, strict=True):
        assert row["BilledCost"] == row["ContractedCost"] + row["x_ShortfallCost"] + row["x_FixedCost"] - row["x_Rebate"] and line.overage_usd == 0
