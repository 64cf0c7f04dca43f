"""A08: how many users a rack serves at an SLO."""

import json

from typer.testing import CliRunner

from polysilicon.cli.app import build


def test_users_per_rack_is_a_column():
    result = CliRunner().invoke(build("perf"), ["perf", "llama-3.1-70b", "--chip", "GB200", "--json"])
    assert result.exit_code == 0, result.output
    row = json.loads(result.stdout)["rows"][0]
    assert row["users_per_rack"] == row["batch"] * (72 // row["chips"])
