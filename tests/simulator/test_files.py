"""Fleet files, price tapes, what a run leaves behind, and the two commands as a user runs them."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from polysilicon import simulator
from polysilicon.application.trace import Trace
from polysilicon.application.workload import Slo
from polysilicon.errors import InputError, UsageError
from polysilicon.simulator import output
from polysilicon.simulator.dynamics import Happenings, Outage
from polysilicon.simulator.files import parse_outage, read_fleet, read_price_tape
from polysilicon.simulator.fleet import Fleet, Pool

FLEET = """\
polysilicon_fleet: 1
routing: least-loaded
pools:
  - name: east
    cloud: azure
    replicas: 2
    step_times: {base_s: 0.006, token_s: 2.0e-5, kv_tokens: 400000}
    usd_per_chip_hour: 3.0
    busy_w_per_chip: 1000
  - name: west
    cloud: aws
    replicas: 1
    step_times: {base_s: 0.009, token_s: 2.0e-5, kv_tokens: 400000}
slos:
  default: {ttft_s: 2.0, tpot_s: 0.05}
"""


def write_trace(path: Path, n: int = 400) -> Path:
    rng = np.random.default_rng(0)
    frame = pl.DataFrame({
        "arrival_s": np.cumsum(rng.exponential(0.2, n)), "isl_tokens": rng.integers(10, 2000, n), "osl_tokens": rng.integers(1,
        300, n),
    })  # fmt: skip
    frame.write_csv(path)
    return path


def polysilicon(*words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "polysilicon.cli.app", *map(str, words)]
    code = f"import sys; sys.argv = ['polysilicon', *{list(map(str, words))!r}]; from polysilicon.cli.app import main; main()"
    return subprocess.run([command[0], "-c", code], capture_output=True, text=True, timeout=300, check=False)


def test_a_fleet_file_becomes_a_fleet(tmp_path: Path) -> None:
    (tmp_path / "f.yaml").write_text(FLEET + "outages:\n  - {at_s: 5, scope: cloud, name: azure, duration_s: 3}\n")
    fleet, happenings = read_fleet(tmp_path / "f.yaml")
    assert [(p.name, p.replicas, p.max_step_tokens) for p in fleet.pools] == [("east", 2, 8192), ("west", 1, 8192)]
    assert fleet.pools[0].step_times.tokens_s[100] == pytest.approx(0.008) and fleet.pools[0].idle_w_per_chip == pytest.approx(300)
    assert fleet.slos["default"] == Slo(2.0, 0.05) and happenings.outages == [Outage(5.0, "cloud", "azure", 3.0)]


def test_a_pool_of_the_catalogue_takes_its_times_from_the_performance_model(tmp_path: Path) -> None:
    pool = "{name: a, model: gpt-oss-120b, chip: H100, layout: {precision: fp4, tp: 2}}"
    (tmp_path / "f.yaml").write_text(f"polysilicon_fleet: 1\npools:\n  - {pool}\n")
    made = read_fleet(tmp_path / "f.yaml")[0].pools[0]
    assert made.chips_per_replica == 2 and made.vendor.lower() == "nvidia" and made.busy_w_per_chip > 500
    assert 0.0005 < made.step_times.tokens_s[1] < 0.05 and made.step_times.kv_tokens > 100_000


def test_every_problem_of_a_fleet_file_comes_at_once_with_its_place(tmp_path: Path) -> None:
    (tmp_path / "f.yaml").write_text(FLEET.replace("replicas: 2", "replicas: many").replace("base_s: 0.009",
    "base_s: -1").replace("cloud: aws", "clud: aws"))
    with pytest.raises(InputError) as caught:
        read_fleet(tmp_path / "f.yaml")
    words = str(caught.value)
    assert "f.yaml:6:15: pools[0].replicas" in words and "base_s" in words and 'did you mean "cloud"?' in words


def test_unknown_chips_and_files_are_errors(tmp_path: Path) -> None:
    (tmp_path / "f.yaml").write_text("polysilicon_fleet: 1\npools:\n  - {name: a, model: gpt-oss-120b, chip: H1000}\n  - {name: b}\n")
    with pytest.raises(InputError) as caught:
        read_fleet(tmp_path / "f.yaml")
    assert "H1000" in str(caught.value) and "needs a model and a chip" in str(caught.value)
    with pytest.raises(InputError, match="cannot be read"):
        read_fleet(tmp_path / "absent.yaml")


def test_price_tapes_and_outages_on_the_command_line(tmp_path: Path) -> None:
    tape = tmp_path / "tape.csv"
    tape.write_text("at_s,pool,usd_per_chip_hour\n0,east,2.5\n60,*,4\n")
    assert [(c.at_s, c.pool, c.usd_per_chip_hour) for c in read_price_tape(tape)] == [(0.0, "east", 2.5), (60.0, "*", 4.0)]
    tape.write_text("at_s,pool,usd_per_chip_hour\nsoon,east,2.5\n60,*,-4\n")
    with pytest.raises(InputError, match=r"tape.csv:2:1[\s\S]*tape.csv:3:1"):
        read_price_tape(tape)
    assert parse_outage("pool:east@60") == Outage(60.0, "pool", "east")
    for bad in ("pool:east", "moon:x@1", "pool:east@-1", "pool:east@1+0", "pool:@5", ""):
        with pytest.raises(UsageError):
            parse_outage(bad)


def test_what_a_run_leaves_behind(flat) -> None:
    fleet = Fleet((Pool("a", flat(), 2, max_batch=8, busy_w_per_chip=1000.0, pue=1.2),), slos={"default": Slo(ttft_s=1.0)})
    trace = Trace(np.arange(100) * 0.3, np.full(100, 20, np.int32), np.full(100, 11, np.int32))
    result = simulator.simulate(fleet, trace, happenings=Happenings(outages=[Outage(5.0, "replica", "a#0", 5.0)], sample_s=1.0))
    files = output.files(result)
    rows = pl.read_parquet(io.BytesIO(files["requests.parquet"]))
    assert rows.height == 100 and rows["status"].unique().to_list() == ["done"] and rows["pool"].unique().to_list() == ["a"]
    assert rows["tpot_s"].to_numpy() == pytest.approx(result.tpot_s)
    bench = json.loads(files["bench.json"])
    assert bench["completed"] == 100 and bench["median_tpot_ms"] == pytest.approx(10.0) and bench["median_itl_ms"] == pytest.approx(10.0, rel=0.02)
    summary = json.loads(files["summary.json"])
    busy_s = float(result.replicas["busy_s"].sum())
    assert summary["totals"]["energy_kwh"] == pytest.approx(busy_s * 1000 * 1.2 / 3.6e6)
    events = json.loads(output.chrome_trace(result, 0.0, 60.0))["traceEvents"]
    slices = [e for e in events if e["ph"] == "X"]
    for lane in {(e["pid"], e["tid"]) for e in slices}:  # slices of one lane never overlap
        mine = sorted((e["ts"], e["ts"] + e["dur"]) for e in slices if (e["pid"], e["tid"]) == lane)
        assert all(b >= a - 1e-3 for (_, a), (b, _) in pairwise(mine))
    assert {e["name"] for e in slices} >= {"prefill", "decode"} and any(e["ph"] == "i" for e in events)
    assert output.over_time(result, 10.0)["requests"].sum() == 100


def test_simulate_and_compare_as_a_user_runs_them(tmp_path: Path) -> None:
    (tmp_path / "fleet.yaml").write_text(FLEET)
    trace = write_trace(tmp_path / "trace.csv")
    fine = polysilicon("simulate", tmp_path / "fleet.yaml", trace, "-o", tmp_path / "a", "--workload", "default")
    assert fine.returncode == 0, fine.stderr
    assert "400 of 400 requests done" in fine.stdout and "kWh per million output tokens" in fine.stdout
    worse = polysilicon("simulate", tmp_path / "fleet.yaml", trace, "--fail", "cloud:azure@1", "--speed", "30", "-o",
    tmp_path / "b", "--workload", "default")
    assert worse.returncode == 4 and "promised" in worse.stderr and "Traceback" not in worse.stderr
    both = polysilicon("compare", tmp_path / "a", tmp_path / "b")
    assert both.returncode == 0 and "ttft_s.p99" in both.stdout
    same = polysilicon("compare", tmp_path / "a", tmp_path / "a")
    assert "agree in every number" in same.stdout
    for words, code in ((("simulate", tmp_path / "no.yaml", trace), 1), (("compare", tmp_path, tmp_path), 1)):
        failed = polysilicon(*words)
        assert failed.returncode == code and "Traceback" not in failed.stderr


def test_a_user_chooses_the_seconds_of_the_trace_to_look_at(tmp_path: Path) -> None:
    (tmp_path / "fleet.yaml").write_text(FLEET)
    trace = write_trace(tmp_path / "trace.csv")
    said = polysilicon("simulate", tmp_path / "fleet.yaml", trace, "--workload", "default", "--watch", "@2+3", "-o", tmp_path / "a")
    assert said.returncode == 0, said.stderr
    slices = [e for e in json.loads((tmp_path / "a" / "trace.json").read_bytes())["traceEvents"] if e["ph"] == "X"]
    rows = pl.read_parquet(tmp_path / "a" / "requests.parquet").filter((pl.col("done_s") >= 2.0) & (pl.col("arrival_s") <= 5.0))
    assert len([e for e in slices if e["name"] == "prefill"]) == len(rows) and 0 < len(rows) < 400
    for words in ("@2", "@x+3", "east#0@5+0"):
        wrong = polysilicon("simulate", tmp_path / "fleet.yaml", trace, "--watch", words)
        assert wrong.returncode == 2 and "POOL#3@START+DURATION" in wrong.stderr


LINKED = """polysilicon_fleet: 1
links: {scale-out: {gb_per_s: 50}, wan: {gb_per_s: 2, latency_s: 0.04}}
pools:
  - {name: in, model: llama-3.1-70b, chip: h100-sxm, layout: {precision: fp8, kv_precision: fp8, tp: 4}, role: prefill, decode_pool: out, link: wan}
  - {name: out, model: llama-3.1-70b, chip: h100-sxm, layout: {precision: fp8, kv_precision: fp8, tp: 4}, role: decode}
"""


def test_the_kv_of_a_prefill_pool_crosses_the_link_it_names(tmp_path: Path) -> None:
    file = tmp_path / "fleet.yaml"
    times = {}
    for link in ("wan", "scale-out"):
        file.write_text(LINKED.replace("link: wan}", f"link: {link}}}"))
        times[link] = read_fleet(file)[0].pools[0].step_times
    assert times["wan"].transfer_s_per_token == pytest.approx(25 * times["scale-out"].transfer_s_per_token)
    assert (times["wan"].transfer_latency_s, times["scale-out"].transfer_latency_s) == (0.04, 0.0)
    file.write_text(LINKED.replace("link: wan}", "link: wann}"))
    with pytest.raises(InputError, match='link "wann"') as caught:
        read_fleet(file)
    assert "wan" in str(caught.value)
