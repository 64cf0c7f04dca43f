"""How fast are serving points? One configuration is one layout at one batch for one shape of request.

    python benchmarks/performance.py [--json]

Peers: AIConfigurator 0.12.0's published figures (a warm estimate 15 to 20 ms; sweeps of 70B on 8 GPUs 8 s, of DeepSeek on 72
GPUs 141 s, measured on a machine like this one) are printed as ratios. Where the package is installed, its own estimate is
timed here too; where it is not, that is said.
"""

import argparse
import importlib.util
import json
import os
import platform
import time
from dataclasses import replace

from polysilicon import catalogue
from polysilicon.application.workload import Lengths, Slo
from polysilicon.model.layout import Layout
from polysilicon.performance import best, estimate, layouts, step_times, table
from polysilicon.performance.serving import BATCHES

LIMIT_MS, LIMIT_10000_S = 0.1, 2.0  # to reach: one estimate, 10,000
PEER = "AIConfigurator 0.12.0"
PEER_MS = (15.0, 20.0)  # one warm estimate, published
PEER_SWEEP_S = {"llama-3.1-70b on 8": 7.8, "deepseek-r1 on 72": 140.8}  # its search, published
SLO = Slo(2.0, 0.05)


def timed(work, repeats=1):
    """Return the least CPU and wall seconds of some runs."""
    cpu = wall = float("inf")
    for _ in range(repeats):
        began, used = time.perf_counter(), time.process_time()
        work()
        wall, cpu = min(wall, time.perf_counter() - began), min(cpu, time.process_time() - used)
    return cpu, wall


def estimates(known, rows):
    """Time 10,000 estimates: whole tables over chips and shapes, every configuration in them once."""
    shapes = [Lengths(i, o) for i in (500, 2000, 8000) for o in (200, 1000)]
    for name, chips in (("llama-3.1-70b", ("H100", "H200", "B200", "GB200")), ("deepseek-r1", ("H200", "B200", "GB200"))):
        model, silicon = known.model(name), [known.chip(c) for c in chips]
        choices = {chip.id: layouts(model, chip) for chip in silicon}
        table(model, silicon[0], shapes[0], SLO)
        count = sum(len(choices[c.id]) for c in silicon) * len(BATCHES) * len(shapes)
        cpu, wall = timed(lambda m=model, s=silicon, c=choices: [table(m, x, y, SLO, layouts=c[x.id]) for x in s for y in shapes], 3)
        each = 1e3 * cpu / count
        rows.append({
            "case": f"tables of {name}", "configurations": count, "cpu_s": cpu, "wall_s": wall, "ms_per_estimate": each,
            "limit_ms": LIMIT_MS, "of_limit": each / LIMIT_MS, "s_per_10000": 10 * each, "limit_10000_s": LIMIT_10000_S,
            "times_faster_than_peer_published": [round(x / each) for x in PEER_MS],
        })  # fmt: skip


def alone(known, rows):
    """Time one configuration asked for by itself, at lengths and a load never asked before; then a layout never asked before."""
    for name, chip_name, layout in (
        ("llama-3.1-70b", "H100", Layout("fp8", "fp8", tp=8)),
        ("deepseek-r1", "GB200", Layout("fp8", "fp8", tp=1, ep=32, dp=32)),
    ):
        model, chip = known.model(name), known.chip(chip_name)
        shapes = [Lengths(1000.0 + i, 1000.0) for i in range(300)]
        cpu, wall = timed(lambda m=model, c=chip, x=layout, s=shapes: [estimate(m, c, x, y, 32.0 + i % 64, quantile=0.9) for i, y in enumerate(s)], 5)
        rows.append({"case": f"one estimate by itself: {name} on {chip_name}", "ms_per_estimate": 1e3 * cpu / 300, "wall_ms": 1e3 * wall / 300,
                     "limit_ms": LIMIT_MS, "of_limit": 1e3 * cpu / 300 / LIMIT_MS,
                     "times_faster_than_peer_published": [round(x / (1e3 * cpu / 300)) for x in PEER_MS]})  # fmt: skip
        new = [replace(model) for _ in range(100)]  # the same architecture as another object: nothing of it is known
        cpu, wall = timed(lambda n=new, c=chip, x=layout: [estimate(m, c, x, Lengths(1024, 1024), 32.0) for m in n])
        rows.append({"case": f"the first estimate of a layout: {name} on {chip_name}", "ms": 1e3 * cpu / 100, "wall_ms": 1e3 * wall / 100})


def sweeps(known, rows):
    """Time a whole search: every layout and batch of a domain, the best point that keeps the promise."""
    for (name, peer_s), model, chip, chips in zip(
        PEER_SWEEP_S.items(), ("llama-3.1-70b", "deepseek-r1"), ("H200", "GB200"), (8, 72), strict=True
    ):
        m, c = known.model(model), known.chip(chip)
        choices = layouts(m, c, max_chips=chips)
        cpu, wall = timed(lambda m=m, c=c, x=choices: best(m, c, Lengths(4000, 500), SLO, layouts=x), 3)
        rows.append({"case": f"sweep: {name} {chip}", "configurations": len(choices) * len(BATCHES), "cpu_s": cpu, "wall_s": wall,
                     "peer_published_s": peer_s, "times_faster": round(peer_s / wall)})  # fmt: skip


def peer(rows):
    """Time the peer itself where it is installed."""
    if importlib.util.find_spec("aiconfigurator") is None:
        rows.append({"case": PEER, "installed": False, "published_ms_per_estimate": PEER_MS})
        return
    from aiconfigurator.cli.api import cli_estimate

    ask = {
        "model_path": "nvidia/Llama-3.1-70B-Instruct-FP8", "system_name": "h100_sxm", "backend_name": "trtllm", "isl": 1024, "osl": 1024,
        "batch_size": 32, "tp_size": 8, "backend_version": "1.3.0rc20",  # named: it scans its versions otherwise, each time
    }  # fmt: skip
    try:
        cli_estimate(**ask)
        cpu, wall = timed(lambda: cli_estimate(**ask), 3)
    except Exception as error:  # another version asks otherwise: said, not hidden
        rows.append({"case": PEER, "installed": True, "refused": f"{type(error).__name__}: {str(error)[:200]}"})
        return
    ours = next(r["ms_per_estimate"] for r in rows if "ms_per_estimate" in r)
    slower = round(1e3 * cpu / ours)
    rows.append({"case": f"{PEER}, here", "installed": True, "ms_per_estimate": 1e3 * cpu, "wall_ms": 1e3 * wall, "times_slower": slower})


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    known = catalogue.load()
    rows = []
    estimates(known, rows)
    alone(known, rows)
    sweeps(known, rows)
    model, chip = known.model("llama-3.1-70b"), known.chip("H100")
    cpu, _ = timed(lambda: [step_times(model, chip, Layout("fp8", "fp8", tp=8)) for _ in range(50)], 3)
    rows.append({"case": "step times of a replica, 8,193 steps", "cpu_ms": 1e3 * cpu / 50})
    peer(rows)
    if arguments.json:
        print(json.dumps({"machine": {"cpus": os.cpu_count(), "python": platform.python_version(), "system": platform.platform()}, "rows": rows}))
        return
    for row in rows:
        print("  ".join(f"{k}={v:.4g}" if isinstance(v, float) else f"{k}={v}" for k, v in row.items()))


if __name__ == "__main__":
    main()
