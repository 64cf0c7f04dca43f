"""R09: 5 B$ for 10-15 thousand GPUs is 333-500 k$ each, outside the band of sourced prices."""

from audited import covering, example, projected
from pytest import approx

from polysilicon.economics.references import number_of
from polysilicon.economics.verdicts import provider_view


def test_derived_and_flagged():
    low, high = provider_view(example(), projected()).facility_usd_per_chip
    assert (low, high) == approx((5e9 / 15e3, 5e9 / 10e3))
    sourced = number_of("bernstein-gb200-rack", "total_usd") / 72
    assert low > 2 * sourced and covering("X21")[0].verdict == "contradicted_by_source"
