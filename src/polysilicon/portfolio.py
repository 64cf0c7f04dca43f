"""What a plan is made of: what is held per period, who runs where, what it costs and what carries it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Any

import msgspec

from polysilicon.application.workload import Pins
from polysilicon.errors import InputError
from polysilicon.performance import ServingPoint


@dataclass(frozen=True, slots=True)
class Period:
    """One planning period; `blocks` are its load blocks (name, hours, demand relative to the period's mean)."""

    index: int
    start: str  # ISO date
    hours: float
    discount_factor: float = 1.0
    blocks: tuple[tuple[str, float, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Holding:
    """Chips held of one offer in one period."""

    period: int
    offer: str
    cloud: str
    region: str
    chip: str
    kind: str
    chips: float  # contracted, or mean rented by the hour
    peak_chips: float
    usd_per_chip_hour: float
    bill_usd: float  # of the period, list or signed price, before commitment effects
    contract: str = ""  # the commitment it draws down, if any


def apart(workload: str) -> str:
    """Return the name of a workload's headroom where prefill and decode are apart; no workload can be called so."""
    return f"{workload}>apart"


@dataclass(frozen=True, slots=True)
class DecodeSide:
    """Where what a placement prefills is decoded, and what the wire between carries."""

    pool: str
    chip: str
    cloud: str
    region: str
    chips: float  # busy, mean over the period
    peak_chips: float
    link: str
    gb_per_s: float  # KV in the busiest hour
    transfer_usd: float  # the wire's charge over the period, in the placement's dollars too
    mtok: float  # output tokens over the period, of the placement's
    engine: str = ""
    stage: str = "production"


@dataclass(frozen=True, slots=True)
class Placement:
    """One workload on one pool in one period; where `decode` is set, this pool prefills and that one decodes."""

    period: int
    workload: str
    pool: str  # chip@cloud/region, or the id of a per-token offer; prefill>decode where two pools share the work
    chip: str
    cloud: str
    region: str
    share_frac: float  # of the workload's requests in the period
    chips: float  # busy chips, mean over the period
    peak_chips: float
    mtok: float  # tokens in and out over the period
    usd: float  # cost attributed
    usd_per_mtok_out: float
    engine: str = ""
    stage: str = "production"
    why: str = ""
    decode: DecodeSide | None = None

    @property
    def headroom_key(self) -> str:
        """Return the name its headroom goes by: a workload served apart is proven apart from one served whole."""
        return self.workload if self.decode is None else apart(self.workload)

    def seats(self) -> tuple[tuple[str, str, float, float], ...]:
        """Return (pool, phase, busy chips, peak chips) of each pool it runs on; phase is both, prefill or decode."""
        if self.decode is None:
            return ((self.pool, "both", self.chips, self.peak_chips),)
        other = self.decode
        return ((self.pool.partition(">")[0], "prefill", self.chips, self.peak_chips), (other.pool, "decode", other.chips, other.peak_chips))


@dataclass(frozen=True, slots=True)
class TrainingBlock:
    """Where a training block stands in one period."""

    period: int
    run: str
    pool: str
    chip: str
    cloud: str
    region: str
    chips: float
    usd: float  # cost attributed, as to placements: its chips' share of what the pool costs


@dataclass(frozen=True, slots=True)
class ShadowPrice:
    """The worth of one more unit of a limit, in words and dollars."""

    limit: str  # stable key, e.g. "power:azure-eastus"
    words: str
    usd: float
    per: str  # "chip-hour", "MW-month", "$ of commitment", "port", "percentage point"
    period: int | None = None
    is_priced: bool = True  # False: in its period demand goes unserved that nobody priced, and the dollars say nothing


@dataclass(frozen=True, slots=True)
class ContractBill:
    """One contract over the horizon, period by period; the sums are what `Contract.bill_usd` says."""

    contract: str
    period: int
    eligible_usd: float
    drawdown_usd: float
    shortfall_usd: float
    overage_usd: float
    fixed_usd: float
    total_usd: float


@dataclass(frozen=True, slots=True)
class Assumption:
    """Something the answer rests on."""

    subject: str
    value: str
    basis: str
    source: str
    as_of: str = ""
    matters_usd: float | None = None  # how much the answer moves over its band, where known


@dataclass(frozen=True, slots=True)
class Plan:
    """All decisions, and what carries them."""

    scenario: str
    scenario_digest: str
    catalogue_digest: str
    status: str  # optimal, gap, time_limit
    gap_frac: float
    bound_usd: float
    objective_usd: float  # discounted
    bill_usd: float  # undiscounted sum of all contract bills
    energy_usd: float
    port_usd: float
    unserved_usd: float
    periods: tuple[Period, ...]
    holdings: tuple[Holding, ...]
    placements: tuple[Placement, ...]
    contracts: tuple[ContractBill, ...]
    serving: tuple[ServingPoint, ...]  # replicas that do both phases
    ports: tuple[Mapping[str, str | float], ...] = ()  # port started: family, chip family, engine, start, live, usd
    shadow_prices: tuple[ShadowPrice, ...] = ()
    assumptions: tuple[Assumption, ...] = ()
    headroom_frac: Mapping[str, float] = field(default_factory=dict)  # workload -> extra capacity the proof required
    notes: tuple[str, ...] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)
    training: tuple[TrainingBlock, ...] = ()
    phase_serving: tuple[ServingPoint, ...] = ()  # replicas that prefill or decode alone
    utilisation_max_frac: float = 1.0  # of the chips held, busy at peak at most
    pins: Mapping[str, Pins] = field(default_factory=dict)  # workload -> where alone it may be served
    models: Mapping[str, str] = field(default_factory=dict)  # workload -> its model, as the scenario names it

    @property
    def points(self) -> tuple[ServingPoint, ...]:
        """Return every serving point in use."""
        return (*self.serving, *self.phase_serving)

    def model_of(self, workload: str) -> str:
        """Return the model of a workload, as the scenario names it."""
        return self.models.get(workload) or next((s.model for s in self.points if s.workload == workload), workload)

    def point_of(self, placement: Placement) -> ServingPoint:
        """Return how the replicas that decode a placement serve it.

        Raises: InputError where the plan does not say.
        """
        chip, phase = (placement.chip, "both") if placement.decode is None else (placement.decode.chip, "decode")
        for point in self.points:
            if (point.workload, point.chip, point.phase) == (placement.workload, chip, phase):
                return point
        raise InputError(f"does not say how {placement.workload} is served on {chip}: its layout and batch", where="plan.serving")

    def watts(self, placement: Placement) -> tuple[tuple[str, str, float, float], ...]:
        """Return (chip, cloud/region, busy chips, watts a chip) of each pool a placement runs on; NaN watts where unknown."""
        found = {(s.workload, s.chip, s.phase): s.w_per_chip for s in self.points}
        sides = [(placement.chip, f"{placement.cloud}/{placement.region}")]
        if placement.decode is not None:
            sides.append((placement.decode.chip, f"{placement.decode.cloud}/{placement.decode.region}"))
        seats = zip(sides, placement.seats(), strict=True)
        return tuple((c, where, busy, found.get((placement.workload, c, phase), math.nan)) for (c, where), (_, phase, busy, _) in seats)

    def to_json(self) -> bytes:
        """Return the plan as JSON that `read_plan` reads back to an equal plan."""
        return msgspec.json.format(msgspec.json.encode(self), indent=1)


def served_name(model: str) -> str:
    """Return what a model is called by those who ask for it: its id, or the folder of the config.json that describes it.

    >>> served_name("gpt-oss-120b"), served_name("models/office-8b/config.json"), served_name("office-8b.json")
    ('gpt-oss-120b', 'office-8b', 'office-8b')
    """
    path = PurePath(model)
    if path.suffix != ".json":
        return model
    return path.parent.name or path.stem if path.name == "config.json" else path.stem


def hhi(amounts: Iterable[float]) -> float:
    """Return the Herfindahl-Hirschman index: the sum of squared shares, 1 for a single supplier, 1/n for n equal ones; 0 of nothing.

    >>> hhi([5.0, 5.0, 5.0, 5.0]), hhi([])
    (0.25, 0.0)
    """
    held = [amount for amount in amounts if amount > 0]
    whole = math.fsum(held)
    return math.fsum((amount / whole) ** 2 for amount in held) if whole > 0 else 0.0


@dataclass(frozen=True, slots=True)
class Concentration:
    """How much of a plan hangs on one supplier."""

    by: str  # vendor, cloud, region
    of: str  # dollars, tokens
    hhi: float
    top: str
    top_frac: float
    suppliers: int


def concentration(plan: Plan, vendor_of: Mapping[str, str]) -> tuple[Concentration, ...]:
    """Return index and largest share by chip vendor, cloud and region, of dollars and of tokens; what amounts to nothing is left out.

    Dollars are those of holdings and of tokens bought. `vendor_of` maps chip ids to vendors; tokens bought count as their seller's own.
    """
    views: dict[str, Callable[[Holding | Placement | DecodeSide], str]] = {
        "vendor": lambda x: vendor_of.get(x.chip, "") or (f"tokens · {x.cloud}" if not x.chip else x.chip),
        "cloud": lambda x: x.cloud,
        "region": lambda x: f"{x.cloud}/{x.region}",
    }
    out = []
    for by, of in views.items():
        amounts: dict[str, dict[str, float]] = {"dollars": {}, "tokens": {}}
        for holding in plan.holdings:
            amounts["dollars"][of(holding)] = amounts["dollars"].get(of(holding), 0.0) + holding.bill_usd
        for placement in plan.placements:
            bought = placement.usd if not placement.chip else 0.0
            amounts["dollars"][of(placement)] = amounts["dollars"].get(of(placement), 0.0) + bought
            other = placement.decode  # who decodes serves the output's tokens
            amounts["tokens"][of(placement)] = amounts["tokens"].get(of(placement), 0.0) + placement.mtok - (other.mtok if other else 0.0)
            if other is not None:
                amounts["tokens"][of(other)] = amounts["tokens"].get(of(other), 0.0) + other.mtok
        for what, held in amounts.items():
            whole = sum(held.values())
            if whole > 0:
                top = max(held, key=lambda k: held[k])
                out.append(Concentration(by, what, hhi(held.values()), top, held[top] / whole, sum(v > 0 for v in held.values())))
    return tuple(out)


def read_plan(path: Path) -> Plan:
    """Read a plan file. Watts and joules that nobody knows are null in JSON and NaN in memory.

    Raises: InputError when the file is missing, truncated or not a plan.
    """
    try:
        return msgspec.convert(_unknown_as_nan(msgspec.json.decode(path.read_bytes())), type=Plan)
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", where=str(path)) from error
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise InputError(f"is not a plan: {error}", where=str(path), hint="write one with `polysilicon plan`") from error


def _unknown_as_nan(content: Any) -> Any:
    """Return a plan's content with NaN for the power figures of serving points that are null."""
    points = [*(content.get("serving") or ()), *(content.get("phase_serving") or ())] if isinstance(content, dict) else []
    for point in points:
        for name in ("w_per_chip", "j_per_token"):
            if isinstance(point, dict) and point.get(name, 0.0) is None:
                point[name] = math.nan
    return content
