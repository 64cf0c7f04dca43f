"""How fast are serving points? One configuration is one layout at one batch for one shape of request.

    python benchmarks/performance.py [--json]
"""

import argparse
import json
import os
import platform
import time

from polysilicon import catalogue
from polysilicon.application.workload import Lengths, Slo
from polysilicon.model.layout import Layout
from polysilicon.performance import layouts, step_times, table
from polysilicon.performance.serving import BATCHES


def sweep(model, chips, shapes):
    """Return configurations and seconds of tables over chips and shapes."""
    count, began = 0, time.perf_counter()
    for chip in chips:
        choices = layouts(model, chip)
        for shape in shapes:
            table(model, chip, shape, Slo(2.0, 0.05), layouts=choices)
            count += len(choices) * len(BATCHES)
    return count, time.perf_counter() - began


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    known = catalogue.load()
    shapes = [Lengths(i, o) for i in (500, 2000, 8000) for o in (200, 1000)]
    rows = []
    for name, chips in (("llama-3.1-70b", ("H100", "H200", "B200", "GB200")), ("deepseek-r1", ("H200", "B200", "GB200"))):
        model = known.model(name)
        sweep(model, [known.chip(chips[0])], shapes[:1])
        count, took = sweep(model, [known.chip(c) for c in chips], shapes)
        rows.append({"case": f"table {name}", "configurations": count, "wall_s": took, "ms_per_configuration": took / count * 1e3,
                     "s_per_10000": took / count * 1e4})  # fmt: skip
    model, chip = known.model("llama-3.1-70b"), known.chip("H100")
    began = time.perf_counter()
    for _ in range(200):
        step_times(model, chip, Layout("fp8", "fp8", tp=8))
    rows.append({"case": "step_times, 8,193 tokens", "ms_per_call": (time.perf_counter() - began) / 200 * 1e3})
    if arguments.json:
        print(json.dumps({"machine": {"cpus": os.cpu_count(), "python": platform.python_version(), "system": platform.platform()}, "rows": rows}))
        return
    for row in rows:
        print("  ".join(f"{k}={v:.4g}" if isinstance(v, float) else f"{k}={v}" for k, v in row.items()))


if __name__ == "__main__":
    main()
