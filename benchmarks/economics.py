"""How fast and how exact deals, claims and costs are worked out, each against a peer or a limit measured in the same run.

- rates of return: against numpy-financial where it is installed, with the largest difference
- a deal's draws: against the bare bills of the same contracts, the floor under any simulation that bills exactly
- quasi-random draws: the error of the median against plain random draws of the same number
- the embedded audit: against Python's own `eval` of the same kind of arithmetic, which checks no unit and can reach anything
- second source: binomial tree against paths, in standard errors
- workbooks: recalculated by LibreOffice where it is installed, largest difference in dollars

CPU time, so that a busy machine does not blur it. Run from a plain install: python benchmarks/economics.py [--json] [--draws 2048]
"""

from __future__ import annotations

import argparse
import json
import platform
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from polysilicon import catalogue
from polysilicon.cloud.contract import Usage
from polysilicon.economics import finance
from polysilicon.economics.audit import audit
from polysilicon.economics.claims import read_claims
from polysilicon.economics.cost import Rack, chip_hour, vary
from polysilicon.economics.cost_spread import cost_spread, ranges_of
from polysilicon.economics.deal import contract_of, read_deal
from polysilicon.economics.deal_report import whole
from polysilicon.economics.options import SecondSource, second_source_draws_usd, second_source_usd
from polysilicon.economics.projection import periods_of
from polysilicon.economics.references import citer
from polysilicon.economics.uncertainty import quantile, run
from polysilicon.exchange.xlsx import cost_workbook, deal_workbook

EXAMPLE = Path(__file__).resolve().parents[1] / "examples" / "deal-compute-alliance.yaml"
Row = dict[str, Any]


def cpu_s(work: Callable[[], object]) -> float:
    """Return the CPU time of a call."""
    began = time.process_time()
    work()
    return time.process_time() - began


def rates_of_return(count: int) -> Row:
    """Return rates of return a second, and the peer's speed and difference where it is there."""
    rng = np.random.default_rng(7)
    flows = [[-100.0, *(float(x) for x in rng.uniform(5, 60, 9))] for _ in range(count)]
    ours: list[float | None] = []
    seconds = cpu_s(lambda: ours.extend(finance.irr_frac(list(enumerate(f))) for f in flows))
    row: Row = {"case": "internal rate of return, ten flows", "rates_per_s": round(count / seconds, 1), "peer": "numpy-financial: not installed"}
    try:
        import numpy_financial
    except ImportError:
        return row
    theirs: list[float] = []
    peer = cpu_s(lambda: theirs.extend(float(numpy_financial.irr(f)) for f in flows))
    worst = max(abs((a or 0.0) - b) for a, b in zip(ours, theirs, strict=True))
    told = {"peer": "numpy-financial", "peer_rates_per_s": round(count / peer, 1), "speed_ratio": round(peer / seconds, 2)}
    return row | told | {"largest_difference": worst}


def deal_draws(draws: int) -> Row:
    """Return draws a second of the example deal and how much of a draw is not its bills."""
    deal = read_deal(EXAMPLE)
    seconds = cpu_s(lambda: run(deal, draws=draws))
    terms = [contract_of(c.contract, deal.rack()) for c in deal.binding_commitments()]
    usage = Usage(periods_of(deal), ())
    bare = cpu_s(lambda: [t.bill_usd(usage) for _ in range(draws) for t in terms])
    return {
        "case": "Monte Carlo of the example deal", "draws_per_s": round(draws / seconds, 1), "bills_only_draws_per_s": round(draws / bare, 1),
        "time_over_bills_ratio": round(seconds / bare, 2),
    }  # fmt: skip


def quasi_random(draws: int, seeds: int = 8) -> Row:
    """Return the error of a chip-hour's median by quasi-random and by plain draws, against a run thirty times as long."""
    rack, ranges = Rack(), ranges_of(Rack())
    truth = cost_spread(rack, draws=min(65_536, 32 * draws)).usd_per_chip_hour.p50
    seconds = cpu_s(lambda: cost_spread(rack, draws=draws))
    quasi = [cost_spread(rack, draws=draws, seed=s).usd_per_chip_hour.p50 for s in range(seeds)]
    plain = []
    for seed in range(seeds):
        u = np.random.default_rng(seed).random((draws, len(ranges)))
        columns = np.column_stack([quantile(d, u[:, i]) for i, d in enumerate(ranges)])
        names = [d.name for d in ranges]
        plain.append(float(np.median([chip_hour(vary(rack, dict(zip(names, map(float, r), strict=True)))).total_usd for r in columns])))
    errors = [statistics.mean(abs(x - truth) for x in values) for values in (quasi, plain)]
    return {
        "case": "Monte Carlo of a chip-hour", "draws_per_s": round(draws / seconds, 1), "median_error_usd": errors[0],
        "median_error_of_plain_draws_usd": errors[1], "error_ratio": round(errors[1] / errors[0], 1) if errors[0] else None,
    }  # fmt: skip


def claims() -> Row:
    """Return claims a second of the embedded audit, and the time of bare arithmetic that checks nothing."""
    found, cite = read_claims(Path(str(files("polysilicon") / "data" / "claims.yaml"))), citer(catalogue.load())
    seconds = cpu_s(lambda: audit(found, cite))
    count = len(found.claims)
    code = compile("a / b / c * (1 - d)", "limit", "eval")
    bare = cpu_s(lambda: [eval(code, {"a": 60e9, "b": 60, "c": 15.0, "d": 0.5}) for _ in range(count * 100)]) / 100
    return {
        "case": "the embedded audit", "claims": count, "claims_per_s": round(count / seconds, 1), "ms_per_claim": round(1e3 * seconds / count, 3),
        "bare_eval_us_per_claim": round(1e6 * bare / count, 3),
    }  # fmt: skip


def second_source() -> Row:
    """Return how far tree and paths are apart."""
    case = SecondSource(100.0, 90.0, 0.0, 0.4, 0.3, 0.2, 3.0, 0.10)
    tree = second_source_usd(case)
    drawn, error = second_source_draws_usd(case, draws=100_000)
    return {
        "case": "worth of a second source", "tree_usd": round(tree, 4), "paths_usd": round(drawn, 4), "standard_error_usd": round(error, 4),
        "difference_frac": round(abs(tree - drawn) / drawn, 5),
    }  # fmt: skip


def workbooks() -> Row:
    """Return the largest difference of a workbook that LibreOffice recalculated from the engine's cached values."""
    office = shutil.which("soffice") or shutil.which("libreoffice")
    row: Row = {"case": "workbooks recalculated", "peer": "LibreOffice or openpyxl: not installed"}
    try:
        import openpyxl
    except ImportError:
        return row
    if office is None:
        return row
    books = {"cost": cost_workbook(Rack()), "deal": deal_workbook(whole(read_deal(EXAMPLE), draws=0))}
    worst, cells = 0.0, 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for title, data in books.items():
            (folder / f"{title}-engine.xlsx").write_bytes(data)
            openpyxl.load_workbook(folder / f"{title}-engine.xlsx").save(folder / f"{title}.xlsx")  # drops every cached value
        command = [office, "--headless", f"-env:UserInstallation=file://{folder}/profile", "--convert-to", "xlsx:Calc MS Excel 2007 XML"]
        plain = [str(folder / f"{title}.xlsx") for title in books]
        subprocess.run([*command, "--outdir", str(folder / "out"), *plain], check=True, capture_output=True, timeout=240)
        for title in books:
            live = openpyxl.load_workbook(folder / f"{title}.xlsx")
            engine, again = (openpyxl.load_workbook(p, data_only=True) for p in (folder / f"{title}-engine.xlsx", folder / "out" / f"{title}.xlsx"))
            for sheet in live:
                for line in sheet.iter_rows():
                    for cell in line:
                        if str(cell.value).startswith("="):
                            a, b = (book[sheet.title][cell.coordinate].value for book in (engine, again))
                            worst, cells = max(worst, abs(float(a) - float(b))), cells + 1
    return {"case": "workbooks recalculated", "peer": "LibreOffice", "formulas": cells, "largest_difference_usd": worst, "limit_usd": 0.005}


def main() -> None:
    """Print every row."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--draws", type=int, default=2048)
    options = parser.parse_args()
    rows = [
        rates_of_return(2000), deal_draws(options.draws), quasi_random(options.draws), claims(), second_source(), workbooks(),
    ]  # fmt: skip
    if options.json:
        print(json.dumps({"machine": f"{platform.machine()} {platform.system()} {platform.python_version()}", "rows": rows}))
        return
    for row in rows:
        print("  ".join(f"{k}: {v}" for k, v in row.items()))


if __name__ == "__main__":
    main()
