"""A pilot is not production: its stage caps its traffic, and placements say which stage they are in."""

import pytest
from toy import offer, port, solve, work, world

from polysilicon.report import contents
from polysilicon.report.evidence import Evidence


def test_v01():
    ports = (port("cuda-hopper"), port("maia", "pilot", max_share_frac=0.1))
    found = solve(world([work(rps=100.0), work("batch", rps=50.0, batch=True)], [offer("h100", 2.0), offer("maia200", 0.5)], ports=ports))
    by_stage = {s: sum(p.mtok for p in found.placements if p.stage == s) for s in ("pilot", "production")}
    total = sum(by_stage.values())
    assert by_stage["pilot"] / total == pytest.approx(0.1)
    assert all(p.share_frac <= 0.1 + 1e-9 for p in found.placements if p.stage == "pilot")


def test_the_report_shows_the_share_by_stage():
    ports = (port("cuda-hopper"), port("maia", "pilot", max_share_frac=0.1))
    found = solve(world([work(rps=100.0)], [offer("h100", 2.0), offer("maia200", 0.5)], ports=ports))
    rows = {r["stage"]: r for r in contents.tables(Evidence(plan=found, title="t"))["stages"].records()}
    assert rows["pilot"]["tokens_frac"] == pytest.approx(0.1) and rows["production"]["tokens_frac"] == pytest.approx(0.9)
    assert rows["pilot"]["usd_frac"] + rows["production"]["usd_frac"] == pytest.approx(1.0) and 0 < rows["pilot"]["usd_frac"] < 0.1
