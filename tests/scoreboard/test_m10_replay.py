"""M10 in simulation: percentiles and goodput of each application, and what was missed named by application."""

import json
import subprocess

import numpy as np
import polars as pl
import pytest
from command import run

FLEET = """polysilicon_fleet: 1
pools:
  - {name: a, replicas: 1, max_batch: 8, step_times: {base_s: 0.01, kv_tokens: 200000}}
slos:
  chat: {ttft_s: 5.0, tpot_s: 0.02, quantile: 0.95}
  search: {ttft_s: 0.012, e2e_s: 0.2, quantile: 0.9}
"""


def test_goodput_percentiles_and_misses_by_application(tmp_path):
    (tmp_path / "fleet.yaml").write_text(FLEET)
    rng = np.random.default_rng(0)
    n = 2_000
    columns = {"arrival_s": np.cumsum(rng.exponential(0.08, n)), "isl_tokens": np.full(n, 50), "osl_tokens": rng.integers(10, 60, n),
               "workload": rng.choice(["chat", "search"], n)}  # fmt: skip
    pl.DataFrame(columns).write_csv(tmp_path / "trace.csv")
    with pytest.raises(subprocess.CalledProcessError) as caught:
        run("simulate", str(tmp_path / "fleet.yaml"), str(tmp_path / "trace.csv"), "--json")
    done = caught.value
    assert done.returncode == 4
    said = json.loads(done.stdout)
    chat, search = said["workloads"]["chat"], said["workloads"]["search"]
    assert set(chat["ttft_s"]) == {"mean", "p50", "p90", "p95", "p99", "max"} == set(search["e2e_s"])
    assert 0 < search["goodput_rps"] < search["done_rps"] and chat["goodput_rps"] == chat["done_rps"]
    assert chat["promises"]["ttft_s"]["kept"] and not search["promises"]["e2e_s"]["kept"]
    assert said["missed"] and all(words.startswith("search: ") for words in said["missed"])
    assert "search: e2e_s" in done.stderr
