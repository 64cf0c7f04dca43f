"""F04: what keeping a customer is worth: revenue at risk by share moved."""

from audited import example, projected
from pytest import approx

from polysilicon.economics.verdicts import supplier_view


def test_revenue_at_risk():
    view = supplier_view(example(), projected())
    assert view.at_risk_usd["50%"] == approx(view.hardware_usd / 2) and view.at_risk_usd["10%"] < view.at_risk_usd["25%"]
    assert view.hardware_usd == approx(0.58 * 18.708777e9, rel=1e-6)
