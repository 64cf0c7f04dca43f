"""The buyer's view: the cheapest route of each application across clouds."""

import pytest
from toy import offer, tables, work, world

from polysilicon import planner
from polysilicon.planner.measures import routes


def test_q06():
    api = offer("", None, kind="per_token", id="api", cloud="maker", model="m", usd_per_mtok_in=0.1, usd_per_mtok_out=0.4)
    question = tables(world([work(rps=100.0)], [offer("h100", 2.0), offer("gb200", 5.0), offer("h100", 2.5, cloud="aws"), api]))
    program, solution, _ = planner.solved(question)
    best = {r["cloud"]: r for r in routes(program, solution)}
    assert best["azure"]["where"] == "gb200@azure/eastus" and best["azure"]["usd_per_mtok"] == pytest.approx(5.0 / 3 / 3600 / 1200 * 1e6)
    assert best["maker"]["usd_per_mtok"] == pytest.approx((1000 * 0.1 + 200 * 0.4) / 1200) and best["aws"]["where"].startswith("h100")
