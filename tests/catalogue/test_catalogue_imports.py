"""Public price lists become overlays: SkyPilot's, LiteLLM's, genai-prices'."""

from __future__ import annotations

import json

import pytest

from polysilicon.catalogue import load
from polysilicon.errors import InputError, InputErrors
from polysilicon.exchange.skypilot import OFFER_COLUMNS, price_series, read_vms
from polysilicon.exchange.token_prices import PRICE_COLUMNS, read_prices

KNOWN = load()
AWS_HEAD = "InstanceType,AcceleratorName,AcceleratorCount,vCPUs,MemoryGiB,GpuInfo,Price,SpotPrice,Region,AvailabilityZone\n"
AWS = AWS_HEAD + "\n".join([
    "m5.large,,,2,8,,0.096,0.03,us-east-1,us-east-1a",
    'p5.48xlarge,H100,8,192,2048,"{\'Gpus\': [1, 2]}",55.04,10.24,us-east-1,us-east-1a',
    "p5.48xlarge,H100,8,192,2048,,55.04,55.04,us-east-1,us-east-1b",
    "p5.4xlarge,H100,1,16,256,,6.88,,us-east-1,us-east-1a",
    "trn1.32xlarge,Trainium,16,128,512,,21.5,2.43,us-east-1,us-east-1a",
    "trn2.48xlarge,Trainium2,16,192,2048,,,23.0631,us-east-2,us-east-2a",
    "inf2.48xlarge,Inferentia2,12,192,384,,12.98,3.0,us-east-2,us-east-2a",
    "p4d.24xlarge,A100,8,96,1152,,21.95764,6.0,us-east-2,us-east-2a",
    "g5.xlarge,A10G,1,4,16,,1.0,0.3,us-east-1,us-east-1a",
]) + "\n"  # fmt: skip
GCP_HEAD = "InstanceType,vCPUs,MemoryGiB,AcceleratorName,AcceleratorCount,GpuInfo,Region,AvailabilityZone,Price,SpotPrice\n"
GCP = GCP_HEAD + "\n".join([
    "a3-highgpu-8g,208,1872,,,,us-central1,us-central1-a,9.46,2.89",
    ",,,H100,8,,us-central1,us-central1-a,78.37,23.8",
    ",,,H200,8,,us-central1,us-central1-a,70.0,20.0",
    "TPU-VM,,,tpu-v5p-8,1,,us-east5,us-east5-a,16.8,6.72",
    "TPU-VM,,,tpu-v5p-16,1,,us-east5,us-east5-a,33.6,13.44",
    ",,,tpu-v6e-1,1,,us-east5,us-east5-a,2.7,1.215",
    ",,,tpu-v6e-8,1,,us-east5,us-east5-a,21.6,9.72",
    ",,,tpu-v6e-256,1,,us-east5,us-east5-a,691.2,311.04",
    ",,,tpu-v6e-1,1,,europe-west4,europe-west4-a,700.0,",
    ",,,tpu-v3-8,1,,us-central1,us-central1-a,8.0,2.4",
]) + "\n"  # fmt: skip


def offers_of(tmp_path, text, cloud):
    file = tmp_path / "vms.csv"
    file.write_text(text)
    result = read_vms(file, cloud, KNOWN, quoted_on="2026-11-20")
    return {o["id"]: o for o in result.offers}, result


def test_aws_list_gives_trainium_and_h100_with_price_and_spot_price(tmp_path):
    offers, result = offers_of(tmp_path, AWS, "aws")
    assert float(offers["aws-us-east-1-h100-sxm-on-demand"]["usd_per_chip_hour"]) == pytest.approx(6.88)
    spot = offers["aws-us-east-1-h100-sxm-spot"]
    assert float(spot["usd_per_chip_hour"]) == pytest.approx((10.24 + 55.04) / 2 / 8)
    assert (float(spot["low_usd_per_chip_hour"]), float(spot["high_usd_per_chip_hour"])) == (1.28, 6.88)
    assert offers["aws-us-east-1-h100-sxm-on-demand-p5.4xlarge"]["block_chips"] == "1"
    assert float(offers["aws-us-east-1-trainium1-on-demand"]["usd_per_chip_hour"]) == pytest.approx(21.5 / 16)
    assert float(offers["aws-us-east-2-trainium2-spot"]["usd_per_chip_hour"]) == pytest.approx(23.0631 / 16, rel=1e-4)
    assert "aws-us-east-2-trainium2-on-demand" not in offers
    assert offers["aws-us-east-2-inferentia2-on-demand"]["block_chips"] == "12"
    assert "aws-us-east-2-a100-40gb-on-demand" in offers
    assert result.rows == 9
    assert result.skipped == {"no accelerator": 1, "A10G: not in the catalogue": 1}


def test_gcp_list_gives_tpus_and_joins_host_and_accelerator(tmp_path):
    offers, result = offers_of(tmp_path, GCP, "gcp")
    v5p = offers["gcp-us-east5-tpu-v5p-on-demand"]
    assert (float(v5p["usd_per_chip_hour"]), v5p["block_chips"], v5p["instance"]) == (4.2, "4", "tpu-v5p-8")  # N/2 chips
    v6e = offers["gcp-us-east5-tpu-v6e-on-demand"]
    assert (float(v6e["usd_per_chip_hour"]), v6e["block_chips"]) == (2.7, "1")
    h100 = offers["gcp-us-central1-h100-sxm-on-demand"]
    assert float(h100["usd_per_chip_hour"]) == pytest.approx((9.46 + 78.37) / 8, rel=1e-5)
    assert not any("europe-west4" in name for name in offers)  # 700.0 is "not sold"
    assert result.skipped["not sold"] == 1
    assert result.skipped["H200: no host row to go with it"] == 1
    assert result.skipped["tpu-v3-8: not in the catalogue"] == 1


def test_an_azure_node_has_eight_chips_whatever_the_list_says(tmp_path):
    offers, _ = offers_of(tmp_path, AWS_HEAD + "Standard_ND96isr_H100_v5,H100,12,96,1900,,98.32,,eastus,\n", "azure")
    assert float(offers["azure-eastus-h100-sxm-on-demand"]["usd_per_chip_hour"]) == pytest.approx(12.29)


def test_an_import_is_an_overlay_that_replaces_what_is_older(tmp_path):
    offers, _ = offers_of(tmp_path, AWS.replace("55.04,10.24", "60.00,10.24").replace("55.04,55.04", "60.00,55.04"), "aws")
    file = tmp_path / "overlay.csv"
    file.write_text(
        ",".join(OFFER_COLUMNS) + "\n" + "\n".join(",".join(o.get(c, "") for c in OFFER_COLUMNS) for o in offers.values()) + "\n"
    )
    known = load(file)
    offer = known.offer("aws-us-east-1-h100-sxm-on-demand")
    assert (offer.usd_per_chip_hour, offer.quoted_on) == (7.5, "2026-11-20")
    assert known.offer("aws-us-west-2-h100-sxm-on-demand").usd_per_chip_hour == 6.88


def test_versions_of_a_list_make_a_price_feed(tmp_path):
    for day, price in (("2026-01-01", 40.0), ("2026-02-01", 48.0)):
        (tmp_path / f"{day}.csv").write_text(AWS_HEAD + f"p5.48xlarge,H100,8,,,,{price},,us-east-1,a\n")
    feed = price_series({d: tmp_path / f"{d}.csv" for d in ("2026-02-01", "2026-01-01")}, "aws", KNOWN)
    assert feed == [
        ("2026-01-01", "aws-us-east-1-h100-sxm-on-demand", 5.0),
        ("2026-02-01", "aws-us-east-1-h100-sxm-on-demand", 6.0),
    ]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "empty"),
        ("a,b\n1,2\n", "lacks"),
        (AWS_HEAD + "p5,H100,8,,,,NaN,,r,z\n", "not a number"),
        (AWS_HEAD + "p5,H100,8,,,,1e400,,r,z\n", "too large"),
        (AWS_HEAD + "p5,H100,8,,,,-3,,r,z\n", "not negative"),
        (AWS_HEAD + "p5,H100,0,,,,3,,r,z\n", "at least one chip"),
        (AWS_HEAD + "p5,H100,8,,\n", "5 cells"),
        (AWS_HEAD + 'p5,"H100,8,,,,3,,r,z\n', "CSV"),
    ],
)
def test_bad_lists_are_refused_with_their_place(tmp_path, text, words):
    with pytest.raises(InputErrors, match=words) as caught:
        offers_of(tmp_path, text, "aws")
    assert "vms.csv" in caught.value.problems[0].where


LITELLM = {
    "sample_spec": {"litellm_provider": "x", "mode": "chat", "input_cost_per_token": 0},
    "claude-opus-9": {"litellm_provider": "anthropic", "mode": "chat", "input_cost_per_token": 4e-6,
                      "output_cost_per_token": 2e-5, "cache_read_input_token_cost": 2e-7,
                      "input_cost_per_token_above_200k_tokens": 8e-6, "max_input_tokens": 200000},
    "whisper": {"litellm_provider": "openai", "mode": "audio_transcription", "input_cost_per_token": 1e-6},
}  # fmt: skip
GENAI = [{"id": "anthropic", "models": [
    {"id": "claude-opus-9", "context_window": 200000, "prices": [
        {"prices": {"input_mtok": {"base": 5, "tiers": [{"start": 200000, "price": 10}]}, "output_mtok": 25}},
        {"constraint": {"start_date": "2026-12-01"}, "prices": {"input_mtok": 4, "output_mtok": 20, "cache_read_mtok": 0.2}},
    ]},
    {"id": "claude-small", "prices": {"input_mtok": 1, "output_mtok": 5}},
]}]  # fmt: skip


def test_litellm_prices_become_dollars_per_million(tmp_path):
    file = tmp_path / "p.json"
    file.write_text(json.dumps(LITELLM))
    (row,) = read_prices(file, as_of="2026-11-22")
    assert (row["usd_per_mtok_in"], row["usd_per_mtok_out"], row["usd_per_mtok_cached"]) == ("4", "20", "0.2")
    assert (row["long_context_from_tokens"], row["long_context_usd_per_mtok_in"]) == ("200000", "8")


def test_genai_prices_keep_their_dates_and_load_as_an_overlay(tmp_path):
    from datetime import date

    file = tmp_path / "p.json"
    file.write_text(json.dumps(GENAI))
    rows = read_prices(file, as_of="2026-11-22")
    assert [(r["valid_from"], r["valid_to"]) for r in rows] == [("", "2026-12-01"), ("2026-12-01", ""), ("", "")]
    overlay = tmp_path / "o.csv"
    overlay.write_text(",".join(PRICE_COLUMNS) + "\n" + "\n".join(",".join(r[c] for c in PRICE_COLUMNS) for r in rows) + "\n")
    known = load(overlay)
    assert known.price("claude-opus-9", on=date(2026, 11, 30)).usd_per_mtok_in == 5
    assert known.price("claude-opus-9", on=date(2026, 12, 1)).usd_per_mtok_out == 20


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", "{}", "null", "\x00", '{"m": {"litellm_provider": "x", "mode": "chat", "input_cost_per_token": "free"}}',
     '{"m": {"litellm_provider": "x", "mode": "chat", "input_cost_per_token": -1}}',
     '{"m": {"litellm_provider": "x", "mode": "chat", "input_cost_per_token": NaN}}'],
)  # fmt: skip
def test_bad_price_books(tmp_path, content):
    file = tmp_path / "p.json"
    file.write_text(content)
    with pytest.raises(InputError) as caught:
        read_prices(file, as_of="2026-11-22")
    assert "p.json" in str(caught.value)
