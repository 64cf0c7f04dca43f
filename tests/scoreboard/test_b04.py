"""A buyer with four options pays less on all four than with one; the split of the surplus is a visible parameter."""

from toy import offer, tables, work, world

from polysilicon.planner import leverage

CLOUDS = ("azure", "aws", "gcp", "oracle")


def prices(count, power):
    api = offer("", None, kind="per_token", id="api", cloud="elsewhere", model="m", usd_per_mtok_in=1.0, usd_per_mtok_out=4.0)
    chips = [offer("h100", 2.0, cloud=c, id=f"{c}-h100") for c in CLOUDS[:count]]
    found = leverage.bargain(tables(world([work(rps=100.0)], [*chips, api])), floor_factor=0.5, buyer_power_frac=power)
    assert found.buyer_power_frac == power
    return {c: found.price_factor.get(c, 1.0) for c in CLOUDS[:count]}


def test_b04():
    alone = prices(1, 0.5)["azure"]
    assert all(price < alone for price in prices(4, 0.5).values())
    assert prices(1, 0.9)["azure"] < prices(1, 0.1)["azure"]
