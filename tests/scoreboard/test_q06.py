"""The buyer's view: the cheapest route of each application across clouds, as numbers and as a section of a report."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from toy import offer, tables, work, world

from polysilicon import planner
from polysilicon.planner.measures import routes


def test_q06():
    api = offer("", None, kind="per_token", id="api", cloud="maker", model="m", usd_per_mtok_in=0.1, usd_per_mtok_out=0.4)
    question = tables(world([work(rps=100.0)], [offer("h100", 2.0), offer("gb200", 5.0), offer("h100", 2.5, cloud="aws"), api]))
    program, solution, _ = planner.solved(question)
    best = {r["cloud"]: r for r in routes(program, solution)}
    assert best["azure"]["where"] == "gb200@azure/eastus" and best["azure"]["usd_per_mtok"] == pytest.approx(5.0 / 3 / 3600 / 1200 * 1e6)
    assert best["maker"]["usd_per_mtok"] == pytest.approx((1000 * 0.1 + 200 * 0.4) / 1200) and best["aws"]["where"].startswith("h100")


def test_the_buyers_report_names_the_cheapest_route_of_each_application(tmp_path):
    from polysilicon.scenario import embedded_text

    (tmp_path / "s.yaml").write_text(embedded_text("minimal"))
    command = [str(Path(sys.executable).with_name("polysilicon")), "plan", "s.yaml", "--no-proof", "--no-alternatives", "-q"]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert '<h2 id="routes">' in (tmp_path / "out" / "report.html").read_text()
    rows = json.loads((tmp_path / "out" / "report.json").read_text())["tables"]["routes"]
    assert {r["application"] for r in rows} and all(r["usd_per_mtok"] > 0 and r["cloud"] and r["where"] for r in rows)
    for workload in {r["workload"] for r in rows}:
        mine = [r for r in rows if r["workload"] == workload]
        best = [r for r in mine if r["cheapest"]]
        assert len({r["cloud"] for r in mine}) == len(mine) and best and best[0]["usd_per_mtok"] == min(r["usd_per_mtok"] for r in mine)
