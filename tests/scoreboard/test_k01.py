"""K01: Azure with regions, offers of H100, GB200, Maia, kinds, dates and sources."""

from chip_entry import KNOWN


def test_azure_offers_are_dated_and_sourced():
    azure = [o for o in KNOWN.offers.values() if o.cloud == "azure"]
    assert {"h100-sxm", "gb200", "gb300", "maia-200", "h200-sxm", "a100-80gb"} <= {o.chip for o in azure}
    assert {"on_demand", "reserved", "spot", "quote_only"} <= {o.kind for o in azure}
    assert len({o.region for o in azure}) > 5
    assert all(o.source in KNOWN.sources for o in azure)
    assert KNOWN.offer("azure-eastus-h100-sxm-on-demand").quoted_on == "2026-11-09"
