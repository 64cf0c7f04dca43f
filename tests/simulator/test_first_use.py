"""An installer compiles ahead of time; whoever compiles is told how far it is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from polysilicon.simulator import warm
from polysilicon.simulator.compiled import is_warm


def test_after_warming_the_machine_code_is_on_disk() -> None:
    warm()
    assert is_warm()
    assert warm() is False


def test_an_empty_cache_is_filled_with_progress_and_the_collector_is_on_again(tmp_path: Path) -> None:
    code = (
        "import gc, json; from polysilicon.simulator import warm; told = []; had = warm(told.append); "
        "from polysilicon.simulator.compiled import functions; print(json.dumps([had, told, gc.isenabled(), warm(), functions()]))"
    )
    environment = os.environ | {"POLYSILICON_CACHE_DIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    had, told, collects, again, functions = json.loads(done.stdout)
    assert had and collects and not again
    assert len(told) > 50 and told == sorted(told) and told[0] < 0.1 and 0.7 < told[-1] <= 1.0
    assert len(told) < 1.2 * functions, "a function is compiled once, whatever whole numbers it is called with"
