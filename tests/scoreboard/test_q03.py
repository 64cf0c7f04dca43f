"""At which gain does leaving an engine pay? A surface over gain and volume whose points are the closed form's."""

import numpy as np
import pytest

from polysilicon.model.port_value import PortTerms, break_even_gain_frac, npv_usd
from polysilicon.planner.port_surface import program_surface, surface


def test_q03():
    gains, spends = np.linspace(0.05, 1.0, 8), np.geomspace(0.1e9, 10e9, 6)
    for terms, years in ((PortTerms(), 3.0), (PortTerms(cost_usd=50e6), 5.0)):
        closed = surface(gains, spends, horizon_years=years, terms=terms)
        program = program_surface(gains, spends, horizon_years=years, terms=terms)
        assert program == pytest.approx(np.maximum(closed, 0.0), rel=1e-6, abs=1.0)
        assert (np.diff(closed, axis=0) > 0).all()
    assert npv_usd(break_even_gain_frac(1e9), 1e9) == pytest.approx(0.0, abs=1.0)


def test_the_heat_map_s_points_are_the_closed_form_s():
    """The report draws gain against yearly spend; each cell is what the formula says of it, and cost and horizon move it."""
    from polysilicon.report.answers import drawings
    from polysilicon.report.asked import Asked, PortSurface

    gains, spends = (0.1, 0.3, 0.6), (0.2e9, 1e9, 5e9)
    for terms, years in ((PortTerms(), 3.0), (PortTerms(cost_usd=100e6), 5.0)):
        worth = tuple(tuple(float(x) for x in row) for row in surface(gains, spends, horizon_years=years, terms=terms))
        spec = drawings(Asked(surface=PortSurface(gains, spends, worth, "terms")))["surface"].spec
        (cells,) = spec["datasets"].values() if "datasets" in spec else (spec["data"]["values"],)
        assert len(cells) == 9 and spec["mark"]["type"] == "rect"
        for cell, (g, b) in zip(cells, ((g, b) for g in gains for b in spends), strict=True):
            assert cell["usd"] == pytest.approx(npv_usd(g, b, horizon_years=years, terms=terms)) and cell["pays"] == (cell["usd"] > 0)
