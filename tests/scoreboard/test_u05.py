"""Decision makers compare chip-inclusive offers: the command's table names both and says which saves how much."""

import subprocess
import sys
from pathlib import Path

COMMAND = str(Path(sys.executable).with_name("polysilicon"))


def test_u05(tmp_path):
    from polysilicon.scenario import embedded_text

    file = tmp_path / "s.yaml"
    file.write_text(embedded_text("minimal"))
    run = subprocess.run([COMMAND, "compare-offers", str(file), "gcp-*tpu*", "coreweave-*"], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert "only gcp-*tpu*" in run.stdout and "neither" in run.stdout and "$/Mtok" in run.stderr
    wrong = subprocess.run([COMMAND, "compare-offers", str(file), "gcp-*", "azur-h100"], capture_output=True, text=True)
    assert wrong.returncode == 1 and '"azur-h100" is no offer' in wrong.stderr and "Traceback" not in wrong.stderr
