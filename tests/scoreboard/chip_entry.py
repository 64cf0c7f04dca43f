"""What a catalogue entry of a chip must be, whichever chip it is."""

from __future__ import annotations

from polysilicon.catalogue import load
from polysilicon.facts import BASES
from polysilicon.silicon.chip import Chip

KNOWN = load()
FIELDS = (
    "hbm_gb",
    "hbm_gb_per_s",
    "scale_up_gb_per_s",
    "scale_up_chips",
    "scale_out_gb_per_s",
    "sram_mb",
    "tdp_w",
    "all_in_w",
    "available_from",
    "process",
)


def checked(name: str, *, unknown: tuple[str, ...] = ()) -> Chip:
    """Return a chip after checking that every field is sourced, and that what is unpublished is null."""
    chip = KNOWN.chip(name)
    for field in FIELDS:
        value = getattr(chip, field)
        if field in unknown:
            assert value in (None, ""), (name, field)
            assert field not in chip.facts
            continue
        assert value not in (None, ""), (name, field)
        assert chip.facts[field].source in KNOWN.sources
        assert chip.facts[field].basis in BASES
        assert chip.facts[field].as_of
    for kind, rates in (("dense", chip.dense_tflop_per_s), ("sparse", chip.sparse_tflop_per_s)):
        for precision in rates:
            assert chip.facts[f"{kind}_tflop_per_s.{precision}"].source in KNOWN.sources
    return chip
