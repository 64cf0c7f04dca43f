"""Against the third-party files the data was taken from, where they are beside the repository: nothing was lost."""

from __future__ import annotations

import csv

import pytest

from polysilicon.catalogue import load

KNOWN = load()
pytestmark = pytest.mark.shared
CHIPS = {
    "A100-40GB": "a100-40gb",
    "A100-80GB": "a100-80gb",
    "H100": "h100-sxm",
    "H100-NVL": "h100-nvl",
    "H200": "h200-sxm",
    "B200": "b200-sxm",
    "B300": "b300-sxm",
    "GB200": "gb200",
    "Trainium1": "trainium1",
    "Trainium2": "trainium2",
    "TPU v6e": "tpu-v6e",
    "TPU v5p": "tpu-v5p",
    "TPU v5e": "tpu-v5e",
}


def rows(folder, name):
    with (folder / "data" / name).open() as file:
        return list(csv.DictReader(file))


def test_every_quoted_price_is_in_the_history_of_an_offer(shared_dir):
    quotes = [(o.cloud, o.chip, o.kind, o) for history in KNOWN.offer_history.values() for o in history]
    missing = []
    for row in rows(shared_dir, "offers.csv"):
        cloud, chip = row["cloud"].replace(" (mean)", ""), CHIPS[row["chip"]]
        prices = [o.usd_per_chip_hour for c, k, kind, o in quotes if (c, k) == (cloud, chip) and kind != "spot"]
        said = row["on_demand_usd_per_chip_h"]
        if said and not any(p == pytest.approx(float(said), rel=1e-3) for p in prices if p):
            missing.append(row)
        low, count = row["spot_usd_h_min"], float(row["chips_per_instance"])
        spots = [o for c, k, kind, o in quotes if (c, k, kind) == (cloud, chip, "spot")]
        lows = [o.low_usd_per_chip_hour or o.usd_per_chip_hour for o in spots]
        if low and "until" not in row["offer_kind"] and not any(p == pytest.approx(float(low) / count, rel=1e-3) for p in lows):
            missing.append(row)
    assert not missing


def test_every_chip_model_and_price_is_there(shared_dir):
    names = {str(f.value) for (kind, _, p), (f, _) in KNOWN.content.facts.items() if kind == "model" and p == "hf_id"}
    assert {row["model"] for row in rows(shared_dir, "models.csv")} <= names
    assert len(KNOWN.token_prices) == len(rows(shared_dir, "token_prices.csv"))
    assert len(KNOWN.spot_history) == len(rows(shared_dir, "spot_availability_stats.csv"))
    for row in rows(shared_dir, "chips.csv"):
        if row["level"] == "chip":
            chip = KNOWN.chip(row["chip"].replace(" (per GPU)", "").replace(" (per GPU, VR NVL72)", "").split(" (")[0])
            assert chip.hbm_gb == float(row["hbm_gb"])
            if row["fp8_dense_tflops"]:
                assert chip.dense_tflop_per_s["fp8"] == float(row["fp8_dense_tflops"])


def test_every_port_record_is_there(shared_dir):
    kept = {(r.get("model"), r.get("chip"), r.get("evidence")) for r in KNOWN.port_records}
    short = {
        "TPU v6e": "tpu-v6e",
        "TPU v7 Ironwood": "tpu-v7",
        "B200": "b200-sxm",
        "B300": "b300-sxm",
        "H200": "h200-sxm",
        "H100": "h100-sxm",
    }
    for row in rows(shared_dir, "portability.csv"):
        for chip in row["chip"].split("/"):
            if chip != "RTX6000PRO":  # a workstation card, not in the catalogue
                assert (row["model"], short.get(chip, chip.lower()), row["status"]) in kept, row
