"""Losing a supplier for some days: unserved tokens and dollars, by hand."""

import pytest
from toy import offer, tables, work, world

from polysilicon.planner import stress
from polysilicon.planner.resolve import Asker


def test_g02():
    offers = [offer("h100", 2.0, kind="reserved", min_term_months=12), offer("h100", 5.0, cloud="aws", max_chips=40.0)]
    question = tables(world([work(rps=100.0)], offers, months=12))
    asker = Asker(question)
    base = asker.ask()
    out = stress.outage(asker, base, kind="cloud", name="azure", period=1, days=9.1)
    hours = 91 * 24.0 * 0.1
    assert out.unserved_frac == pytest.approx(0.6)
    assert out.unserved_mtok == pytest.approx(60 * 3600 * hours * 1200 / 1e6)
    assert out.delta_usd > 40 * 5.0 * hours
    assert stress.outage(asker, base, kind="cloud", name="aws", period=1, days=9.1).delta_usd == pytest.approx(0.0, abs=1e-6)
