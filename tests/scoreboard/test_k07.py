"""Channel traffic pinned to one cloud is served there, though another is cheaper, and nowhere else."""

import pytest
from toy import offer, solve, work, world

from polysilicon.errors import Infeasible


def test_k07():
    offers = [offer("h100", 3.0), offer("h100", 1.0, cloud="aws")]
    found = solve(world([work("foundry", rps=50.0, clouds=("azure",)), work("own", rps=50.0)], offers))
    assert {(p.workload, p.cloud) for p in found.placements} == {("foundry", "azure"), ("own", "aws")}
    with pytest.raises(Infeasible, match="not in the clouds it is pinned to"):
        solve(world([work("foundry", rps=50.0, clouds=("azure",))], offers[1:]))
