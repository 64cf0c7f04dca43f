"""V04: the model's efficiencies are fitted to measured points, and the error on chips left out is printed per chip."""

import pytest
from chip_entry import KNOWN

from polysilicon.exchange import fitting, points
from polysilicon.performance.efficiency import rows


def test_the_shipped_table_carries_errors_of_chips_left_out():
    notes = {r["subject"]: r["note"] for r in rows() if r["parameter"] == "error_frac"}
    assert "left out" in notes["cuda-hopper"]
    assert "left out" in notes["h100-sxm"]


@pytest.mark.shared
def test_runs_are_gathered_and_those_that_cannot_be_are_named(shared_dir):
    runs = fitting.gather(points.read(shared_dir / "data" / "measured_points.csv"), KNOWN)
    assert len([r for r in runs if not r.aside]) > 1500
    assert 0 < len([r for r in runs if r.aside]) < 50
