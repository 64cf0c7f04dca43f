"""A10: residency and compliance tags decide: EU traffic never leaves the EU in the plan, nor uses offers without its tag."""

from copilots import KNOWN, studied

from polysilicon.cloud.region import geographies


def test_eu_only_traffic_is_planned_inside_the_eu_alone():
    result = studied()
    placed = [p for p in result.plan.placements if p.workload == "eu-office"]
    assert placed
    assert all("eu" in geographies(p.region) for p in placed)
    assert any("us" in geographies(p.region) for p in result.plan.placements)


def test_tagged_traffic_runs_on_tagged_offers_alone():
    result = studied()
    tagged = {o.pool for o in result.resolved.offers if "eu-data-boundary-ready" in o.tags}
    for name in ("m365-copilot", "eu-office"):
        assert {p.pool.split("+")[0] for p in result.plan.placements if p.workload == name} <= tagged
    assert any(o.pool not in tagged for o in result.resolved.offers)
    assert KNOWN.chips
