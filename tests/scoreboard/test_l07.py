"""What leaving a cloud costs, by part: dearer service, stranded commitment, exit fee."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from toy import offer, tables, work, world

from polysilicon.cloud.contract import Contract
from polysilicon.planner import leverage


def test_l07():
    macc = Contract("macc", "azure", "committed_spend", "2026-01-01", "2027-01-01", commit_usd=1e6, exit_fee_usd=5e4)
    question = tables(world([work(rps=100.0)], [offer("h100", 2.0), offer("h100", 2.5, cloud="aws")], months=12, contracts=(macc,)))
    parts = leverage.exit_cost(question, "azure", egress_usd=500e3 * 0.02)
    assert parts["service_usd"] == pytest.approx(100 * 0.5 * 8760.0)
    assert parts["stranded_commitment_usd"] == pytest.approx(1e6) and parts["exit_fee_usd"] == 5e4
    summed = ("service_usd", "ports_usd", "stranded_commitment_usd", "exit_fee_usd", "egress_usd", "unserved_usd")
    assert parts["egress_usd"] == 1e4
    assert parts["total_usd"] == pytest.approx(sum(parts[k] for k in summed))


def test_the_command_exists():
    code = "from polysilicon.cli.app import VERBS; import json; print(json.dumps(list(VERBS)))"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert "exit-cost" in json.loads(shown.stdout)


def test_data_to_move_out_is_priced_or_said_not_to_be(tmp_path):
    from polysilicon.scenario import embedded_text

    (tmp_path / "s.yaml").write_text(embedded_text("minimal"))
    command = [str(Path(sys.executable).with_name("polysilicon")), "exit-cost", "s.yaml", "azure"]
    priced = subprocess.run([*command, "--data-tb", "500", "--usd-per-gb", "0.02", "--json"], cwd=tmp_path, capture_output=True, text=True)
    assert priced.returncode == 0 and json.loads(priced.stdout)["egress_usd"] == 1e4
    bare = subprocess.run([*command, "--data-tb", "500"], cwd=tmp_path, capture_output=True, text=True)
    assert bare.returncode == 2 and "has no price" in bare.stderr
