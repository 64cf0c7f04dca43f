"""Two term sheets against each other: dollars and dollars per million tokens, by hand and by the command."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from toy import offer, tables, work, world

from polysilicon.planner.thresholds import compare_offers

COMMAND = str(Path(sys.executable).with_name("polysilicon"))


def test_d13():
    sheets = [offer("h100", 2.0, id="a"), offer("h100", 2.5, id="b", cloud="aws"), offer("h100", 3.0, id="c", cloud="gcp")]
    question = tables(world([work(rps=100.0)], sheets))
    found = compare_offers(question, "a", "b")
    hours = 90 * 24.0
    assert found.delta_usd == pytest.approx(100 * 0.5 * hours)
    assert found.delta_usd_per_mtok == pytest.approx(100 * 0.5 * hours / (100 * 3600 * hours * 1200 / 1e6))
    assert found.both_usd == pytest.approx(found.a_usd) and found.neither_usd == pytest.approx(100 * 3.0 * hours)


def test_the_command_prints_both_deltas(tmp_path):
    from polysilicon.scenario import embedded_text

    file = tmp_path / "s.yaml"
    file.write_text(embedded_text("minimal"))
    run = subprocess.run([COMMAND, "compare-offers", str(file), "gcp-*", "coreweave-*", "--json"], capture_output=True, text=True)
    found = json.loads(run.stdout)
    assert run.returncode == 0 and found["both_usd"] <= min(found["a_usd"], found["b_usd"]) * 1.001 and "delta_usd_per_mtok" in found
