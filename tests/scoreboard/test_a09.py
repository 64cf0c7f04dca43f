"""A09: a price book by date, importable from public price data."""

import json
from datetime import date

from chip_entry import KNOWN
from command import run

from polysilicon.catalogue import load

SNAPSHOT = [{"id": "anthropic", "models": [{"id": "claude-next", "prices": [
    {"prices": {"input_mtok": 3, "output_mtok": 15, "cache_read_mtok": 0.3}},
    {"constraint": {"start_date": "2027-01-01"}, "prices": {"input_mtok": 6, "output_mtok": 30}}]}]}]  # fmt: skip


def test_embedded_prices_are_dated():
    assert len(KNOWN.token_prices) > 1000
    assert all(p.as_of for p in KNOWN.token_prices)
    assert KNOWN.price("claude-sonnet-4-5", on=date(2025, 11, 22)).usd_per_mtok_cached == 0.3


def test_a_snapshot_is_imported_and_dated(tmp_path):
    (tmp_path / "data.json").write_text(json.dumps(SNAPSHOT))
    run("import", "token-prices", "data.json", "-o", "o.csv", "--on", "2026-11-22", cwd=tmp_path)
    known = load(tmp_path / "o.csv")
    assert known.price("claude-next", on=date(2026, 12, 31)).usd_per_mtok_out == 15
    assert known.price("claude-next", on=date(2027, 1, 1)).usd_per_mtok_out == 30
