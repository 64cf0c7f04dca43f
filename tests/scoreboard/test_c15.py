"""C15: process and launch date of Maia 200 are facts, and the date gates use."""

from chip_entry import KNOWN


def test_launch_and_process_are_sourced_facts():
    chip = KNOWN.chip("Maia 200")
    assert chip.process == "TSMC N3"
    assert chip.available_from.isoformat() == "2026-01-26"
    assert chip.facts["available_from"].source in KNOWN.sources


def test_no_offer_of_maia_200_is_there_before_its_launch():
    offers = [o for o in KNOWN.offers.values() if o.chip == "maia-200"]
    assert offers
    assert all(o.available_from >= "2026-01-26" for o in offers)
    assert KNOWN.chip("Maia 200").available_from.isoformat() > "2025-12-31"
