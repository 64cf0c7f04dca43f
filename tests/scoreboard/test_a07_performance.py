"""A07: can a chip answer a long question within a second? yes or no, with the best chip and the reason."""

import json

from typer.testing import CliRunner

from polysilicon.cli.app import build


def test_the_verdict_names_chips_that_can_and_says_why_others_cannot():
    arguments = ["perf", "llama-3.1-70b", "--isl", "100000", "--osl", "300", "--ttft", "1.0", "--cached", "0.95", "--quantile", "0.5", "--json"]
    result = CliRunner().invoke(build("perf"), arguments)
    assert result.exit_code == 0, result.output
    rows = json.loads(result.stdout)["rows"]
    can = [r for r in rows if r["status"] == "ok"]
    cannot = [r for r in rows if r["status"] != "ok"]
    assert can
    assert all(r["ttft_s"] <= 1.0 for r in can)
    assert cannot
    assert all(r["reason"] for r in cannot)
