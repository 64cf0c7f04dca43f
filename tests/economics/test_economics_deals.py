"""Deals: conserved cash, one bill, wrong files, and pages that hold what they should."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polysilicon import planner
from polysilicon.economics.deal import contract_of, deal_from, read_deal
from polysilicon.economics.deal_report import whole
from polysilicon.economics.finance import irr_frac, npv_usd
from polysilicon.economics.flows import circularity, conserved
from polysilicon.economics.projection import project
from polysilicon.economics.uncertainty import draw, run
from polysilicon.errors import InputError, InputErrors
from polysilicon.scenario.document import parse_document

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "examples" / "deal-compute-alliance.yaml"
TEXT = EXAMPLE.read_text()


@pytest.fixture(scope="module")
def deal():
    return read_deal(EXAMPLE)


def of(text):
    return deal_from(parse_document(text, "d.yaml"))


@settings(max_examples=40, deadline=None)
@given(st.floats(-0.5, 0.5), st.floats(0, 0.5), st.floats(0, 0.5), st.floats(0, 24), st.floats(1.5, 6), st.floats(0.1, 0.9))
def test_cash_is_conserved_and_commitments_are_paid(demand, decay, efficiency, slip, price, take):
    deal = read_deal(EXAMPLE)
    found = project(
        deal,
        {"demand_growth_frac": demand, "price_decay_frac": decay, "efficiency_gain_frac": efficiency, "slip_months": slip, "usd_per_chip_hour": price,
         "supplier_take_frac": take},
    )  # fmt: skip
    gross = sum(f.usd for f in found.flows)
    assert abs(conserved(found.flows)) <= 1e-9 * gross
    assert all(f.usd >= 0 and f.payer != f.payee for f in found.flows)
    assert found.bills[0].total_usd <= 30e9 * 1.0001
    if slip == 0:
        assert found.bills[0].total_usd == pytest.approx(30e9, rel=1e-9)  # take-or-pay
    assert sum(p.billed_usd for p in found.periods) == pytest.approx(found.total(payer="anthropic", payee="microsoft"), rel=1e-9)


def test_the_planners_bill_and_the_deals_bill_are_one_number(deal):
    import sys

    sys.path.append(str(ROOT / "tests" / "planner"))
    from world import offer, table, work, world

    from polysilicon.cloud.contract import BillingPeriod, Usage, UsageLine

    terms = contract_of(deal.commitments[0].contract.model_copy(update={"commit_usd": 3e6, "draw_schedule": ()}))
    chat = work(rps=100.0)
    plan = planner.plan(world([chat], [offer("h100", 2.0)], months=12, contracts=(terms,)), table([chat]), gap_frac=1e-6)
    usage = Usage(
        tuple(
            BillingPeriod(p.start, end, p.hours)
            for p, end in zip(plan.periods, ("2026-04-01", "2026-07-01", "2026-10-01", "2027-01-01"), strict=True)
        ),
        tuple(UsageLine(h.period, h.offer, h.cloud, h.chips * plan.periods[h.period].hours, "chip-hour", 2.0) for h in plan.holdings),
    )
    assert terms.bill_usd(usage) == pytest.approx(sum(c.total_usd for c in plan.contracts if c.contract == terms.id), rel=1e-9)
    assert plan.bill_usd == pytest.approx(terms.bill_usd(usage), rel=1e-9)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("end: 2031-01-01", "end: 2025-01-01", "not after its start"),
        ("cumulative_usd: 30.0e+9", "cumulative_usd: 31.0e+9", "are committed"),
        ("by: 2028-01-01", "by: 2026-06-01", "overlaps"),
        ("cumulative_usd: 7.5e+9", "cumulative_usd: 2.5e+9", "cumulative"),
        ("commit_usd: 30.0e+9", "commit_usd: -30.0e+9", "greater than or equal to 0"),
        ("payer: nvidia\n", "payer: nvidea\n", 'did you mean "nvidia"'),
        ("seller: microsoft", "seller: anthropic", "deals with itself"),
        ("capex_frac_by_year: [0.60, 0.25, 0.15]", "capex_frac_by_year: [0.60, 0.25, 0.25]", "must sum to 1"),
        ("rack: {} ", "rack: {hbm: 3} ", 'a rack has no "hbm"'),
        ("low: 2.0, base: 3.0", "low: 3.5, base: 3.0", "must rise"),
        ("name: slip_months", "name: slip_month", 'did you mean "slip_months"'),
        ("window_end: 2030-01-01", "window_end: 2026-01-01", "not after its start"),
        ("public_from: 2027-01-01", "public_from: 2026-01-01", "before the holder's"),
        ("status: talks", "status: rumour", "rumour"),
        ("post_money_usd: 350.0e+9\n", "post_money_usd: 3.0e+9\n", "below the investment"),
        ("  - {id: openai, role: lab", "  - {id: nvidia, role: lab", "given twice"),
        ("polysilicon_deal: 1", "polysilicon_deal: 2", "polysilicon_deal"),
        ("draws: 2000", "drows: 2000", "not known here"),
        ("commit_usd: 30.0e+9", "commit_usd: .inf", "not a finite number"),
        ("as_of: 2025-11-18\nstart", "as_of: 2025-11-18\nas_of: 2025-11-19\nstart", "given twice"),
        ("gross_margin_frac: 0.50", "gross_margin_frac: 1.0", "less than 1"),
        ("low: 0.30, base: 0.58, high: 0.70, source: \"58", "low: 0.90, base: 0.58, high: 0.70, source: \"58", "must rise"),
        ("rack: {} ", "rack: {pue: 0.5} ", "PUE is 1 or more"),
        ("[price_decay_frac, efficiency_gain_frac, 0.6]",
         "[price_decay_frac, efficiency_gain_frac, -0.99]\n  - [demand_growth_frac, efficiency_gain_frac, 0.99]", "contradict one another"),
        ("bear: {demand_growth_frac: -0.20", "bear: {demand_growth_frac: -2.0", "cannot be"),
        ("low: 2.0, base: 3.0, high: 4.5", "low: -2.0, base: 3.0, high: 4.5", "cannot be"),
        ("kind: committed_spend", "kind: capacity_mw", "needs it_mw"),
    ],
)  # fmt: skip
def test_a_wrong_file_says_where(old, new, words):
    assert old in TEXT
    with pytest.raises(InputErrors, match=words) as caught:
        of(TEXT.replace(old, new, 1))
    assert "d.yaml:" in str(caught.value)


def test_letters_and_talks_stay_out_of_totals(deal):
    text = TEXT.replace(
        "    payee: anthropic\n    usd: 10.0e+9\n    status: announced", "    payee: anthropic\n    usd: 10.0e+9\n    status: letter", 1
    )
    letter = of(text)
    found = circularity(letter, project(letter))
    assert (found.gross_usd, found.equity_usd) == (35e9, 5e9) and found.kappa_ratio == pytest.approx(5 / 30)


def test_draws_keep_their_correlations_and_shape(deal):
    table = draw(deal.drivers, deal.correlations, draws=4096, seed=1)
    names = [d.name for d in deal.drivers]
    import numpy as np

    for i, driver in enumerate(deal.drivers):
        assert driver.low <= table[:, i].min() and table[:, i].max() <= driver.high
        assert table[:, i].mean() == pytest.approx((driver.low + driver.base + driver.high) / 3, abs=0.02 * (driver.high - driver.low))
    a, b = names.index("price_decay_frac"), names.index("efficiency_gain_frac")
    assert np.corrcoef(table[:, a], table[:, b])[0, 1] == pytest.approx(0.6, abs=0.05)
    with pytest.raises(InputError, match="contradict"):
        draw(deal.drivers, [("price_decay_frac", "efficiency_gain_frac", 0.99), ("price_decay_frac", "slip_months", 0.99),
                            ("efficiency_gain_frac", "slip_months", -0.99)], draws=64, seed=1)  # fmt: skip


def test_published_band_of_the_infrastructure(deal):
    spread = run(deal, draws=1024).outcomes["microsoft: infrastructure leg, net present value"]
    assert spread.p10 / 1e9 == pytest.approx(-1.5, abs=0.4) and spread.p50 / 1e9 == pytest.approx(3.6, abs=0.8)
    assert spread.p90 / 1e9 == pytest.approx(7.4, abs=1.0) and spread.negative_frac == pytest.approx(0.18, abs=0.03)


def test_total_effects_point_at_the_same_driver(deal):
    found = run(deal, draws=64, sobol=True)
    bars = found.tornado["microsoft: infrastructure leg, net present value"]
    assert max(bars, key=lambda b: b.total_effect_frac).driver == bars[0].driver == "usd_per_chip_hour"


def test_rate_of_return_is_where_value_is_nil(deal):
    flows = project(deal).net("microsoft", with_values=True)
    assert npv_usd(flows, irr_frac(flows)) == pytest.approx(0.0, abs=1.0)


def test_page_escapes_and_loads_nothing(deal):
    from polysilicon.report.deal import page

    evil = deal.model_copy(update={"name": "<script>alert(1)</script>", "notes": ("<img src=x onerror=alert(1)>",)})
    html = page(whole(evil, draws=64))
    assert "<script" not in html and "<img" not in html and html.count("<svg") >= 5
    assert "Who pays whom" in html and "http://" not in html.replace("http://www.w3.org", "")


def test_audit_page_holds_every_claim():
    from polysilicon import catalogue
    from polysilicon.economics.audit import audit
    from polysilicon.economics.claims import read_claims
    from polysilicon.economics.references import citer
    from polysilicon.report.audit import page

    findings = audit(read_claims(ROOT / "src/polysilicon/data/claims.yaml"), citer(catalogue.load()))
    html = page("<b>t</b>", findings)
    assert "<b>" not in html and all(f"{f.id}:" in html for f in findings)
