"""Long-context classes: tiers add up to the workload, by sampling and by hand, and each is sized by itself."""

from __future__ import annotations

import numpy as np
import pytest

from polysilicon import catalogue as catalogues
from polysilicon import study
from polysilicon.errors import InputError, InputErrors
from polysilicon.scenario import load_text, resolve
from polysilicon.scenario.tiers import of_lognormal

TEXT = """\
polysilicon: 1
name: tiers
horizon: {start: 2027-01-01, months: 3}
workloads:
  - id: docs
    model: llama-3.1-8b
    traffic: {mean_rps: 20, peak_to_mean_ratio: 1.0, lengths: {isl_p50_tokens: 4000, isl_p99_tokens: 60000, osl_mean_tokens: 300, cached_frac: 0.2}}
    context_tiers: [8192, 32768]
    slo: {ttft_s: 4.0, tpot_s: 0.05}
offers:
  catalogue: false
  own:
    - {id: mine, cloud: azure, region: eastus, chip: gb200, kind: on_demand, usd_per_chip_hour: 3.0}
study: {proof_requests: 3000}
"""


@pytest.fixture(scope="module")
def known():
    return catalogues.load()


def test_tiers_add_up_to_the_workload(known):
    whole = resolve(load_text(TEXT.replace("    context_tiers: [8192, 32768]\n", ""), "s.yaml", known), known).workloads[0]
    tiers = resolve(load_text(TEXT, "s.yaml", known), known).workloads
    assert [w.id for w in tiers] == ["docs to 8k", "docs to 32k", "docs over 32k"]
    assert sum(w.mean_rps for w in tiers) == pytest.approx(20.0)
    assert sum(w.mean_rps * w.lengths.isl_tokens for w in tiers) == pytest.approx(20.0 * whole.lengths.isl_tokens)
    assert [w.lengths.isl_tokens for w in tiers] == sorted(w.lengths.isl_tokens for w in tiers)
    assert all(w.lengths.osl_tokens == pytest.approx(300.0, rel=1e-6) and w.lengths.cached_frac == 0.2 and w.slo == whole.slo for w in tiers)


def test_moments_equal_a_sample_s():
    s = np.sqrt(np.log(1 + 1.5**2))
    sample = np.random.default_rng(7).lognormal(np.log(5000.0) - s * s / 2, s, 2_000_000)
    for low, high in ((0.0, 4000.0), (4000.0, 20000.0), (20000.0, np.inf)):
        inside = sample[(sample > low) & (sample <= high)]
        share, mean, cv = of_lognormal(5000.0, 1.5, low, high)
        assert share == pytest.approx(len(inside) / len(sample), rel=0.01)
        assert mean == pytest.approx(inside.mean(), rel=0.01)
        assert cv == pytest.approx(inside.std() / inside.mean(), rel=0.05)


def test_each_tier_has_its_own_serving_point_and_is_proven(known):
    found = study.run(load_text(TEXT, "s.yaml", known), known)
    rates = {w: p.requests_per_s / p.chips for (w, _), p in found.table.points.items()}
    assert rates["docs to 8k"] > rates["docs to 32k"] > rates["docs over 32k"]
    assert found.proven is True and {p.workload for p in found.plan.placements} == set(rates)


def test_a_tier_of_nothing_and_boundaries_out_of_order_are_refused(known):
    with pytest.raises(InputError, match="no tier of its own"):
        resolve(load_text(TEXT.replace("[8192, 32768]", "[8192, 90000000]"), "s.yaml", known), known)
    with pytest.raises(InputErrors, match="must rise"):
        load_text(TEXT.replace("[8192, 32768]", "[32768, 8192]"), "s.yaml", known)


def test_a_link_for_the_workload_is_a_link_for_its_tiers(known):
    hall = '{id: hall, prefill: ["*"], decode: ["*"], gb_per_s_per_chip: 50}'
    linked = TEXT.replace("study:", f"disaggregation: {{workloads: [docs], links: [{hall}]}}\nstudy:")
    assert resolve(load_text(linked, "s.yaml", known), known).disaggregation.workloads == ("docs to 8k", "docs to 32k", "docs over 32k")
