"""B07: kill a back end: no client sees an error, traffic goes elsewhere, and comes back once it is well."""

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from live import ask, endpoint, post, running


def test_a_killed_back_end_costs_clients_nothing(tmp_path: Path) -> None:
    with running(tmp_path, [endpoint("a", "claude"), endpoint("b", "vertex")]) as rig:
        with ThreadPoolExecutor(8) as pool:
            futures = [pool.submit(post, rig, ask()) for _ in range(40)]
            rig.call(rig.emulator["a"].outage)
            futures += [pool.submit(post, rig, ask()) for _ in range(60)]
            answers = [f.result() for f in futures]
        assert sum(status != 200 for status, _, _ in answers) == 0
        assert {h["x-polysilicon-target"] for _, h, _ in answers[-10:]} == {"b"}
        rig.call(lambda: rig.emulator["a"].outage(over=True))
        until = time.monotonic() + 5
        while post(rig, ask())[1]["x-polysilicon-target"] != "a":
            assert time.monotonic() < until
