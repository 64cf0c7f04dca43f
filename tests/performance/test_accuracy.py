"""Measured points, played loops, validation, calibration, readers of results."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from polysilicon import catalogue
from polysilicon.cli.app import build
from polysilicon.errors import InputError
from polysilicon.exchange import bands, closed_loop, fitting, points, validate
from polysilicon.exchange.cases import of
from polysilicon.exchange.predict import columns, embedded, play, reached
from polysilicon.exchange.reference import Lookup, scaled
from polysilicon.model.layout import Layout
from polysilicon.performance import step_times
from polysilicon.simulator import closed_loop as simulated_loop

KNOWN = catalogue.load()
HEAD = ("source,model,params_total,params_active,quant,chip,n_chips,parallelism,isl,osl,concurrency_or_batch,metric,value,unit,"
        "where_in_source,backend,date,note")  # fmt: skip


def write(path: Path, *lines: str) -> Path:
    path.write_text("\n".join([HEAD, *lines]) + "\n", encoding="utf-8")
    return path


def row(model="Llama-3.1-70B", chip="H100-SXM", metric="tpot", value="12", load="16", tp="TP8", n="8", quant="fp8", unit="ms", backend="vllm"):
    return f"InferenceX,{model},70.6,70.6,{quant},{chip},{n},{tp},1024,1024,{load},{metric},{value},{unit},id=x,{backend},2026-03-01,"


def play_once(isl, osl, slots, table, *, slopes=(0, 0, 0, 0, 0, 0, 0), limits=(8192, 1e6, 1e12, 0, 1, 0, 0, 0, 1, 0), client=(0, 0, 0, 0)):
    out = np.zeros(closed_loop.OUTPUTS)
    closed_loop.play(np.array(isl, np.int64), np.array(osl, np.int64), slots, np.array([1.0, 1e5]), np.array(table, float),
                     np.array(slopes, float), np.array(limits, float), np.array(client, float), out)  # fmt: skip
    return out


def test_a_loop_by_hand():
    out = play_once([10, 10], [5, 5], 1, [1.0, 1.0])  # one at a time: a prefill step and four decode steps of 1 s
    assert out[closed_loop.TTFT] == pytest.approx(1.0)
    assert out[closed_loop.TPOT] == pytest.approx(1.0)
    assert out[closed_loop.MAKESPAN] == pytest.approx(10.0)
    burst = play_once([8192, 8191], [5, 5], 2, [1.0, 1.0])  # the second prompt waits for the first, beside its decode
    assert burst[closed_loop.TTFT] == pytest.approx(1.5)


def test_habits_of_engines_slow_first_tokens():
    plain = play_once([100] * 40, [50] * 40, 4, [1.0, 1.0])[closed_loop.TTFT]
    polled = play_once([100] * 40, [50] * 40, 4, [1.0, 1.0], limits=(8192, 1e6, 1e12, 0, 10, 0, 0, 0, 1, 0))[closed_loop.TTFT]
    assert polled >= plain
    waits = play_once([100] * 40, list(range(30, 70)), 4, [1.0, 1.0], limits=(8192, 1e6, 1e12, 0, 1, 20, 5000, 0, 1, 0))[closed_loop.TTFT]
    assert waits > plain
    queued = play_once([100] * 40, [50] * 40, 4, [1.0, 1.0], client=(0, 0.5, 0, 0.25))[closed_loop.TTFT]
    assert queued > plain + 0.25


def test_a_step_put_together_ahead_misses_who_comes_during_the_one_before():
    # two slots, steps of 1 s: prompts 1 and 2 run from 1 s; number 1 has its two tokens at 2 s and comes back as number 3
    isl, osl = [10, 10, 10], [2, 4, 2]
    prompt = play_once(isl, osl, 2, [1.0, 1.0])  # number 3 is prefilled at once: 1 s
    ahead = play_once(isl, osl, 2, [1.0, 1.0], limits=(8192, 1e6, 1e12, 0, 1, 0, 0, 1, 1, 0))  # the step at 2 s was already made up: 2 s
    assert prompt[closed_loop.TTFT] == pytest.approx((1 + 1 + 1) / 3)
    assert ahead[closed_loop.TTFT] == pytest.approx((1 + 1 + 2) / 3)


def test_requests_queued_at_once_by_hand():
    out = play_once([10] * 4, [3] * 4, 4, [1.0, 1.0])  # one prefill step, two decode steps
    assert out[closed_loop.MAKESPAN] == pytest.approx(3.0)
    assert list(out[closed_loop.TOTAL]) == [2, 1, 40, 4 * 10 * 5]
    slow = play_once([10] * 4, [3] * 4, 4, [1.0, 1.0], slopes=(0, 0, 0, 0, 0, 0, 0.5))  # the host needs half a second a token
    assert slow[closed_loop.MAKESPAN] == pytest.approx(1.0 + 2 * 4 * 0.5)
    two = play_once([10] * 4, [3] * 4, 4, [1.0, 1.0], limits=(8192, 1e6, 26, 0, 1, 0, 0, 0, 1, 0))  # a cache for two
    assert two[closed_loop.MAKESPAN] == pytest.approx(6.0)


def test_a_full_cache_puts_out_the_newest_where_admission_kept_no_room():
    # two prompts of 10 with 6 outputs each, cache of 26: nobody waits, but at 13 + 13 tokens the second must go. It made 3 outputs
    # by then, so it comes back with 13 tokens to prefill when the first is done (after steps 1 to 6), and makes its last three.
    isl, osl = [10, 10], [6, 6]
    kept = play_once(isl, osl, 2, [1.0, 1.0], limits=(8192, 1e6, 26, 0, 1, 0, 0, 0, 1, 0))  # room kept for all outputs: one at a time
    assert kept[closed_loop.MAKESPAN] == pytest.approx(12.0)
    assert kept[closed_loop.TTFT] == pytest.approx((1 + 7) / 2)
    out = play_once(isl, osl, 2, [1.0, 1.0], limits=(8192, 1e6, 26, 0, 1, 0, 0, 0, 0, 0))
    assert out[closed_loop.TTFT] == pytest.approx(1.0)  # both at once
    assert out[closed_loop.MAKESPAN] == pytest.approx(9.0)
    assert out[closed_loop.TPOT] == pytest.approx((5 / 5 + 8 / 5) / 2)  # its wait counts between tokens, not before the first
    assert out[closed_loop.TOTAL][2] == pytest.approx(10 + 10 + 13)  # prefilled anew with what it had made


@settings(max_examples=40, deadline=None)
@given(
    isl=st.lists(st.integers(1, 60), min_size=3, max_size=40), osl=st.integers(1, 50), slots=st.integers(1, 12), room=st.integers(120, 400),
    keeps=st.sampled_from([0.0, 0.1, 1.0]), budget=st.sampled_from([64, 100, 8192]), apart=st.booleans(),
)  # fmt: skip
def test_every_request_is_served_whole_however_small_the_cache(isl, osl, slots, room, keeps, budget, apart):
    lengths = [1 + (osl + 7 * i) % 50 for i in range(len(isl))]
    out = play_once(isl, lengths, slots, [1.0, 1.0], limits=(budget, 1e6, room, apart, 1, 0, 0, 0, keeps, 0))
    steps = out[closed_loop.TOTAL][0] + out[closed_loop.TOTAL][1]
    assert steps == pytest.approx(out[closed_loop.MAKESPAN])  # steps of 1 s, none idle
    assert out[closed_loop.TOTAL][2] >= sum(isl)  # prefilled at least once, more where somebody was put out
    if keeps == 1.0:
        assert out[closed_loop.TOTAL][2] == sum(isl)
    roomy = play_once(isl, lengths, slots, [1.0, 1.0], limits=(budget, 1e6, 1e9, apart, 1, 0, 0, 0, keeps, 0))
    assert roomy[closed_loop.MAKESPAN] <= out[closed_loop.MAKESPAN] + 1e-9 or keeps < 1.0


def test_what_the_weights_leave_is_the_cache(tmp_path):
    lines = [row(backend=name, tp="TP1", n="1", chip="H200-SXM") for name in ("trtllm", "vllm")]
    cases = [of(p, Lookup(KNOWN)) for p in points.read(write(tmp_path / "p.csv", *lines))]
    theirs, ours = columns(cases).kv_tokens
    memory, weights = 143771 * 2**20, 70.5e9  # TensorRT-LLM takes a share of what weights leave, vLLM one of the whole
    assert theirs == pytest.approx(0.9 * (memory - weights - 3e9) / 163840, rel=0.05)
    assert ours == pytest.approx((0.9 * memory - weights - 3e9) / 163840, rel=0.05)


def test_the_loop_agrees_with_the_simulator():
    model, chip = KNOWN.model("llama-3.1-8b"), KNOWN.chip("H100")
    times = step_times(model, chip, Layout("bf16", "bf16", tp=1))
    isl, osl = np.full(160, 512), np.full(160, 64)
    theirs = simulated_loop(times, isl, osl, 16, max_batch=256)
    tpot = float(np.mean(theirs.tpot_s))
    ours = []
    for prefill_step_s in (0.0, times.prefill_step_s):  # whether or not the simulator prices a step with prefill apart
        out = np.zeros(closed_loop.OUTPUTS)
        slopes = np.array([times.sequence_s, times.kv_s_per_token, 0, 0, times.pair_s, prefill_step_s, 0.0])
        limits = np.array([len(times.tokens_s) - 1.0, 1e6, times.kv_tokens, 0, 1, 0, 0, 0, 1, 0])
        grid = np.arange(1.0, len(times.tokens_s))
        closed_loop.play(isl.astype(np.int64), osl.astype(np.int64), 16, grid, times.tokens_s[1:], slopes, limits, np.zeros(4), out)
        ours.append(float(out[closed_loop.TPOT]))
    assert ours[0] * 0.98 <= tpot <= ours[1] * 1.02


def test_points_are_read_whole(tmp_path):
    path = write(tmp_path / "p.csv", row(), row(metric="ttft", value="100"))
    found = points.read(path)
    assert [p.kind for p in found] == ["tpot", "ttft"]
    assert found[0].seconds == pytest.approx(0.012)
    bad = write(tmp_path / "bad.csv", row(value="-3"), row(value="nan"), row(value="1e999"))
    with pytest.raises(InputError) as caught:
        points.read(bad)
    assert str(caught.value).count("positive number") == 3
    (tmp_path / "no.csv").write_text("a,b\n1,2\n")
    with pytest.raises(InputError, match="columns model, chip"):
        points.read(tmp_path / "no.csv")
    (tmp_path / "empty.csv").write_text("")
    with pytest.raises(InputError):
        points.read(tmp_path / "empty.csv")


def test_unknown_models_are_scaled_and_unknown_chips_refused(tmp_path):
    path = write(tmp_path / "p.csv", row(model="Nobody-70B"), row(chip="Cray-1"), row(model="Llama-2-70B", quant="fp16"))
    checked, refused = validate.check(points.read(path), KNOWN)
    assert len(checked) == 2
    assert "Cray-1" in refused[0].reason
    assert scaled("moe", 200e9, 20e9).total_params == pytest.approx(200e9, rel=0.25)
    assert scaled("dense", 70e9, 70e9).total_params == pytest.approx(70e9, rel=0.25)


def test_every_protocol_gives_a_number(tmp_path):
    lines = [
        row(tp="disagg 1P(TP4 DP1 EP4) 2D(TP8 DP1 EP8)", chip="GB200", model="DeepSeek-R1", quant="fp4", n="20"),
        row(metric="output_throughput_total", load="Offline", unit="tokens/s", value="30000", tp="1 node(s) x 8"),
        row(metric="output_throughput_total", load="Interactive", unit="tokens/s", value="9000", tp="1 node(s) x 8"),
        row(metric="output_throughput_per_gpu", load="offline max load", unit="tokens/s/GPU", value="3000"),
        row(metric="prefill_batch_time"), row(metric="decode_step_time"),
        row(metric="prefill_throughput_per_node", load="16384 tokens per GPU", model="DeepSeek-R1", n="32", tp="EP32 prefill (4 nodes)"),
        row(metric="decode_throughput_per_node", load="256 per GPU", model="DeepSeek-R1", n="72", tp="EP72 decode (9 nodes)"),
        row(tp="TP2 attnDP2 EP4", n="4", chip="B200-SXM", model="DeepSeek-R1", quant="fp4"),
    ]  # fmt: skip
    checked, refused = validate.check(points.read(write(tmp_path / "p.csv", *lines)), KNOWN)
    assert not refused
    assert all(0 < c.predicted < 1e9 for c in checked)


def test_ttft_of_a_closed_loop_grows_with_the_burst(tmp_path):
    path = write(tmp_path / "p.csv", *[row(metric="ttft", load=str(c)) for c in (4, 16, 64)])
    found = [c.predicted for c in validate.check(points.read(path), KNOWN)[0]]
    assert found == sorted(found)


def test_validate_prints_the_promised_json(tmp_path):
    path = write(tmp_path / "p.csv", row(), row(metric="ttft", value="150"), row(chip="Cray-1"))
    result = CliRunner().invoke(build("validate"), ["validate", str(path), "--by", "metric", "--json"])
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert {g["key"] for g in document["groups"]} == {"tpot", "ttft"}
    assert set(document["groups"][0]) == {
        "by", "key", "rows", "predicted", "median_abs_error_frac", "mean_abs_error_frac", "p90_abs_error_frac", "bias_frac",
        "within_20_frac", "band_80_coverage_frac",
    }  # fmt: skip
    assert document["refused"][0]["row"] == 4


def synthetic(tmp_path):
    """Points made by the model itself, slowed: a fit must find its way back."""
    seeds = [row(tp=f"TP{tp}", n=str(tp), load=str(c), model=m, chip=chip)
             for tp in (4, 8) for c in (4, 16, 64) for m, chip in (("Llama-3.1-70B", "H100-SXM"), ("Qwen3-32B", "H200-SXM"))
             ]  # fmt: skip
    path = write(tmp_path / "seed.csv", *seeds, *[s.replace(",tpot,", ",ttft,") for s in seeds])
    found = points.read(path)
    checked, _ = validate.check(found, KNOWN)
    slower = [1.3 if c.point.kind == "tpot" else 1.2 for c in checked]
    lines = [row(tp=c.point.parallelism, n=str(c.point.n_chips), load=c.point.load, model=c.point.model, chip=c.point.chip,
                 metric=c.point.metric, value=f"{c.predicted * s:.6g}") for c, s in zip(checked, slower, strict=True)]  # fmt: skip
    return write(tmp_path / "points.csv", *lines)


def test_a_fit_finds_its_way_and_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr(fitting, "LEAST_RUNS", 6)
    monkeypatch.setattr(bands, "LEAST_POINTS", 4)
    path = synthetic(tmp_path)
    before = validate.groups(*validate.check(points.read(path), KNOWN), "metric")
    done = fitting.calibrate(points.read(path), KNOWN, judge=False)
    table = tmp_path / "eff.csv"
    table.write_bytes(fitting.as_csv(bands.extend(done, points.read(path), KNOWN)))
    after = validate.groups(*validate.check(points.read(path), KNOWN, path=str(table)), "metric")
    tpot_before, tpot_after = (next(g for g in gs if g.key == "tpot") for gs in (before, after))
    assert tpot_before.median_abs_error_frac > 0.2
    assert tpot_after.median_abs_error_frac < 0.1
    assert {r["parameter"] for r in csv.DictReader(table.read_text().splitlines())} >= {"layer_s", "gemm_memory_frac", "error_frac"}
    again = fitting.calibrate(points.read(path), KNOWN, judge=False)
    assert [r["value"] for r in again.rows] == [r["value"] for r in done.rows]


def test_too_few_points_are_no_fit(tmp_path):
    with pytest.raises(InputError, match="a fit needs"):
        fitting.calibrate(points.read(write(tmp_path / "p.csv", row())), KNOWN)


def test_impossible_runs_are_set_aside(tmp_path):
    path = write(
        tmp_path / "p.csv", row(model="DeepSeek-R1", n="1", tp="TP1"), row(load="64", value="0.9"), row(load="4", value="10"),
        row(load="512", value="2", tp="TP4", n="4"),
    )  # fmt: skip
    aside = {r.aside for r in fitting.gather(points.read(path), KNOWN)}
    assert "the weights exceed the memory of the chips named" in aside
    assert "implies over 60 % of dense peak" in aside


@pytest.mark.shared
def test_published_points_are_predicted_within_the_stated_band(shared_dir):
    found = points.read(shared_dir / "data" / "measured_points.csv")
    aggregated = [p for p in found if p.source.startswith(("InferenceX", "NVIDIA")) and "disagg" not in p.parallelism]
    checked, refused = validate.check(aggregated, KNOWN)
    assert not refused
    aside, lookup = {r.case.key for r in fitting.gather(aggregated, KNOWN) if r.aside}, Lookup(KNOWN)
    clean = [c for c in checked if of(c.point, lookup).key not in aside]
    assert len(clean) >= 0.98 * len(checked)
    for rows, mean, within in ((checked, 0.17, 0.79), (clean, 0.15, 0.80)):
        tpot, ttft = (next(g for g in validate.groups(rows, [], "metric") if g.key == k) for k in ("tpot", "ttft"))
        assert tpot.median_abs_error_frac <= 0.10 and tpot.mean_abs_error_frac <= mean
        assert tpot.p90_abs_error_frac <= 0.30 and tpot.within_20_frac >= within
        assert ttft.median_abs_error_frac <= 0.20 and ttft.within_20_frac >= 0.50
        assert 0.70 <= tpot.band_80_coverage_frac <= 0.90


def test_columns_of_one_case_equal_step_times(tmp_path):
    point = points.read(write(tmp_path / "p.csv", row()))[0]
    case = of(point, Lookup(KNOWN))
    cols = columns([case])
    rates = reached(cols, embedded(cols))
    out = play(cols, rates)
    assert out[0, closed_loop.TPOT] > 0
    assert case.layout.tp == 8
