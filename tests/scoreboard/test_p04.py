"""P04: the dominant maker's price as a parameter of the scenario, with its effect on a plan."""

from audited import planner_world
from pytest import approx

from polysilicon import planner
from polysilicon.economics.rights import toggled

VENDORS = {"h100": "Nvidia", "gb200": "Nvidia", "maia200": "Microsoft"}


def test_a_price_cut_wins_the_work_back():
    w = planner_world()
    chat = w.work(rps=100.0)
    offers = (w.offer("gb200", 5.5), w.offer("maia200", 3.2))  # 1.83 and 1.60 $ per unit of work
    before = planner.plan(w.world([chat], offers), w.table([chat]), gap_frac=1e-6)
    after = planner.plan(w.world([chat], toggled(offers, VENDORS, "price-cut")), w.table([chat]), gap_frac=1e-6)
    assert {p.chip for p in before.placements} == {"maia200"} and {p.chip for p in after.placements} == {"gb200"}
    assert after.objective_usd / before.objective_usd == approx((5.5 * 0.8 / 3) / (3.2 / 2))
