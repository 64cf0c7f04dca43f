"""A user's overlay: one place that overrides any fact and adds chips, clouds, offers, models without code."""

from __future__ import annotations

import pytest

from polysilicon.catalogue import load
from polysilicon.errors import InputErrors

HEAD = "subject,parameter,value,unit,source,as_of,basis,note\n"


def overlay(tmp_path, text, name="o.csv"):
    file = tmp_path / name
    file.write_text(text)
    return load(file)


def test_one_fact_is_overridden_with_its_own_provenance(tmp_path):
    known = overlay(tmp_path, HEAD + "H100-SXM,x,1,W,s,2026,measured,\n".replace("H100-SXM,x,1", "h100-sxm,tdp_w,650"))
    assert known.chip("H100").tdp_w == 650
    assert known.chip("H100").facts["tdp_w"].source == "s"
    assert known.chip("H100").hbm_gb == 80


def test_units_are_converted(tmp_path):
    known = overlay(tmp_path, HEAD + "h100-sxm,hbm_gb_per_s,3.0,TB/s,s,2026,measured,\n")
    assert known.chip("H100").hbm_gb_per_s == 3000


def test_a_band_around_a_replaced_figure_goes_with_it(tmp_path):
    known = overlay(tmp_path, HEAD + "trainium3,scale_up_gb_per_s,2000,GB/s,s,2026,measured,\n")
    assert "scale_up_gb_per_s.high" not in known.chip("trainium3").facts


def test_a_new_chip_cloud_and_offer_from_rows_alone(tmp_path):
    rows = (
        "chip:dojo,vendor,Own,,s,2026,assumed,\nchip:dojo,family,dojo,,s,2026,assumed,\nchip:dojo,hbm_gb,128,GB,s,2026,assumed,\n"
    )
    rows += "offer:own-dojo,cloud,own,,s,2026-01,assumed,\noffer:own-dojo,region,basement,,s,2026-01,assumed,\n"
    rows += "offer:own-dojo,chip,dojo,,s,2026-01,assumed,\n"
    rows += "offer:own-dojo,kind,on_demand,,s,2026-01,assumed,\n"
    rows += "offer:own-dojo,usd_per_chip_hour,1.5,USD/chip-hour,s,2026-01,assumed,\n"
    known = overlay(tmp_path, HEAD + rows)
    assert known.chip("dojo").hbm_gb == 128
    assert known.chip("dojo").tdp_w is None
    offer = known.offer("own-dojo")
    assert (offer.cloud, offer.usd_per_chip_hour, offer.source, offer.quoted_on) == ("own", 1.5, "s", "2026-01")
    assert known.sites["own/basement"].cloud == "own"


def test_a_negotiated_price_turns_a_quote_into_an_offer(tmp_path):
    known = overlay(
        tmp_path, HEAD + "azure-centralus-maia-200-quote-only,usd_per_chip_hour,4.2,USD/chip-hour,our contract,2026-06,filing,\n"
    )
    offer = known.offer("azure-centralus-maia-200-quote-only")
    assert (offer.usd_per_chip_hour, offer.kind, offer.basis, offer.quoted_on) == (4.2, "on_demand", "filing", "2026-06")


def test_offers_in_the_form_of_the_embedded_file(tmp_path):
    head = "id,cloud,region,chip,kind,usd_per_chip_hour,source,basis\n"
    known = overlay(tmp_path, head + "x-1,newcloud,mars,h100-sxm,on_demand,1.25,their page,list_price\n")
    assert known.offer("x-1").pool == "h100-sxm@newcloud/mars"
    assert len(known.offers) == len(load().offers) + 1


def test_yaml_with_defaults_numbers_and_full_facts(tmp_path):
    text = """
source: our lab
as_of: 2026-11
basis: measured
chips:
  h100-sxm:
    tdp_w: 690
    dense_tflop_per_s: {bf16: 800}
    hbm_gb_per_s: {value: 3.1, unit: TB/s, note: stream}
  mine:
    vendor: Own
    family: cpu
models:
  my-llama: {model_type: llama, hidden_size: 64, num_hidden_layers: 2, num_attention_heads: 4,
             intermediate_size: 128, vocab_size: 1000}
profiles:
  claude-opus-5-5: {stand_in: kimi-k2, active_params.low: {value: 90, unit: 1e9 params}}
offers:
  mine-1: {cloud: own, region: here, chip: mine, kind: reserved, usd_per_chip_hour: 0.5, min_term_months: 12}
ports:
  - {model_family: llama, chip_family: maia, engine: vllm, status: porting, engineer_months: 9, lead_months: 6}
prices:
  - {provider: own, model: my-llama, usd_per_mtok_in: 0.1, usd_per_mtok_out: 0.4, valid_from: 2026-01-01}
sites:
  own/here: {pue: 1.05, usd_per_kwh: {value: 60, unit: USD/MWh}, it_mw: {value: 0.5, unit: MW}}
"""
    known = overlay(tmp_path, text.replace("it_mw: {value: 0.5, unit: MW}", "g_co2_per_kwh: 30"), "o.yaml")
    chip = known.chip("h100-sxm")
    assert (chip.tdp_w, chip.dense_tflop_per_s["bf16"], chip.hbm_gb_per_s) == (690, 800, 3100)
    assert chip.facts["tdp_w"].source == "our lab"
    assert chip.facts["hbm_gb_per_s"].note == "stream"
    assert known.model("my-llama").layers == 2
    assert known.model("claude-opus-5-5").id == "kimi-k2"
    assert known.profile("claude-opus-5-5").active_params == (90e9, 200e9)
    assert known.offer("mine-1").min_term_months == 12
    assert known.port("llama", "maia").engineer_months == 9
    assert known.price("my-llama").usd_per_mtok_out == 0.4
    assert (known.sites["own/here"].pue, known.sites["own/here"].usd_per_kwh) == (1.05, 0.06)


def test_a_folder_of_overlays(tmp_path):
    (tmp_path / "a.csv").write_text(HEAD + "h100-sxm,tdp_w,650,W,s,2026,measured,\n")
    (tmp_path / "b.yaml").write_text("source: s\nas_of: 2026\nchips: {gb200: {tdp_w: 1100}}\n")
    known = load(tmp_path)
    assert (known.chip("h100-sxm").tdp_w, known.chip("gb200").tdp_w) == (650, 1100)


def test_a_word_on_a_port_stands_against_embedded_ones(tmp_path):
    head = "model_family,chip_family,engine,status,source,as_of,basis,efficiency_frac\n"
    known = overlay(tmp_path, head + "llama,neuron,nxd-inference,pilot,our team,2026-11,measured,0.8\n")
    port = next(p for p in known.ports if (p.model_family, p.chip_family, p.engine) == ("llama", "neuron", "nxd-inference"))
    assert (port.status, port.efficiency_frac, port.source) == ("pilot", 0.8, "our team")


def test_a_chip_is_sold_only_where_it_is_sold_unless_the_overlay_says_otherwise(tmp_path):
    head = "id,cloud,region,chip,kind,usd_per_chip_hour,source,basis\n"
    row = "x,aws,us-east-1,maia-200,on_demand,4,a rumour,press\n"
    with pytest.raises(InputErrors, match="sold only by azure"):
        overlay(tmp_path, head + row)
    (tmp_path / "o.csv").write_text(head + row)
    (tmp_path / "a.csv").write_text(HEAD + "maia-200,only_cloud,aws,,a rumour,2026,press,\n")
    with pytest.raises(InputErrors, match="sold only by aws"):  # and now the embedded Azure quote is the wrong one
        load(tmp_path)
