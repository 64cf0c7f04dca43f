"""How long the planner takes, and what it proves: synthetic labs rebuilt from a seed, and the peers' own instances.

    python benchmarks/planner.py [--json] [--only NAME ...] [--seconds 120] [--threads N] [--shared FOLDER]

All prices and throughputs of the synthetic labs are invented; only sizes are meant to be realistic. A figure that has a limit
is also printed as a share of it (`..._of_limit`). Peers that are not installed, and figures that are not there, are named as absent.
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
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from polysilicon.application.workload import Lengths, Slo, Workload
from polysilicon.cloud.contract import Contract
from polysilicon.cloud.offer import Offer
from polysilicon.model.layout import Layout
from polysilicon.model.port import Port
from polysilicon.performance import ServingPoint
from polysilicon.portfolio import Period
from polysilicon.scenario.calendar import add_months
from polysilicon.scenario.schema import Horizon, LimitsPart, SurvivePart
from polysilicon.silicon.chip import Chip

# chip: vendor, family, speed, $/chip-hour on demand, block, clouds
SILICON: dict[str, tuple[str, str, float, float, int, tuple[str, ...]]] = {
    "h100": ("nvidia", "cuda-hopper", 1.0, 3.9, 8, ("azure", "aws", "gcp", "oracle")),
    "h200": ("nvidia", "cuda-hopper", 1.4, 4.6, 8, ("azure", "aws", "gcp")),
    "b200": ("nvidia", "cuda-blackwell", 2.4, 6.3, 8, ("azure", "aws", "gcp", "oracle")),
    "gb200": ("nvidia", "cuda-blackwell", 2.9, 7.1, 72, ("azure", "gcp", "oracle")),
    "mi355x": ("amd", "rocm", 2.3, 5.0, 8, ("azure", "oracle")),
    "maia200": ("microsoft", "maia", 2.2, 4.4, 64, ("azure",)),
    "trn2": ("aws", "neuron", 0.9, 2.4, 64, ("aws",)),
    "trn3": ("aws", "neuron", 1.9, 4.1, 144, ("aws",)),
    "tpu-v6e": ("google", "tpu", 1.0, 2.7, 64, ("gcp",)),
    "tpu-v7": ("google", "tpu", 2.6, 5.4, 64, ("gcp",)),
}
NATIVE = {"cuda-hopper", "cuda-blackwell"}
ON_DEMAND = 39  # of the 60 offers of the hourly market; the others are the cheap tier
LIMITS: dict[str, dict[str, float]] = {  # what each case is to keep, on two cores
    "embedded": {"total_s": 5.0},
    "snapshot": {"median_ms": 3.0},
    "day": {"median_ms": 80.0, "vanished_ms": 80.0},
    "negotiate": {"total_s": 15.0},
    "negotiate-large": {"total_s": 15.0},
    "port-surface": {"total_s": 30.0},
    "dispatch-336h": {"solve_s": 20.0},
    "dispatch-336h-cap": {"solve_s": 20.0},
    "dispatch-5-years": {"solve_s": 60.0},
    "dispatch-5-years-cap": {"solve_s": 60.0},
    "structure": {"build_s": 2.0, "solve_s": 45.0, "gap_frac": 0.01},
    "structure-n1": {"solve_s": 120.0, "gap_frac": 0.03},
}
BLOCKS = (("peak", 4.0, 1.55), ("day", 8.0, 1.2), ("shoulder", 6.0, 0.85), ("night", 6.0, 0.5))


@dataclass
class Lab:
    """Has the attributes of scenario.Resolved that the planner reads."""

    periods: tuple[Period, ...]
    workloads: tuple[Workload, ...]
    offers: tuple[Offer, ...]
    contracts: tuple[Contract, ...]
    ports: tuple[Port, ...]
    limits: LimitsPart
    horizon: Horizon
    table: dict[tuple[str, str], ServingPoint]
    sites: tuple[Any, ...] = ()
    models: dict[str, Any] = field(default_factory=dict)
    chips: dict[str, Chip] = field(default_factory=dict)
    systems: dict[str, Any] = field(default_factory=dict)
    demand_rps: dict[str, Any] = field(default_factory=dict)
    peak_rps: dict[str, Any] = field(default_factory=dict)
    scenario: Any = field(default_factory=lambda: SimpleNamespace(name="synthetic lab", workloads=()))
    digest: str = "synthetic"
    catalogue_digest: str = "synthetic"


def lab(*, quarters: int = 20, blocks: int = 4, survive: bool = False, seed: int = 11, models: int = 8) -> Lab:
    """Return 60 offers in some 21 pools x 8 models x 3 classes, with ports, pods, commitments and a supplier cap."""
    rng = np.random.default_rng(seed)
    chips = {n: Chip(n, n, v, f, all_in_w=1200.0 + 300 * s) for n, (v, f, s, _, _, _) in SILICON.items()}
    offers = _offers(rng, 25.0 if survive else 5.0)
    classes = (("chat", Slo(ttft_s=1.0, tpot_s=0.05), 0.55), ("agent", Slo(ttft_s=2.0, tpot_s=0.03), 0.3), ("batch", Slo(deadline_s=86400.0), 0.15))
    volume = rng.dirichlet(np.full(models, 1.5)) * 26_000.0
    workloads, table = [], {}
    for m in range(models):
        affinity = {c: float(rng.lognormal(0.0, 0.18)) for c in SILICON}
        for name, slo, share in classes:
            work = Workload(f"m{m}-{name}", f"m{m}", slo, Lengths(1500.0, 300.0), float(volume[m] * share),
                            peak_to_mean_ratio=1.0 if name == "batch" else 1.55, growth_per_year_frac=0.5)  # fmt: skip
            workloads.append(work)
            for chip, (_, _, speed, _, _, _) in SILICON.items():
                if name == "agent" and speed < 1.0:
                    continue  # too slow a step for the promise
                rate = 0.55 * speed * affinity[chip] * (0.7 if name == "agent" else 1.25 if name == "batch" else 1.0)
                table[work.id, chip] = ServingPoint(work.id, work.model, chip, Layout(tp=8), 32, 0.6, 0.03, rate * 300, rate * 8, 900.0,
                                                    1.0, 0.3, 0.4, 10**6, "assumed", 0.2)  # fmt: skip
    periods = _quarters(quarters, BLOCKS if blocks == 4 else (("day", 12.0, 1.25), ("night", 12.0, 0.75)))
    limits = LimitsPart(
        vendor_share_max_frac=0.75, utilisation_max_frac=0.85,
        survive_loss_of=(SurvivePart(kind="cloud", demand_frac=0.9), SurvivePart(kind="vendor", demand_frac=0.9, from_month=15)) if survive else (),
    )  # fmt: skip
    return Lab(
        periods, tuple(workloads), offers, _commitments(quarters), _ports(rng, models), limits,
        Horizon(start=date(2026, 1, 1), months=3 * quarters), table,
        models={f"m{m}": SimpleNamespace(family=f"m{m}") for m in range(models)}, chips=chips,
    )  # fmt: skip


def _offers(rng: np.random.Generator, plenty: float) -> tuple[Offer, ...]:
    offers = []
    for chip, (_, _, speed, price, block, clouds) in SILICON.items():
        for cloud in clouds:
            local = price * float(rng.uniform(0.92, 1.08))
            most = float(round(rng.uniform(3_000, 9_000) / speed, -2))
            offers.append(Offer(f"{cloud}-{chip}-od", cloud, "us", chip, "on_demand", round(local, 3), block, max_chips=most))
            offers.append(
                Offer(
                    f"{cloud}-{chip}-r3",
                    cloud,
                    "us",
                    chip,
                    "reserved",
                    round(local * 0.55, 3),
                    block,
                    min_term_months=36,
                    lead_time_months=3.0,
                    max_chips=most * plenty,
                )
            )
            if speed >= 2.2 or rng.random() < 0.25:
                offers.append(
                    Offer(
                        f"{cloud}-{chip}-r1",
                        cloud,
                        "us",
                        chip,
                        "reserved",
                        round(local * 0.72, 3),
                        block,
                        min_term_months=12,
                        max_chips=most * plenty,
                    )
                )
            elif chip != "maia200":
                offers.append(
                    Offer(f"{cloud}-{chip}-spot", cloud, "us", chip, "spot", round(local * 0.5, 3), block, max_chips=most / 3, availability_frac=0.7)
                )
    return tuple(offers)


def _ports(rng: np.random.Generator, models: int) -> tuple[Port, ...]:
    ports = []
    for m in range(models):
        for family in sorted({s[1] for s in SILICON.values()}):
            if family in NATIVE or (family in ("neuron", "tpu") and m < 2):
                ports.append(Port(f"m{m}", family, "engine", "production"))
            else:
                ports.append(Port(f"m{m}", family, "engine", "none", cost_usd=25e6 * float(rng.uniform(0.7, 1.4)), upkeep_usd_per_year=8e6,
                                  lead_months=9.0, initial_efficiency_frac=0.6, efficiency_frac=0.98, ramp_months=15.0))  # fmt: skip
    return tuple(ports)


def _commitments(quarters: int) -> tuple[Contract, ...]:
    end = add_months(date(2026, 1, 1), 3 * quarters).isoformat()
    return tuple(Contract(f"{cloud}-commit", cloud, "committed_spend", "2026-01-01", end, commit_usd=usd * quarters / 20,
                          draw_schedule=tuple((add_months(date(2026, 1, 1), 3 * q).isoformat(), usd * q / 20) for q in range(4, quarters + 1, 4)))
                 for cloud, usd in (("azure", 4.0e9), ("aws", 1.5e9), ("gcp", 1.0e9)))  # fmt: skip


def _quarters(count: int, blocks: tuple[tuple[str, float, float], ...]) -> tuple[Period, ...]:
    found = []
    for i in range(count):
        begin, end = add_months(date(2026, 1, 1), 3 * i), add_months(date(2026, 1, 1), 3 * i + 3)
        hours = (end - begin).days * 24.0
        found.append(Period(i, begin.isoformat(), hours, 1.1 ** -((3 * i + 1.5) / 12), tuple((n, hours * h / 24.0, f) for n, h, f in blocks)))
    return tuple(found)


def structure(seconds: float, *, survive: bool = False, quarters: int = 20) -> dict[str, Any]:
    """Build, solve and prove the structure program."""
    from polysilicon import planner

    resolved = lab(survive=survive, quarters=quarters)
    tables = planner.problem(resolved, resolved.table)
    began = time.perf_counter()
    program = planner.build(tables)
    built = time.perf_counter() - began
    solution = planner.solve(program, seconds=seconds, gap_frac=0.01)
    return {
        "rows": int(program.model.ncons), "columns": int(program.model.nvars), "integers": int(sum(len(v) for v in program.integers.values())),
        "pools": len(tables.pools), "offers": len(tables.offers), "ports": len(tables.candidates), "build_s": built,
        "solve_s": time.perf_counter() - began - built, "objective_musd": solution.objective_usd / 1e6, "bound_musd": solution.bound_usd / 1e6,
        "gap_frac": solution.gap_frac, "status": solution.status, **{f"{k}_s": v for k, v in solution.seconds.items()},
    }  # fmt: skip


def embedded(seconds: float) -> dict[str, Any]:
    """Build, solve and price the embedded frontier lab."""
    from polysilicon import planner
    from polysilicon.scenario import catalogue_for, embedded_text, load, resolve
    from polysilicon.study.serving import serving_table

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "lab.yaml"
        file.write_text(embedded_text("frontier_lab"))
        scenario = load(file)
        resolved = resolve(scenario, catalogue_for(scenario))
    table = serving_table(resolved, margin_quantile=0.5).points
    began = time.perf_counter()
    found = planner.plan(resolved, table, seconds=seconds)
    return {"total_s": time.perf_counter() - began, "gap_frac": found.gap_frac, "objective_musd": found.objective_usd / 1e6, "status": found.status,
            **{f"{k}_s": v for k, v in found.seconds.items()}}  # fmt: skip


def market(hours: int, seed: int = 5, *, cap: float = 1.0, years: int = 0) -> Any:
    """Return an hourly market of 21 pools, 60 offers, 8 models x 3 classes; or, for `years`, months of two days in blocks of three hours.

    Contracts hold half of what mean demand needs. Above them each pool has two priced tiers: one that is cheap and short, and
    on demand, which is dear and ample; so the hours of the peak must rent both.
    """
    from polysilicon.planner.dispatch import Market, day

    rng = np.random.default_rng(seed)
    pools, offers, works = 21, 60, 24
    arcs = [(w, p) for w in range(works) for p in range(pools) if rng.random() < 0.85]
    shape = np.array([day(hours, peak=1.5, at=int(rng.integers(12, 18))) for _ in range(works)])
    grid: dict[str, Any] = {}
    if years:
        hours = years * 12 * 2 * 8
        shape = np.tile(shape[:, :24].reshape(works, 8, 3).mean(axis=2), years * 24)
        shape *= np.repeat(np.linspace(0.8, 1.2, years * 12), 16) * np.tile(np.repeat([1.05, 0.85], 8), years * 12)  # growth; working days, week-ends
        grid = {"hours_each": np.full(hours, 3.0), "times": np.tile(np.repeat([21.7, 8.7], 8), years * 12), "day_snapshots": 8}
    rates, demand = rng.uniform(0.3, 2.5, len(arcs)), rng.uniform(200, 3000, works)
    needed = demand.sum() / float(np.quantile(rates, 0.9))  # chips, as work goes to where it runs best
    pool_of = np.arange(offers) % pools
    cheap = np.arange(offers) >= ON_DEMAND
    usd = rng.uniform(2.5, 8, pools)[pool_of] * np.where(cheap, 0.55, 1.0) * rng.uniform(0.95, 1.05, offers)
    most = np.where(cheap, 0.2, 2.0) * needed / pools * rng.uniform(0.6, 1.4, offers)
    return Market(
        held_chips=np.repeat((rng.dirichlet(np.full(pools, 2.0)) * 0.5 * needed)[:, None], hours, 1), offer_pool=pool_of,
        offer_usd_per_chip_hour=np.repeat(usd[:, None], hours, 1), offer_max_chips=np.repeat(most[:, None], hours, 1),
        arc_workload=np.array([a[0] for a in arcs]), arc_pool=np.array([a[1] for a in arcs]), arc_rps_per_chip=rates,
        demand_rps=demand[:, None] * shape, wait_hours=np.array([12 if w % 3 == 2 else 0 for w in range(works)]),
        unserved_usd_per_request=np.full(works, 0.05), vendor=pool_of % 4,
        vendor_cap_frac=cap, **grid,
    )  # fmt: skip


def used(found: Any, question: Any) -> dict[str, float]:
    """Return what the dispatch costs and rents; a market that needs nothing bought would make its times worthless."""
    rented = found.rented_chips.sum(axis=1)
    unserved = float(found.unserved_rps.sum() / question.demand_rps.sum())
    figures = {"objective_musd": found.usd / 1e6, "on_demand_chip_hours": float(rented[:ON_DEMAND].sum()),
               "cheap_tier_chip_hours": float(rented[ON_DEMAND:].sum()), "unserved_frac": unserved}  # fmt: skip
    if not (found.usd > 0 and figures["on_demand_chip_hours"] > 0 and figures["cheap_tier_chip_hours"] > 0 and unserved < 0.01):
        raise AssertionError(f"the synthetic market is no test of dispatch: {figures}")
    return figures


def dispatch_lp(hours: int, *, cap: float = 1.0, years: int = 0, solver: str = "") -> dict[str, Any]:
    """Build and solve the dispatch program from cold, with or without a cap on each vendor's share of the spend."""
    from polysilicon.planner.dispatch import Dispatcher

    question = market(hours, cap=cap, years=years)
    hours = question.demand_rps.shape[1]
    began = time.perf_counter()
    program = Dispatcher(question, **({"solver": solver} if solver else {}))
    built = time.perf_counter() - began
    found = program.solve()
    spent = time.perf_counter() - began - built
    return {"hours": hours, "columns": program.columns, "build_s": built, "solve_s": spent, **used(found, question)}


def rearbitrage(hours: int, ticks: int) -> dict[str, Any]:
    """Solve again after every offer's price moved by a tenth, and after a sixth of the offers vanished."""
    from polysilicon.planner.dispatch import Dispatcher

    question, rng = market(hours), np.random.default_rng(1)
    program = Dispatcher(question)
    figures = used(program.solve(), question)
    after: list[float] = []
    for _ in range(ticks):
        usd = question.offer_usd_per_chip_hour * rng.normal(1.0, 0.1, (60, hours)).clip(0.5, 1.5)
        began = time.perf_counter()
        program.set_prices(usd)
        program.solve()
        after.append(time.perf_counter() - began)
    program.set_prices(question.offer_usd_per_chip_hour)
    program.solve()
    began = time.perf_counter()
    program.set_limits(question.offer_max_chips * (rng.random((60, 1)) > 0.15))
    program.solve()
    return {"hours": hours, "median_ms": float(np.median(after)) * 1e3, "most_ms": max(after) * 1e3,
            "vanished_ms": (time.perf_counter() - began) * 1e3, **figures}  # fmt: skip


def negotiation(quarters: int, models: int, workers: int) -> dict[str, Any]:
    """Six suppliers of a lab: leave-one-out, indifference and walk-away prices, what could move."""
    from polysilicon import planner
    from polysilicon.planner import leverage
    from polysilicon.planner.resolve import Asker

    resolved = lab(quarters=quarters, blocks=2, models=models)
    began = time.perf_counter()
    asker = Asker(planner.problem(resolved, resolved.table))
    found = leverage.negotiate(asker.tables, names=("azure", "gcp", "oracle", "google", "amd", "nvidia"), asker=asker, workers=workers)
    return {"suppliers": len(found), "solves": asker.solves, "columns": len(asker.engine.columns), "workers": workers,
            "total_s": time.perf_counter() - began}  # fmt: skip


def hedge(futures: int, workers: int) -> dict[str, Any]:
    """Decide the first year of a lab over drawn futures, mean and worst tenth weighed alike; then what knowing them would cost."""
    from polysilicon import planner
    from polysilicon.planner import uncertainty
    from polysilicon.planner.futures import draw

    resolved = lab(quarters=8, blocks=2, models=3)
    tables = planner.problem(resolved, resolved.table)
    began = time.perf_counter()
    worlds = draw(tables, count=futures, seed=1)
    found = uncertainty.two_stage(worlds, cvar_weight=0.5, seconds=300.0, workers=workers)
    decided = time.perf_counter() - began
    knowing = uncertainty.expected_alone(worlds, workers=workers)
    return {"futures": futures, "workers": workers, "columns": futures * int(planner.build(tables).model.nvars), "decide_s": decided,
            "know_s": time.perf_counter() - began - decided, "gap_frac": 1.0 - found.bound_usd / found.objective_usd,
            "expected_musd": found.expected_usd / 1e6, "worst_tenth_musd": found.cvar_usd / 1e6, "knowing_musd": knowing / 1e6}  # fmt: skip


def rolling(walks: int, workers: int) -> dict[str, Any]:
    """Plan a lab of eight quarters again each quarter, over walks of its demand."""
    from polysilicon import planner
    from polysilicon.planner import rolling as horizon

    resolved = lab(quarters=8, blocks=2, models=3)
    tables = planner.problem(resolved, resolved.table)
    began = time.perf_counter()
    found = horizon.rolling(tables, count=walks, seed=1, workers=workers)
    names = ("kept", "again", "known")
    cost = {f"{name}_musd": None if c.expected_usd is None else c.expected_usd / 1e6 for name, c in zip(names, found.courses, strict=True)}
    return {"walks": walks, "workers": workers, "columns": int(planner.build(tables).model.nvars), "solves": walks * (found.periods + 3),
            "total_s": time.perf_counter() - began, **cost, "unserved_kept_frac": found.courses[0].unserved_frac,
            "stuck": max(c.stuck for c in found.courses)}  # fmt: skip


def port_surface() -> dict[str, Any]:
    """A surface of 20 x 20 points by program, beside the closed form."""
    from polysilicon.planner.port_surface import program_surface, surface

    gains, spends = np.linspace(0.05, 1.0, 20), np.geomspace(0.05e9, 10e9, 20)
    began = time.perf_counter()
    program = program_surface(gains, spends)
    spent = time.perf_counter() - began
    off = float(np.abs(program - np.maximum(surface(gains, spends), 0.0)).max())
    return {"points": program.size, "total_s": spent, "largest_difference_usd": off}


def peers(folder: str, python: str) -> dict[str, Any]:
    """Melange's published setting and SkyPilot's optimiser on it: the same catalogue, the cheaper pick.

    SkyPilot picks one chip a task and may use any fraction of it: that is our program with chips that can be cut. Where it is
    installed its own optimiser is asked.
    """
    from polysilicon.planner.one_shot import cheapest_chips

    file = Path(folder) / "data" / "melange_llama2_7b.json"
    if not file.is_file():
        return {"melange": f"absent: no {file.name} in the folder given by --shared"}
    data = json.loads(file.read_text())
    share = np.array(data["arena_hist_percent_printed"], float)[::-1].T
    rates = np.array([np.array(g["tputs_req_per_s"], float).ravel() for g in data["gpus"].values()])
    usd = np.array([g["price_usd_h_paper"] for g in data["gpus"].values()])
    figures: dict[str, Any] = {}
    for rps in (1, 2, 4, 8, 16, 32):
        demand = (share / share.sum() * rps).ravel()
        began = time.perf_counter()
        found = cheapest_chips(demand, rates, usd)
        figures |= {f"usd_per_hour_at_{rps}_rps": found.usd_per_hour, f"cut_chips_usd_per_hour_at_{rps}_rps": found.bound_usd_per_hour,
                    f"solve_{rps}_ms": (time.perf_counter() - began) * 1e3}  # fmt: skip
        picked = skypilot(python, demand, rates, usd)
        if picked is None:
            figures["skypilot"] = "absent: not installed where --skypilot points"
        else:
            figures |= {f"skypilot_usd_per_hour_at_{rps}_rps": picked[0], f"skypilot_{rps}_ms": picked[1] * 1e3}
    return figures


SKYPILOT = """
import json, sys, time
import networkx
from sky.optimizer import Optimizer

class Task:
    best_resources = None
    def __init__(self, name):
        self.name = name

cost = json.load(sys.stdin)
tasks = [Task(f"size{i}") for i in range(len(cost))]
graph = networkx.DiGraph()
graph.add_nodes_from(tasks)
began = time.perf_counter()
_, usd = Optimizer._optimize_by_ilp(graph, tasks, {t: dict(enumerate(c)) for t, c in zip(tasks, cost)})
print(json.dumps([usd, time.perf_counter() - began]))
"""


def skypilot(python: str, demand: np.ndarray, rates: np.ndarray, usd: np.ndarray) -> tuple[float, float] | None:
    """Return dollars per hour and seconds of SkyPilot's own optimiser, one task a request size; None where it is not installed."""
    needed = demand > 0
    cost = (demand[needed] / rates[:, needed] * usd[:, None]).T.tolist()
    run = subprocess.run([python, "-c", SKYPILOT], input=json.dumps(cost), capture_output=True, text=True, timeout=300, check=False)
    if run.returncode and "No module named 'sky'" in run.stderr:
        return None
    if run.returncode:
        raise RuntimeError(f"SkyPilot's optimiser failed: {run.stderr[-500:]}")
    found = json.loads(run.stdout.splitlines()[-1])
    return float(found[0]), float(found[1])


def over_limits(case: str, row: dict[str, Any]) -> dict[str, Any]:
    """Return each figure that has a limit as a share of it: one and below is within."""
    return {f"{figure}_of_limit": row[figure] / limit for figure, limit in LIMITS.get(case, {}).items() if isinstance(row.get(figure), (int, float))}


def _cpu_s() -> float:
    """Return the CPU seconds of this process and of those it has waited for."""
    return sum(u.ru_utime + u.ru_stime for u in (resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)))


def main() -> None:
    cases: dict[str, Callable[[argparse.Namespace], dict[str, Any]]] = {
        "embedded": lambda o: embedded(o.seconds),
        "snapshot": lambda o: rearbitrage(1, 200),
        "day": lambda o: rearbitrage(24, 20),
        "negotiate": lambda o: negotiation(8, 3, 1),
        "negotiate-large": lambda o: negotiation(10, 8, os.cpu_count() or 1),
        "hedge": lambda o: hedge(12, os.cpu_count() or 1),
        "roll": lambda o: rolling(4, os.cpu_count() or 1),
        "port-surface": lambda o: port_surface(),
        "dispatch-336h": lambda o: dispatch_lp(336),
        "dispatch-336h-cap": lambda o: dispatch_lp(336, cap=0.35),
        "dispatch-5-years": lambda o: dispatch_lp(24, years=5),
        "dispatch-5-years-cap": lambda o: dispatch_lp(24, years=5, cap=0.35),
        "structure": lambda o: structure(min(o.seconds, 45.0)),
        "structure-small": lambda o: structure(min(o.seconds, 20.0), quarters=8),
        "structure-n1": lambda o: structure(o.seconds, survive=True),
        "structure-rushed": lambda o: structure(5.0),
        "peers": lambda o: peers(o.shared, o.skypilot),
    }
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--only", nargs="*", choices=list(cases), default=list(cases))
    parser.add_argument("--seconds", type=float, default=120.0, help="of a search, at most")
    parser.add_argument("--threads", type=int, default=None, help="of HiGHS")
    parser.add_argument("--shared", default=str(Path(__file__).parents[2] / "shared"), help="folder of third parties' published figures")
    parser.add_argument("--skypilot", default=sys.executable, help="a Python that has skypilot and pulp")
    options = parser.parse_args()
    if options.threads:
        from polysilicon import highs

        highs.THREADS = options.threads
    rows = []
    for name in options.only:
        cpu = _cpu_s()
        row = {"case": name, **cases[name](options)}
        row |= {"cpu_s": _cpu_s() - cpu, "peak_rss_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}
        rows.append(row | over_limits(name, row))
        print(", ".join(f"{k} {v:,.4g}" if isinstance(v, float) else f"{k} {v}" for k, v in rows[-1].items()), file=sys.stderr)
    if options.json:
        machine = {"cpus": os.cpu_count(), "platform": platform.platform(), "python": platform.python_version(), "load_average": os.getloadavg()[0]}
        print(json.dumps({"machine": machine, "rows": rows}, indent=1))


if __name__ == "__main__":
    main()
