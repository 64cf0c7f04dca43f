"""What a scenario becomes: periods, load blocks, lengths, offers under one's own, contracts, ports."""

from __future__ import annotations

import itertools
import json
from datetime import date

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from smallest import MINIMAL

from polysilicon.cloud.region import geographies, lies_in
from polysilicon.scenario import Scenario, load, load_embedded, load_text, resolve
from polysilicon.scenario.calendar import add_months, day_blocks
from polysilicon.scenario.lengths import lognormal


def resolved(text, catalogue):
    return resolve(load_text(text, "s.yaml", catalogue), catalogue)


@pytest.mark.parametrize("name", ["minimal", "enterprise", "frontier_lab"])
def test_embedded_scenarios_resolve(name, catalogue):
    answer = resolve(load_embedded(name, catalogue), catalogue)
    assert answer.workloads
    assert answer.periods
    assert len(answer.digest) == 16


def test_periods_cover_the_horizon_and_demand_keeps_its_mean(catalogue):
    answer = resolved(MINIMAL.replace("slo:", "growth_per_year_frac: 1.0\n    slo:"), catalogue)
    assert [p.start for p in answer.periods] == ["2027-01-01", "2027-04-01", "2027-07-01", "2027-10-01"]
    assert sum(p.hours for p in answer.periods) == 365 * 24
    factors = [p.discount_factor for p in answer.periods]
    assert factors == sorted(factors, reverse=True)
    hours = np.array([len(run) for run in answer.hours])
    assert hours.sum() == 24
    mean = answer.demand_rps["chat"] @ hours / 24
    assert mean[0] == pytest.approx(10.0)
    assert mean[1] / mean[0] == pytest.approx(2**0.25)
    assert (answer.peak_rps["chat"] >= answer.demand_rps["chat"] - 1e-9).all()
    assert answer.peak_rps["chat"][0].max() / 10 == pytest.approx(answer.workloads[0].peak_to_mean_ratio)


def test_time_zones_move_the_peak(catalogue):
    def peak_hour(zone):
        answer = resolved(
            MINIMAL.replace("mean_rps: 10", f"mean_rps: 10, timezone_h: {zone}").replace("months: 12", "months: 12, blocks: 24"), catalogue
        )
        return answer.hours[int(np.argmax(answer.demand_rps["chat"][0]))][0]

    assert (peak_hour(0) - peak_hour(9)) % 24 == 9


@settings(max_examples=25, deadline=None)
@given(st.lists(st.floats(0.1, 5.0), min_size=24, max_size=24), st.integers(1, 24))
def test_blocks_are_runs_that_cover_the_day_once(curve, count):
    runs = day_blocks(np.array([curve]), np.ones(1), count)
    assert sorted(hour for run in runs for hour in run) == list(range(24))
    assert len(runs) == count
    assert all((b - a) % 24 == 1 for run in runs for a, b in itertools.pairwise(run))


def test_lengths_come_from_quantiles_and_own_words_win(catalogue):
    mean, cv = lognormal(1000.0, 10_000.0)
    assert mean == pytest.approx(1000 * np.exp((np.log(10) / 2.3263478740408408) ** 2 / 2))
    assert cv > 1
    text = MINIMAL.replace("profile: chat,", "lengths: {isl_mean_tokens: 700, osl_p50_tokens: 100, osl_p99_tokens: 100, cached_frac: 0.5},")
    lengths = resolved(text, catalogue).workloads[0].lengths
    assert (lengths.isl_tokens, lengths.osl_tokens, lengths.cached_frac) == (700.0, 100.0, 0.5)


def test_own_offers_win_and_quotes_need_a_price(catalogue):
    name = "azure-unstated-gb200-quote-only"
    text = MINIMAL.replace("  catalogue: false\n  own:\n", f"  include: [{name}]\n  own:\n")
    without = resolved(text, catalogue)
    assert [o.id for o in without.offers] == ["mine"]
    assert any(name in note for note in without.notes)
    priced = resolved(text + f"    - {{id: quoted, like: {name}, region: eastus2, usd_per_chip_hour: 4.0, min_term_months: 36}}\n", catalogue)
    offer = next(o for o in priced.offers if o.id == "quoted")
    assert (offer.kind, offer.basis, offer.block_chips, offer.region) == ("reserved", "assumed", 72, "eastus2")


def test_token_prices_come_from_the_book_with_their_date(catalogue):
    text = MINIMAL + "    - {id: api, kind: per_token, model: gpt-oss-120b, token_price: fireworks/gpt-oss-120b}\n"
    offer = next(o for o in resolved(text, catalogue).offers if o.id == "api")
    assert (offer.cloud, offer.usd_per_mtok_in, offer.usd_per_mtok_out) == ("fireworks", 0.15, 0.6)
    assert offer.quoted_on
    assert offer.source in catalogue.sources


def test_a_model_of_ones_own_by_its_config(tmp_path, catalogue):
    config = {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 2048, "num_hidden_layers": 16,
        "num_attention_heads": 32, "num_key_value_heads": 8, "intermediate_size": 8192, "vocab_size": 128256,
        "max_position_embeddings": 131072, "tie_word_embeddings": True, "torch_dtype": "bfloat16",
    }  # fmt: skip
    (tmp_path / "mine.json").write_text(json.dumps(config))
    (tmp_path / "s.yaml").write_text(MINIMAL.replace("gpt-oss-120b", "mine.json"))
    answer = resolve(load(tmp_path / "s.yaml", catalogue), catalogue)
    assert answer.models["mine.json"].total_params == pytest.approx(1.24e9, rel=0.02)


def test_the_digest_follows_the_words_and_nothing_else(tmp_path, catalogue):
    (tmp_path / "a.yaml").write_text(MINIMAL)
    (tmp_path / "b.yaml").write_text("# a comment\n" + MINIMAL)
    a, b = (resolve(load(tmp_path / f"{n}.yaml", catalogue), catalogue).digest for n in "ab")
    assert a == b
    assert a != resolved(MINIMAL.replace("mean_rps: 10", "mean_rps: 11"), catalogue).digest


def test_geographies():
    assert geographies("westeurope") == ("europe", "eu")
    assert geographies("europe-west2") == geographies("uksouth") == ("europe", "uk")
    assert geographies("switzerlandnorth") == ("europe",)
    assert geographies("unstated") == geographies("global") == ()
    assert geographies("ap-southeast-2") == ("oceania",)
    assert lies_in("us-east-2", "us")
    assert not lies_in("northamerica-northeast1", "us")


def test_months_are_added_to_the_end_of_short_ones():
    assert add_months(date(2027, 11, 30), 3) == date(2028, 2, 29)
    assert add_months(date(2027, 12, 1), 1) == date(2028, 1, 1)


def test_every_field_is_described_to_editors():
    schema = Scenario.model_json_schema()
    assert all("description" in part for part in schema["$defs"].values())
    assert schema["$defs"]["SloPart"]["properties"]["ttft_s"]["description"].startswith("Time to first token in seconds")
