"""`perf --measured`: a user's own points override where they match, correct near by, and are refused in words."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from polysilicon.cli.app import build
from polysilicon.errors import InputError

ASK = ["llama-3.1-70b", "--chip", "H100:fp8", "--isl", "1024", "--osl", "1024", "--ttft", "5", "--tpot", "0.05"]
HEAD = "source,model,quant,chip,n_chips,parallelism,isl,osl,concurrency_or_batch,metric,value,unit,backend,date"


def perf(*more: str):
    result = CliRunner().invoke(build("perf"), ["perf", *ASK, *more, "--json"])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0
    return json.loads(result.stdout)["rows"][0]


def own(tmp_path: Path, row, *, load: float, tpot_s: float, chip: str = "H100") -> str:
    """Write a file of the user's points: a TPOT and a TTFT at one load, on the replica of a row."""
    n = row["chips"]
    run = f"mine,Llama-3.1-70B,fp8,{chip},{n},TP{n},1024,1024,{load:g}"
    path = tmp_path / "own.csv"
    path.write_text(f"{HEAD}\n{run},tpot,{1e3 * tpot_s},ms,vllm,2026-03-01\n{run},ttft,321,ms,vllm,2026-03-01\n", encoding="utf-8")
    return str(path)


def test_a_measured_point_overrides_the_row_it_matches(tmp_path):
    row = perf()
    mine = perf("--measured", own(tmp_path, row, load=row["batch"], tpot_s=0.99 * row["tpot_s"]))
    assert mine["basis"] == "measured"
    assert mine["tpot_s"] == pytest.approx(0.99 * row["tpot_s"])
    assert mine["ttft_s"] == pytest.approx(0.321)
    assert mine["requests_per_s"] == pytest.approx(row["batch"] / (0.321 + 1023 * 0.99 * row["tpot_s"]))  # Little's law of the loop
    assert mine["source"] == "mine"
    assert mine["error_frac"] < row["error_frac"]
    assert "your own measurement" in mine["note"]


def test_a_near_point_corrects_and_a_far_one_says_nothing(tmp_path):
    row = perf()
    near = perf("--measured", own(tmp_path, row, load=row["batch"] / 2, tpot_s=2.0 * row["tpot_s"]))
    assert near["basis"] != "measured" or near["batch"] != row["batch"]
    assert near["tok_per_s_per_chip"] < 0.95 * row["tok_per_s_per_chip"]
    other = perf("--measured", own(tmp_path, row, load=row["batch"], tpot_s=2.0 * row["tpot_s"], chip="B200"))
    assert other == row


def test_a_benchmarks_own_file_will_do(tmp_path):
    row = perf()
    path = tmp_path / "run.json"
    path.write_text(json.dumps([{
        "hw": "h100", "tp": row["chips"], "conc": row["batch"], "model": "Llama-3.1-70B", "framework": "vllm", "precision": "fp8",
        "isl": 1024, "osl": 1024, "mean_ttft": 0.3, "mean_tpot": 0.99 * row["tpot_s"], "tput_per_gpu": 900, "output_tput_per_gpu": 450,
    }]), encoding="utf-8")  # fmt: skip
    mine = perf("--measured", str(path))
    assert mine["basis"] == "measured"
    assert mine["tpot_s"] == pytest.approx(0.99 * row["tpot_s"])


def test_points_that_can_stand_for_nothing_are_refused(tmp_path):
    path = tmp_path / "own.csv"
    path.write_text(f"{HEAD}\nmine,Llama-3.1-70B,fp8,H100,2,TP2,1024,1024,64,output_throughput_total,900,tokens/s,vllm,\n", encoding="utf-8")
    with pytest.raises(InputError, match="none of its 1 points"):
        perf("--measured", str(path))


@pytest.mark.parametrize("words", ["H100:fp9", "H100:", "H1000:fp8"])
def test_a_precision_or_chip_nobody_knows_is_refused(words):
    with pytest.raises(InputError):
        perf("--chip", words)
