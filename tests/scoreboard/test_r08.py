"""R08: Maia 200 as a system; what is unpublished is null."""

from chip_entry import KNOWN


def test_maia_presets_carry_the_ethernet_fabric_and_nulls():
    domain, tray = KNOWN.system("Maia rack"), KNOWN.system("maia-200-tray")
    assert (domain.chip, domain.chips, tray.chips) == ("maia-200", 6144, 4)
    assert "Ethernet" in domain.name
    assert domain.scale_up_aggregate_gb_per_s == 6144 * 2 * KNOWN.chip("maia-200").scale_up_gb_per_s
    for system in (domain, tray):
        assert (system.rack_kw, system.racks, system.cpus, system.cooling) == (None, None, None, "")
        assert {"rack_kw", "racks", "cpus", "cooling"}.isdisjoint(system.facts)
        assert all(f.source in KNOWN.sources for f in system.facts.values())
