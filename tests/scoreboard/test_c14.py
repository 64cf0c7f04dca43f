"""C14: speed per dollar and per watt at an SLO, with band and class of source."""

import json

from typer.testing import CliRunner

from polysilicon.cli.app import build


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
