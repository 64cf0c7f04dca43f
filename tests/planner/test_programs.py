"""One small program text a constraint, as linopy writes it; each stands beside tests of what it means."""

from __future__ import annotations

import functools
import re
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest
from world import offer, phases, port, table, work, world

from polysilicon import planner
from polysilicon.application.workload import Slo
from polysilicon.cloud.contract import Contract, DiscountTier
from polysilicon.cloud.site import Site
from polysilicon.scenario.schema import DisaggregationPart, LimitsPart, LinkPart, SurvivePart, TrainingPart

GOLDEN = Path(__file__).with_name("programs")
FULL = {"utilisation_max_frac": 1.0}
H100 = offer("h100", 2.0)
TERMS = offer("h100", 1.0, kind="reserved", min_term_months=3, block_chips=8, max_chips=64.0)
MACC = Contract("macc", "azure", "committed_spend", "2026-01-01", "2026-07-01", commit_usd=1e5, draw_schedule=(("2026-04-01", 4e4),))
MAIA = (port("cuda-hopper"), port("maia", "none", cost_usd=1e5, lead_months=3.0, initial_efficiency_frac=0.5, ramp_months=6.0))
TWO = (("day", 12.0, 1.5), ("night", 12.0, 0.5))
SIX_HOURS = replace(work("batch", rps=10.0, batch=True), slo=Slo(deadline_s=6 * 3600.0))
LEASE = Contract("hall", "azure", "lease", "2026-01-01", "2027-01-01", chip="h100", chips=6.0, usd_per_chip_hour=1.5, take_or_pay_frac=0.5)
OFFERED = Contract(
    "sheet", "azure", "committed_spend", "2026-01-01", "2027-01-01", commit_usd=5e4, discount_tiers=(DiscountTier(0.0, 0.2),), signed=False
)  # fmt: skip
PRETRAIN = TrainingPart(id="pretrain", chips=20.0, on=("h100",), start=date(2026, 1, 1), end=date(2026, 4, 1))
HALL = LinkPart(id="hall", prefill=("gb200@*",), decode=("h100@*",), gb_per_s_per_chip=50.0, gb_per_s=0.5, usd_per_gb=1e-5)
WIRES = DisaggregationPart(links=(HALL,))
QUESTIONS = {
    "demand": lambda: world([work(rps=10.0)], [H100]),
    "deferral": lambda: world([SIX_HOURS, work(rps=10.0, peak=1.5)], [H100], blocks=TWO),
    "capacity": lambda: world([work(rps=10.0)], [H100, offer("h100", 1.0, kind="spot", interruptions_per_hour=0.2, max_chips=5.0)]),
    "holding": lambda: world([work(rps=10.0)], [TERMS], months=9),
    "offer_limit": lambda: world([work(rps=10.0)], [offer("h100", 2.0, max_chips=5.0), offer("gb200", 7.0)]),
    "port_live": lambda: world([work(rps=10.0)], [H100, offer("maia200", 1.0)], ports=MAIA, months=6),
    "stage": lambda: world(
        [work(rps=10.0)],
        [H100, offer("maia200", 1.0)],
        ports=(port("cuda-hopper"), port("maia", "pilot", max_share_frac=0.2)),
    ),
    "take_or_pay": lambda: world([work(rps=10.0)], [H100], months=6, contracts=(MACC,)),
    "tier": lambda: world(
        [work(rps=10.0)],
        [H100],
        contracts=(Contract("t", "azure", "committed_spend", "2026-01-01", "2027-01-01", discount_tiers=(DiscountTier(2e4, 0.1),)),),
    ),
    "take": lambda: world(
        [work(rps=10.0)],
        [H100],
        contracts=(
            Contract("opt", "azure", "capacity_mw", "2026-01-01", "2027-01-01", chip="h100", it_mw=0.014, usd_per_chip_hour=1.5, signed=False),
        ),
    ),
    "power": lambda: world([work(rps=10.0)], [H100], sites=(Site("east", "azure", "eastus", it_mw=0.02),)),
    "share": lambda: world([work(rps=10.0)], [H100, offer("trn3", 2.0, cloud="aws")], limits=LimitsPart(**FULL, vendor_share_max_frac=0.6)),
    "needed": lambda: world([work(rps=10.0)], [TERMS, offer("trn3", 2.0, cloud="aws")], limits=LimitsPart(**FULL, cloud_share_max_frac=0.6)),
    "hhi": lambda: world([work(rps=10.0)], [H100, offer("trn3", 2.0, cloud="aws")], limits=LimitsPart(**FULL, vendor_hhi_max_frac=0.6)),
    "budget": lambda: world([work(rps=10.0)], [H100], limits=LimitsPart(**FULL, budget_usd_per_year=((2026, 1e5),))),
    "carbon": lambda: world(
        [work(rps=10.0)],
        [H100],
        sites=(Site("east", "azure", "eastus", g_co2_per_kwh=400.0),),
        limits=LimitsPart(**FULL, co2_tonnes_per_year=50.0),
    ),
    "utilisation_floor": lambda: world([work(rps=10.0)], [TERMS], limits=LimitsPart(**FULL, utilisation_min_frac=0.7)),
    "ports_at_once": lambda: world([work(rps=10.0)], [H100, offer("maia200", 1.0)], ports=MAIA, months=6, limits=LimitsPart(**FULL, ports_at_once=1)),
    "delivered": lambda: world([work(rps=10.0)], [H100], contracts=(LEASE,)),
    "option": lambda: world([work(rps=10.0)], [H100], contracts=(replace(OFFERED, option="right"), replace(OFFERED, id="other", option="right"))),
    "drawn": lambda: world([work(rps=10.0)], [H100], contracts=(OFFERED,)),
    "whole_blocks": lambda: world([work(rps=10.0)], [offer("h100", 2.0, block_chips=8)]),
    "survive_port": lambda: world(
        [work(rps=10.0)],
        [H100, offer("maia200", 1.0, cloud="aws", max_chips=50.0)],
        ports=MAIA,
        months=6,
        limits=LimitsPart(**FULL, survive_loss_of=(SurvivePart(kind="vendor", demand_frac=0.5, from_month=3),)),
    ),
    "training": lambda: world([work(rps=10.0)], [H100, offer("h100", 3.0, cloud="aws")], training=(PRETRAIN,)),
    "training_spot": lambda: world(
        [work(rps=10.0)], [H100, offer("h100", 1.0, kind="spot", interruptions_per_hour=0.01, max_chips=50.0)], training=(PRETRAIN,)
    ),
    "ramp": lambda: world(
        [work(rps=10.0, peak=1.5)],
        [replace(H100, ramp_chips_per_hour=0.1)],
        blocks=TWO,
        sites=(Site("hall", "azure", "eastus", ramp_mw_per_hour=0.001),),
    ),
    "link": lambda: world([work(rps=10.0)], [H100, offer("gb200", 6.0)], disaggregation=WIRES),
    "survive": lambda: world(
        [work(rps=10.0)],
        [H100, offer("h100", 2.5, cloud="aws", max_chips=50.0)],
        limits=LimitsPart(**FULL, survive_loss_of=(SurvivePart(kind="cloud", demand_frac=0.9),)),
    ),
}


@functools.cache
def program_of(name):
    resolved = QUESTIONS[name]()
    apart = phases(resolved.workloads, {"gb200": 8.0}, {"h100": 2.0}) if resolved.disaggregation else None
    tables = planner.problem(resolved, table(resolved.workloads), phases=apart)
    return planner.build(tables, integer_rent=name == "whole_blocks")


def text_of(name, tmp_path):
    program = program_of(name)
    file = tmp_path / "program.lp"
    program.model.to_file(file, explicit_coordinate_names=True, progress=False)
    return file.read_text()


@pytest.mark.parametrize("name", sorted(QUESTIONS))
def test_program_text(name, tmp_path):
    golden = GOLDEN / f"{name}.lp"
    assert text_of(name, tmp_path) == golden.read_text(), f"the program changed: look, and if it is right rewrite {golden.name}"


def test_every_block_of_rows_has_a_golden_text():
    """Every name that the source gives a block of rows stands in one of the texts; numbered and per-supplier ones in one of theirs."""
    seen = set().union(*(program_of(name).rows for name in QUESTIONS))
    source = "\n".join(file.read_text() for file in Path(planner.__file__).parent.glob("*.py"))
    named = set(re.findall(r'program\.constrain\(\s*f?"([^"]+)"', source))
    assert len(named) >= 30
    for name in named:
        pattern = re.compile(re.sub(r"\{[^}]*\}", "[a-z0-9_]+", name))
        assert any(pattern.fullmatch(row) for row in seen), f"no golden text has rows called {name}"
