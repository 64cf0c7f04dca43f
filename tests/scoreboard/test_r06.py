"""R06: 576 GPUs are eight racks."""

from chip_entry import KNOWN


def test_nvl576_is_eight_nvl72_never_one():
    preset, rack = KNOWN.system("nvl576"), KNOWN.system("gb200-nvl72")
    assert preset.chip == rack.chip
    assert (preset.chips, preset.domains, preset.racks) == (8 * rack.chips, 8, 8)
    assert "8 x" in preset.name
    assert KNOWN.system("NVL72") is rack
    assert all(s.chips // s.domains <= 72 for s in KNOWN.systems.values() if s.chip == "gb200")
