"""E01: rack power in the catalogue turns into energy per token."""

import pytest
from chip_entry import KNOWN


def test_rack_power_is_there_with_its_source_and_band():
    rack = KNOWN.system("NVL72")
    assert rack.rack_kw == 120
    assert rack.facts["rack_kw"].source in KNOWN.sources
    assert rack.facts["rack_kw.high"].value == 132


def test_kwh_per_million_tokens_follows_from_it():
    rack, tok_per_s = KNOWN.system("NVL72"), 300_000.0  # of the whole rack
    kwh_per_mtok = rack.rack_kw / (tok_per_s * 3600 / 1e6)
    assert kwh_per_mtok == pytest.approx(0.1111, abs=1e-4)
    assert KNOWN.chip("gb200").all_in_w * 72 / 1e3 == pytest.approx(rack.rack_kw, rel=1e-3)
