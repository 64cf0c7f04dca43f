"""The question in tables: pools, arcs, demand by period and load block, candidate ports. No solver here.

A *pool* is hardware that is interchangeable for serving: chip, cloud and region. Offers and contracts feed pools; pools
serve workloads. An *arc* is one feasible way to serve: a workload on a pool, by an engine that is there or by a port that
would be started in a given period, or a workload on a per-token offer. What may not be is the absence of an arc.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polysilicon.application.workload import Workload
from polysilicon.cloud.contract import BillingPeriod, Contract
from polysilicon.cloud.offer import Offer
from polysilicon.cloud.site import Site
from polysilicon.errors import InputError, InputErrors
from polysilicon.model.port import Port
from polysilicon.performance import ServingPoint
from polysilicon.planner.ports import Candidate
from polysilicon.portfolio import Period
from polysilicon.silicon.chip import Chip

F8 = NDArray[np.float64]
I8 = NDArray[np.int64]
TOKEN_KINDS = ("per_token",)
ELASTIC_KINDS = ("on_demand", "spot")


@dataclass(frozen=True, slots=True)
class Pool:
    """Interchangeable hardware: one chip in one cloud region, with the compliance tags that all of it carries."""

    id: str
    chip: Chip
    cloud: str
    region: str
    tags: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class DecodeSeat:
    """The second half of a disaggregated way to serve: who decodes, and the link the KV comes over."""

    pool: int
    link: int
    gb_per_request: float
    port: int = -1
    rps_per_chip: float = 0.0
    w_per_chip: float = 0.0
    engine: str = ""
    max_share_frac: float = 1.0
    efficiency_frac: tuple[float, ...] = ()  # by period; where it is 0, the arc's own is 0 as well


@dataclass(frozen=True, slots=True)
class Run:
    """A training block: chips it keeps busy in the periods it touches, and the pools it may stand in."""

    id: str
    chips: float
    periods: tuple[int, ...]
    pools: tuple[int, ...]
    one_place: bool
    checkpoint_every_hours: float | None = None  # None: as often as loses least
    checkpoint_hours: float = 0.05
    restart_hours: float = 0.25


@dataclass(frozen=True, slots=True)
class Link:
    """A wire for KV between pools, and the per-token offer under which its charge is billed."""

    id: str
    offer: int  # index into token_offers
    gb_per_s: float | None  # between each pair of pools
    gb_per_s_per_chip: float
    usd_per_gb: float = 0.0


@dataclass(frozen=True, slots=True)
class Arc:
    """One feasible way to serve a workload."""

    workload: int
    pool: int  # -1: a per-token offer
    offer: int = -1  # of a per-token offer
    port: int = -1  # index of the candidate that must be live; -1: the engine is there
    rps_per_chip: float = 0.0  # with a mature engine
    w_per_chip: float = 0.0
    usd_per_request: float = 0.0  # of a per-token offer
    engine: str = ""
    max_share_frac: float = 1.0  # cap of the engine's stage
    efficiency_frac: tuple[float, ...] = ()  # by period; 0: not usable
    decode: DecodeSeat | None = None  # where another pool decodes what this one prefills; `usd_per_request` is then the transfer


@dataclass(frozen=True, slots=True)
class Problem:
    """Everything the program is written from."""

    name: str
    scenario_digest: str
    catalogue_digest: str
    periods: tuple[Period, ...]
    calendar: tuple[BillingPeriod, ...]
    workloads: tuple[Workload, ...]
    families: tuple[str, ...]  # model family of each workload
    unserved_usd_per_mtok: tuple[float | None, ...]
    demand_rps: F8  # [workload, slot], mean over the block
    peak_rps: F8  # [workload, slot], busiest hour of the block: what chips are sized for
    pools: tuple[Pool, ...]
    offers: tuple[Offer, ...]  # chips; their pool is pool_of
    pool_of: tuple[int, ...]
    token_offers: tuple[Offer, ...]
    contracts: tuple[Contract, ...]
    sites: tuple[Site, ...]
    candidates: tuple[Candidate, ...]
    arcs: tuple[Arc, ...]
    limits: Any
    headroom_frac: Mapping[str, float]
    slot_period: I8  # [slot]
    slot_hours: F8  # [slot]
    table: Mapping[tuple[str, str], ServingPoint]
    existing: Mapping[str, tuple[float, ...]]  # offer -> chips already signed, by period (rolling horizon)
    excluded: Mapping[str, tuple[str, ...]]  # workload -> why pools are closed to it
    notes: tuple[str, ...] = ()
    slot_weekend: NDArray[np.bool_] | None = None  # [slot]; None: all days are alike
    links: tuple[Link, ...] = ()
    training: tuple[Run, ...] = ()
    phases: Mapping[tuple[str, str, str], ServingPoint] = field(default_factory=dict)  # (workload, chip, phase)

    @property
    def slots(self) -> int:
        """Return the number of (period, load block) pairs."""
        return len(self.slot_hours)

    def deferrable_frac(self, w: int) -> float:
        """Return the share of a workload's work that may move to another load block of its period.

        Peak and valley of a day lie some 12 hours apart: work that may wait so long, or longer, moves freely.
        """
        deadline = self.workloads[w].slo.deadline_s
        return 0.0 if deadline is None else min(1.0, deadline / (12 * 3600.0))

    def weekend_frac(self, w: int) -> float:
        """Return the share of a workload's work that may move between working days and the week-end.

        Their middles lie some 84 hours apart: work that may wait so long moves freely.
        """
        deadline = self.workloads[w].slo.deadline_s
        return 0.0 if deadline is None else min(1.0, deadline / (84 * 3600.0))

    def days(self, y: int) -> list[I8]:
        """Return the load blocks of each representative day of a period: one, or a working day and one of the week-end."""
        mine = np.flatnonzero(self.slot_period == y)
        if self.slot_weekend is None or not self.slot_weekend[mine].any():
            return [mine]
        return [mine[~self.slot_weekend[mine]], mine[self.slot_weekend[mine]]]

    def requests(self, w: int, y: int) -> float:
        """Return a workload's requests in a period."""
        mine = self.slot_period == y
        return float((self.demand_rps[w, mine] * self.slot_hours[mine]).sum() * 3600.0)

    def mtok(self, w: int, requests: float) -> float:
        """Return tokens in and out of so many requests, in millions."""
        lengths = self.workloads[w].lengths
        return requests * (lengths.isl_tokens + lengths.osl_tokens) / 1e6

    def without(self, *, cloud: str = "", vendor: str = "", offers: Sequence[str] = ()) -> Problem:
        """Return the same question with a supplier or some offers gone: what they offer, not what was demanded."""
        dead_pool = [bool((cloud and p.cloud == cloud) or (vendor and p.chip.vendor == vendor)) for p in self.pools]
        dead_token = [bool((cloud and o.cloud == cloud) or o.id in offers) for o in self.token_offers]
        keep = [i for i, o in enumerate(self.offers) if not dead_pool[self.pool_of[i]] and o.id not in offers]
        arcs = tuple(
            a
            for a in self.arcs
            if not (dead_pool[a.pool] if a.pool >= 0 else dead_token[a.offer]) and not (a.decode is not None and dead_pool[a.decode.pool])
        )
        contracts = tuple(c for c in self.contracts if c.signed or not (cloud and c.cloud == cloud))
        dead_chips = {p.chip.id for p, dead in zip(self.pools, dead_pool, strict=True) if dead}
        contracts = tuple(c for c in contracts if not (c.holds_chips and (c.cloud == cloud or (vendor and c.chip in dead_chips))))
        return replace(
            self,
            offers=tuple(self.offers[i] for i in keep),
            pool_of=tuple(self.pool_of[i] for i in keep),
            arcs=arcs,
            contracts=contracts,
        )

    def repriced(self, factor: Mapping[str, float]) -> Problem:
        """Return the same question with the hourly price of some offers multiplied."""
        offers = tuple(replace(o, usd_per_chip_hour=(o.usd_per_chip_hour or 0.0) * factor[o.id]) if o.id in factor else o for o in self.offers)
        return replace(self, offers=offers)


def efficiency(port: Port, age_months: float) -> float:
    """Return an engine's share of the predicted throughput, so many months after go-live.

    It climbs linearly from the first to the mature figure over the ramp, eta = e0 + (e1 - e0) min(1, age / ramp); the mature
    figure itself grows by what joint engineering yields a year, nothing unless stated.

    >>> port = Port("m", "maia", "x", "none", efficiency_frac=1.0, initial_efficiency_frac=0.7, ramp_months=12)
    >>> efficiency(port, 6.0), efficiency(port, 24.0), efficiency(port, -1.0)
    (0.85, 1.0, 0.0)
    """
    if age_months < -1e-9:
        return 0.0
    growth: float = (1.0 + port.improvement_per_year_frac) ** (age_months / 12.0)
    mature = port.efficiency_frac * growth
    if port.initial_efficiency_frac is None or port.ramp_months <= 0:
        return mature
    return port.initial_efficiency_frac + (mature - port.initial_efficiency_frac) * min(1.0, age_months / port.ramp_months)


def block_factors(blocks: Sequence[tuple[str, float, float]], peak_to_mean_ratio: float) -> F8:
    """Return demand in each load block over the period's mean, for a workload of a given peak.

    The period's shape f is raised to the power that makes its peak the workload's: f**a / mean(f**a), a >= 0.

    >>> [round(float(f), 3) for f in block_factors((("peak", 6.0, 1.6), ("valley", 18.0, 0.8)), 1.6)]
    [1.6, 0.8]
    >>> [float(f) for f in block_factors((("peak", 6.0, 1.6), ("valley", 18.0, 0.8)), 1.0)]
    [1.0, 1.0]
    """
    hours = np.array([h for _, h, _ in blocks])
    shape = np.maximum(np.array([f for _, _, f in blocks]), 1e-9)
    weight = hours / hours.sum()

    def at(power: float) -> F8:
        raised = (shape / shape.max()) ** power
        return np.asarray(raised / (weight * raised).sum())

    if peak_to_mean_ratio <= 1.0 or np.ptp(shape) < 1e-12:
        return np.ones(len(hours))
    low, high = 0.0, 1.0
    while at(high).max() < peak_to_mean_ratio and high < 64:
        high *= 2
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if at(middle).max() < peak_to_mean_ratio else (low, middle)
    return at(high)


def check_numbers(offers: Sequence[Offer], workloads: Sequence[Workload], table: Mapping[tuple[str, str], ServingPoint]) -> None:
    """Refuse numbers no program can be written from.

    Raises: InputErrors with every price, limit, rate or throughput that is not finite, or negative.
    """
    problems = []

    def look(where: str, name: str, value: float | None, *, most: float) -> None:
        if value is not None and not 0 <= value <= most:  # NaN fails both comparisons
            problems.append(InputError(f"{name} is {value}; it must be a number from 0 to {most:g}", where=where))

    for offer in offers:
        look(f"offer {offer.id}", "usd_per_chip_hour", offer.usd_per_chip_hour, most=1e5)
        look(f"offer {offer.id}", "max_chips", offer.max_chips, most=1e9)
        look(f"offer {offer.id}", "availability_frac", offer.availability_frac, most=1.0)
        for name in ("usd_per_mtok_in", "usd_per_mtok_cached", "usd_per_mtok_out"):
            look(f"offer {offer.id}", name, getattr(offer, name), most=1e6)
    for work in workloads:
        look(f"workload {work.id}", "mean_rps", work.mean_rps, most=1e9)
        look(f"workload {work.id}", "peak_to_mean_ratio", work.peak_to_mean_ratio, most=1e4)
    for (workload, chip), point in table.items():
        look(f"serving point of {workload} on {chip}", "requests_per_s", point.requests_per_s, most=1e9)
    if problems:
        raise InputErrors(problems)
