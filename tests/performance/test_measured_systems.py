"""What is known of the systems that points were measured on, and the physics that only their loads show."""

from types import SimpleNamespace

import numpy as np
import pytest

from polysilicon import catalogue
from polysilicon.exchange import calibrate, coverage
from polysilicon.exchange.cases import Case, Recipe, of
from polysilicon.exchange.points import Point
from polysilicon.exchange.predict import analytic, columns, embedded, outcomes, play, reached
from polysilicon.exchange.reference import Lookup
from polysilicon.model.layout import Layout
from polysilicon.performance.steps import _experts_s, chip_facts, degrees

KNOWN = catalogue.load()
LOOKUP = Lookup(KNOWN)


FACTS = {
    "row": 2, "source": "InferenceX", "model": "Llama-3.1-70B", "total_params": 0.0, "active_params": 0.0, "quant": "fp8", "chip": "H100-SXM",
    "n_chips": 8, "parallelism": "TP8", "isl": "1024", "osl": "1024", "load": "16", "metric": "tpot", "value": 1.0, "unit": "ms", "run": "",
    "backend": "vllm", "date": "2026-03-01", "note": "",
}  # fmt: skip


def point(**changes) -> Point:
    return Point(**{**FACTS, **changes})


def case(**changes) -> Case:
    return of(point(**changes), LOOKUP)


@pytest.mark.parametrize(("changes", "cache"), [
    ({}, "fp8"),  # InferenceX's script asks for it
    ({"model": "MiniMax-M2.5"}, "bf16"),  # and for this model does not
    ({"model": "gpt-oss-120b", "quant": "fp4"}, "bf16"),
    ({"model": "gpt-oss-120b", "quant": "fp4", "chip": "B200-SXM"}, "fp8"),
    ({"model": "DeepSeek-R1", "backend": "sglang", "chip": "H200-SXM"}, "bf16"),
    ({"model": "DeepSeek-R1", "backend": "sglang", "chip": "B200-SXM"}, "fp8"),
    ({"source": "NVIDIA aiconfigurator gap analysis", "model": "Qwen3-32B"}, "bf16"),  # vLLM's default
    ({"source": "NVIDIA aiconfigurator gap analysis", "model": "Qwen3-32B", "backend": "trtllm"}, "fp8"),
    ({"source": "NVIDIA aiconfigurator gap analysis", "model": "Qwen3-32B", "quant": "fp8 (fp8 kv)"}, "fp8"),
])  # fmt: skip
def test_the_cache_has_the_width_the_engine_was_run_with(changes, cache):
    assert case(**changes).layout.kv_precision == cache


def test_a_choice_of_precisions_is_the_lowest_that_the_chip_multiplies():
    words = {"quant": "fp8 or mxfp4 (see submission)", "model": "Llama-2-70B", "n_chips": 8, "parallelism": "", "load": "Offline"}
    found = [case(chip=c, **words).layout.precision for c in ("MI300X", "MI325X", "MI355X")]
    assert found == ["fp8", "fp8", "fp4"]


def test_generated_configurations_take_their_own_budget():
    one = case(source="NVIDIA aiconfigurator gap analysis", backend="trtllm 1.0.0rc3", isl="1024", load="32").recipe
    assert (one.step_tokens, one.ahead) == (1056, True)  # one prompt a step
    assert case(source="NVIDIA aiconfigurator gap analysis", backend="vllm 0.12.0", isl="1024", load="32").recipe.step_tokens == 2556


def queued(**changes) -> Case:
    facts = {"source": "TensorRT-LLM performance overview", "load": "offline max load", "metric": "output_throughput_total", "unit": "tokens/s",
             "isl": "128", "osl": "2048", "note": "all requests queued at once; fixed lengths", "backend": "TensorRT-LLM"}  # fmt: skip
    return case(**{**facts, **changes})


def test_requests_queued_at_once_are_as_many_as_the_source_says():
    assert [queued(isl=i, osl=o).queued_requests for i, o in (("128", "128"), ("128", "2048"), ("128", "4096"), ("20000", "2000"))] == [
        30_000, 3_000, 1_500, 1_000,
    ]  # fmt: skip
    assert queued().layout == Layout("fp8", "fp8", tp=8)
    assert queued(model="Qwen3-235B-A22B").layout == Layout("fp8", "fp8", tp=1, ep=8, dp=8)  # attention by data


def test_a_queue_is_served_at_requests_over_the_length_of_the_run():
    cols = columns([queued(isl="128", osl="256", model="Llama-3.1-8B", n_chips=1, parallelism="TP1")])
    rates = reached(cols, embedded(cols))
    found = outcomes(cols, rates)[0]
    pace = play(cols, rates)[0]
    assert found.output_tok_per_s == pytest.approx(cols.cases[0].queued_requests * 256 / pace[10])
    assert analytic(cols, rates, pace[None, :])[1][0] == pytest.approx(pace[1], rel=0.35)  # what a fit moves is near what is played


def test_a_full_cache_of_the_decode_pool_holds_first_tokens_back():
    loads = ["64", "4096"]
    both = [case(model="DeepSeek-R1", chip="H200-SXM", parallelism="disagg 8P(TP8 DP1 EP1) 1D(TP8 DP1 EP1)", n_chips=72, isl="8192", load=c,
                 metric="ttft", backend="sglang") for c in loads]  # fmt: skip
    cols = columns(both)
    few, many = outcomes(cols, reached(cols, embedded(cols)))
    assert many.ttft_s > 10 * few.ttft_s


def test_fp8_by_block_is_told_from_fp8_by_tensor():
    h100 = KNOWN.chip("H100")
    llama, deepseek = (chip_facts(KNOWN.model(m), h100, "fp8") for m in ("llama-3.1-70b", "deepseek-r1"))
    assert (llama.weights, deepseek.weights) == ("fp8", "fp8_block")
    assert llama.peak_tflop_per_s == deepseek.peak_tflop_per_s == h100.dense_tflop_per_s["fp8"]
    assert not deepseek.weight_only
    assert chip_facts(KNOWN.model("deepseek-r1"), KNOWN.chip("A100"), "fp8").weight_only


def test_four_bit_integers_are_multiplied_in_16_bits():
    b200, kimi = KNOWN.chip("B200"), KNOWN.model("kimi-k2.5")
    facts = chip_facts(kimi, b200, case(model="Kimi-K2.5", quant="int4", chip="B200-SXM").layout.precision)
    assert facts.weight_only
    assert facts.peak_tflop_per_s == b200.dense_tflop_per_s["bf16"]
    assert not chip_facts(kimi, b200, "fp4").weight_only


def experts(*, imbalance: float, pad: float, tokens: float, flop_per_s: float = 1.0) -> float:
    """Seconds of 8 experts of 1 FLOP and 1 byte a parameter over 8 ranks; a token visits 2."""
    terms = SimpleNamespace(experts=8, experts_per_token=2, routed_params=4.0, routed_bytes=8.0)
    rates = SimpleNamespace(imbalance_factor=imbalance, routing_skew_factor=1.0, expert_pad_tokens=pad, expert_flop_per_s=flop_per_s,
                            expert_bytes_per_s=1.0, knee_sharpness_ratio=200.0)  # fmt: skip
    return float(_experts_s(terms, rates, degrees([Layout("fp8", "fp8", tp=8, ep=8)]), np.array([[tokens]]))[0, 0])


def test_the_busiest_rank_computes_more_but_reads_no_more_than_it_holds():
    assert experts(imbalance=1.0, pad=0.0, tokens=1000.0) == pytest.approx(2000 * 1.0 / 8)  # 2 x 0.5 FLOP a row, 8 chips
    assert experts(imbalance=1.5, pad=0.0, tokens=1000.0) == pytest.approx(1.5 * 250)
    assert experts(imbalance=1.5, pad=0.0, tokens=1.0, flop_per_s=1e9) == pytest.approx(1.5 * 2 / 8)  # two experts hit
    assert experts(imbalance=9.0, pad=0.0, tokens=6.0) == pytest.approx(6 * 2 * 9 / 8)
    assert experts(imbalance=9.0, pad=0.0, tokens=100.0, flop_per_s=1e9) == pytest.approx(8.0 / 8)  # all of its bytes, once


def test_every_expert_hit_pays_for_rows_it_does_not_have():
    assert experts(imbalance=1.0, pad=16.0, tokens=1000.0) == pytest.approx((2000 + 8 * 16) / 8)


def test_offsets_keep_a_model_with_many_runs_from_bending_the_constants():
    layout = Layout("bf16", "bf16", tp=8)
    names = ["llama-3.1-70b"] * 30 + ["qwen3-32b", "llama-3.1-8b", "mistral-large-2407", "qwen3-14b", "qwen3-8b"]
    cases = [Case(str(i), KNOWN.model(m), KNOWN.chip("H100"), layout, "vllm", 0.0, "closed", 128.0, 64.0, 1.0 + i % 8, recipe=Recipe())
             for i, m in enumerate(names)]  # fmt: skip
    cells = [calibrate.Cell("layer_s", prior=45e-6, width=0.5)]

    def fitted(one_group: bool) -> float:
        fitter = calibrate.Fitter(cases, np.ones(len(cases)), np.full(len(cases), np.nan), cells)
        fitter.play(np.zeros(1))
        slow = np.where(np.array(names) == "llama-3.1-70b", 1.25, 1.0)  # one model's kernels fit badly; the rest is as believed
        fitter.tpot_s = fitter.played[:, 1] * slow
        if one_group:
            fitter.alike = np.array([str(i) for i in range(len(cases))])
        return float(np.exp(fitter.descend(np.zeros(1), np.arange(len(cases)))[0]))

    assert 1.0 < fitted(False) < fitted(True)


def test_a_band_holds_four_fifths_of_what_is_yet_to_come():
    random = np.random.default_rng(1)
    inside = [np.mean(np.abs(random.normal(size=200)) <= np.log1p(coverage.band(np.abs(random.normal(size=40))))) for _ in range(300)]
    assert float(np.mean(inside)) == pytest.approx(0.8, abs=0.02)
    assert coverage.band([0.0] * 20) > 0
