"""K06: a lease: term, ramp, fixed payment, exit fee; cash month by month."""

from audited import EXAMPLE, planner_world
from pytest import approx

from polysilicon import planner
from polysilicon.cloud.contract import BillingPeriod, Contract, Usage
from polysilicon.economics.deal import contract_of, deal_from
from polysilicon.economics.milestones import exit_now_usd
from polysilicon.economics.projection import project
from polysilicon.scenario.document import parse_document

LEASE = """
  - buyer: anthropic
    seller: microsoft
    status: signed
    source: assumed
    contract: {id: maia-lease, cloud: azure, kind: lease, start: 2027-01-01, end: 2029-01-01, usd_per_month: 20.0e+6,
               exit_fee_usd: 100.0e+6, chip: maia-200, chips: 8192, ramp_mw: []}
options:"""


def leased():
    return deal_from(parse_document(EXAMPLE.read_text().replace("\noptions:", LEASE, 1).replace("step: year", "step: quarter"), "deal.yaml"))


def test_the_deal_pays_the_lease_each_period():
    flows = [f for f in project(leased()).flows if f.leg == "maia-lease"]
    assert len(flows) == 8 and sum(f.usd for f in flows) == approx(480e6, rel=2e-3)
    assert min(f.after_years for f in flows) == 1.25 and max(f.after_years for f in flows) == 3.0


def test_month_by_month_and_the_way_out():
    lease = contract_of(leased().commitments[1].contract)
    month = 365.25 / 12 * 24
    months = (BillingPeriod("2026-12-01", "2027-01-01", month), BillingPeriod("2027-01-01", "2027-02-01", month))
    assert [line.total_usd for line in lease.bill(Usage(months)).lines] == [0.0, approx(20e6, rel=1e-3)]
    assert exit_now_usd(lease, "2027-01-01") == 100e6 and exit_now_usd(lease, "2028-12-01") == approx(20e6, rel=0.03)


def test_a_plan_with_a_lease_pays_it_month_by_month():
    """8,192 chips for 20 M$ a month from the fourth month on: each month's bill by hand."""
    w = planner_world()
    lease = Contract("maia-lease", "azure", "lease", "2026-04-01", "2027-01-01", chip="maia200", chips=8192.0, usd_per_month=20e6, exit_fee_usd=1e8)
    resolved = w.world([w.work(rps=100.0)], [w.offer("h100", 2.0)], months=12, period="month", contracts=(lease,))
    plan = planner.plan(resolved, w.table(resolved.workloads), gap_frac=1e-6)
    bills = {b.period: b for b in plan.contracts if b.contract == "maia-lease"}
    months = [bills[i].total_usd if i in bills else 0.0 for i in range(12)]
    assert months[:3] == [0.0, 0.0, 0.0]
    hours = [p.hours for p in plan.periods]
    assert months[3:] == approx([20e6 * h / (8760 / 12) for h in hours[3:]], rel=2e-3)
    rented = sum(h.bill_usd for h in plan.holdings if h.offer != "maia-lease")
    assert plan.bill_usd == approx(sum(months) + rented)
    assert not any(h.period >= 3 and h.offer != "maia-lease" for h in plan.holdings)  # what is paid for is used first
