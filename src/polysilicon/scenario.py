"""The scenario: one YAML file that asks the question.

These are the file's types and what is handed to the machines. Reading, places of errors and cross-checks against the
catalogue live in `load`; nothing here reads a clock or a network.
"""

from __future__ import annotations

from datetime import date
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat

Positive = Annotated[FiniteFloat, Field(gt=0)]
NonNegative = Annotated[FiniteFloat, Field(ge=0)]
Share = Annotated[FiniteFloat, Field(ge=0, le=1)]
Name = Annotated[str, Field(min_length=1, max_length=120, pattern=r"^[A-Za-z0-9][A-Za-z0-9._:/@+ -]*$")]


class Part(BaseModel):
    """A section of the file: unknown keys are errors, nothing is coerced silently."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Horizon(Part):
    """From when, how long, in which periods."""

    start: date
    months: Annotated[int, Field(ge=1, le=240)] = 12
    period: Literal["month", "quarter", "year"] = "quarter"
    discount_per_year_frac: Share = 0.10
    blocks: Annotated[int, Field(ge=1, le=24)] = 4  # load blocks a period: from peak to valley


class SloPart(Part):
    """Promises of a workload."""

    ttft_s: Positive | None = None
    tpot_s: Positive | None = None
    e2e_s: Positive | None = None
    quantile: Annotated[FiniteFloat, Field(gt=0, lt=1)] = 0.95
    deadline_s: Positive | None = None


class LengthsPart(Part):
    """Lengths of requests, where they are not taken from a trace."""

    isl_p50_tokens: Positive | None = None
    isl_p99_tokens: Positive | None = None
    osl_p50_tokens: Positive | None = None
    osl_p99_tokens: Positive | None = None
    isl_mean_tokens: Positive | None = None
    osl_mean_tokens: Positive | None = None
    cached_frac: Share | None = None


class TrafficPart(Part):
    """Where a workload's requests come from: a generator's profile or a trace file."""

    profile: Literal["chat", "coding-agent", "batch", "long-context", "enterprise"] | None = None
    trace: str | None = None
    format: str = "auto"
    mean_rps: Positive
    peak_to_mean_ratio: Annotated[FiniteFloat, Field(ge=1)] | None = None
    timezone_h: Annotated[FiniteFloat, Field(ge=-12, le=14)] = 0.0
    arrival_cv: Positive | None = None
    lengths: LengthsPart = LengthsPart()


class TokenPricePart(Part):
    """What the workload's user pays."""

    usd_per_mtok_in: NonNegative | None = None
    usd_per_mtok_cached: NonNegative | None = None
    usd_per_mtok_out: NonNegative | None = None


class WorkloadPart(Part):
    """One stream of requests."""

    id: Name
    model: str
    application: str = ""
    traffic: TrafficPart
    growth_per_year_frac: Annotated[FiniteFloat, Field(gt=-1, le=100)] = 0.0
    slo: SloPart = SloPart()
    price: TokenPricePart = TokenPricePart()
    regions: tuple[str, ...] = ()
    clouds: tuple[str, ...] = ()
    chips: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    priority: Annotated[int, Field(ge=0, le=9)] = 0
    unserved_usd_per_mtok: Positive | None = None


class OfferPart(Part):
    """An offer of the user's own, or changes to one of the catalogue (same id)."""

    id: Name
    cloud: Name | None = None
    region: Name | None = None
    chip: str | None = None
    kind: Literal["on_demand", "reserved", "spot", "quote_only", "per_token"] | None = None
    usd_per_chip_hour: NonNegative | None = None
    block_chips: Annotated[int, Field(ge=1)] | None = None
    max_chips: NonNegative | None = None
    min_term_months: Annotated[int, Field(ge=0, le=240)] | None = None
    lead_time_months: NonNegative | None = None
    available_from: date | None = None
    availability_frac: Share | None = None
    interruptions_per_hour: NonNegative | None = None
    model: str | None = None
    usd_per_mtok_in: NonNegative | None = None
    usd_per_mtok_cached: NonNegative | None = None
    usd_per_mtok_out: NonNegative | None = None
    tags: tuple[str, ...] | None = None
    source: str | None = None
    note: str | None = None


class OffersPart(Part):
    """Which offers of the catalogue may be used, and the user's own."""

    clouds: tuple[str, ...] = ()
    regions: tuple[str, ...] = ()
    chips: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    include: tuple[str, ...] = ()  # ids or globs; empty: all that pass the filters above
    exclude: tuple[str, ...] = ()
    own: tuple[OfferPart, ...] = ()


class TierPart(Part):
    """A discount that starts at a yearly spend."""

    from_usd: NonNegative
    discount_frac: Share


class DrawPart(Part):
    """Cumulative dollars due by a date."""

    by: date
    cumulative_usd: NonNegative


class ContractPart(Part):
    """Signed or offered terms."""

    id: Name
    cloud: Name
    kind: Literal["committed_spend", "reserved", "capacity_mw", "lease", "equity_linked"]
    start: date
    end: date
    commit_usd: NonNegative | None = None
    take_or_pay_frac: Share = 1.0
    rollover: bool = True
    draw_schedule: tuple[DrawPart, ...] = ()
    discount_tiers: tuple[TierPart, ...] = ()
    eligible: tuple[str, ...] = ()  # offer ids or globs; empty: all offers of the cloud
    it_mw: NonNegative | None = None
    ramp_mw: tuple[tuple[date, NonNegative], ...] = ()
    usd_per_month: NonNegative | None = None
    chip: str | None = None
    chips: NonNegative | None = None
    usd_per_chip_hour: NonNegative | None = None
    exit_fee_usd: NonNegative | None = None
    equity_usd: NonNegative | None = None
    signed: bool = True
    source: str = ""


class PortPart(Part):
    """What it takes to bring a model family to a chip family, where the catalogue has no say or the user knows better."""

    model_family: str
    chip_family: str
    engine: str = ""
    status: Literal["none", "porting", "pilot", "production"] | None = None
    engineer_months: NonNegative | None = None
    lead_months: NonNegative | None = None
    cost_usd: NonNegative | None = None
    upkeep_usd_per_year: NonNegative | None = None
    efficiency_frac: Positive | None = None
    initial_efficiency_frac: Positive | None = None
    ramp_months: NonNegative | None = None
    max_share_frac: Share | None = None
    quality_gate: Literal["", "passed", "failed"] | None = None
    source: str = ""


class SitePart(Part):
    """Power where chips stand."""

    id: Name
    cloud: Name
    region: Name
    it_mw: NonNegative | None = None
    pue: Annotated[FiniteFloat, Field(ge=1, le=3)] = 1.2
    usd_per_kwh: NonNegative = 0.0
    g_co2_per_kwh: NonNegative = 0.0
    usd_per_tonne_co2: NonNegative = 0.0
    cooling: Literal["air", "liquid"] = "liquid"
    ramp_mw: tuple[tuple[date, NonNegative], ...] = ()
    source: str = ""


class SurvivePart(Part):
    """Survive the loss of any one supplier of a kind, for a share of interactive demand."""

    kind: Literal["cloud", "vendor", "chip_family", "region"]
    demand_frac: Share = 0.9


class LimitsPart(Part):
    """What the plan must respect beyond prices."""

    vendor_share_max_frac: Share | None = None
    cloud_share_max_frac: Share | None = None
    chip_family_share_max_frac: Share | None = None
    survive_loss_of: tuple[SurvivePart, ...] = ()
    budget_usd_per_year: tuple[tuple[int, NonNegative], ...] = ()
    co2_tonnes_per_year: NonNegative | None = None
    utilisation_min_frac: Share | None = None
    utilisation_max_frac: Annotated[FiniteFloat, Field(gt=0, le=1)] = 0.85
    ports_at_once: Annotated[int, Field(ge=0)] | None = None


class StudyPart(Part):
    """How the plan is sized and proven."""

    margin_quantile: Annotated[FiniteFloat, Field(gt=0, lt=1)] = 0.5
    proof_requests: Annotated[int, Field(ge=100, le=50_000_000)] = 200_000
    max_rounds: Annotated[int, Field(ge=1, le=20)] = 6
    solver_s: Positive = 60.0
    gap_frac: Share = 0.01


class Scenario(Part):
    """The whole question."""

    polysilicon: Literal[1]  # the format's version
    name: str
    description: str = ""
    seed: int = 7
    overlay: str | None = None  # a file of facts that override the catalogue
    horizon: Horizon
    workloads: Annotated[tuple[WorkloadPart, ...], Field(min_length=1)]
    offers: OffersPart = OffersPart()
    contracts: tuple[ContractPart, ...] = ()
    ports: tuple[PortPart, ...] = ()
    sites: tuple[SitePart, ...] = ()
    limits: LimitsPart = LimitsPart()
    study: StudyPart = StudyPart()
    notes: tuple[str, ...] = ()
