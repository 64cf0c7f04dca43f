"""How fast the simulator replays, how it grows, and how peers do on the same workload.

Workload W1: Poisson arrivals, 1 request/s a replica, about 1,145 prompt and 212 output tokens, all terms of the timing
model on. Every figure is a ratio of one run on one core; CPU seconds are given because wall seconds depend on neighbours.

    python benchmarks/simulator.py [--quick] [--json] [--peer-python PATH]

`--peer-python` is an interpreter of an environment where `ai-dynamo` 1.4.2 is installed; its replay then runs in the
same minute on the same workload. Without it the published figures stand, marked so.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from polysilicon.application.trace import Trace
from polysilicon.performance import StepTimes

PUBLISHED = {  # requests/s of the loop, 2 cores, W1; docs/concepts/simulator.md says where from
    "DynoSim 1.4.2, round robin": 4_840.0, "DynoSim 1.4.2, KV router": 2_085.0, "Vidur HEAD": 192.0, "BLIS f90a1e3": 190.0,
}  # fmt: skip


def step_times(kv_tokens: int = 500_000) -> StepTimes:
    tokens = np.arange(8193)
    table = np.where(tokens > 0, 0.006 + 2e-5 * tokens, 0.0)
    return StepTimes(table, 1e-5, 2e-8, 5e-9, 1024, 1e-9, kv_tokens)


def w1(n: int, replicas: int, seed: int = 0) -> Trace:
    rng = np.random.default_rng(seed)
    isl = np.clip(rng.lognormal(6.75, 0.8, n), 16, 4096).astype(np.int32)
    osl = np.clip(rng.lognormal(5.12, 0.7, n), 1, 1024).astype(np.int32)
    return Trace(np.cumsum(rng.exponential(1 / replicas, n)), isl, osl)


def conversations(n: int, seed: int = 0) -> Trace:
    """Prompts of some 30 hashed blocks of 512 tokens, two thirds of them seen before, as in published traces."""
    rng = np.random.default_rng(seed)
    count = np.clip(rng.lognormal(3.1, 0.8, n), 1, 240).astype(np.int64)
    old = (count * np.clip(rng.normal(0.65, 0.2, n), 0, 0.95)).astype(np.int64)
    root = rng.zipf(1.3, n) % 20_000
    offset = np.concatenate([[0], np.cumsum(count)])
    place = np.arange(offset[-1]) - np.repeat(offset[:-1], count)
    shared = place < np.repeat(old, count)
    hashes = np.where(shared, np.repeat(root, count) * 256 + place, 6_000_000 + np.arange(offset[-1]))
    hashes = np.unique(hashes, return_inverse=True)[1].astype(np.int64)
    osl = np.clip(rng.lognormal(4.5, 1.0, n), 1, 1024).astype(np.int32)
    arrival = np.cumsum(rng.exponential(0.25, n))
    isl = (count * 512 - rng.integers(0, 511, n)).astype(np.int32)
    return Trace(arrival, isl, osl, block_offset=offset.astype(np.int64), block_hash=hashes, block_tokens=512)


def timed(case: str, fleet: Any, trace: Trace, rows: list[dict[str, Any]]) -> None:
    from polysilicon import simulator

    cpu, wall = time.process_time(), time.perf_counter()
    result = simulator.simulate(fleet, trace)
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    assert result.done.all(), "a benchmark that loses requests measures nothing"
    rows.append({
        "case": case, "requests": len(trace), "requests_per_cpu_s": len(trace) / cpu, "requests_per_wall_s": len(trace) / wall,
        "output_tok_per_cpu_s": float(trace.osl_tokens.sum()) / cpu,
        "cached_frac": float(result.requests["cached_tokens"].sum() / trace.isl_tokens.sum()),
        "ttft_p50_s": float(np.nanquantile(result.ttft_s, 0.5)), "ttft_p99_s": float(np.nanquantile(result.ttft_s, 0.99)),
        "tpot_p50_s": float(np.nanquantile(result.tpot_s, 0.5)),
    })  # fmt: skip


def starts(rows: list[dict[str, Any]]) -> None:
    """First use in an empty cache, and the start after it."""
    code = "import time; t = time.perf_counter(); import benchmarks_simulator as b; b.tiny(); print(time.perf_counter() - t, time.process_time())"
    with tempfile.TemporaryDirectory() as cache:
        here = str(Path(__file__).parent)
        loader = f"import importlib.util as u, sys; s = u.spec_from_file_location('benchmarks_simulator', {here!r} + '/simulator.py'); "
        loader += "m = u.module_from_spec(s); sys.modules['benchmarks_simulator'] = m; s.loader.exec_module(m); " + code
        environment = os.environ | {"POLYSILICON_CACHE_DIR": cache}
        for case in ("first use, compiles", "later start"):
            out = subprocess.run([sys.executable, "-c", loader], capture_output=True, text=True, env=environment,
            check=True).stdout.split()
            rows.append({"case": case, "wall_s": float(out[0]), "cpu_s": float(out[1])})


def tiny() -> None:
    from polysilicon import simulator
    from polysilicon.simulator.fleet import Fleet, Pool

    simulator.simulate(Fleet((Pool("a", step_times()),)), w1(10, 1))


def streamed(n: int, rows: list[dict[str, Any]]) -> None:
    from polysilicon.simulator.fleet import Fleet, Pool
    from polysilicon.simulator.stream import simulate_stream

    def blocks() -> Any:
        size, clock = 1 << 18, 0.0
        for block in range(-(-n // size)):
            piece = w1(min(size, n - block * size), 64, seed=block)
            piece.arrival_s += clock
            clock = float(piece.arrival_s[-1])
            yield piece

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    cpu = time.process_time()
    result = simulate_stream(Fleet((Pool("a", step_times(), 64),)), blocks())
    cpu = time.process_time() - cpu
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    rows.append({"case": "streamed in blocks, 64 replicas, generation included", "requests": result.requests,
    "requests_per_cpu_s": n / cpu,
                 "simulated_s": result.span_s, "peak_mb": after / 1024,
                 "grown_bytes_per_request": (after - before) * 1024 / n})  # fmt: skip


def peer(python: str | None, requests: int, rows: list[dict[str, Any]]) -> None:
    """DynoSim on W1 with its polynomial timing, or what is published of it and others."""
    if python is None:
        rows.extend({"case": f"published: {name}", "requests_per_wall_s": value} for name, value in PUBLISHED.items())
        return
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        words = [python, "-m", "dynamo.replay", "--input-tokens", "1144", "--output-tokens", "212", "--request-count",
        str(requests)]
        words += ["--request-rate", "8", "--num-workers", "8", "--router-mode", "round_robin", "--report-json", str(report)]
        began = time.perf_counter()
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        wall = time.perf_counter() - began
        if done.returncode:
            raise SystemExit(f"the peer failed: {done.stderr[-500:]}")
        said = json.loads(report.read_text())
    loop = said.get("wall_time_ms", wall * 1000) / 1000
    rows.append({"case": "DynoSim, round robin, same machine", "requests": requests, "requests_per_wall_s": requests / loop,
    "total_wall_s": wall})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--quick", action="store_true", help="a tenth of the requests, no compilation from an empty cache")
    parser.add_argument("--peer-python")
    asked = parser.parse_args()
    from polysilicon.simulator.fleet import Fleet, Pool

    scale = 10 if asked.quick else 1
    rows: list[dict[str, Any]] = []
    tiny()
    for replicas in (8, 64):
        timed(f"W1, {replicas} replicas", Fleet((Pool("a", step_times(), replicas),)), w1(1_000_000 // scale, replicas), rows)
    hashed = conversations(100_000 // scale)
    for words in ("prefix", "weighted"):
        fleet = Fleet((Pool("a", step_times(2_000_000), 64, routing=words),))
        timed(f"hashed conversations, cache on, {words} routing, 64 replicas", fleet, hashed, rows)
    for n in (10_000, 100_000, 1_000_000) if asked.quick else (10_000, 100_000, 1_000_000, 4_000_000):
        timed(f"growth in requests, 64 replicas, {n:,}", Fleet((Pool("a", step_times(), 64),)), w1(n, 64), rows)
    for replicas in (1, 16, 256, 4096):
        timed(f"growth in replicas, {replicas}", Fleet((Pool("a", step_times(), replicas),)), w1(400_000 // scale, replicas),
        rows)
    streamed(4_000_000 // scale, rows)
    if not asked.quick:
        starts(rows)
    peer(asked.peer_python, 4_000, rows)
    machine = f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    if asked.json:
        print(json.dumps({"machine": machine, "rows": rows}, indent=1))
        return
    print(machine)
    for row in rows:
        print("  ".join(f"{k}={v:,.4g}" if isinstance(v, float) else f"{k}={v}" for k, v in row.items()))


if __name__ == "__main__":
    main()
