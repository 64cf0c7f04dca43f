"""W04: three answers of the dominant maker as toggles, each with what it does to a plan."""

from dataclasses import replace

from audited import planner_world
from pytest import approx

from polysilicon import planner
from polysilicon.economics.rights import TOGGLES, toggled

VENDORS = {"h100": "Nvidia", "gb200": "Nvidia", "trn3": "AWS"}


def test_three_toggles_three_deltas():
    w = planner_world()
    chat = w.work(rps=100.0)
    later = replace(w.offer("gb200", 4.5), available_from="2026-10-01")
    offers = (w.offer("h100", 2.5), later, w.offer("trn3", 4.0, cloud="aws"))

    def cost(chosen):
        return planner.plan(w.world([chat], chosen, months=12), w.table([chat]), gap_frac=1e-6).objective_usd

    base = cost(offers)
    costs = {name: cost(toggled(offers, VENDORS, name)) for name in TOGGLES}
    assert all(usd < base for usd in costs.values()) and len(costs) == 3
    assert costs["price-cut"] / base == approx(0.8) and costs["tooling"] / base == approx(1 / 1.1)
    assert costs["next-generation"] == approx(100 / 3 * 4.5 * 8760)
