"""How long the catalogue takes: loading, first use of its lazy parts, an overlay, an import of a long price list.

CPU time, so that a busy machine does not blur it.

Run: python benchmarks/catalogue.py [--json] [--rows 50000]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

COLD = """
import time
began = time.process_time()
from polysilicon.catalogue import load
ready = time.process_time()
load()
print(ready - began, time.process_time() - ready)
"""
LIST_HEAD = "InstanceType,AcceleratorName,AcceleratorCount,Price,SpotPrice,Region,AvailabilityZone\n"


def median_ms(call: Callable[[], object], repeats: int) -> float:
    """Return the median CPU time of a call."""
    times = []
    for _ in range(repeats):
        began = time.process_time()
        call()
        times.append(time.process_time() - began)
    return statistics.median(times) * 1e3


def cold(repeats: int) -> tuple[float, float]:
    """Return CPU milliseconds of import and load in fresh processes, medians."""
    found = []
    for _ in range(repeats):
        done = subprocess.run([sys.executable, "-c", COLD], capture_output=True, text=True, check=True)
        found.append([float(word) * 1e3 for word in done.stdout.split()])
    return statistics.median(f[0] for f in found), statistics.median(f[1] for f in found)


def measure(rows: int, repeats: int) -> list[dict[str, object]]:
    """Return one row of figures a case."""
    from polysilicon.catalogue import load
    from polysilicon.exchange.skypilot import read_vms

    import_ms, load_ms = cold(repeats)
    known = load()
    found: list[dict[str, object]] = [
        {"case": "import, fresh process", "cpu_ms": import_ms},
        {"case": "first load, fresh process", "cpu_ms": load_ms, "facts": len(known.facts), "offers": len(known.offers)},
        {"case": "load again", "cpu_ms": median_ms(load, repeats)},
        {"case": "models, first use", "cpu_ms": median_ms(lambda: load().models, repeats), "models": len(known.models)},
        {"case": "token prices, first use", "cpu_ms": median_ms(lambda: load().token_prices, repeats), "prices": len(known.token_prices)},
    ]
    with tempfile.TemporaryDirectory() as folder:
        overlay = Path(folder, "o.csv")
        overlay.write_text("subject,parameter,value,unit,source,as_of,basis,note\nh100-sxm,tdp_w,650,W,s,2026,measured,\n")
        found.append({"case": "load with an overlay", "cpu_ms": median_ms(lambda: load(overlay), repeats)})
        prices = Path(folder, "vms.csv")
        lines = (f"p5.48xlarge,H100,8,{50 + i % 9},{10 + i % 7},region-{i % 400},zone-{i}" for i in range(rows))
        prices.write_text(LIST_HEAD + "\n".join(lines) + "\n")
        cpu_ms = median_ms(lambda: read_vms(prices, "aws", known, quoted_on="2026-11-22"), 3)
        found.append({"case": f"import of a SkyPilot list of {rows:,} rows", "cpu_ms": cpu_ms, "rows_per_s": rows / cpu_ms * 1e3})
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--rows", type=int, default=50_000)
    parser.add_argument("--repeats", type=int, default=7)
    options = parser.parse_args()
    found = measure(options.rows, options.repeats)
    machine = {"python": platform.python_version(), "cpus": os.cpu_count(), "platform": platform.platform()}
    if options.json:
        print(json.dumps({"machine": machine, "rows": found}, indent=1))
        return
    for row in found:
        rest = ", ".join(f"{k} {v:,.0f}" for k, v in row.items() if k not in ("case", "cpu_ms") and isinstance(v, (int, float)))
        print(f"{row['case']:48s} {row['cpu_ms']:8.1f} ms  {rest}")


if __name__ == "__main__":
    main()
