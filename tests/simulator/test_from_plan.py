"""A plan replayed: the fleet it holds, at the pace of its engines, through the command a user types."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from polysilicon import catalogue
from polysilicon.application.workload import Lengths, Slo, Workload
from polysilicon.errors import InputError, MissingFact
from polysilicon.model.port import Port
from polysilicon.portfolio import Plan, read_plan
from polysilicon.simulator.fleet import Fleet, from_plan

PERIOD = 3


def polysilicon(*words: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    code = "from polysilicon.cli.app import main; main()"
    done = subprocess.run([sys.executable, "-c", code, *map(str, words)], capture_output=True, text=True, timeout=240, check=False, cwd=cwd)
    assert "Traceback" not in done.stderr, done.stderr
    return done


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the starter scenario's plan, and one minute of chat."""
    here = tmp_path_factory.mktemp("plan")
    assert polysilicon("init", cwd=here).returncode == 0
    planned = polysilicon("plan", "scenario.yaml", "--no-proof", "--no-alternatives", "-q", "-o", "answer", cwd=here)
    assert planned.returncode == 0, planned.stderr
    rng = np.random.default_rng(0)
    n = 3000
    columns = {"arrival_s": np.sort(rng.uniform(0, 60, n)), "isl_tokens": rng.integers(50, 1500, n), "osl_tokens": rng.integers(10, 200, n)}
    pl.DataFrame(columns).write_csv(here / "trace.csv")
    return here


@pytest.fixture(scope="session")
def plan(folder: Path) -> Plan:
    return read_plan(folder / "answer" / "plan.json")


@cache
def known() -> catalogue.Catalogue:
    return catalogue.load()


def fleet_of(plan: Plan, catalogue_: catalogue.Catalogue | None = None) -> Fleet:
    models = {point.workload: point.model for point in plan.serving}
    workloads = [Workload(name, model, Slo(), Lengths(1.0, 1.0), 0.0) for name, model in models.items()]
    return from_plan(plan, catalogue_ or known(), PERIOD, workloads=workloads)


def test_a_plan_and_a_trace_are_all_the_command_needs(folder: Path, plan: Plan) -> None:
    done = polysilicon("simulate", "answer/plan.json", "trace.csv", "--json", cwd=folder)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["totals"]["requests"] == said["totals"]["done"] == 3000
    assert set(said["workloads"]) == {"chat"}
    assert set(said["pools"]) == {f"chat:{p.pool}" for p in plan.placements if p.period == PERIOD and p.share_frac > 0}
    assert said["totals"]["bill_usd"] > 0
    table = polysilicon("simulate", "answer/plan.json", "trace.csv", "-o", "run", cwd=folder)
    unknown = any(math.isnan(pool.busy_w_per_chip) for pool in fleet_of(plan).pools)
    assert (json.loads((folder / "run" / "summary.json").read_bytes(), parse_constant=pytest.fail)["totals"]["energy_kwh"] is None) == unknown
    assert "3,000 of 3,000 requests done" in table.stdout and "nan" not in table.stdout


def test_a_plan_file_of_another_shape_is_refused(folder: Path) -> None:
    (folder / "broken.json").write_text('{"serving": [1]}')
    done = polysilicon("simulate", "broken.json", "trace.csv", cwd=folder)
    assert done.returncode == 1 and "is not a plan" in done.stderr


def test_the_fleet_holds_the_chips_of_the_plan_spare_share_included(plan: Plan) -> None:
    for pool in fleet_of(plan).pools:
        held = sum(h.peak_chips for h in plan.holdings if (h.period, h.chip, h.cloud, h.region) == (PERIOD, pool.chip, pool.cloud, pool.region))
        assert held - 1e-3 <= pool.chips < held + pool.chips_per_replica


def test_an_engine_below_the_predicted_speed_slows_its_pool(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    slow = known()
    plain = fleet_of(plan)
    family = slow.model(plan.serving[0].model).family

    def port(model_family: str, chip_family: str) -> Port:
        return Port(model_family, chip_family, "x", "production", efficiency_frac=0.8, initial_efficiency_frac=0.5)

    monkeypatch.setattr(type(slow), "port", lambda self, m, c: port(m, c))
    mature = fleet_of(plan, slow)
    chip = plain.pools[0].chip
    started = replace(plan, ports=({"model_family": family, "chip_family": slow.chip(chip).family},))
    young = fleet_of(started, slow)
    before, later, first = (f.pools[0].step_times.tokens_s[1:] for f in (plain, mature, young))
    np.testing.assert_allclose(later, before / 0.8)
    np.testing.assert_allclose(first, before / 0.5)


def test_what_a_plan_does_not_say_is_an_error(plan: Plan) -> None:
    with pytest.raises(InputError, match="no period 99"):
        from_plan(plan, known(), 99, workloads=[])
    with pytest.raises(MissingFact, match="serving point"):
        from_plan(replace(plan, serving=()), known(), PERIOD, workloads=[Workload("chat", "gpt-oss-120b", Slo(), Lengths(1.0, 1.0), 0.0)])


def test_power_that_nobody_publishes_stays_unknown_in_a_plan_file(plan: Plan, tmp_path: Path) -> None:
    unknown = replace(plan, serving=(replace(plan.serving[0], w_per_chip=math.nan, j_per_token=math.nan),))
    (tmp_path / "plan.json").write_bytes(unknown.to_json())
    back = read_plan(tmp_path / "plan.json")
    assert math.isnan(back.serving[0].w_per_chip) and math.isnan(back.serving[0].j_per_token)
    assert back.to_json() == unknown.to_json()
