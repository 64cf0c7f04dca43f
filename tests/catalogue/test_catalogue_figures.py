"""Figures typed by hand from the pages named as sources, held against what the catalogue gives."""

from __future__ import annotations

from datetime import date

import pytest

from polysilicon.catalogue import load

KNOWN = load()

# chip, dense TFLOP/s by precision, HBM GB, HBM TB/s, scale-up GB/s one way, domain, W
PAGES = [
    ("a100-80gb", {"bf16": 312, "int8": 624}, 80, 2.039, 300, 8, 400),
    ("h100-sxm", {"bf16": 989, "fp8": 1978, "int8": 1978}, 80, 3.35, 450, 8, 700),
    ("h200-sxm", {"bf16": 989, "fp8": 1978}, 141, 4.8, 450, 8, 700),
    ("b200-sxm", {"bf16": 2250, "fp8": 4500, "fp4": 9000}, 180, 7.7, 900, 8, 1000),
    ("gb200", {"bf16": 2500, "fp8": 5000, "fp4": 10000}, 186, 8.0, 900, 72, 1200),
    ("b300-sxm", {"bf16": 2250, "fp8": 4500, "fp4": 14000, "int8": 153.5}, 288, 7.75, 900, 8, 1100),
    ("gb300", {"bf16": 2500, "fp8": 5000, "fp4": 15000, "int8": 165}, 288, 8.0, 900, 72, 1400),
    ("rubin", {"fp4": 35000}, 288, 22.0, 1800, 72, None),
    ("maia-200", {"fp4": 10145, "fp8": 5072}, 216, 7.0, 1400, 6144, 750),
    ("trainium2", {"bf16": 667, "fp8": 1299}, 96, 2.9, 640, 64, 500),
    ("trainium3", {"bf16": 671, "fp8": 2517, "fp4": 2517}, 144, 4.9, 576, 144, 1000),
    ("tpu-v5p", {"bf16": 459, "int8": 918}, 95, 2.765, 600, 8960, None),
    ("tpu-v6e", {"bf16": 918, "int8": 1840}, 32, 1.638, 400, 256, None),
    ("tpu-v7", {"bf16": 2307, "fp8": 4614}, 192, 7.38, 600, 9216, 600),
    ("mi300x", {"bf16": 1307, "fp8": 2615}, 192, 5.3, 448, 8, 750),
    ("mi325x", {"bf16": 1307, "fp8": 2615}, 256, 6.0, 448, 8, 1000),
    ("mi355x", {"bf16": 2517, "fp8": 5033, "fp4": 10066}, 288, 8.0, 538, 8, 1400),
]


@pytest.mark.parametrize(("name", "math", "hbm_gb", "tb_per_s", "link", "domain", "watts"), PAGES, ids=[p[0] for p in PAGES])
def test_chip_equals_its_page(name, math, hbm_gb, tb_per_s, link, domain, watts):
    chip = KNOWN.chip(name)
    for precision, tflop_per_s in math.items():
        assert chip.dense_tflop_per_s[precision] == pytest.approx(tflop_per_s)
    assert chip.hbm_gb == hbm_gb
    assert chip.hbm_gb_per_s == pytest.approx(tb_per_s * 1e3)
    assert (chip.scale_up_gb_per_s, chip.scale_up_chips, chip.tdp_w) == (pytest.approx(link), domain, watts)


def test_units_of_the_source_are_converted_where_they_enter():
    assert KNOWN.chip("trainium1").hbm_gb_per_s == pytest.approx(820 * 2**30 / 1e9)  # 820 GiB/s
    assert KNOWN.chip("h100-sxm").scale_out_gb_per_s == 50.0  # 400 Gbit/s
    assert KNOWN.chip("gb200").facts["usable_hbm_gb"].value == pytest.approx(198.675, abs=0.001)  # 189,471 MiB


def test_trainium3_has_no_fp4_speed_up_and_its_fabric_is_an_interval():
    chip = KNOWN.chip("Trn3")
    assert chip.dense_tflop_per_s["fp4"] == chip.dense_tflop_per_s["fp8"]
    low, high = (chip.facts[f"scale_up_gb_per_s.{end}"].value for end in ("low", "high"))
    assert (low, high) == (256 + 320, 1280)


def test_precisions_a_chip_lacks_are_absent():
    assert "fp4" not in KNOWN.chip("H100").dense_tflop_per_s
    assert "fp8" not in KNOWN.chip("v6e").dense_tflop_per_s
    assert "int8" not in KNOWN.chip("Ironwood").dense_tflop_per_s


def test_dates_gate_use():
    assert KNOWN.chip("maia-200").available_from == date(2026, 1, 26)
    assert KNOWN.chip("gb200").available_from == date(2025, 2, 1)
    assert KNOWN.chip("maia-200").process == "TSMC N3"


def test_nvl72_is_72_times_its_gpu():
    rack, chip = KNOWN.system("NVL72"), KNOWN.chip("gb200")
    assert (rack.chips, rack.cpus, rack.domains, rack.cooling) == (72, 36, 1, "liquid")
    assert rack.hbm_gb == 72 * chip.hbm_gb
    assert rack.scale_up_aggregate_gb_per_s == 72 * chip.scale_up_gb_per_s * 2
    assert rack.facts["hbm_aggregate_gb_per_s"].value == 72 * chip.hbm_gb_per_s
    assert rack.rack_kw == 120


@pytest.mark.parametrize(
    ("chip", "watts"),
    [("h100-sxm", 10_200 / 8), ("b200-sxm", 14_300 / 8), ("b300-sxm", 14_500 / 8), ("gb200", 120_000 / 72), ("gb300", 136_000 / 72),
     ("rubin", 230_000 / 72), ("tpu-v7", 10e6 / 9216)],
)  # fmt: skip
def test_all_in_power_is_that_of_the_node_rack_or_pod(chip, watts):
    assert KNOWN.chip(chip).all_in_w == pytest.approx(watts, abs=0.1)
    assert KNOWN.chip(chip).facts["all_in_w"].basis == "estimate"


def test_576_gpus_are_eight_racks_never_one():
    preset = KNOWN.system("nvl576")
    assert (preset.chips, preset.domains, preset.racks, preset.chip) == (576, 8, 8, "gb200")
    assert preset.hbm_gb == 8 * KNOWN.system("gb200-nvl72").hbm_gb


def test_nvl144_of_2025_is_nvl72_of_2026():
    assert KNOWN.system("NVL144") is KNOWN.system("vr-nvl72")
    assert KNOWN.system("vr-nvl72").chips == 72


@pytest.mark.parametrize(
    ("offer", "usd"),
    [
        ("aws-us-east-1-h100-sxm-on-demand", 55.04 / 8),
        ("azure-eastus-h100-sxm-on-demand", 98.32 / 8),
        ("azure-westus-h100-sxm-on-demand", 127.816 / 8),
        ("coreweave-north-america-gb200-on-demand", 42.0 / 4),
        ("gcp-us-east5-tpu-v5p-on-demand", 4.20),  # 24,998.40 for v5p-11904, which has 5,952 chips
        ("gcp-us-east5-tpu-v6e-on-demand", 2.70),
        ("gcp-us-central1-tpu-v7-reserved-3-years", 5.40),
        ("nebius-unstated-h100-sxm-on-demand", 4.50),  # since 2026-10-01; 3.85 before
        ("runpod-unstated-h100-sxm-on-demand-community", 2.69),
        ("oracle-us-chicago-1-gb300-on-demand", 18.0),
    ],
)
def test_prices_of_the_pages(offer, usd):
    assert KNOWN.offer(offer).usd_per_chip_hour == pytest.approx(usd, rel=1e-4)


def test_a_price_that_rose_keeps_its_history():
    quotes = KNOWN.offer_history["nebius-unstated-b200-sxm-on-demand"]
    assert [q.usd_per_chip_hour for q in quotes] == [7.15, 8.5]
    assert KNOWN.offers_on(date(2026, 9, 1))["nebius-unstated-b200-sxm-on-demand"].usd_per_chip_hour == 7.15
    assert KNOWN.offers_on(date(2026, 10, 2))["nebius-unstated-b200-sxm-on-demand"].usd_per_chip_hour == 8.5


def test_products_without_a_price_are_quote_only():
    quotes = {(o.cloud, o.chip) for o in KNOWN.offers.values() if o.kind == "quote_only"}
    assert {
        ("azure", "maia-200"),
        ("aws", "trainium3"),
        ("azure", "rubin"),
        ("coreweave", "gb300"),
        ("azure", "mi300x"),
    } <= quotes
    assert all(o.usd_per_chip_hour is None for o in KNOWN.offers.values() if o.kind == "quote_only")
    assert not any(o.usd_per_chip_hour == 700.0 for o in KNOWN.offers.values())


def test_spot_over_zones_is_a_band_around_its_price():
    offer = KNOWN.offer("aws-us-east-1-h100-sxm-spot")
    assert offer.low_usd_per_chip_hour == pytest.approx(10.2397 / 8, rel=1e-4)
    assert offer.high_usd_per_chip_hour == pytest.approx(55.04 / 8)
    assert offer.low_usd_per_chip_hour < offer.usd_per_chip_hour < offer.high_usd_per_chip_hour
    assert offer.basis == "estimate"
    assert 0 < offer.availability_frac < 1


def test_sites_carry_the_pue_of_their_cloud():
    assert KNOWN.sites["azure/eastus"].pue == 1.2
    assert KNOWN.sites["gcp/us-central1"].pue == 1.09
    assert KNOWN.sites["aws/us-east-1"].pue == 1.14


MODELS = [  # id, published total and active in 1e9, KV bytes a token in bf16
    ("llama-3.1-8b", 8.03, 8.03, 131_072),
    ("llama-3.1-70b", 70.6, 70.6, 327_680),
    ("llama-3.1-405b", 405.9, 405.9, 516_096),
    ("qwen3-235b-a22b", 235, 22, 192_512),
    ("qwen3-coder-480b-a35b", 480, 35, 253_952),
    ("deepseek-v3", 671, 37, 70_272),
    ("mixtral-8x7b", 46.7, 12.9, 131_072),
    ("gpt-oss-120b", 116.8, None, 73_728),
    ("qwen3-next-80b-a3b", 80, None, 24_576),
]


@pytest.mark.parametrize(("name", "total", "active", "kv"), MODELS, ids=[m[0] for m in MODELS])
def test_models_reproduce_published_sizes(name, total, active, kv):
    model = KNOWN.model(name)
    assert model.total_params / 1e9 == pytest.approx(total, rel=0.01)
    if active:
        assert model.active_params / 1e9 == pytest.approx(active, rel=0.02)
    assert model.kv_bytes_per_token("bf16") == kv


def test_published_sizes_stand_beside_computed_ones_within_five_percent_but_for_towers():
    towers = {"gemma-3-4b", "gemma-4-26b-a4b"}  # vision towers are left out
    for (kind, name, parameter), (fact, _) in KNOWN.content.facts.items():
        if kind == "model" and parameter == "published_total_params" and name not in towers:
            assert KNOWN.models[name].total_params == pytest.approx(fact.value, rel=0.05), name


def test_closed_models_are_assumptions_with_a_band_and_a_stand_in():
    profile = KNOWN.profile("claude-opus-5-5")
    assert profile.assumption
    assert profile.active_params == (70e9, 200e9)
    assert profile.facts["active_params.low"].basis == "estimate"
    for one in KNOWN.profiles.values():
        assert not one.stand_in or one.stand_in in KNOWN.models
