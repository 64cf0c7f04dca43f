"""How long traffic takes to make and to read: a million requests of each profile, and a CSV of a million rows.

python benchmarks/traffic.py [--json] [--requests 1000000]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import tempfile
import time
from pathlib import Path

from polysilicon.application.describe import describe_pieces
from polysilicon.application.generate import Traffic, generate, lengths
from polysilicon.application.profiles import PROFILES
from polysilicon.application.read import pieces, read
from polysilicon.application.write import encode


def timed(case, work, requests):
    began, cpu = time.perf_counter(), time.process_time()
    work()
    took, used = time.perf_counter() - began, time.process_time() - cpu
    return {"case": case, "requests": requests, "took_s": round(took, 3), "cpu_s": round(used, 3), "requests_per_s": round(requests / took)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--requests", type=int, default=1_000_000)
    asked = parser.parse_args()
    rows = []
    for name in PROFILES:
        lengths(name)  # the reference sample is drawn once a process
        shape = Traffic(name, peak_to_mean_ratio=1.0)
        blocks = name != "coding-agent"
        label = f"generate {name}, {'with' if blocks else 'without'} prefix blocks"
        rows.append(
            timed(
                label,
                lambda s=shape, b=blocks: generate(s, seconds=3600, mean_rps=asked.requests / 3600, blocks=b),
                asked.requests,
            )
        )
    with tempfile.TemporaryDirectory() as folder:
        made = generate(Traffic("batch", peak_to_mean_ratio=1.0), seconds=3600, mean_rps=asked.requests / 3600, blocks=False)
        path = Path(folder) / "own.csv"
        path.write_bytes(encode(made, ".csv"))
        rows.append(timed("read CSV", lambda: read(path), asked.requests))
        rows.append(timed("describe CSV in pieces", lambda: describe_pieces(pieces(path)), asked.requests))
    peak_gb = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6, 2)
    machine = {"python": platform.python_version(), "cpus": os.cpu_count(), "peak_memory_gb": peak_gb}
    if asked.json:
        print(json.dumps({"machine": machine, "rows": rows}, indent=1))
        return
    for row in rows:
        print(f"{row['case']:<45} {row['took_s']:>8.2f} s {row['cpu_s']:>8.2f} s CPU {row['requests_per_s']:>12,} requests/s")


if __name__ == "__main__":
    main()
