"""D09: runway from cash, burn and inflows by month."""

from audited import covering, example
from pytest import approx

from polysilicon.economics.deal_report import whole
from polysilicon.economics.finance import runway_months
from polysilicon.economics.verdicts import lab_view, runway_by_month
from polysilicon.report.deal import page


def test_closed_form():
    assert runway_months(120.0, 10.0) == 12
    assert runway_months(0.0, 10.0, [30.0]) == 3
    assert runway_months(10.0, 10.0, [0, 0, 100]) == 1  # an inflow after the money is gone does not help
    assert runway_months(5.0, 0.0) == float("inf")


def test_five_billion_last_one_year_at_the_reported_loss():
    assert runway_months(5e9, 5.2e9 / 12) == approx(12 * 5 / 5.2)
    claim = next(f for f in [*covering("X01"), *__import__("audited").findings().values()] if f.id == "A-13")
    assert claim.recomputed[0] == approx(5 / 5.2)
    assert lab_view(example()).runway_months == approx(12 * 15 / 5.2)


def test_month_by_month_and_drawn():
    months = runway_by_month(example())
    assert months[0] == ("2026-01-01", 15e9) and months[12][1] == approx(15e9 - 5.2e9) and months[-1][1] == 0.0
    assert len(months) - 2 < lab_view(example()).runway_months <= len(months) - 1
    assert "Runway: cash and equity" in page(whole(example(), draws=0))
