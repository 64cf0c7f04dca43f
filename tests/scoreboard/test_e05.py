"""When power binds, chips with more tokens per watt move in, and a megawatt-month has its price."""

from toy import offer, solve, work, world

from polysilicon.cloud.site import Site


def test_e05():
    offers = [offer("h100", 1.0), offer("gb200", 4.0), offer("h100", 9.0, cloud="aws")]
    free = solve(world([work(rps=100.0)], offers))
    tight = solve(world([work(rps=100.0)], offers, sites=(Site("east", "azure", "eastus", it_mw=0.08),)))
    assert {p.chip for p in free.placements} == {"h100"}
    assert "gb200" in {p.chip for p in tight.placements if p.cloud == "azure"}
    assert not any(p.limit.startswith("power") for p in free.shadow_prices)
    assert next(p for p in tight.shadow_prices if p.limit == "power:east").usd > 0
