"""What a plan's program was asked afterwards: suppliers, offers, ports, shocks, tighter limits. Types, no numbers of its own.

`study` fills an `Asked`; a question that was not asked stays empty and leaves its section out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class SupplierWorth:
    """One supplier's place: what the plan costs with it and without it. Dollars are discounted over the horizon."""

    kind: str  # cloud or vendor
    name: str
    token_share_frac: float
    spend_usd: float
    worth_usd: float | None  # cost without it less cost with it; None: demand nobody priced goes unserved
    released_usd: float | None  # the same with commitments to it forgiven
    unserved_frac: float  # of requests, without it
    indifference_factor: float | None  # times today's price that equals life without it
    walk_away_factor: float | None  # times today's price from which nothing is bought
    movable_frac: Mapping[str, float] = field(default_factory=dict)  # by horizon, of the traffic it serves
    fair_share_usd: float | None = None  # Shapley value
    with_usd: float = 0.0  # what the plan costs that it is compared with


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two offers or contracts by what the whole plan costs. Dollars are discounted."""

    a: str
    b: str
    neither_usd: float | None
    a_usd: float | None
    b_usd: float | None
    both_usd: float | None
    mtok: float
    unserved_frac: Mapping[str, float] = field(default_factory=dict)  # by a, b, both, neither


@dataclass(frozen=True, slots=True)
class PortBreakEven:
    """From which efficiency one port pays: in the plan's own program, and in general by the closed form."""

    model_family: str
    chip_family: str
    cost_usd: float
    lead_months: float
    spend_usd_per_year: float  # the family's on chips today: what could move
    needed_gain_frac: float | None  # closed form at that spend; None: no gain pays
    program_gain_frac: float | None  # the same terms as a mixed-integer program, by bisection
    switch_factor: float | None = None  # of the assumed efficiency, in this scenario, by solving again
    switch_words: str = ""  # where there is no such factor, why
    chosen: bool = False


@dataclass(frozen=True, slots=True)
class PortSurface:
    """What a port is worth by gain and by yearly spend, discounted dollars; by the closed form."""

    gain_frac: tuple[float, ...]
    spend_usd_per_year: tuple[float, ...]
    worth_usd: tuple[tuple[float, ...], ...]  # [gain][spend]
    terms: str


@dataclass(frozen=True, slots=True)
class ShockCase:
    """One what-if against the plan."""

    name: str
    more_usd: float | None  # None: demand nobody priced goes unserved
    unserved_mtok: float
    unserved_frac: float
    replanned: bool
    with_usd: float = 0.0  # what the plan costs that it is compared with


@dataclass(frozen=True, slots=True)
class FrontierPoint:
    """The cost of one tighter limit."""

    axis: str
    limit: str
    usd: float | None  # None: no plan keeps it
    more_frac: float | None  # over the loosest step of the axis


@dataclass(frozen=True, slots=True)
class Route:
    """The cheapest way to serve a workload in one cloud, at the price asked for a chip-hour fully used, or by the token."""

    application: str
    workload: str
    cloud: str
    where: str
    usd_per_mtok: float
    cheapest: bool  # of all clouds


@dataclass(frozen=True, slots=True)
class SloPrice:
    """What a workload's promises a tenth shorter would cost."""

    workload: str
    measure: str  # TPOT, or TTFT where no TPOT is promised
    promise_s: float
    shorter_ms: float
    usd: float | None  # discounted; None: then not all can be served

    @property
    def usd_per_ms(self) -> float | None:
        """Return dollars a millisecond."""
        return None if self.usd is None else self.usd / self.shorter_ms


@dataclass(frozen=True, slots=True)
class Asked:
    """Answers to questions put to the plan's program, and what each took."""

    suppliers: tuple[SupplierWorth, ...] = ()
    comparisons: tuple[Comparison, ...] = ()
    ports: tuple[PortBreakEven, ...] = ()
    surface: PortSurface | None = None
    shocks: tuple[ShockCase, ...] = ()
    frontier: tuple[FrontierPoint, ...] = ()
    slo_prices: tuple[SloPrice, ...] = ()
    routes: tuple[Route, ...] = ()
    unanswered: tuple[str, ...] = ()  # questions that found no end in time
    effort: Mapping[str, str] = field(default_factory=dict)  # question -> "9 solves of one program, 12 s"
