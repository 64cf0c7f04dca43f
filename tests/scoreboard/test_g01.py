"""Concentration: four equal suppliers have an index of 0.25, and a stated largest share is kept."""

import pytest
from toy import CHIPS, offer, solve, work, world

from polysilicon.portfolio import concentration, hhi
from polysilicon.scenario.schema import LimitsPart


def test_g01():
    assert hhi([1.0, 1.0, 1.0, 1.0]) == 0.25
    limits = LimitsPart(utilisation_max_frac=1.0, vendor_share_max_frac=0.6)
    found = solve(world([work(rps=100.0)], [offer("h100", 1.0), offer("trn3", 2.0, cloud="aws")], limits=limits))
    measured = {(c.by, c.of): c for c in concentration(found, {c.id: c.vendor for c in CHIPS.values()})}
    assert measured["vendor", "dollars"].top_frac == pytest.approx(0.6)
    assert measured["vendor", "dollars"].hhi == pytest.approx(0.6**2 + 0.4**2)
    assert set(measured) == {(k, b) for k in ("vendor", "cloud", "region") for b in ("dollars", "tokens")}
