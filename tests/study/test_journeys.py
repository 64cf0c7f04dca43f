"""Whole journeys as a user runs them: files in an empty folder, one command after another, exit codes, no leftovers."""

from __future__ import annotations

import ctypes
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from small_scenarios import IMPOSSIBLE, NOWHERE, TINY

from polysilicon.cli.output import progress

COMMAND = [sys.executable, "-c", "from polysilicon.cli.app import main; main()"]


def polysilicon(*arguments: str, cwd: Path, ok: int = 0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run([*COMMAND, *arguments], cwd=cwd, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == ok, done.stderr + done.stdout
    assert "Traceback" not in done.stderr
    return done


def test_init_check_plan_report(tmp_path):
    polysilicon("init", cwd=tmp_path)
    assert "fine." in polysilicon("check", "scenario.yaml", cwd=tmp_path).stdout
    (tmp_path / "tiny.yaml").write_text(TINY)
    first = polysilicon("plan", "tiny.yaml", "-o", "answer", "-q", cwd=tmp_path)
    lines = list(filter(str.strip, first.stdout.splitlines()))
    assert "GB200" in lines[0]
    assert "$" in lines[0]
    assert lines[1].startswith("Proven by replay")
    assert lines[-1] == "report: answer/report.html"
    made = {p.name for p in (tmp_path / "answer").iterdir()}
    assert {"plan.json", "report.html", "report.md", "report.json", "tables"} <= made
    assert not list((tmp_path / "answer").rglob("*.part"))
    page = (tmp_path / "answer" / "report.html").read_text()
    assert "http://" not in page.split("<body")[0].replace("http://www.w3.org", "")
    assert all(re.match(r"warning: \d+ of \d+ offers were quoted", line) for line in first.stderr.splitlines())  # by today's date


def test_plan_without_proof_as_json_is_read_back(tmp_path):
    (tmp_path / "tiny.yaml").write_text(TINY)
    done = polysilicon("plan", "tiny.yaml", "--no-proof", "--no-alternatives", "--json", "-q", cwd=tmp_path)
    document = json.loads(done.stdout)
    assert document["verdict"] == "unproven"
    from polysilicon.portfolio import read_plan

    plan = read_plan(tmp_path / "out" / "plan.json")
    assert plan.objective_usd == pytest.approx(document["objective_usd"])


def test_wrong_input_leaves_nothing_behind(tmp_path):
    (tmp_path / "bad.yaml").write_text(TINY.replace("mean_rps: 60", "mean_rps: -60").replace("llama-3.1-8b", "llama-3.1-8"))
    listed = json.loads(polysilicon("check", "bad.yaml", "--json", cwd=tmp_path, ok=1).stdout)
    assert listed["ok"] is False
    assert listed["problems"][0]["where"] == "bad.yaml:7:40"
    planned = polysilicon("plan", "bad.yaml", cwd=tmp_path, ok=1)
    assert "bad.yaml:7:40" in planned.stderr
    assert {p.name for p in tmp_path.iterdir()} == {"bad.yaml"}
    polysilicon("plan", "bad.yaml", "--margin", "7", cwd=tmp_path, ok=2)


def test_infeasible_is_three_and_leaves_nothing_and_a_missed_promise_is_four_and_is_shown(tmp_path):
    (tmp_path / "nowhere.yaml").write_text(NOWHERE)
    nowhere = polysilicon("plan", "nowhere.yaml", "-o", "a", "-q", cwd=tmp_path, ok=3)
    assert "ttft_s is" in nowhere.stderr
    assert not (tmp_path / "a").exists()
    (tmp_path / "impossible.yaml").write_text(IMPOSSIBLE)
    missed = polysilicon("plan", "impossible.yaml", "-o", "b", "-q", cwd=tmp_path, ok=4)
    assert "100 ms promised" in missed.stderr
    assert "hint:" in missed.stderr
    assert (tmp_path / "b" / "report.html").exists()
    assert json.loads((tmp_path / "b" / "report.json").read_text())["verdict"] == "missed"


@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_an_interrupt_keeps_the_plan_there_is(tmp_path):
    (tmp_path / "long.yaml").write_text(TINY.replace("proof_requests: 3000", "proof_requests: 30000000"))
    process = subprocess.Popen([*COMMAND, "plan", "long.yaml", "-q"], cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    plan, began = tmp_path / "out" / "plan.json", time.monotonic()
    while not plan.exists() and time.monotonic() - began < 120 and process.poll() is None:
        time.sleep(0.1)
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    _, words = process.communicate(timeout=120)
    assert process.returncode == 130, words
    assert "out/plan.json holds the last plan" in words
    assert "Traceback" not in words
    assert {p.name for p in (tmp_path / "out").iterdir()} == {"plan.json"}
    json.loads(plan.read_text())


def test_an_interrupt_that_a_library_swallows_ends_the_work_at_its_next_step(capfd):
    swallow = ctypes.CFUNCTYPE(None)(lambda: signal.raise_signal(signal.SIGINT))  # a callback from C: what it raises is told and lost
    hook = sys.__unraisablehook__  # as outside of a test, where pytest listens
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "unraisablehook", hook)
        with pytest.raises(KeyboardInterrupt), progress("work", quiet=True) as bar:
            bar(0.1)
            swallow()
            bar(0.2)
            pytest.fail("went on")
        assert sys.unraisablehook is hook
    assert capfd.readouterr().err == ""
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_import_is_light_and_the_two_verbs_are_there():
    code = (
        "import sys, polysilicon; assert not {'numpy', 'pydantic', 'polars'} & set(sys.modules); "
        "print(callable(polysilicon.plan), callable(polysilicon.simulate))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True True"
