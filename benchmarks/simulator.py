"""How fast the simulator replays, how it grows, and how peers do on the same workload.

Workload W1: Poisson arrivals, 1 request/s a replica, about 1,145 prompt and 212 output tokens, all terms of the timing
model on. Every figure is a ratio of one run on one core; CPU seconds are given because wall seconds depend on neighbours.

    python benchmarks/simulator.py [--quick] [--long] [--json] [--dynosim PYTHON] [--vidur PYTHON] [--traces FOLDER]

`--dynosim` and `--vidur` are interpreters of environments where those peers are installed; they then run in the same
minutes on the same workload with the same step times, and what all say is compared (`simulator_peers.py`). A peer that is
not there is named, with its published figure.
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
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
import simulator_peers as peers
from polysilicon.application.trace import Trace
from polysilicon.performance import StepTimes

DONE = 1
RUN_REQUESTS = 1_000_000
Rows = list[dict[str, Any]]


class Told(list):  # type: ignore[type-arg]
    """Rows that are told on stderr as they come: the whole takes minutes."""

    def append(self, row: dict[str, Any]) -> None:
        super().append(row)
        print(in_words(row), file=sys.stderr, flush=True)


def in_words(row: dict[str, Any]) -> str:
    return "  ".join(f"{k}={v:,.4g}" if isinstance(v, float) else f"{k}={v}" for k, v in row.items())


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


def timed(case: str, fleet: Any, trace: Trace, rows: Rows, *, again: int = 1) -> None:
    from polysilicon import simulator

    before = resident_bytes()
    cpu, wall = time.process_time(), time.perf_counter()
    for _ in range(again):
        result = simulator.simulate(fleet, trace)
    cpu, wall = (time.process_time() - cpu) / again, (time.perf_counter() - wall) / again
    assert result.done.all(), "a benchmark that loses requests measures nothing"
    rows.append({
        "case": case, "requests": len(trace), "requests_per_cpu_s": len(trace) / cpu, "requests_per_wall_s": len(trace) / wall,
        "loop_ns_per_event": 1e9 * cpu / result.loop_events,
        "output_tok_per_cpu_s": float(trace.osl_tokens.sum()) / cpu, "grown_bytes_per_request": max(0, resident_bytes() - before) / len(trace),
        "cached_frac": float(result.requests["cached_tokens"].sum() / trace.isl_tokens.sum()),
        "ttft_p50_s": float(np.nanquantile(result.ttft_s, 0.5)), "ttft_p99_s": float(np.nanquantile(result.ttft_s, 0.99)),
        "tpot_p50_s": float(np.nanquantile(result.tpot_s, 0.5)),
    })  # fmt: skip


def starts(rows: Rows) -> None:
    """First use in an empty cache, and the start after it."""
    code = "import time; t = time.perf_counter(); import benchmarks_simulator as b; b.tiny(); print(time.perf_counter() - t, time.process_time())"
    with tempfile.TemporaryDirectory() as cache:
        here = str(Path(__file__).parent)
        loader = f"import importlib.util as u, sys; s = u.spec_from_file_location('benchmarks_simulator', {here!r} + '/simulator.py'); "
        loader += "m = u.module_from_spec(s); sys.modules['benchmarks_simulator'] = m; s.loader.exec_module(m); " + code
        environment = os.environ | {"POLYSILICON_CACHE_DIR": cache}
        for case in ("first use, compiles", "later start"):
            out = subprocess.run([sys.executable, "-c", loader], capture_output=True, text=True, env=environment, check=True).stdout.split()
            rows.append({"case": case, "wall_s": float(out[0]), "cpu_s": float(out[1])})


def tiny() -> None:
    from polysilicon import simulator
    from polysilicon.simulator.fleet import Fleet, Pool

    simulator.simulate(Fleet((Pool("a", step_times()),)), w1(10, 1))


def blocks(n: int, replicas: int) -> Iterator[Trace]:
    size, clock = 1 << 18, 0.0
    for block in range(-(-n // size)):
        piece = w1(min(size, n - block * size), replicas, seed=block)
        piece.arrival_s += clock
        clock = float(piece.arrival_s[-1])
        yield piece


def week(n: int, replicas: int) -> Iterator[Trace]:
    """A week of n requests in blocks: the measured day of a consumer service, weekends at 0.6 of it (assumed), W1's lengths."""
    from polysilicon.application.generate import hourly_profile

    rate = np.concatenate([np.array(hourly_profile("chat")) * (1.0 if day < 5 else 0.6) for day in range(7)])
    due = np.concatenate([[0.0], np.cumsum(rate)]) * n / rate.sum()  # requests until the end of each hour
    count = 0.0
    for piece in blocks(n, 1):
        place = piece.arrival_s  # a clock on which one request is due a second
        count = float(place[-1])
        piece.arrival_s = np.interp(place, due, 3600.0 * np.arange(len(due))) + np.maximum(0.0, place - n)
        yield piece
    assert abs(count / n - 1) < 0.01


def replayed(seed: int) -> tuple[int, float, float]:
    """One independent run of a study: its requests done, the sum of their latencies, and the CPU seconds of the replay."""
    from polysilicon import simulator
    from polysilicon.simulator.fleet import Fleet, Pool

    trace = w1(RUN_REQUESTS, 64, seed)
    cpu = time.process_time()
    result = simulator.simulate(Fleet((Pool("a", step_times(), 64),)), trace, seed=seed)
    return int(result.done.sum()), float(result.e2e_s.sum()), time.process_time() - cpu


def processes(rows: Rows) -> None:
    """Eight independent runs in one process and in two, which share the compiled cache; their start is in the wall time.

    CPU seconds a run say what two cost each other in caches and memory, whoever else is on the machine.
    """
    from polysilicon.parallel import run_all

    walls, cpus, answers = [], [], []
    for workers in (1, 2):
        wall = time.perf_counter()
        done = run_all(replayed, list(range(8)), workers=workers)
        walls.append(time.perf_counter() - wall)
        cpus.append(float(np.median([cpu for _, _, cpu in done])))
        answers.append([answer for *answer, _ in done])
        rows.append({"case": f"8 runs of {RUN_REQUESTS:,} requests, processes: {workers}", "wall_s": walls[-1], "cpu_s_per_run": cpus[-1],
                     "requests_per_wall_s": 8 * RUN_REQUESTS / walls[-1]})  # fmt: skip
    assert answers[0] == answers[1], "where a run runs must not change its result"
    rows.append({"case": "2 processes / 1 process, same results", "speed_ratio": walls[0] / walls[1], "cpu_per_run_ratio": cpus[1] / cpus[0]})


def streamed(case: str, n: int, replicas: int, rows: Rows, traffic: Callable[[int, int], Iterator[Trace]] = blocks) -> None:
    """A trace that never stands in memory whole; making it is timed apart."""
    from polysilicon.simulator.fleet import Fleet, Pool
    from polysilicon.simulator.stream import simulate_stream

    spent = 0.0

    def timed_blocks() -> Iterator[Trace]:
        nonlocal spent
        source = traffic(n, replicas)
        while True:
            cpu = time.process_time()
            piece = next(source, None)
            spent += time.process_time() - cpu
            if piece is None:
                return
            yield piece

    before = resident_bytes()
    cpu = time.process_time()
    result = simulate_stream(Fleet((Pool("a", step_times(), replicas),)), timed_blocks())
    cpu = time.process_time() - cpu
    assert sum(int(t.status[DONE]) for t in result.workloads.values()) == n
    rows.append({"case": case, "requests": result.requests, "requests_per_cpu_s": n / (cpu - spent), "generation_cpu_s": spent,
                 "simulated_days": result.span_s / 86_400, "peak_mb": peak_bytes() / 1e6,
                 "grown_bytes_per_request": max(0, peak_bytes() - before) / n})  # fmt: skip


def resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1]) if Path("/proc/self/statm").exists() else 0
    return pages * os.sysconf("SC_PAGE_SIZE") if pages else peak_bytes()


def peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def real_conversations(folder: str | None, requests: int) -> tuple[Trace, Trace] | None:
    """A published trace of real prompts with prefix hashes, once, and repeated with new hashes up to so many requests."""
    from polysilicon.application.read import read

    homes = [folder] if folder else [os.environ.get("POLYSILICON_SHARED"), str(Path(__file__).parents[2] / "shared")]
    for home in filter(None, homes):
        path = Path(home) / "traces" / "mooncake" / "synthetic_trace.jsonl.gz"
        if path.exists():
            once = read(path)
            return once, repeated(once, -(-requests // len(once)))
    return None


def repeated(trace: Trace, times: int) -> Trace:
    """The trace over and over, each time with prefix blocks of its own, so that reuse is what it was."""
    n, step = len(trace), int(trace.block_hash.max()) + 1
    starts = np.repeat(np.arange(times), n) * (trace.span_s + 1.0)
    hashes = np.concatenate([trace.block_hash + k * step for k in range(times)])
    counts = np.tile(np.diff(trace.block_offset), times)
    return Trace(np.tile(trace.arrival_s, times) + starts, np.tile(trace.isl_tokens, times), np.tile(trace.osl_tokens, times),
                 block_offset=np.concatenate([[0], np.cumsum(counts)]), block_hash=hashes, block_tokens=trace.block_tokens)  # fmt: skip


def growth(sizes: list[int], rows: Rows) -> None:
    """Requests per second and memory as a trace grows; the last row says how far from linear it is."""
    from polysilicon.simulator.fleet import Fleet, Pool

    each: list[float] = []
    for n in sizes:
        again = max(1, 200_000 // n)  # short runs are repeated: a clock tick is not a measurement
        timed(f"growth in requests, 64 replicas, {n:,}", Fleet((Pool("a", step_times(), 64),)), w1(n, 64), rows, again=again)
        each.append(1.0 / rows[-1]["requests_per_cpu_s"])
    rows.append({"case": f"growth from {sizes[0]:,} to {sizes[-1]:,} requests", "cpu_per_request_ratio": each[-1] / each[0]})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--quick", action="store_true", help="a tenth of the requests, no compilation from an empty cache")
    parser.add_argument("--long", action="store_true", help="10,000,000 requests in memory and 44,000,000 in blocks as well; some 3 minutes")
    parser.add_argument("--traces", help="a folder with traces/mooncake/synthetic_trace.jsonl.gz; found beside the repository without")
    parser.add_argument("--dynosim", help="an interpreter that has ai-dynamo 1.4.2 ($POLYSILICON_DYNOSIM_PYTHON)")
    parser.add_argument("--vidur", help="an interpreter that has vidur 0.0.26 ($POLYSILICON_VIDUR_PYTHON)")
    asked = parser.parse_args()
    from polysilicon.simulator.fleet import Fleet, Pool

    scale = 10 if asked.quick else 1
    rows: Rows = Told()
    tiny()
    for replicas in (8, 64):
        timed(f"W1, {replicas} replicas", Fleet((Pool("a", step_times(), replicas),)), w1(1_000_000 // scale, replicas), rows)
    found = real_conversations(asked.traces, 200_000 // scale)
    for words in ("prefix", "weighted"):
        if found is None:
            rows.append({"case": f"real conversations, {words} routing: no trace here, generated ones below stand in"})
        else:
            timed(f"real conversations repeated, prefix cache on, {words} routing, 8 replicas",
                  Fleet((Pool("a", step_times(3_000_000), 8, routing=words),)), found[1], rows)  # fmt: skip
        fleet = Fleet((Pool("a", step_times(2_000_000), 64, routing=words),))
        timed(f"generated conversations, prefix cache on, {words} routing, 64 replicas", fleet, conversations(100_000 // scale), rows)
    for replicas in (1, 16, 256, 4096):
        timed(f"growth in replicas, {replicas}", Fleet((Pool("a", step_times(), replicas),)), w1(400_000 // scale, replicas), rows)
    streamed("streamed in blocks, 64 replicas", 4_000_000 // scale, 64, rows)
    if asked.long:
        streamed("a week of 44 M requests by the hour, in blocks, 73 replicas", 44_000_000, 73, rows, week)
    growth([10_000, 100_000, 1_000_000] + ([10_000_000] if asked.long else [] if asked.quick else [4_000_000]), rows)
    if not asked.quick:
        processes(rows)
        starts(rows)
    peers.compare(rows, w1(4_000 // scale, peers.REPLICAS), found[0] if found else None, dynosim_python=asked.dynosim, vidur_python=asked.vidur)
    machine = f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    if asked.json:
        print(json.dumps({"machine": machine, "rows": rows}, indent=1))
        return
    print(machine)
    for row in rows:
        print(in_words(row))


if __name__ == "__main__":
    main()
