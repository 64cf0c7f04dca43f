"""I05: an NVL72 is a rack with an NVLink domain, pooled HBM and power; nothing below that is emulated."""

import pytest
from chip_entry import KNOWN


def test_the_rack_reports_its_machine_with_sources():
    rack = KNOWN.system("NVL72")
    assert rack.chips == 72
    assert rack.hbm_gb / 1e3 == pytest.approx(13.4, abs=0.1)  # 72 x 186 GB; 13.8 TB counts the 192 GB of early brochures
    assert rack.scale_up_aggregate_gb_per_s / 1e3 == pytest.approx(129.6)
    assert rack.rack_kw == 120
    for parameter in ("chips", "hbm_gb", "scale_up_aggregate_gb_per_s", "rack_kw"):
        assert rack.facts[parameter].source in KNOWN.sources
