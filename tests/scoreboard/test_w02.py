"""W02: an alert when a measured share crosses its threshold."""

from datetime import date

from polysilicon import catalogue
from polysilicon.economics.watch import look, read_watch


def state(share):
    found = look(read_watch(), catalogue.load(), {"maia_share_frac": share}, date(2026, 6, 1))
    return next(s.state for s in found if s.id == "pilot-share")


def test_threshold():
    assert (state(0.04), state(0.06)) == ("open", "triggered")
