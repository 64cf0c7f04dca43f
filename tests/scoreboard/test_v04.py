"""V04: the model's efficiencies are fitted to measured points, and the error on chips left out is printed per chip."""

import json

import pytest
from chip_entry import KNOWN
from typer.testing import CliRunner

from polysilicon.cli.app import build
from polysilicon.exchange import fitting, points
from polysilicon.performance.efficiency import rows


def test_the_shipped_table_carries_errors_of_chips_left_out():
    notes = {r["subject"]: r["note"] for r in rows() if r["parameter"] == "error_frac"}
    assert "left out" in notes["cuda-hopper"]
    assert "left out" in notes["h100-sxm"]


@pytest.mark.shared
def test_runs_are_gathered_and_those_that_cannot_be_are_named(shared_dir):
    runs = fitting.gather(points.read(shared_dir / "data" / "measured_points.csv"), KNOWN)
    assert len([r for r in runs if not r.aside]) > 1500
    assert 0 < len([r for r in runs if r.aside]) < 50


def test_calibrate_prints_the_error_of_every_chip_left_out(tmp_path, monkeypatch):
    """A user's own file with two chips, one 30 % slower than we think: the fit is written, and what it says of each chip unseen is printed."""
    monkeypatch.setattr(fitting, "LEAST_RUNS", 3)
    head = "source,model,params_total,params_active,quant,chip,n_chips,parallelism,isl,osl,concurrency_or_batch,metric,value,unit,"
    head += "where_in_source,backend,date"
    lines = [
        f"ours,{model},,,fp8,{chip},8,TP8,1024,1024,{load},{metric},{base * slower * load**0.4:.4g},ms,,vllm,2026-03-01"
        for model, chip, slower in (("Llama-3.1-70B", "H100-SXM", 1.0), ("Qwen3-32B", "H200-SXM", 1.3))
        for load in (4, 16, 64)
        for metric, base in (("tpot", 5.0), ("ttft", 40.0))
    ]
    (tmp_path / "p.csv").write_text("\n".join([head, *lines]) + "\n")
    done = CliRunner().invoke(build("calibrate"), ["calibrate", str(tmp_path / "p.csv"), "-o", str(tmp_path / "mine.csv"), "--json"])
    assert done.exit_code == 0, done.output
    judged = {j["left_out"]: j for j in json.loads(done.stdout)["left_out"]}
    assert {"fifth", "model", "chip", "chip h100-sxm", "chip h200-sxm"} <= set(judged), judged
    assert all(0 < judged[f"chip {c}"]["tpot_median_frac"] < 2 for c in ("h100-sxm", "h200-sxm"))
    assert all(r["source"] and r["as_of"] for r in rows(str(tmp_path / "mine.csv")))
