"""K04: a provider is data: Oracle is there, and another one comes with a file and no code."""

from chip_entry import KNOWN

from polysilicon.catalogue import load


def test_oracle_is_rows_of_the_data_file():
    oracle = [o for o in KNOWN.offers.values() if o.cloud == "oracle"]
    assert {"gb200", "mi355x", "h100-sxm"} <= {o.chip for o in oracle}
    assert all(o.source in KNOWN.sources for o in oracle)


def test_a_new_provider_needs_a_file_and_no_code(tmp_path):
    file = tmp_path / "darkhorse.csv"
    file.write_text(
        "id,cloud,region,chip,kind,usd_per_chip_hour,block_chips,quoted_on,source,basis\n"
        "dh-1,darkhorse,moon,gb200,reserved,4.5,72,2026-11-01,their letter,filing\n"
    )
    offer = load(file).offer("dh-1")
    assert (offer.pool, offer.usd_per_chip_hour, offer.block_chips) == ("gb200@darkhorse/moon", 4.5, 72)
