"""What a report is made of: a plan, and everything that makes it believable.

`study` fills an `Evidence` with what it knows; whatever is left empty leaves its section out of the report, never a guess.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from polysilicon.application.workload import Lengths, Slo
from polysilicon.portfolio import Plan
from polysilicon.report.asked import Asked


@dataclass(frozen=True, slots=True)
class WorkloadEvidence:
    """A workload as it was planned for."""

    id: str
    model: str
    slo: Slo
    lengths: Lengths
    mean_rps: float
    application: str = ""
    usd_per_mtok_in: float | None = None  # what its user pays: list price
    usd_per_mtok_cached: float | None = None
    usd_per_mtok_out: float | None = None


@dataclass(frozen=True, slots=True)
class Distribution:
    """A latency of one workload in the proof: a sample, or its quantiles, and the promise."""

    workload: str
    measure: str  # "ttft", "tpot" or "e2e"
    probability: tuple[float, ...]  # increasing, 0..1
    value_s: tuple[float, ...]  # the latency at each probability
    slo_s: float | None = None
    slo_quantile: float = 0.95
    attained_s: float | None = None  # the latency at the promise's quantile
    requests: int = 0

    @property
    def kept(self) -> bool | None:
        """Return whether the promise was kept; None where nothing was promised or measured."""
        if self.slo_s is None or self.attained_s is None:
            return None
        return self.attained_s <= self.slo_s


@dataclass(frozen=True, slots=True)
class Round:
    """One round of plan and proof."""

    number: int
    headroom_frac: Mapping[str, float]  # workload -> extra capacity it was planned with
    missed: tuple[str, ...]  # promises missed, in words
    objective_usd: float | None = None
    seconds: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ContractEvidence:
    """A commitment's terms, for its burn-down."""

    id: str
    cloud: str
    kind: str
    start: str
    end: str
    commit_usd: float | None = None
    signed: bool = True
    schedule: tuple[tuple[str, float], ...] = ()  # (ISO date, cumulative dollars due)
    source: str = ""


@dataclass(frozen=True, slots=True)
class Alternative:
    """The same question answered another way: one supplier only, everything on demand, an API."""

    name: str
    objective_usd: float | None  # None: it cannot be done, and `why_not` says why
    why_not: str = ""
    single_supplier: bool = False


@dataclass(frozen=True, slots=True)
class WhatIf:
    """Something that, if it changed, would change the answer."""

    words: str  # "the price of tpu-v6e in us-central1"
    threshold: str  # "rises above $3.10 per chip-hour"
    effect: str  # "chat moves to h100@nebius/eu-north1"
    usd: float | None = None  # change of the objective, where known


@dataclass(frozen=True, slots=True)
class EnergyUse:
    """Energy of one pool over the horizon, facility included."""

    pool: str
    it_mw: float  # mean IT power
    kwh: float  # at the meter: IT x PUE
    co2_kg: float | None = None
    mtok_out: float = 0.0

    @property
    def kwh_per_mtok(self) -> float | None:
        """Return kWh per million output tokens."""
        return self.kwh / self.mtok_out if self.mtok_out > 0 else None


@dataclass(frozen=True, slots=True)
class Series:
    """A quantity of the proof over time."""

    name: str  # "waiting", "batch", "kv" or "ttft"
    subject: str  # pool or workload
    time_s: tuple[float, ...]
    value: tuple[float, ...]
    promise_s: float | None = None  # of a latency, drawn across


@dataclass(frozen=True, slots=True)
class Section:
    """A part of a page in words, drawings made beforehand and tables of (heads, rows)."""

    title: str
    words: tuple[str, ...] = ()
    figures: tuple[tuple[str, str], ...] = ()  # caption, SVG that is safe to show
    tables: tuple[tuple[Sequence[str], Sequence[Sequence[object]]], ...] = ()
    short: str = ""  # in the list of contents
    under: bool = False  # belongs to the section before


@dataclass(frozen=True, slots=True)
class Evidence:
    """Everything a report shows."""

    plan: Plan
    title: str
    description: str = ""
    workloads: tuple[WorkloadEvidence, ...] = ()
    rounds: tuple[Round, ...] = ()
    distributions: tuple[Distribution, ...] = ()
    proven: bool | None = None  # None: not replayed
    proof_words: str = ""  # what was replayed: how many requests, which hours
    contracts: tuple[ContractEvidence, ...] = ()
    alternatives: tuple[Alternative, ...] = ()
    what_ifs: tuple[WhatIf, ...] = ()
    asked: Asked = field(default_factory=Asked)  # suppliers, offers, ports, shocks, tighter limits
    energy: tuple[EnergyUse, ...] = ()
    series: tuple[Series, ...] = ()
    sections: tuple[Section, ...] = ()  # of deals and claims that the scenario refers to
    vendors: Mapping[str, str] = field(default_factory=dict)  # chip id -> vendor
    offer_models: Mapping[str, str] = field(default_factory=dict)  # per-token offer id -> provider
    sources: Mapping[str, str] = field(default_factory=dict)  # key -> full reference
    warnings: tuple[str, ...] = ()  # stale prices, assumed profiles, quote-only offers in use
    made_on: str = ""  # ISO date the data were last looked at; nothing here reads a clock
    command: str = ""  # how to make this report again
