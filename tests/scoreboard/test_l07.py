"""What leaving a cloud costs, by part: dearer service, stranded commitment, exit fee."""

import json
import subprocess
import sys

import pytest
from toy import offer, tables, work, world

from polysilicon.cloud.contract import Contract
from polysilicon.planner import leverage


def test_l07():
    macc = Contract("macc", "azure", "committed_spend", "2026-01-01", "2027-01-01", commit_usd=1e6, exit_fee_usd=5e4)
    question = tables(world([work(rps=100.0)], [offer("h100", 2.0), offer("h100", 2.5, cloud="aws")], months=12, contracts=(macc,)))
    parts = leverage.exit_cost(question, "azure")
    assert parts["service_usd"] == pytest.approx(100 * 0.5 * 8760.0)
    assert parts["stranded_commitment_usd"] == pytest.approx(1e6) and parts["exit_fee_usd"] == 5e4
    summed = ("service_usd", "ports_usd", "stranded_commitment_usd", "exit_fee_usd", "unserved_usd")
    assert parts["total_usd"] == pytest.approx(sum(parts[k] for k in summed))


def test_the_command_exists():
    code = "from polysilicon.cli.app import VERBS; import json; print(json.dumps(list(VERBS)))"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert "exit-cost" in json.loads(shown.stdout)
