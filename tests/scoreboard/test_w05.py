"""W05: an alert when margin falls under the plan's band."""

from datetime import date

from audited import example

from polysilicon import catalogue
from polysilicon.economics.uncertainty import run
from polysilicon.economics.watch import look, read_watch


def test_margin_under_the_band_alerts():
    _, band = run(example(), draws=128).margin_fan[1]

    def state(actual):
        figures = {"gross_margin_minus_p10_frac": actual - band.p10}
        return next(s.state for s in look(read_watch(), catalogue.load(), figures, date(2026, 6, 1)) if s.id == "margin-band")

    assert state(band.p50) == "open" and state(band.p10 - 0.01) == "triggered"
