"""Liquid-cooled racks are refused at an air-cooled site, naming both."""

import pytest
from toy import offer, solve, work, world

from polysilicon.cloud.site import Site
from polysilicon.errors import Infeasible
from polysilicon.silicon.chip import System


def test_r05():
    racks = {"nvl72": System("nvl72", "NVL72", "gb200", 72, cooling="liquid")}
    air = Site("old-hall", "azure", "eastus", cooling="air")
    only = [offer("gb200", 5.0, block_chips=72)]
    with pytest.raises(Infeasible, match="site old-hall is air-cooled and nvl72 needs liquid"):
        solve(world([work(rps=100.0)], only, sites=(air,), systems=racks))
    assert solve(world([work(rps=100.0)], only, sites=(Site("new-hall", "azure", "eastus"),), systems=racks)).placements
