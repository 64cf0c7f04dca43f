"""A scenario's own measurements and efficiencies: they move the plan, its replay and its report, and say that they do."""

import csv
import io
import json

import pytest
from small_scenarios import TINY

from polysilicon import study
from polysilicon.catalogue import load as load_catalogue
from polysilicon.errors import InputError, InputErrors
from polysilicon.exchange.fitting import as_csv
from polysilicon.performance import step_times
from polysilicon.performance.efficiency import COLUMNS
from polysilicon.report import contents
from polysilicon.scenario import load as load_scenario
from polysilicon.scenario import resolve
from polysilicon.simulator.fleet import from_plan
from polysilicon.study.evidence import evidence_of
from polysilicon.study.own import own_of

KNOWN = load_catalogue()
HEAD = "source,model,quant,chip,n_chips,parallelism,isl,osl,concurrency_or_batch,cached_frac,metric,value,unit,backend,date"


def run(folder, text, *, proof=False):
    path = folder / "scenario.yaml"
    path.write_text(text)
    return study.explore(load_scenario(path), KNOWN, proof=proof)


def point(result):
    return next(p for p in result.plan.serving if p.workload == "chat")


def measured(folder, result, *, slower, ttft_s=0.07, chip=""):
    """Write what a user would have measured of the plan's own operating point: its mean TPOT, slower by a factor."""
    p, w = point(result), result.resolved.workload("chat")
    words = f"bench,{p.model},{p.layout.precision},{chip or p.chip},{p.chips},TP{p.layout.tp},{w.lengths.isl_tokens},{w.lengths.osl_tokens},{p.batch}"
    words += f",{w.lengths.cached_frac}"
    rows = [f"{words},tpot,{1e3 * p.tpot_s * slower:.6g},ms,vllm,2026-11-20", f"{words},ttft,{1e3 * ttft_s:.6g},ms,vllm,2026-11-20"]
    (folder / "mine.csv").write_text("\n".join([HEAD, *rows]) + "\n")


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    return run(tmp_path_factory.mktemp("plain"), TINY)


def test_a_measured_point_moves_plan_replay_and_report(tmp_path, plain):
    assert point(plain).basis == "calibrated"
    measured(tmp_path, plain, slower=0.99)
    result = run(tmp_path, TINY + "measured: [mine.csv]\n")
    p, w = point(result), result.resolved.workload("chat")
    assert p.basis == "measured"
    assert p.tpot_s == pytest.approx(0.99 * point(plain).tpot_s, rel=1e-5)  # the file has six digits
    assert p.ttft_s == pytest.approx(0.07)
    assert p.requests_per_s == pytest.approx(p.batch / (0.07 + (w.lengths.osl_tokens - 1) * p.tpot_s), rel=1e-3)
    assert p.source == "mine.csv: bench"
    assert p.as_of == "2026-11-20"
    assert result.plan.objective_usd != pytest.approx(plain.plan.objective_usd, rel=1e-3)
    assert run(tmp_path, TINY + "measured: [mine.csv]\n", proof=True).rounds[0].measured  # and it is replayed
    evidence = evidence_of(result, KNOWN)
    assert any("mine.csv: 1 of 1 measured configurations" in words for words in evidence.warnings)
    row = contents.tables(evidence)["speed"].records()[0]
    assert (row["basis"], row["source"], row["as_of"]) == ("measured", "mine.csv: bench", "2026-11-20")
    assert row["tok_per_usd"] == pytest.approx(p.tok_per_s_per_chip * 3600 / 3.0)


def test_the_replay_of_a_plan_is_as_slow_as_what_was_measured(tmp_path, plain):
    measured(tmp_path, plain, slower=0.99)
    result = run(tmp_path, TINY + "measured: [mine.csv]\n")
    p = point(result)
    assert abs(p.slower_ratio - 1) > 0.01
    pool = from_plan(result.plan, KNOWN, 0, workloads=result.resolved.workloads).pools[0]
    as_modelled = step_times(KNOWN.model(p.model), KNOWN.chip(p.chip), p.layout)
    port = KNOWN.port("llama", KNOWN.chip(p.chip).family)
    assert pool.step_times.tokens_s[64] == pytest.approx(as_modelled.tokens_s[64] * p.slower_ratio / port.efficiency_frac)


def test_points_of_another_chip_change_nothing(tmp_path, plain):
    measured(tmp_path, plain, slower=3.0, chip="H100")
    result = run(tmp_path, TINY + "measured: [mine.csv]\n")
    assert point(result) == point(plain)
    assert result.plan.objective_usd == pytest.approx(plain.plan.objective_usd)


def test_an_efficiency_table_of_ones_own_moves_the_chips_it_names(tmp_path, plain):
    def table(chip):
        row = (chip, "*", "*", "layer_s", "4e-4", "s", "our bench", "2026-11-20", "measured", "9", "", "")
        (tmp_path / "mine.csv").write_bytes(as_csv([dict(zip(COLUMNS, row, strict=True))]))
        return point(run(tmp_path, TINY + "efficiency: mine.csv\n"))

    assert table("h100-sxm") == point(plain)
    slow = table("gb200")
    assert slow.tok_per_s_per_chip < 0.9 * point(plain).tok_per_s_per_chip


def test_a_benchmarks_own_json_will_do(tmp_path):
    lengths = "lengths: {isl_mean_tokens: 1000, osl_mean_tokens: 250}, mean_rps: 60"  # no prefix cache: a benchmark has none
    plain_text = TINY.replace("profile: chat, mean_rps: 60", lengths)
    plain = run(tmp_path, plain_text)
    p, w = point(plain), plain.resolved.workload("chat")
    run_ = {"model_id": p.model, "max_concurrency": p.batch, "completed": 10, "total_input_tokens": 10 * round(w.lengths.isl_tokens),
            "total_output_tokens": 10 * round(w.lengths.osl_tokens), "mean_ttft_ms": 70.0, "mean_tpot_ms": 990 * p.tpot_s, "gpu": p.chip,
            "num_gpus": p.chips, "tensor_parallel_size": p.layout.tp, "precision": p.layout.precision, "date": "20261120-120000"}  # fmt: skip

    (tmp_path / "run.json").write_text(json.dumps(run_))
    found = point(run(tmp_path, plain_text + "measured: [run.json]\n"))
    assert (found.basis, found.as_of) == ("measured", "2026-11-20")


def test_files_that_are_not_there_or_say_nothing_are_refused(tmp_path):
    path = tmp_path / "scenario.yaml"
    path.write_text(TINY + "measured: [none.csv]\nefficiency: nothing.csv\n")
    with pytest.raises(InputErrors) as caught:
        load_scenario(path)
    assert "measured[0]" in str(caught.value)
    assert "efficiency" in str(caught.value)
    assert f"{path}:" in str(caught.value)
    path.write_text(TINY + "measured: [bad.csv]\n")
    out = io.StringIO()
    csv.writer(out).writerows([HEAD.split(","), ["me", "llama-3.1-8b", "fp8", "gb200", "1", "TP1", "1", "1", "x", "", "t", "9", "tokens/s", "", ""]])
    (tmp_path / "bad.csv").write_text(out.getvalue())
    with pytest.raises(InputError, match=r"none of its 1 points"):
        own_of(resolve(load_scenario(path), KNOWN))
