"""W03: an item that waits for measurements closes when a measured row exists."""

from dataclasses import replace
from datetime import date

from polysilicon import catalogue
from polysilicon.economics.watch import look, read_watch
from polysilicon.facts import Fact


def state(known):
    return next(s.state for s in look(read_watch(), known, {}, date(2026, 6, 1)) if s.id == "maia-measured")


def test_measured_rows_close_it():
    known = catalogue.load()
    assert state(known) == "open"
    row = Fact("maia-200", "tok_per_s", 1234.0, "tok/s", "a benchmark", "2026-08-01", "measured")
    assert state(replace(known, facts=(*known.facts, row))) == "closed"
