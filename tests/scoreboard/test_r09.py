"""R09: 5 B$ for 10-15 thousand GPUs is 333-500 k$ each, outside the band of sourced prices; shown and flagged."""

from audited import EXAMPLE, covering, example, projected, run
from pytest import approx

from polysilicon.economics.references import number_of
from polysilicon.economics.verdicts import provider_view


def test_derived_and_flagged():
    view = provider_view(example(), projected())
    low, high = view.facility_usd_per_chip
    assert (low, high) == approx((5e9 / 15e3, 5e9 / 10e3))
    assert view.sourced_usd_per_chip == approx(((2.0e6 + 2.16e6) / 72, (5.04e6 + 3.6e6) / 72)) and view.facility_outside is True
    assert view.sourced_usd_per_chip[0] < number_of("bernstein-gb200-rack", "total_usd") / 72 < view.sourced_usd_per_chip[1]
    assert covering("X21")[0].verdict == "contradicted_by_source"


def test_a_facility_of_a_sourced_price_is_not_flagged():
    fair = example().model_copy(update={"facility": example().facility.model_copy(update={"usd": 1.0e9})})  # 67 to 100 k$ a chip
    assert provider_view(fair, projected()).facility_outside is False


def test_shown():
    words = " ".join(run("deal", str(EXAMPLE), "--draws", "0").stdout.split())
    assert "333,333 to 500,000 $ a chip, outside the band of sourced prices, 57,778 to 120,000 $" in words
