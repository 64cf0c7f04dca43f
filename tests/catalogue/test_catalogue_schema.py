"""The embedded data: every fact sourced, dated, in a known unit; what is not known is absent."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import fields

import pytest

from polysilicon.catalogue import load
from polysilicon.catalogue.schema import SCHEMAS, parse_date, spec_of
from polysilicon.cloud.offer import Offer
from polysilicon.facts import BASES
from polysilicon.silicon.chip import Chip

KNOWN = load()


def test_every_fact_has_a_known_source_a_basis_and_a_date():
    for fact in KNOWN.facts:
        assert fact.source in KNOWN.sources, fact
        assert fact.basis in BASES, fact
        parse_date(fact.as_of)


def test_every_offer_port_price_and_spot_record_has_a_known_source():
    records = [o for quotes in KNOWN.offer_history.values() for o in quotes]
    assert len(records) >= len(KNOWN.offers) > 250
    for record in (*records, *KNOWN.ports, *KNOWN.token_prices):
        assert record.source in KNOWN.sources, record
    for record in KNOWN.spot_history:
        assert record.source in KNOWN.sources
        assert 0 <= record.availability_frac <= 1


def test_no_source_is_listed_without_being_used():
    used = {f.source for f in KNOWN.facts} | {o.source for q in KNOWN.offer_history.values() for o in q}
    used |= (
        {r.get("source") for r in KNOWN.port_records}
        | {r.source for r in KNOWN.spot_history}
        | {p.source for p in KNOWN.token_prices}
    )
    assert set(KNOWN.sources) <= used


def test_no_field_of_a_chip_stands_without_its_fact():
    named = {"id", "name", "facts", "dense_tflop_per_s", "sparse_tflop_per_s"}
    for chip in KNOWN.chips.values():
        for field in fields(Chip):
            value = getattr(chip, field.name)
            if field.name not in named and value not in (None, ""):
                assert chip.facts[field.name].source, (chip.id, field.name)
        for kind in ("dense", "sparse"):
            for precision in getattr(chip, f"{kind}_tflop_per_s"):
                assert f"{kind}_tflop_per_s.{precision}" in chip.facts


def test_what_is_not_known_is_none():
    assert KNOWN.chip("maia-100").scale_up_gb_per_s is None
    assert KNOWN.chip("Maia 200").dense_tflop_per_s.get("bf16") is None
    assert KNOWN.chip("tpu-v5e").tdp_w is None
    assert KNOWN.system("maia-200-domain").rack_kw is None
    assert KNOWN.system("trn3-gen2-ultraserver").rack_kw is None
    assert KNOWN.chip("h100-nvl").hbm_gb_per_s is None


def test_figures_that_were_only_recalled_never_pass_as_read():
    for fact in KNOWN.facts:
        if fact.source == "datasheets-recalled":
            assert fact.basis in ("estimate", "announced", "assumed"), fact


def test_sparse_figures_stay_apart_from_dense_ones():
    for chip in KNOWN.chips.values():
        for precision, sparse in chip.sparse_tflop_per_s.items():
            assert sparse > 1.8 * chip.dense_tflop_per_s[precision]


def test_bands_hold_their_value():
    for chip in KNOWN.chips.values():
        for name, fact in chip.facts.items():
            stem, _, leaf = name.rpartition(".")
            if leaf == "low":
                assert fact.value <= chip.facts[stem].value
            if leaf == "high":
                assert fact.value >= chip.facts[stem].value


@pytest.mark.parametrize("kind", sorted(SCHEMAS))
def test_every_parameter_in_use_is_declared(kind):
    for found, subject, parameter in KNOWN.content.facts:
        if found == kind:
            assert spec_of(SCHEMAS[kind], parameter) is not None, (subject, parameter)


def test_names_of_chips_do_not_clash():
    seen: dict[str, str] = {}
    for chip in KNOWN.chips.values():
        for alias in str(chip.facts["aliases"].value).split(";"):
            folded = "".join(c for c in alias.casefold() if c.isalnum())
            assert seen.setdefault(folded, chip.id) == chip.id, alias


def test_offers_name_known_chips_and_stay_where_they_are_sold():
    assert all(isinstance(o, Offer) and o.chip in KNOWN.chips for o in KNOWN.offers.values())
    for chip, cloud in (("maia-200", "azure"), ("trainium2", "aws"), ("tpu-v7", "gcp")):
        assert {o.cloud for o in KNOWN.offers.values() if o.chip == chip} == {cloud}


def test_the_digest_is_stable_and_moves_with_an_overlay(tmp_path):
    assert load().digest == KNOWN.digest
    file = tmp_path / "o.csv"
    file.write_text("subject,parameter,value,unit,source,as_of,basis,note\nh100-sxm,tdp_w,650,W,own meter,2026-11,measured,\n")
    assert load(file).digest != KNOWN.digest


def test_loading_needs_no_heavy_library():
    heavy = ("numpy", "polars", "pydantic", "ruamel")
    code = f"import sys; from polysilicon.catalogue import load; load().models; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_spot_offers_carry_the_medians_of_the_measured_zones():
    from statistics import median

    alike = [r for r in KNOWN.spot_history if (r.cloud, r.accelerator, r.nodes) == ("aws", "v100", 1)]
    offer = KNOWN.offer("aws-us-east-1-h100-sxm-spot")
    assert offer.availability_frac == round(median(r.availability_frac for r in alike), 3)
    assert offer.interruptions_per_hour == round(1 / median(r.mean_up_hours for r in alike), 3)
