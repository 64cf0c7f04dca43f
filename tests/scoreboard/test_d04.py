"""D04: a right to chips by a date; a plan without it uses them later."""

from audited import example, planner_world

from polysilicon import planner
from polysilicon.economics.rights import priority_offers


def plans(deal):
    w = planner_world()
    public = w.offer("gb200", 5.0)
    chat = w.work(rps=100.0)
    offers = [w.offer("h100", 2.5), *priority_offers(deal, public)]
    return planner.plan(w.world([chat], offers, months=12), w.table([chat]), gap_frac=1e-6)


def blackwell(plan):
    return [sum(h.chips for h in plan.holdings if h.chip == "gb200" and h.period == i) for i in range(4)]


def test_the_right_brings_chips_forward():
    talks = example()
    granted = talks.model_copy(update={"priority": tuple(r.model_copy(update={"status": "signed"}) for r in talks.priority)})
    without = talks.model_copy(update={"priority": tuple(r.model_copy(update={"status": "signed", "chips": 0.001}) for r in talks.priority)})
    early, late = blackwell(plans(granted)), blackwell(plans(without))
    assert early[2] > 1 > late[2], (early, late)  # third quarter: the holder has them, the public not


def test_talks_grant_nothing():
    w = planner_world()
    public = w.offer("gb200", 5.0)
    assert priority_offers(example(), public) == (public,)
