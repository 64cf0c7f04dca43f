"""C14: speed per dollar and per watt at an SLO, with band and class of source; errors on published rows are printed."""

import json

import pytest
from command import run
from toy import offer, solve, work, world
from typer.testing import CliRunner

from polysilicon.cli.app import build
from polysilicon.report import Evidence, contents


def test_perf_shows_value_band_and_basis():
    arguments = ["perf", "llama-3.1-70b", "--chip", "H100,GB200,Maia 200", "--json"]
    result = CliRunner().invoke(build("perf"), arguments)
    assert result.exit_code == 0, result.output
    rows = {r["chip"]: r for r in json.loads(result.stdout)["rows"]}
    for chip in ("h100-sxm", "gb200"):
        assert rows[chip]["tok_per_usd"] > 0
        assert rows[chip]["tok_per_s_per_w"] > 0
        assert rows[chip]["basis"] == "calibrated"
        assert 0 < rows[chip]["error_frac"] < 1
    assert rows["maia-200"]["basis"] == "datasheet"
    assert rows["maia-200"]["error_frac"] > rows["h100-sxm"]["error_frac"]


def test_the_report_shows_it_for_every_chip_of_the_plan():
    plan = solve(world([work(rps=100.0)], [offer("h100", 2.0)], months=12))
    table = contents.tables(Evidence(plan=plan, title="t"))["speed"]
    row, point = table.records()[0], plan.serving[0]
    assert row["tok_per_usd"] == pytest.approx(point.tok_per_s_per_chip * 3600 / 2.0)
    assert row["tok_per_s_per_w"] == pytest.approx(point.tok_per_s_per_chip / point.w_per_chip)
    rate, wide = point.tok_per_s_per_chip, 1.0 + point.error_frac
    assert (row["low_tok_per_s_per_chip"], row["high_tok_per_s_per_chip"], row["basis"]) == (rate / wide, rate * wide, point.basis)


@pytest.mark.shared
def test_the_error_against_inferencex_rows_is_printed(shared_dir, tmp_path):
    """A slice of the published rows, every twelfth, keeps this short; the page of accuracy has them all."""
    lines = (shared_dir / "data" / "measured_points.csv").read_text().splitlines()
    some = [x for x in lines[1:] if x.startswith("InferenceX") and "disagg" not in x][::12]
    (tmp_path / "rows.csv").write_text("\n".join([lines[0], *some]) + "\n")
    groups = {g["key"]: g for g in json.loads(run("validate", str(tmp_path / "rows.csv"), "--by", "chip", "--json").stdout)["groups"]}
    assert {"h100-sxm", "h200-sxm", "b200-sxm"} <= set(groups)
    assert all(g["predicted"] == g["rows"] and 0 < g["median_abs_error_frac"] < 0.5 for g in groups.values() if g["rows"] >= 10)
