"""What each supplier is worth: leave-one-out by hand; Shapley values sum to the whole saving."""

import pytest
from toy import offer, tables, work, world

from polysilicon.planner import leverage
from polysilicon.planner.resolve import Asker


def test_b03():
    hours = 90 * 24.0
    offers = [offer("h100", 2.0), offer("h100", 2.5, cloud="aws"), offer("h100", 3.0, cloud="gcp")]
    question = tables(world([work(rps=100.0)], offers))
    asker = Asker(question)
    worth = {s.name: s.value_usd for s in leverage.negotiate(question, asker=asker) if s.kind == "cloud"}
    assert worth["azure"] == pytest.approx(100 * 0.5 * hours) and worth["aws"] == worth["gcp"] == 0.0
    values = leverage.shapley(question, asker=asker)
    everything = asker.ask(closed=asker.owned(lambda _p, _o: True)).usd - asker.ask().usd
    assert sum(values.values()) == pytest.approx(everything, rel=1e-9)
    assert values["azure"] > values["aws"] > values["gcp"] > 0


def test_indifference_and_walk_away():
    question = tables(world([work(rps=100.0)], [offer("h100", 2.0), offer("h100", 2.5, cloud="aws")]))
    azure = next(s for s in leverage.negotiate(question) if s.name == "azure")
    assert azure.indifference_factor == pytest.approx(1.25) and azure.walk_away_factor == pytest.approx(1.25, rel=0.01)
