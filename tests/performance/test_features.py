"""Each modelled feature of an engine against a closed form, or against published rows that have it and rows that do not."""

import math
import statistics
from dataclasses import replace

import numpy as np
import pytest

from polysilicon import catalogue
from polysilicon.application.workload import Lengths
from polysilicon.exchange import cases, closed_loop, points, validate
from polysilicon.exchange.predict import DRAFT_COST_FRAC
from polysilicon.exchange.reference import Lookup
from polysilicon.model.layout import Layout
from polysilicon.performance import step_times
from polysilicon.performance.serving import steady_state
from polysilicon.performance.steps import _experts_s, degrees, ground, slopes, tokens_s

KNOWN = catalogue.load()
LLAMA, R1, H100, GB200 = KNOWN.model("llama-3.1-70b"), KNOWN.model("deepseek-r1"), KNOWN.chip("H100"), KNOWN.chip("GB200")
HEAD = "source,model,quant,chip,n_chips,parallelism,isl,osl,concurrency_or_batch,cached_frac,metric,value,unit,backend,note"


@pytest.fixture(scope="module")
def rows(request):
    shared = request.getfixturevalue("shared_dir")
    return points.read(shared / "data" / "measured_points.csv")


def predicted(found):
    checked, refused = validate.check(found, KNOWN)
    assert not refused, refused
    return {c.point.row: c.predicted for c in checked}


def predict_one(tmp_path, **fields):
    run = {"source": "me", "model": "Llama-3.1-70B", "quant": "fp8", "chip": "H100", "n_chips": 8, "parallelism": "TP8", "isl": 1024, "osl": 256,
           "concurrency_or_batch": 16, "cached_frac": 0, "metric": "tpot", "value": 10, "unit": "ms", "backend": "vllm",
           "note": "", **fields}  # fmt: skip
    path = tmp_path / "p.csv"
    path.write_text(HEAD + "\n" + ",".join(str(run[name]) for name in HEAD.split(",")) + "\n")
    return predicted(points.read(path)).popitem()[1]


# --- speculative decoding


def test_speculation_divides_a_step_by_the_tokens_it_yields(tmp_path):
    plain, drafted = (predict_one(tmp_path, note=note) for note in ("", "speculative 2.5 tokens a step"))
    assert drafted == pytest.approx(plain * (1 + DRAFT_COST_FRAC) / 2.5)


@pytest.mark.shared
def test_speculation_against_published_pairs(rows):
    """Trainium2 with and without a 1B draft: 3.7 times (70B); all runs with a draft are known as such, and no other."""
    lookup = Lookup(KNOWN)
    told = [p for p in rows if any("speculative dec" in x and "off" not in x for x in (p.quant, p.parallelism))]
    assert len(told) == 11
    assert all(cases.of(p, lookup).accepted_tokens > 1 for p in told)
    others = [p for p in rows if p not in told and p.source.startswith(("AWS", "aws", "InferenceX"))][::20]
    assert all(cases.of(p, lookup).accepted_tokens == 1 for p in others)
    plain = next(p for p in rows if p.metric == "tpot_p50" and p.value == 19.6)
    drafted = next(p for p in rows if p.metric == "tpot_p50" and p.value == 5.3)
    found = predicted([plain, drafted])
    assert 1.35 < found[plain.row] / found[drafted.row] < 4.6  # the published speed-ups: 1.35 (32B), 3.7 (70B), 4.6 (405B, and 8-bit weights)


# --- prefix hits


def test_a_cached_prompt_is_prefilled_where_it_is_not_cached(tmp_path):
    """A lone request: TTFT falls by the time of the tokens that are not computed; what is left still attends to all."""
    full, half = (predict_one(tmp_path, metric="ttft", isl=8000, concurrency_or_batch=1, cached_frac=c) for c in (0, 0.5))
    short = predict_one(tmp_path, metric="ttft", isl=4000, concurrency_or_batch=1)
    assert short <= half < 0.7 * full


@pytest.mark.shared
def test_prefix_hits_against_published_pairs(rows):
    """Trainium2 with the prefix cache off and on: TTFT falls to 31 % (over 90 % hits), 64-83 % (25 % hits), not at all (none)."""
    pairs = {}
    for p in rows:
        if "prefix_cache" in p.metric:
            pairs.setdefault(p.isl, {})["off" if "no_prefix" in p.metric else "on"] = p
    assert len(pairs) >= 4
    for isl, both in pairs.items():
        found = predicted(list(both.values()))
        ratio = found[both["on"].row] / found[both["off"].row]
        measured = both["on"].value / both["off"].value
        assert abs(ratio - measured) < 0.25, (isl, ratio, measured)


# --- disaggregation


def test_a_hand_over_takes_the_caches_bytes_over_the_link():
    times = step_times(LLAMA, H100, Layout("fp8", "fp8", tp=8), link_gb_per_s=50.0)
    g = ground(LLAMA, H100, "fp8", "fp8")
    per_token = LLAMA.kv_bytes_per_token("fp8")
    assert times.transfer_s_per_token == pytest.approx(per_token / (50e9 * g.eff.link_frac * 8), rel=1e-6)


@pytest.mark.shared
def test_disaggregated_rows_are_covered_and_near(rows):
    found = [p for p in rows if "disagg" in p.parallelism]
    checked, refused = validate.check(found, KNOWN)
    assert len(checked) >= 0.95 * len(found), refused
    tpot = [abs(c.error_frac) for c in checked if c.point.kind == "tpot"]
    assert statistics.median(tpot) <= 0.20


# --- expert parallelism


def test_the_busiest_expert_rank_sets_the_pace():
    """Where arithmetic binds, experts take imbalance times as long; where reading binds, too; without expert parallelism, no change."""
    g = ground(R1, GB200, "fp4", "fp8")
    skewed = replace(g.rates, imbalance_factor=2.0 * g.rates.imbalance_factor)
    spread, whole = degrees([Layout("fp4", "fp8", tp=1, ep=32, dp=32)]), degrees([Layout("fp4", "fp8", tp=8)])
    for tokens in (8.0, 1e6):
        t = np.array([[tokens]])
        twice, once = (float(_experts_s(g.terms, r, spread, t)[0, 0]) for r in (skewed, g.rates))
        assert twice == pytest.approx(2.0 * once, rel=1e-4)
        assert float(_experts_s(g.terms, skewed, whole, t)[0, 0]) == float(_experts_s(g.terms, g.rates, whole, t)[0, 0])


@pytest.mark.shared
def test_wide_expert_parallel_rows_are_met(rows):
    """DeepSeek over 32 to 144 ranks in one phase (SGLang and DeepSeek publish tokens a second a node)."""
    wide = [p for p in rows if p.metric.startswith(("decode_throughput", "prefill_throughput"))]
    assert len(wide) >= 6
    found = predicted(wide)
    errors = [math.log(found[p.row] / p.value) for p in wide]
    assert statistics.median(abs(e) for e in errors) < math.log(1.8)  # low: experts with many rows each reach more than is fitted
    assert all(abs(e) < math.log(3.0) for e in errors)


# --- precision of the cache


def test_half_as_many_bits_hold_twice_as_many_tokens_and_read_twice_as_fast():
    d = degrees([Layout("fp8", "fp8", tp=8)])
    wide, narrow = (slopes(ground(LLAMA, H100, "fp8", kv), d) for kv in ("bf16", "fp8"))
    assert float(wide.kv_s_per_token[0, 0]) == pytest.approx(2 * float(narrow.kv_s_per_token[0, 0]))
    assert float(narrow.kv_tokens[0, 0]) == pytest.approx(2 * float(wide.kv_tokens[0, 0]), abs=2)
    assert LLAMA.kv_bytes_per_token("bf16") == 2 * 2 * 80 * 8 * 128  # K and V, 2 bytes, 80 layers, 8 heads of 128


# --- host


def test_on_an_infinitely_fast_chip_only_launches_and_the_host_are_left():
    endless = replace(H100, hbm_gb_per_s=1e12, dense_tflop_per_s=dict.fromkeys(H100.dense_tflop_per_s, 1e12), scale_up_gb_per_s=1e12)
    g = ground(LLAMA, endless, "fp8", "fp8")
    d = degrees([Layout("fp8", "fp8", tp=1)])
    assert float(tokens_s(g.terms, g.rates, d, np.array([[1.0]]))[0, 0]) == pytest.approx(g.rates.launch_s + g.eff.step_s, rel=1e-6)
    assert float(slopes(g, d).sequence_s[0, 0]) == pytest.approx(g.eff.sequence_s, rel=1e-6)


@pytest.mark.shared
def test_rows_of_small_models_need_the_host(rows):
    """TPOT of Llama 3.1 8B at few requests: without launches and host the prediction is far too fast, with them it is near."""
    small = [p for p in rows if "8B" in p.model and p.kind == "tpot" and p.chip.startswith("H") and p.source.startswith("NVIDIA")]
    few = [p for p in small if p.load.isdigit() and int(p.load) <= 8]
    assert len(few) >= 10
    found = predicted(few)
    near = statistics.median(abs(found[p.row] / p.value - 1) for p in few)
    bare = []
    for p in few:
        case = cases.of(p, Lookup(KNOWN))
        g = ground(case.model, case.chip, case.layout.precision, case.layout.kv_precision)
        bytes_ = case.model.weight_bytes(case.layout.precision) + case.concurrency * case.isl_tokens * case.model.kv_bytes_per_token("bf16")
        bare.append(1e3 * bytes_ / (case.layout.tp * g.hbm_gb_per_s * 1e9) / p.value - 1)
    assert statistics.median(bare) < -0.4
    assert near < 0.25


# --- chunk size


def chunked(budget, prompt, *, slots=1, osl=5, step_s=1.0, prefill_s=0.0):
    out = np.zeros(closed_loop.OUTPUTS)
    limits = np.array([budget, 1e6, 1e12, 0, 1, 0, 0, 0], float)
    grid, values = np.array([1.0, 1e5]), np.array([step_s, step_s])
    closed_loop.play(np.full(4 * slots, prompt, np.int64), np.full(4 * slots, osl, np.int64), slots, grid, values,
                     np.array([0, 0, 0, 0, 0, prefill_s, 0], float), limits, np.zeros(4), out)  # fmt: skip
    return out[closed_loop.TTFT], out[closed_loop.TPOT]


@pytest.mark.parametrize(("budget", "steps"), [(1000, 1), (500, 2), (300, 4), (100, 10)])
def test_a_prompt_takes_as_many_steps_as_it_has_chunks(budget, steps):
    ttft, tpot = chunked(budget, 1000, prefill_s=0.5)
    assert ttft == pytest.approx(steps * 1.5)
    assert tpot == pytest.approx(1.0)


def test_smaller_chunks_trade_ttft_for_smoother_decoding():
    g = ground(LLAMA, H100, "fp8", "fp8")
    d = degrees([Layout("fp8", "fp8", tp=8)])
    small, large = (steady_state(g, d, slopes(g, d), Lengths(16_000, 200), 0.95, max_step_tokens=c, batches=np.array([4.0])) for c in (1024, 16384))
    assert float(small.ttft_q_s[0, 0]) > float(large.ttft_q_s[0, 0])
    longest_small = float(tokens_s(g.terms, g.rates, d, np.array([[1024.0]]))[0, 0])
    longest_large = float(tokens_s(g.terms, g.rates, d, np.array([[16384.0]]))[0, 0])
    assert longest_small < longest_large / 4  # the longest a decoding sequence waits for its next token
