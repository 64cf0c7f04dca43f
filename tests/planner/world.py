"""Small worlds for the planner's tests: a resolved scenario in a dozen words."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import date

from polysilicon.application.workload import Lengths, Slo, Workload
from polysilicon.cloud.offer import Offer
from polysilicon.model.layout import Layout
from polysilicon.model.port import Port
from polysilicon.performance import ServingPoint
from polysilicon.portfolio import Period
from polysilicon.scenario.calendar import add_months
from polysilicon.scenario.schema import Horizon, LimitsPart, StudyPart
from polysilicon.silicon.chip import Chip

CHIPS = {
    "h100": Chip("h100", "H100", "nvidia", "cuda-hopper", all_in_w=1400.0),
    "gb200": Chip("gb200", "GB200", "nvidia", "cuda-blackwell", all_in_w=1900.0),
    "maia200": Chip("maia200", "Maia 200", "microsoft", "maia", all_in_w=1100.0, available_from=date(2026, 1, 1)),
    "trn3": Chip("trn3", "Trainium 3", "aws", "neuron", all_in_w=1000.0),
}
SPEED = {"h100": 1.0, "gb200": 3.0, "maia200": 2.0, "trn3": 1.5}  # requests per second and chip


@dataclass
class Family:
    family: str

    def kv_bytes_per_token(self, precision="bf16"):
        return 1e5  # a thousand prompt tokens are 0.1 GB


@dataclass
class Named:
    name: str = "toy"
    workloads: tuple = ()


@dataclass
class World:
    """Has the attributes of scenario.Resolved that the planner reads."""

    periods: tuple = ()
    workloads: tuple = ()
    offers: tuple = ()
    contracts: tuple = ()
    ports: tuple = ()
    sites: tuple = ()
    limits: LimitsPart = field(default_factory=LimitsPart)
    horizon: Horizon | None = None
    study: StudyPart = field(default_factory=StudyPart)
    scenario: Named = field(default_factory=Named)
    digest: str = "d"
    catalogue_digest: str = "c"
    models: dict = field(default_factory=dict)
    chips: dict = field(default_factory=lambda: dict(CHIPS))
    systems: dict = field(default_factory=dict)
    demand_rps: dict = field(default_factory=dict)
    peak_rps: dict = field(default_factory=dict)
    disaggregation: object = None
    training: tuple = ()
    weekend: tuple = ()


def work(name="chat", *, rps=100.0, batch=False, peak=1.0, model="m", **more):
    slo = Slo(deadline_s=86400.0) if batch else Slo(ttft_s=1.0, tpot_s=0.05)
    return Workload(name, model, slo, Lengths(1000.0, 200.0), rps, peak_to_mean_ratio=peak, **more)


def offer(chip, price, *, cloud="azure", region="eastus", kind="on_demand", **more):
    return Offer(more.pop("id", f"{cloud}-{chip}-{kind}"), cloud, region, chip, kind, price, **more)


def port(chip_family, status="production", *, model="m", **more):
    return Port(model, chip_family, "engine", status, **more)


NATIVE = tuple(port(c.family) for c in CHIPS.values())


def world(
    workloads,
    offers,
    *,
    ports=NATIVE,
    months=3,
    period="quarter",
    blocks=(("all", 1.0, 1.0),),
    discount=0.0,
    limits=None,
    start="2026-01-01",
    **more,
):
    step = {"month": 1, "quarter": 3, "year": 12}[period]
    first = date.fromisoformat(start)
    periods = []
    for i, m in enumerate(range(0, months, step)):
        begin, end = add_months(first, m), add_months(first, m + step)
        hours = (end - begin).days * 24.0
        total = sum(b[1] for b in blocks)
        factor = (1 + discount) ** (-(m + step / 2) / 12)
        periods.append(Period(i, begin.isoformat(), hours, factor, tuple((n, hours * h / total, f) for n, h, f in blocks)))
    return World(
        tuple(periods),
        tuple(workloads),
        tuple(offers),
        ports=tuple(ports),
        limits=limits or LimitsPart(utilisation_max_frac=1.0),
        horizon=Horizon(start=first, months=months, period=period, discount_per_year_frac=discount),
        models={w.model: Family(w.model) for w in workloads},
        **more,
    )


def point(workload, chip, rps_per_chip, *, chips=1):
    return ServingPoint(
        workload,
        "m",
        chip,
        Layout(tp=chips),
        8,
        0.5,
        0.03,
        rps_per_chip * 200.0,
        rps_per_chip * chips,
        700.0,
        1.0,
        0.3,
        0.3,
        100_000,
        "assumed",
        0.2,
    )


def table(workloads, speed=None):
    return {(w.id, chip): point(w.id, chip, s) for w in workloads for chip, s in (speed or SPEED).items()}


def phases(workloads, prefill, decode):
    """Serving points of each phase alone, by chip: requests per second and chip."""
    return {
        (w.id, chip, phase): replace(point(w.id, chip, s), phase=phase)
        for w in workloads
        for phase, speed in (("prefill", prefill), ("decode", decode))
        for chip, s in speed.items()
    }
