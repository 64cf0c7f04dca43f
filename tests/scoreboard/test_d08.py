"""D08: the provider's capital cost, depreciation, revenue and margin; chip revenue comes through the cloud, not from its own 10 B$."""

from audited import covering, example, project, projected
from pytest import approx

from polysilicon.economics.verdicts import legs, provider_view, supplier_view


def test_provider_and_supplier():
    view = provider_view(example(), projected())
    assert (view.chips, view.capex_usd) == (approx(228_310.5, abs=1), approx(18.7e9, rel=1e-3))
    assert (view.gross_margin_frac, view.margin_after_capital_frac) == (approx(0.41, abs=0.005), approx(0.21, abs=0.005))
    sold = supplier_view(example(), projected())
    assert [round(r, 2) for r in sold.returned_ratio] == [0.56, 1.09, 1.31]
    assert projected().total(payer="nvidia", payee="anthropic") == 10e9 and not projected().total(payer="anthropic", payee="nvidia")
    assert covering("X24")[0].recomputed == (-10, -10)


def test_rates_of_return_of_the_infrastructure():
    rates = []
    for price in (2.5, 3.0, 4.0):
        leg = next(x for x in legs(example(), project(example(), {"usd_per_chip_hour": price})) if x.name == "infrastructure")
        rates.append(round(100 * leg.irr_frac, 1))
    assert rates == [11.0, 17.8, 30.4]
