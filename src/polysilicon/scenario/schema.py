"""The scenario file's types: what a user may write, in which unit, within which bounds.

The words under each field become the JSON Schema's descriptions, which editors show while one types.
"""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, PrivateAttr

Positive = Annotated[FiniteFloat, Field(gt=0)]
NonNegative = Annotated[FiniteFloat, Field(ge=0)]
Share = Annotated[FiniteFloat, Field(ge=0, le=1)]
Months = Annotated[int, Field(ge=0, le=240)]
Name = Annotated[str, Field(min_length=1, max_length=120, pattern=r"^[A-Za-z0-9][A-Za-z0-9._:/@+ -]*$")]
Text = Annotated[str, Field(max_length=4000)]
Names = tuple[Annotated[str, Field(min_length=1, max_length=200)], ...]


class Part(BaseModel):
    """A section of the file: unknown keys are errors, nothing is coerced silently."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True)


class Horizon(Part):
    """From when, how long, in which periods."""

    start: date
    """First day planned for."""
    months: Annotated[int, Field(ge=1, le=240)] = 12
    """Length in months; a multiple of the period."""
    period: Literal["month", "quarter", "year"] = "quarter"
    """How often holdings may change."""
    discount_per_year_frac: Share = 0.10
    """Cost of capital: 0.10 is 10 % a year."""
    blocks: Annotated[int, Field(ge=1, le=24)] = 4
    """Load blocks a day, from valley to peak; more are finer and slower."""


class SloPart(Part):
    """Promises of a workload: latencies kept by a quantile of requests, or a deadline."""

    ttft_s: Positive | None = None
    """Time to first token in seconds, from arrival at your door, queueing included."""
    tpot_s: Positive | None = None
    """Time per output token after the first, in seconds."""
    e2e_s: Positive | None = None
    """Time to the last token in seconds."""
    quantile: Annotated[FiniteFloat, Field(gt=0, lt=1)] = 0.95
    """Share of requests that keeps the promises."""
    deadline_s: Positive | None = None
    """Deferrable work: done within so many seconds after arrival (86400 is a day)."""


class LengthsPart(Part):
    """Lengths of requests, where you know them better than the profile or the trace does."""

    isl_mean_tokens: Positive | None = None
    """Mean prompt length, cached part included."""
    osl_mean_tokens: Positive | None = None
    """Mean output length."""
    isl_p50_tokens: Positive | None = None
    """Median prompt length."""
    isl_p99_tokens: Positive | None = None
    """99th percentile of prompt length; with the median it gives a lognormal."""
    osl_p50_tokens: Positive | None = None
    """Median output length."""
    osl_p99_tokens: Positive | None = None
    """99th percentile of output length."""
    cached_frac: Share | None = None
    """Share of prompt tokens found in the prefix cache."""


class TrafficPart(Part):
    """Where a workload's requests come from: a generator's profile, a trace file, or lengths alone."""

    profile: Literal["chat", "coding-agent", "batch", "long-context", "enterprise"] | None = None
    """Generator of realistic arrivals, lengths, sessions and prefixes."""
    trace: str | None = None
    """Trace file, relative to this file; it gives lengths and arrivals."""
    format: str = "auto"
    """Format of the trace file."""
    mean_rps: Positive
    """Requests a second, mean over the first period."""
    peak_to_mean_ratio: Annotated[FiniteFloat, Field(ge=1, le=100)] | None = None
    """Busiest hour over the mean; left out, the profile's own."""
    hourly: Annotated[tuple[NonNegative, ...], Field(min_length=24, max_length=24)] | None = None
    """Relative traffic of the 24 local hours; left out, the profile's own."""
    weekend_to_weekday_ratio: Annotated[FiniteFloat, Field(ge=0, le=20)] = 1.0
    """Traffic of a week-end day over that of a working day; where any workload's is not 1, both are planned, each with its load blocks."""
    timezone_h: Annotated[FiniteFloat, Field(ge=-12, le=14)] = 0.0
    """The users' hours ahead of UTC."""
    arrival_cv: Annotated[FiniteFloat, Field(gt=0, le=20)] | None = None
    """Coefficient of variation of gaps between arrivals; 1 is Poisson."""
    lengths: LengthsPart = LengthsPart()


class TokenPricePart(Part):
    """What the workload's user pays, $ a million tokens."""

    usd_per_mtok_in: NonNegative | None = None
    usd_per_mtok_cached: NonNegative | None = None
    usd_per_mtok_out: NonNegative | None = None


class WorkloadPart(Part):
    """One stream of requests: one model, one promise, one price."""

    id: Name
    model: Annotated[str, Field(min_length=1, max_length=300)]
    """Name in the catalogue, or path of a Hugging Face config.json (relative to this file)."""
    application: Text = ""
    """The product it serves, e.g. GitHub Copilot."""
    traffic: TrafficPart
    growth_per_year_frac: Annotated[FiniteFloat, Field(gt=-1, le=100)] = 0.0
    """Growth a year, compounding: 1.0 doubles."""
    slo: SloPart = SloPart()
    price: TokenPricePart = TokenPricePart()
    regions: Names = ()
    """Residency: cloud regions, patterns (eastus*) or geographies (us, eu, europe, asia, ...); empty: anywhere."""
    clouds: Names = ()
    """Channel pin: the only clouds it may run in; empty: any."""
    chips: Names = ()
    """The only chips it may run on: names, families or patterns; empty: any."""
    tags: Names = ()
    """Compliance tags an offer must carry."""
    context_tiers: Annotated[tuple[Annotated[int, Field(ge=1, le=100_000_000)], ...], Field(max_length=6)] = ()
    """Prompt lengths, in tokens, that part it into classes sized and placed each by itself; empty: one class."""
    priority: Annotated[int, Field(ge=0, le=9)] = 0
    """Lower is served first."""
    unserved_usd_per_mtok: Positive | None = None
    """What a million tokens not served cost you; left out, serving is a must within reason."""


class OfferPart(Part):
    """An offer of your own, or changes to one of the catalogue (same id)."""

    id: Name
    like: str | None = None
    """Id of a catalogue offer whose facts this one takes over, where it says nothing else."""
    cloud: Name | None = None
    region: Name | None = None
    chip: str | None = None
    kind: Literal["on_demand", "reserved", "spot", "quote_only", "per_token"] | None = None
    usd_per_chip_hour: NonNegative | None = None
    block_chips: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    """Smallest purchasable unit: node, rack, pod slice."""
    max_chips: NonNegative | None = None
    """What you can have of it at once."""
    min_term_months: Months | None = None
    lead_time_months: NonNegative | None = None
    available_from: date | None = None
    availability_frac: Share | None = None
    """Share of hours a spot offer is there."""
    interruptions_per_hour: NonNegative | None = None
    ramp_chips_per_hour: NonNegative | None = None
    """How fast chips rented by the hour come and go within a day."""
    model: str | None = None
    """per_token: the workload model it answers for."""
    token_price: str | None = None
    """per_token: provider/model in the token price book, instead of the three prices."""
    usd_per_mtok_in: NonNegative | None = None
    usd_per_mtok_cached: NonNegative | None = None
    usd_per_mtok_out: NonNegative | None = None
    tags: Names | None = None
    source: Text | None = None
    note: Text | None = None


class OffersPart(Part):
    """Which offers of the catalogue may be used, and your own. Empty lists filter nothing."""

    clouds: Names = ()
    regions: Names = ()
    """Cloud regions, patterns or geographies."""
    chips: Names = ()
    """Chip names, families or patterns."""
    kinds: tuple[Literal["on_demand", "reserved", "spot", "per_token"], ...] = ()
    include: Names = ()
    """Offer ids or patterns; empty: all that pass the filters above."""
    exclude: Names = ()
    """Offer ids or patterns to leave out."""
    catalogue: bool = True
    """false: only your own offers."""
    hourly_max_chips: NonNegative | None = None
    """What you can count on of each hourly offer of the catalogue; no cloud states it."""
    own: tuple[OfferPart, ...] = ()


class TierPart(Part):
    """A discount that starts at a yearly spend."""

    from_usd: NonNegative
    discount_frac: Share


class DrawPart(Part):
    """Cumulative dollars due by a date."""

    by: date
    cumulative_usd: NonNegative


class ScopePart(Part):
    """What a deal covers: it must be said, because a headline never does.

    The plan holds a deal to its regions; models and share are on record for the report and for whoever audits it.
    """

    models: Names
    """Models it may serve; ["*"] for all."""
    regions: Names
    """Regions or geographies it covers; ["*"] for all."""
    share_max_frac: Annotated[FiniteFloat, Field(gt=0, le=1)] = 1.0
    """Largest share of those models' requests it may carry."""


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
    """Whether spend above a milestone counts for the next."""
    draw_schedule: tuple[DrawPart, ...] = ()
    discount_tiers: tuple[TierPart, ...] = ()
    eligible: Names = ()
    """Offer ids or patterns; empty: all offers of the cloud."""
    it_mw: NonNegative | None = None
    ramp_mw: tuple[tuple[date, NonNegative], ...] = ()
    """[date, IT MW from then on], in order."""
    usd_per_month: NonNegative | None = None
    chip: str | None = None
    chips: NonNegative | None = None
    usd_per_chip_hour: NonNegative | None = None
    exit_fee_usd: NonNegative | None = None
    equity_usd: NonNegative | None = None
    drawn_before_usd: NonNegative | None = None
    """Spent against it before the horizon; left out, exactly what was due."""
    scope: ScopePart | None = None
    """capacity_mw and equity_linked deals must say what they cover."""
    exclusive: bool = False
    """While it runs you serve from no other cloud."""
    signed: bool = True
    """false: the plan may take it or leave it."""
    option: Name | None = None
    """A right to these terms: of contracts of one option the plan takes one at most, decided when it begins. Needs signed: false."""
    source: Text = ""


class PortPart(Part):
    """What it takes to bring a model family to a chip family, where you know better than the catalogue."""

    model_family: str
    chip_family: str
    engine: str = ""
    status: Literal["none", "porting", "pilot", "production"] | None = None
    engineer_months: NonNegative | None = None
    lead_months: NonNegative | None = None
    cost_usd: NonNegative | None = None
    upkeep_usd_per_year: NonNegative | None = None
    efficiency_frac: Annotated[FiniteFloat, Field(gt=0, le=2)] | None = None
    """Of what the performance model predicts, once mature."""
    initial_efficiency_frac: Annotated[FiniteFloat, Field(gt=0, le=2)] | None = None
    """The same right after go-live."""
    ramp_months: NonNegative | None = None
    improvement_per_year_frac: Annotated[FiniteFloat, Field(gt=-1, le=2)] | None = None
    """Of throughput, by joint engineering, a year."""
    max_share_frac: Share | None = None
    """Traffic cap of the stage."""
    quality_gate: Literal["", "passed", "failed"] | None = None
    source: Text = ""


class PpaPart(Part):
    """A power purchase agreement."""

    mw: Positive
    """Megawatts of facility load."""
    usd_per_mwh: NonNegative
    start: date
    g_co2_per_kwh: NonNegative = 0.0
    source: Text = ""


class SitePart(Part):
    """Power where chips stand."""

    id: Name
    cloud: Name
    region: Name
    """A cloud region that offers stand in."""
    it_mw: NonNegative | None = None
    pue: Annotated[FiniteFloat, Field(ge=1, le=3)] = 1.2
    usd_per_kwh: NonNegative = 0.0
    """0 where the chips' price includes energy."""
    g_co2_per_kwh: NonNegative = 0.0
    usd_per_tonne_co2: NonNegative = 0.0
    cooling: Literal["air", "liquid"] = "liquid"
    ppa: tuple[PpaPart, ...] = ()
    """Power bought under agreements: they cover their share of the site's whole load, the grid the rest. Needs it_mw."""
    lead_time_months: NonNegative = 0.0
    ramp_mw: tuple[tuple[date, NonNegative], ...] = ()
    """[date, IT MW from then on], in order."""
    ramp_mw_per_hour: NonNegative | None = None
    """How fast the site's IT load may change within a day."""
    source: Text = ""


class SurvivePart(Part):
    """Survive the loss of any one supplier of a kind, for a share of interactive demand."""

    kind: Literal["cloud", "vendor", "chip_family", "region"]
    demand_frac: Share = 0.9
    from_month: Months = 0
    """Months after the start from which it must hold: before, no second engine may be live yet."""


class TrainingPart(Part):
    """A block of training that needs so many chips for a while, and competes for them with inference."""

    id: Name
    chips: Positive
    """Chips it keeps busy, day and night."""
    on: Annotated[Names, Field(min_length=1)]
    """Chips it may run on: names, families or patterns."""
    start: date
    end: date
    """First day on which its chips are free again; every period it touches holds them whole."""
    clouds: Names = ()
    regions: Names = ()
    """Cloud regions, patterns or geographies; empty: anywhere."""
    one_place: bool = True
    """false: it may be spread over several pools."""
    checkpoint_every_hours: Positive | None = None
    """Hours of work between checkpoints; left out, what loses least where spot chips are reclaimed."""
    checkpoint_hours: NonNegative = 0.05
    """How long a checkpoint stops the work; assumed unless stated."""
    restart_hours: NonNegative = 0.25
    """From an interruption to work again; assumed unless stated."""


class LinkPart(Part):
    """A wire over which prefilled KV goes from one pool's chips to another's."""

    id: Name
    prefill: Annotated[Names, Field(min_length=1)]
    """Pools that may prefill, as chip@cloud/region or patterns of it."""
    decode: Annotated[Names, Field(min_length=1)]
    """Pools that may decode what comes over this link."""
    gb_per_s_per_chip: Positive
    """What one sending chip gets of the wire, GB/s in one direction."""
    gb_per_s: Positive | None = None
    """What the link carries in all between each pair of pools; left out, the chips' own wires are the limit."""
    latency_s: NonNegative = 0.0
    usd_per_gb: NonNegative = 0.0
    """Charge of the sending cloud for what leaves; 0 inside a site."""
    source: Text = ""


class DisaggregationPart(Part):
    """Prefill on one pool, decode on another: chips for what each does best."""

    links: Annotated[tuple[LinkPart, ...], Field(min_length=1)]
    workloads: Names = ()
    """Only these; empty: every workload that promises a latency."""


class LimitsPart(Part):
    """What the plan must respect beyond prices."""

    vendor_share_max_frac: Share | None = None
    """Largest share of spend with one chip vendor."""
    cloud_share_max_frac: Share | None = None
    chip_family_share_max_frac: Share | None = None
    region_share_max_frac: Share | None = None
    vendor_hhi_max_frac: Annotated[FiniteFloat, Field(gt=0, le=1)] | None = None
    """Largest sum of squared shares of spend by chip vendor: 0.5 is two equal ones, 1 any."""
    cloud_hhi_max_frac: Annotated[FiniteFloat, Field(gt=0, le=1)] | None = None
    survive_loss_of: tuple[SurvivePart, ...] = ()
    budget_usd_per_year: tuple[tuple[int, NonNegative], ...] = ()
    """[calendar year, dollars]."""
    co2_tonnes_per_year: NonNegative | None = None
    utilisation_min_frac: Share | None = None
    utilisation_max_frac: Annotated[FiniteFloat, Field(gt=0, le=1)] = 0.85
    """Busy share of chips that is never exceeded at peak."""
    ports_at_once: Annotated[int, Field(ge=0)] | None = None
    """Ports that may be in work in one period."""


class StudyPart(Part):
    """How the plan is sized and proven."""

    margin_quantile: Annotated[FiniteFloat, Field(gt=0, lt=1)] = 0.5
    """Quantile of the prediction error the plan is sized for: 0.5 trusts the model, 0.9 is careful."""
    proof_requests: Annotated[int, Field(ge=100, le=50_000_000)] = 200_000
    """Requests replayed in the proof."""
    max_rounds: Annotated[int, Field(ge=1, le=20)] = 6
    """Rounds of plan and proof before giving up."""
    solver_seconds: Positive = 60.0
    gap_frac: Share = 0.01


class FactPart(Part):
    """A fact about a chip that you know or assume, over the catalogue's; an overlay file can do more."""

    chip: str
    parameter: Literal["hbm_gb", "hbm_gb_per_s", "scale_up_gb_per_s", "scale_out_gb_per_s", "scale_up_chips", "tdp_w", "all_in_w"]
    """Its unit is in its name; all_in_w is the chip's share of rack power."""
    value: Positive
    source: Annotated[str, Field(min_length=1, max_length=400)]
    """Where it was read, or the word assumed."""


class Scenario(Part):
    """The whole question: workloads, offers, contracts, ports, sites, limits, horizon."""

    polysilicon: Literal[1]
    """Version of the file format."""
    name: Annotated[str, Field(min_length=1, max_length=200)]
    description: Text = ""
    seed: Annotated[int, Field(ge=0, le=2**31 - 1)] = 7
    """The same seed gives the same answer."""
    overlay: str | None = None
    """A file of facts that override the catalogue, relative to this file."""
    deals: Names = ()
    """Deal files, relative to this file: the report gets their money, margins and ranges as sections."""
    claims: Names = ()
    """Files of claims, relative to this file: audited for the report."""
    efficiency: str | None = None
    """An efficiency table that `calibrate` wrote, relative to this file; rows for chips alone go over the embedded ones."""
    measured: tuple[str, ...] = ()
    """Files of your own measured points (CSV, or results of a benchmark tool): where they match, they replace the prediction."""
    facts: tuple[FactPart, ...] = ()
    horizon: Horizon
    workloads: Annotated[tuple[WorkloadPart, ...], Field(min_length=1)]
    offers: OffersPart = OffersPart()
    contracts: tuple[ContractPart, ...] = ()
    ports: tuple[PortPart, ...] = ()
    sites: tuple[SitePart, ...] = ()
    training: tuple[TrainingPart, ...] = ()
    disaggregation: DisaggregationPart | None = None
    """Lets the plan split prefill and decode over pools; left out, one replica does both."""
    limits: LimitsPart = LimitsPart()
    study: StudyPart = StudyPart()
    notes: tuple[Text, ...] = ()

    _folder: Path = PrivateAttr(default=Path())
    _file: str = PrivateAttr(default="scenario")

    @property
    def folder(self) -> Path:
        """Return the folder that relative paths start from."""
        return self._folder

    def place_at(self, file: Path) -> Scenario:
        """Return the same scenario, remembering the file it came from."""
        placed = self.model_copy()
        placed._folder, placed._file = file.parent, str(file)
        return placed

    def file_beside(self, relative: str) -> Path:
        """Return a path the scenario names, seen from its own folder."""
        return self._folder / relative
