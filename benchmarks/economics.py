"""How fast deals and claims are worked out: draws a second, claims a second. Run from a plain install; --json for machines."""

from __future__ import annotations

import argparse
import json
import platform
import time
from importlib.resources import files
from pathlib import Path

from polysilicon import catalogue
from polysilicon.economics.audit import audit
from polysilicon.economics.claims import read_claims
from polysilicon.economics.cost import Rack
from polysilicon.economics.cost_spread import cost_spread
from polysilicon.economics.deal import read_deal
from polysilicon.economics.references import citer
from polysilicon.economics.uncertainty import run

EXAMPLE = Path(__file__).resolve().parents[1] / "examples" / "deal-compute-alliance.yaml"


def timed(case: str, unit: str, count: int, work) -> dict:
    began = time.perf_counter()
    work()
    seconds = time.perf_counter() - began
    return {"case": case, "seconds": round(seconds, 3), f"{unit}_per_s": round(count / seconds, 1)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--draws", type=int, default=2048)
    options = parser.parse_args()
    deal, cite = read_deal(EXAMPLE), citer(catalogue.load())
    claims = read_claims(Path(str(files("polysilicon") / "data" / "claims.yaml")))
    rows = [
        timed("Monte Carlo of the example deal", "draws", options.draws, lambda: run(deal, draws=options.draws)),
        timed("Monte Carlo of a chip-hour", "draws", options.draws, lambda: cost_spread(Rack(), draws=options.draws)),
        timed("the embedded audit", "claims", len(claims.claims), lambda: audit(claims, cite)),
    ]
    if options.json:
        print(json.dumps({"machine": f"{platform.machine()} {platform.system()} {platform.python_version()}", "rows": rows}))
        return
    for row in rows:
        print("  ".join(f"{k}: {v}" for k, v in row.items()))


if __name__ == "__main__":
    main()
