"""A cloud that cannot deliver a chip for 12 or 18 months: the plan's cost difference, longer deficits cost no less."""

from toy import offer, tables, work, world

from polysilicon.planner import stress
from polysilicon.planner.resolve import Asker


def test_k09():
    offers = [offer("gb200", 4.0, cloud="aws"), offer("h100", 2.0)]
    question = tables(world([work(rps=100.0)], offers, months=24))
    base = Asker(question).ask()
    year, longer = (stress.deficit(question, cloud="aws", chip="gb200", months=m, base=base) for m in (12, 18))
    assert 0 < year.delta_usd < longer.delta_usd and year.unserved_frac == 0.0
