"""`hedge` as a user runs it: the same seed prints the same figures, as tables and as one document."""

import json
import subprocess
import sys
from pathlib import Path

COMMAND = str(Path(sys.executable).with_name("polysilicon"))


def test_hedge_of_the_minimal_scenario(tmp_path):
    from polysilicon.scenario import embedded_text

    (tmp_path / "s.yaml").write_text(embedded_text("minimal"))
    ask = [COMMAND, "hedge", "s.yaml", "--futures", "4", "--seed", "3"]
    told, again = (subprocess.run([*ask, *more], cwd=tmp_path, capture_output=True, text=True) for more in ((), ("--json",)))
    assert told.returncode == 0 and again.returncode == 0, told.stderr + again.stderr
    found = json.loads(again.stdout)
    assert found["seed"] == 3 and [d["name"] for d in found["decisions"]] == ["the hedge", "today's plan"]
    assert 0 < found["bound_usd"] <= found["objective_usd"] * (1 + 1e-9)
    assert "today's plan" in told.stdout and "4 futures, seed 3" in told.stderr and "of the least possible" in told.stderr
