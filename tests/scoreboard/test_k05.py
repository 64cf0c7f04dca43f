"""A site's megawatts are respected and have a price."""

import pytest
from toy import CHIPS, offer, solve, work, world

from polysilicon.cloud.site import Site


def test_k05():
    site = Site("east", "azure", "eastus", it_mw=0.07, pue=1.2)
    found = solve(world([work(rps=100.0)], [offer("h100", 1.0), offer("h100", 2.0, cloud="aws")], sites=(site,)))
    here = sum(h.peak_chips for h in found.holdings if h.cloud == "azure")
    assert here * CHIPS["h100"].all_in_w / 1e6 <= 0.07 + 1e-9
    worth = next(p for p in found.shadow_prices if p.limit == "power:east")
    assert worth.usd == pytest.approx((2.0 - 1.0) / 0.0014 * 730.0) and worth.per == "MW-month"
