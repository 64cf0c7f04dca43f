"""A utilisation floor that traffic cannot reach is infeasible, with the floor named; one that it can reach is kept."""

import pytest
from toy import offer, solve, work, world

from polysilicon.cloud.contract import Contract
from polysilicon.errors import Infeasible
from polysilicon.scenario.schema import LimitsPart

LEASE = Contract("lease", "azure", "lease", "2026-01-01", "2027-01-01", chip="h100", chips=100.0, usd_per_chip_hour=1.0)


def test_k08():
    floor = LimitsPart(utilisation_max_frac=1.0, utilisation_min_frac=0.85)
    blocks = (("day", 12.0, 1.9), ("night", 12.0, 0.1))
    reserved = [offer("h100", 1.0, kind="reserved", min_term_months=12)]
    with pytest.raises(Infeasible, match="the 85% utilisation floor"):
        solve(world([work(rps=50.0, peak=1.9)], reserved, limits=floor, blocks=blocks))
    kept = solve(world([work(rps=50.0)], reserved, limits=floor))
    busy = sum(p.chips for p in kept.placements)
    assert busy / sum(h.chips for h in kept.holdings) >= 0.85 - 1e-9 and LEASE.holds_chips
