"""U03: what investors ask for: the diligence pack of G04, with energy of the deal."""

from audited import example, projected
from test_g04 import test_pack_opens_and_sums as test_pack

from polysilicon.economics.verdicts import provider_view

__all__ = ["test_pack"]


def test_energy_of_the_deal():
    assert round(provider_view(example(), projected()).it_gw, 2) == 0.38
