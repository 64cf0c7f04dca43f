"""A04: first-party applications: transfer price against list price, margin per application."""

from pytest import approx

from polysilicon.economics.tokens import UnitRow


def test_margins():
    own = UnitRow("Claude Code", "opus", "trn2", price_usd_per_mtok=8.0, cost_usd_per_mtok=3.0, other_usd_per_mtok=0.5, transfer_usd_per_mtok=3.5)
    assert own.margin_usd_per_mtok == 4.5 and own.margin_frac == approx(0.5625)
    assert own.application_margin_frac == approx(0.5)
    rival = UnitRow("a wrapper", "opus", "trn2", 8.0, 3.0, 0.5, transfer_usd_per_mtok=7.0)  # pays list
    assert rival.application_margin_frac < own.application_margin_frac
