"""Results of other tools become points: every field that is used, the traps of units and loads, and files that are damaged.

The samples have the shapes the tools write; figures are made up.
"""

import copy
import csv
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from polysilicon import catalogue
from polysilicon.cli.app import build
from polysilicon.errors import InputError
from polysilicon.exchange import cases, fitting, results, validate
from polysilicon.exchange.reference import Lookup

KNOWN = catalogue.load()


def stats(mean, **more):
    return {"mean": mean, "median": mean, "std_dev": 1.0, "count": 10, "percentiles": {"p50": mean, "p99": 2 * mean}, **more}


def block(avg, unit):
    return {"unit": unit, "avg": avg, "p50": avg, "p99": 2 * avg, "min": avg / 2, "max": 3 * avg, "std": 1.0, "count": 10}


VLLM = {
    "date": "20260301-120000", "endpoint_type": "vllm", "model_id": "llama-3.1-70b", "num_prompts": 80, "request_rate": "inf", "burstiness": 1.0,
    "max_concurrency": 8, "duration": 60.0, "completed": 80, "failed": 0, "total_input_tokens": 80_000, "total_output_tokens": 40_000,
    "request_throughput": 1.3, "output_throughput": 660.0, "total_token_throughput": 2000.0, "mean_ttft_ms": 80.0, "median_ttft_ms": 70.0,
    "std_ttft_ms": 9.0, "p99_ttft_ms": 200.0, "mean_tpot_ms": 9.0, "median_tpot_ms": 9.1, "p99_tpot_ms": 12.0, "mean_itl_ms": 9.0,
    "p99_itl_ms": 20.0, "mean_e2el_ms": 4571.0, "gpu": "NVIDIA-H100-80GB-HBM3", "num_gpus": 8, "tensor_parallel_size": 8, "precision": "fp8",
    "input_lens": [1000], "output_lens": [500], "ttfts": [0.08], "itls": [[0.009]], "errors": [""],
}  # fmt: skip
SGLANG = {
    "backend": "sglang", "request_rate": "inf", "max_concurrency": None, "concurrency": 7.9, "completed": 10, "total_input_tokens": 10_000,
    "total_output_tokens": 5000, "request_throughput": 1.6, "output_throughput": 800.0, "total_throughput": 2400.0, "mean_e2e_latency_ms": 4571.0,
    "mean_ttft_ms": 80.0, "median_ttft_ms": 75.0, "mean_tpot_ms": 9.0, "p95_itl_ms": 14.0, "accept_length": None, "model_id": "llama-3.1-70b",
    "gpu": "H100",
}  # fmt: skip
GUIDELLM = {
    "metadata": {"version": 2, "guidellm_version": "0.8.1", "python_version": "3.12", "platform": "Linux"},
    "config": {"backend": {"kind": "openai_http", "model": "llama-3.1-70b"}, "accelerator": "H100", "accelerators": 8},
    "benchmarks": [{"metrics": {k: {"successful": stats(v), "incomplete": stats(0), "errored": stats(0), "total": stats(v)} for k, v in {
        "prompt_token_count": 1000, "output_token_count": 200, "request_concurrency": 4.2, "requests_per_second": 1.5, "request_latency": 2.8,
        "time_to_first_token_ms": 90, "time_per_output_token_ms": 11.45, "inter_token_latency_ms": 11, "output_tokens_per_second": 300}.items()}}],
}  # fmt: skip
AIPERF = {
    "schema_version": "1.4", "aiperf_version": "0.13.0", "benchmark_id": "b", "request_throughput": block(1.5, "requests/sec"),
    "request_latency": block(2800.0, "ms"), "time_to_first_token": block(90.0, "ms"), "inter_token_latency": block(11.0, "ms"),
    "output_token_throughput": block(300.0, "tokens/sec"), "input_sequence_length": block(1000, "tokens"),
    "output_sequence_length": block(200, "tokens"), "telemetry_data": {"endpoints": {}},
    "input_config": {"models": {"items": [{"name": "llama-3.1-70b"}]}, "phases": [{"type": "concurrency", "concurrency": 4}], "accelerator": "H100"},
}  # fmt: skip
INFERENCEX = {
    "hw": "b200-trt", "conc": 16, "image": "x", "model": "deepseek-r1", "infmax_model_prefix": "dsr1", "framework": "trt", "precision": "fp4",
    "spec_decoding": "none", "disagg": False, "isl": 1024, "osl": 1024, "is_multinode": False, "tp": 8, "pp": 1, "ep": 1, "dp_attention": False,
    "tput_per_gpu": 300.0, "output_tput_per_gpu": 150.0, "input_tput_per_gpu": 150.0, "mean_ttft": 0.2, "median_ttft": 0.15, "mean_tpot": 0.01,
    "p99_tpot": 0.02, "mean_itl": 0.01, "mean_e2el": 10.0, "mean_intvty": 100.0,
}  # fmt: skip
DISAGG = {
    **INFERENCEX, "hw": "gb200-nv", "framework": "dynamo-trt", "disagg": True, "is_multinode": True, "prefill_tp": 4, "prefill_ep": 4,
    "prefill_dp_attention": True, "prefill_num_workers": 2, "decode_tp": 8, "decode_ep": 8, "decode_dp_attention": False,
    "decode_num_workers": 1, "num_prefill_gpu": 8, "num_decode_gpu": 8, "conc": 64,
}  # fmt: skip
API = {
    "id": 1, "hardware": "h200", "framework": "sglang", "model": "deepseek-r1", "precision": "fp8", "spec_method": "none", "disagg": False,
    "decode_tp": 8, "num_prefill_gpu": 0, "benchmark_type": "single_turn", "isl": 1024, "osl": 1024, "conc": 16, "date": "2026-03-01",
    "metrics": {"median_ttft": 0.2, "median_tpot": 0.02, "avg_power_w": 700.0, "power_valid": True, "joules_per_output_token": 3.0},
}  # fmt: skip
LLMD = {
    "version": "0.2.1", "run": {"uid": "u", "eid": "e", "time": {"start": "2026-05-01T00:00:00Z"}},
    "scenario": {
        "stack": [
            {"standardized": {"kind": "inference_engine", "role": "aggregate", "tool": "vllm", "tool_version": "1", "replicas": 2,
                              "model": {"name": "llama-3.1-70b"},
                              "accelerator": {"model": "NVIDIA-H100-80GB-HBM3", "count": 8, "parallelism": {"tp": 8, "dp": 1, "ep": 1}}}},
            {"standardized": {"kind": "generic", "tool": "llm-d-inference-scheduler"}}],
        "load": {"standardized": {"tool": "inference-perf", "source": "random", "rate_qps": 3.0, "concurrency": 16,
                                  "input_seq_len": {"value": 1000}, "output_seq_len": {"value": 200}}}},
    "results": {"request_performance": {"aggregate": {
        "latency": {"time_to_first_token": {"mean": 0.08, "p50": 0.07, "units": "s"}, "time_per_output_token": {"mean": 9, "units": "ms/token"},
                    "inter_token_latency": {"mean": 0.009, "units": "s/token"}, "request_latency": {"mean": 1.9, "units": "s"}},
        "throughput": {"output_token_rate": {"mean": 1600, "units": "tokens/s"}, "request_rate": {"mean": 8.0, "units": "queries/s"}},
        "requests": {"total": 500, "failures": 0, "input_length": {"mean": 1000.0}, "output_length": {"mean": 200.0}}}}},
}  # fmt: skip
MLPERF = [
    {"ID": "5.1-1", "Submitter": "A", "Availability": "available", "Category": "closed", "Suite": "datacenter", "System": "s",
     "Model": "llama2-70b-99", "UsedModel": "llama2-70b-99", "Scenario": "Offline", "Nodes": 1, "Accelerator": "NVIDIA H200-SXM", "a#": 8,
     "Performance_Result": 30000.0, "Performance_Units": "Tokens/s", "has_power": False, "weight_data_types": "fp8",
     "Software": "TensorRT 10", "version": "v5.1"},
    {"ID": "5.1-2", "Model": "resnet", "Accelerator": "NVIDIA H200-SXM", "a#": 8, "Performance_Result": 1.0, "Performance_Units": "Samples/s"},
]  # fmt: skip
SAMPLES = {"vllm": VLLM, "sglang": SGLANG, "guidellm": GUIDELLM, "aiperf": AIPERF, "inferencex": INFERENCEX, "inferencex disagg": DISAGG,
           "inferencex api": API, "llm-d": LLMD, "mlperf": MLPERF}  # fmt: skip


def read(tmp_path, content, name="r.json"):
    path = tmp_path / name
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return results.read(path)


def by_metric(found):
    return {p.metric: p for p in found}


@pytest.mark.parametrize("name", SAMPLES)
def test_every_tools_results_feed_validate_and_calibrate(tmp_path, name):
    found = read(tmp_path, SAMPLES[name])
    assert found
    checked, refused = validate.check(found, KNOWN)
    assert not refused, refused
    assert len(checked) == len(found)
    runs = fitting.gather(found, KNOWN)
    assert len(runs) == (0 if name == "mlperf" else 1)  # saturated under promises: predicted, and its band fitted, but no run of the fit
    done = CliRunner().invoke(build("validate"), ["validate", str(tmp_path / "r.json"), "--json"])
    assert done.exit_code == 0
    short = CliRunner().invoke(build("calibrate"), ["calibrate", str(tmp_path / "r.json"), "-o", str(tmp_path / "e.csv")])
    assert "a fit needs" in str(short.exception)  # it was read, and says how many runs it lacks


def test_vllm_fields(tmp_path):
    found = by_metric(read(tmp_path, VLLM))
    p = found["tpot_mean"]
    assert (p.value, p.unit, p.seconds) == (9.0, "ms", pytest.approx(0.009))
    assert (p.model, p.chip, p.n_chips, p.quant, p.parallelism, p.backend) == ("llama-3.1-70b", "H100", 8, "fp8", "TP8", "vllm")
    assert (p.isl, p.osl, p.load, p.date) == ("1000.0", "500.0", "8", "2026-03-01")
    assert found["ttft_mean"].value == 80.0
    assert found["output_token_throughput"].value == 660.0


def test_a_run_at_a_rate_gets_its_concurrency_by_littles_law(tmp_path):
    p = by_metric(read(tmp_path, {**VLLM, "max_concurrency": None, "request_rate": 2.0, "request_throughput": 1.9}))["tpot_mean"]
    assert p.load == str(round(1.9 * 4.571))
    assert "Little" in p.note
    assert cases.of(p, Lookup(KNOWN)).protocol == "closed"  # never taken for offline saturation
    rest = {k: v for k, v in VLLM.items() if k not in ("mean_e2el_ms", "request_throughput", "max_concurrency")}
    q = by_metric(read(tmp_path, {**rest, "request_rate": 2.0}))["tpot_mean"]
    assert q.load == str(round(2.0 * (0.08 + 499 * 0.009)))
    everyone = {k: v for k, v in rest.items() if k != "request_rate"}
    assert by_metric(read(tmp_path, everyone))["tpot_mean"].load == "80"


def test_medians_stand_where_means_lack(tmp_path):
    rest = {k: v for k, v in VLLM.items() if not k.startswith("mean_t")}
    assert by_metric(read(tmp_path, {**rest, "mean_ttft_ms": None}))["tpot_median"].value == 9.1


def test_speculation_is_told_and_counted(tmp_path):
    drafted = by_metric(read(tmp_path, {**SGLANG, "accept_length": 2.6}))["tpot_mean"]
    assert cases.of(drafted, Lookup(KNOWN)).accepted_tokens == 2.6
    plain = by_metric(read(tmp_path, SGLANG))["tpot_mean"]
    assert cases.of(plain, Lookup(KNOWN)).accepted_tokens == 1.0
    faster = {c.point.metric: c.predicted for c in validate.check([drafted], KNOWN)[0]}["tpot_mean"]
    assert faster == pytest.approx(validate.check([plain], KNOWN)[0][0].predicted * 1.25 / 2.6)
    mtp = by_metric(read(tmp_path, {**INFERENCEX, "spec_decoding": "mtp"}))["tpot"]
    assert cases.of(mtp, Lookup(KNOWN)).accepted_tokens == cases.DRAFT_ACCEPTED_TOKENS
    assert not fitting.gather([drafted, mtp], KNOWN)  # and never fitted as if each step gave one token


def test_guidellm_reads_gaps_not_its_time_per_output_token(tmp_path):
    found = by_metric(read(tmp_path, GUIDELLM))
    assert found["itl_mean"].value == 11
    assert "tpot_mean" not in found  # 11.45 has the first token in it
    assert (found["itl_mean"].load, found["itl_mean"].chip, found["itl_mean"].n_chips) == ("4", "H100", 8)


def test_guidellms_csv_has_three_lines_of_headings(tmp_path):
    heads = [("Run Info", "Run ID", ""), ("Run Info", "Backend", "")]
    cells = ["a", json.dumps({"kind": "openai_http", "model": "llama-3.1-70b"})]
    for name, (group, unit) in results.GUIDELLM_CSV.items():
        for status, share in (("Successful", 1), ("Errored", 0)):
            heads += [(group, f"{status} {unit}", "Mean"), (group, f"{status} {unit}", "Median")]
            mean = GUIDELLM["benchmarks"][0]["metrics"][name]["successful"]["mean"] * share
            cells += [mean, mean]
    path = tmp_path / "benchmarks.csv"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([*zip(*heads, strict=True), cells, cells])
    found = results.read(path)
    assert len(found) == 6
    want = by_metric(read(tmp_path, GUIDELLM))
    assert all(p.value == want[p.metric].value and float(p.isl) == 1000 and p.model == "llama-3.1-70b" for p in found)
    path.write_text("Run Info,a\n")
    with pytest.raises(InputError, match="three lines"):
        results.read(path)


@pytest.mark.parametrize(("unit", "factor"), [("ms", 1.0), ("s", 1e-3), ("us", 1e3), ("ns", 1e6), ("milliseconds", 1.0), ("sec", 1e-3)])
def test_aiperfs_units_are_read_as_they_are_told(tmp_path, unit, factor):
    sample = {**AIPERF, "time_to_first_token": block(90.0 * factor, unit)}
    assert by_metric(read(tmp_path, sample))["ttft_mean"].seconds == pytest.approx(0.09)


def test_a_unit_that_is_no_time_is_refused(tmp_path):
    with pytest.raises(InputError, match="fortnights"):
        read(tmp_path, {**AIPERF, "time_to_first_token": block(90.0, "fortnights")})


def test_inferencex_counts_seconds_and_names_its_pools(tmp_path):
    found = by_metric(read(tmp_path, INFERENCEX))
    assert found["tpot"].seconds == pytest.approx(0.01)
    assert (found["tpot"].engine, found["tpot"].chip, found["tpot"].load) == ("trtllm", "b200", "16")
    assert "[0.8L, L]" in found["tpot"].note
    split = by_metric(read(tmp_path, DISAGG))
    assert split["tpot"].parallelism == "disagg 2P(TP1 DP4 EP4) 1D(TP8 DP1 EP8)"
    assert (split["tpot"].n_chips, split["tpot"].engine) == (16, "trtllm")
    assert "output_throughput_per_gpu" not in split  # divided by another count of chips there
    assert by_metric(read(tmp_path, {**INFERENCEX, "dp_attention": "true", "ep": 8}))["tpot"].parallelism == "TP1 attnDP8 EP8"
    with pytest.raises(InputError, match="agentic"):
        read(tmp_path, {**API, "benchmark_type": "agentic_traces"})


def test_llmd_shares_the_load_between_replicas_and_minds_units(tmp_path):
    found = by_metric(read(tmp_path, LLMD))
    assert found["ttft_mean"].seconds == pytest.approx(0.08)
    assert found["tpot_mean"].seconds == pytest.approx(0.009)
    assert found["itl_mean"].seconds == pytest.approx(0.009)
    assert (found["tpot_mean"].load, found["tpot_mean"].n_chips, found["tpot_mean"].chip) == ("8", 8, "H100")
    assert found["output_token_throughput"].value == 800
    open_loop = copy.deepcopy(LLMD)
    open_loop["scenario"]["load"]["standardized"]["concurrency"] = None
    assert by_metric(read(tmp_path, open_loop))["tpot_mean"].load == "8"  # 8 requests/s x 1.9 s, half of them
    assert "Little" in by_metric(read(tmp_path, open_loop))["tpot_mean"].note
    split = copy.deepcopy(LLMD)
    engine = split["scenario"]["stack"][0]["standardized"]
    split["scenario"]["stack"] = [{"standardized": {**engine, "role": "prefill"}}, {"standardized": {**engine, "role": "decode", "replicas": 1}}]
    p = by_metric(read(tmp_path, split))["tpot_mean"]
    assert p.parallelism == "disagg 2P(TP8 DP1 EP1) 1D(TP8 DP1 EP1)"
    assert p.n_chips == 24


def test_llmd_reports_are_yaml_too(tmp_path):
    text = json.dumps(LLMD).replace('"concurrency": 16', '"concurrency": .inf')  # as its own example has it; JSON is YAML
    p = by_metric(read(tmp_path, text, "report.yaml"))["tpot_mean"]
    assert p.seconds == pytest.approx(0.009)
    assert "Little" in p.note


def test_mlperf_rows_in_other_units_hold_nothing_for_us(tmp_path):
    found = read(tmp_path, MLPERF)
    assert [(p.metric, p.value, p.n_chips, p.load) for p in found] == [("output_throughput_total", 30000.0, 8, "Offline")]


@pytest.mark.parametrize(("words", "chip"), [
    ("NVIDIA-H100-80GB-HBM3", "H100"), ("NVIDIA H200", "H200"), ("NVIDIA GB200", "GB200"), ("AMD Instinct MI300X", "MI300X"),
    ("NVIDIA A100-SXM4-40GB", "A100-40gb"), ("NVIDIA A100-SXM4-80GB", "A100"), ("NVIDIA L40S", "L40S"), ("our-own-chip", "our-own-chip"),
])  # fmt: skip
def test_a_drivers_name_of_a_chip_is_understood(words, chip):
    assert results._chip(words) == chip
    if chip not in ("our-own-chip", "L40S"):  # neither is in the catalogue
        assert Lookup(KNOWN).chip(chip)


@pytest.mark.parametrize("text", [
    "{", "[1, 2]", '{"a": 1}', "{}", "[]", '{"mean_ttft_ms": -1}', "\x00\x01", "[" * 100_000, '{"mean_ttft_ms": NaN, "max_concurrency": 1e999}',
    '{"mean_ttft_ms": true}', '{"aiperf_version": 1, "input_config": [1]}', '{"version": "0.2.1", "scenario": {"stack": [[]]}, "results": 7}',
    '{"hw": "h100", "conc": 4, "tp": "many", "mean_tpot": 1}', '{"benchmarks": [7, null, {"metrics": []}]}',
])  # fmt: skip
def test_damaged_results_are_refused(tmp_path, text):
    with pytest.raises(InputError):
        read(tmp_path, text)


@pytest.mark.parametrize("text", ["", "a: [1", "!!python/object/apply:os.system [ls]", "x: &a [*a]", "7"])
def test_damaged_yaml_is_refused(tmp_path, text):
    with pytest.raises(InputError):
        read(tmp_path, text, "r.yaml")


def test_json_lines_are_read(tmp_path):
    found = read(tmp_path, "\n".join(json.dumps(SGLANG) for _ in range(3)), "r.jsonl")
    assert len(found) == 9


JUNK = st.one_of(st.none(), st.booleans(), st.floats(), st.text(max_size=5), st.just([]), st.just({}), st.just([{}]), st.just("1e999"), st.integers())


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_any_field_may_hold_anything(tmp_path_factory, data):
    """One field anywhere in a sample is replaced by junk: points come out, or an InputError; never another error."""
    sample = copy.deepcopy(data.draw(st.sampled_from([VLLM, SGLANG, GUIDELLM, AIPERF, INFERENCEX, DISAGG, API, LLMD, MLPERF[0]])))
    place = sample
    while True:
        key = data.draw(st.sampled_from(sorted(place) if isinstance(place, dict) else list(range(len(place)))))
        inner = place[key]
        if not isinstance(inner, dict | list) or not inner or data.draw(st.booleans()):
            break
        place = inner
    place[key] = data.draw(JUNK)
    path = tmp_path_factory.mktemp("junk") / "r.json"
    path.write_text(json.dumps(sample))
    try:
        found = results.read(path)
    except InputError as error:
        assert str(path) in str(error)
        return
    assert all(0 < p.value < 1e16 and p.n_chips >= 1 for p in found)
    validate.check(found, KNOWN)


@pytest.mark.parametrize("fields", [
    {"max_concurrency": 10**11}, {"total_input_tokens": 10**15}, {"total_output_tokens": 10**13}, {"tensor_parallel_size": 10**9},
    {"tensor_parallel_size": 0.5},
])  # fmt: skip
def test_a_run_that_no_system_is_is_refused_before_it_is_played(tmp_path, fields):
    found = read(tmp_path, {**VLLM, **fields})
    checked, refused = validate.check(found, KNOWN)
    assert not checked
    assert all(r.reason for r in refused)
