"""The small exact program of one tick: where should demand go now, given prices, limits and what commitments still ask for.

    minimise    sum_h f_h sum_rv price_hrv d_hr x_hrv  +  sum_k s_k / T_k  +  penalty sum_hr f_h d_hr u_hr
    subject to  sum_v x_hrv + u_hr = 1                                   all demand is served, or paid dearly
                low_rv <= x_hrv <= cap_hrv                               stage, gate, availability, the plan's bounds
                sum_rv d_r x_0rv <= capacity_t             per target    tokens a second, now
                sum_h f_h sum_rv price_hrv d_hr x_hrv T_k + s_k >= missing_k    per commitment, over its remaining time T_k
                sum_{v in cloud} d_hr x_hrv <= share_c sum_r d_hr        concentration

x is a share of a route's demand; h the kinds of hours that the rest of a term is made of, 0 the kind of now, f_h their shares (without
commitments there is only now); s_k the shortfall that would have to be paid for nothing. The dual of a commitment's row is what one more
dollar drawn is worth: 1 when the shortfall is certain, 0 when it will be met anyway, between them what a dollar drawn costs at the dearest
hour in which drawing is still needed. So a dollar is drawn now only where now is a cheap hour for it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import inf
from typing import Any

from polysilicon.errors import Infeasible, PolysiliconError

_UNSERVED_USD_PER_MTOK = 1e4
_LEAST_FRAC = 1e-5  # of the largest demand: a route nobody asks for now still gets the cheapest shares


@dataclass(frozen=True, slots=True)
class Commitment:
    """What a contract still asks for: dollars, and the seconds left to spend them in."""

    id: str
    missing_usd: float
    left_s: float


@dataclass(frozen=True, slots=True)
class Lane:
    """One variant of one route."""

    route: int
    variant: int
    target: int
    cloud: str
    usd_per_mtok: float  # what the next tokens cost: list less discount, nothing where paid for
    contract: str = ""
    low_frac: float = 0.0
    cap_frac: float = 1.0


@dataclass(frozen=True, slots=True)
class Ahead:
    """One kind of hours of the rest of the terms: its share, demand per route, and each lane's price and most."""

    frac: float
    demand_mtok_per_s: tuple[float, ...]
    usd_per_mtok: tuple[float, ...]
    cap_frac: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Dispatch:
    """Shares per lane, and what the limits are worth."""

    shares: tuple[float, ...]
    usd_per_s: float
    shortfall_usd: dict[str, float] = field(default_factory=dict)
    shadow_usd: dict[str, float] = field(default_factory=dict)  # contract -> worth of one more dollar drawn
    capacity_usd: dict[int, float] = field(default_factory=dict)  # target -> worth of one more Mtok/s, dollars a second
    now_mtok_per_s: tuple[float, ...] = ()  # per route: demand in hours like now, spread over all hours


def dispatch(
    lanes: Sequence[Lane],
    demand_mtok_per_s: Sequence[float],
    *,
    commitments: Sequence[Commitment] = (),
    capacity_mtok_per_s: Mapping[int, float] | None = None,
    cloud_share_max_frac: Mapping[str, float] | None = None,
    ahead: Sequence[Ahead] = (),
) -> Dispatch:
    """Return the cheapest shares now. The first of `ahead` is the kind of hours that now is: its share and usual demand count.

    >>> lanes = [Lane(0, 0, 0, "aws", 2.0), Lane(0, 1, 1, "gcp", 1.0, cap_frac=0.25)]
    >>> dispatch(lanes, [1.0]).shares
    (0.75, 0.25)

    Raises: Infeasible when the bounds of a route leave no room, which the callers' own clipping rules out; PolysiliconError when
    the solver refuses or fails: the last directive then stands.
    """
    top = max([1e-9, *demand_mtok_per_s, *[d for hour in ahead for d in hour.demand_mtok_per_s]])
    demand = [max(d, _LEAST_FRAC * top) for d in demand_mtok_per_s]
    prices, caps = tuple(lane.usd_per_mtok for lane in lanes), tuple(max(lane.cap_frac, lane.low_frac) for lane in lanes)
    usual = tuple(max(d, _LEAST_FRAC * top) for d in ahead[0].demand_mtok_per_s) if ahead else tuple(demand)
    hours = [Ahead(ahead[0].frac if ahead else 1.0, usual, prices, caps), *ahead[1:]]
    missing = [_within_reach(c, lanes, hours) for c in commitments]  # shortfalls are shares of these, so that rows are of like size
    program = _Program(lanes, hours, top)
    program.limits(demand, capacity_mtok_per_s or {}, cloud_share_max_frac or {})
    program.commit(commitments, missing)
    values, duals = program.solve()
    n, first = len(lanes), len(program.cost) - len(commitments)
    shadow = {}
    for k, c in enumerate(commitments):
        shadow[c.id] = round(top * duals[program.committed + k] * max(c.left_s, 1.0) / missing[k], 9) if missing[k] > 0 else 0.0
    return Dispatch(
        tuple(round(max(0.0, v), 9) for v in values[:n]),
        top * sum(c * v for c, v in zip(program.cost, values, strict=True))
        + sum((c.missing_usd - m) / max(c.left_s, 1.0) for m, c in zip(missing, commitments, strict=True)),
        {c.id: values[first + k] * missing[k] + c.missing_usd - missing[k] for k, c in enumerate(commitments)},
        shadow,
        {target: -top * duals[program.capacity + j] for j, target in enumerate(capacity_mtok_per_s or {})},
        tuple(hours[0].frac * d for d in usual),
    )


class _Program:
    """Columns and rows as they are added: a block of lanes and of what stays unserved for each kind of hours, then the shortfalls.

    Costs are for the largest demand being 1, so that they stay far above what the solver takes for nothing.
    """

    def __init__(self, lanes: Sequence[Lane], hours: Sequence[Ahead], top: float) -> None:
        self.lanes, self.hours, self.top = lanes, hours, top
        self.routes = len(hours[0].demand_mtok_per_s)
        self.width = len(lanes) + self.routes
        self.cost: list[float] = []
        self.lower: list[float] = []
        self.upper: list[float] = []
        self.rows: list[tuple[list[tuple[int, float]], float, float]] = []
        by_route: list[list[int]] = [[] for _ in range(self.routes)]
        for i, lane in enumerate(lanes):
            by_route[lane.route].append(i)
        for h, hour in enumerate(hours):
            at, d = h * self.width, hour.demand_mtok_per_s
            self.cost += [hour.frac * p * d[lane.route] / top for p, lane in zip(hour.usd_per_mtok, lanes, strict=True)]
            self.cost += [hour.frac * _UNSERVED_USD_PER_MTOK * x / top for x in d]
            self.lower += [min(lane.low_frac, cap) for lane, cap in zip(lanes, hour.cap_frac, strict=True)] + [0.0] * self.routes
            self.upper += [*hour.cap_frac, *[1.0] * self.routes]
            self.rows += [([*[(at + i, 1.0) for i in mine], (at + len(lanes) + r, 1.0)], 1.0, 1.0) for r, mine in enumerate(by_route)]

    def limits(self, demand: Sequence[float], capacity: Mapping[int, float], cloud_share: Mapping[str, float]) -> None:
        """Add what targets can take now, and the share a cloud may have at any time."""
        self.capacity = len(self.rows)
        for target, most in capacity.items():
            self.rows.append(([(i, demand[lane.route]) for i, lane in enumerate(self.lanes) if lane.target == target], -inf, most))
        for h, hour in enumerate(self.hours):
            d = hour.demand_mtok_per_s if h else demand
            for cloud, share in cloud_share.items():
                row = [(h * self.width + i, d[lane.route]) for i, lane in enumerate(self.lanes) if lane.cloud == cloud]
                self.rows.append((row, -inf, share * sum(d)))

    def commit(self, commitments: Sequence[Commitment], missing: Sequence[float]) -> None:
        """Add each commitment's row and its shortfall, a share of what is missing."""
        self.committed = len(self.rows)
        for c, m in zip(commitments, missing, strict=True):
            short = len(self.cost)
            self.cost.append(m / max(c.left_s, 1.0) / self.top)
            self.lower.append(0.0)
            self.upper.append(inf)
            drawn = [
                (h * self.width + i, hour.frac * hour.usd_per_mtok[i] * hour.demand_mtok_per_s[lane.route] * c.left_s / m)
                for h, hour in enumerate(self.hours) if m > 0
                for i, lane in enumerate(self.lanes) if lane.contract == c.id
            ]  # fmt: skip
            self.rows.append(([*drawn, (short, 1.0)], 1.0 if m > 0 else -inf, inf))

    def solve(self) -> tuple[list[float], list[float]]:
        """Return the columns' values and the rows' duals."""
        import highspy
        import numpy as np

        from polysilicon.highs import INFEASIBLE, new_solver, run

        lp = highspy.HighsLp()
        lp.num_col_, lp.num_row_ = len(self.cost), len(self.rows)
        lp.col_cost_, lp.col_lower_, lp.col_upper_ = np.array(self.cost), np.array(self.lower), np.array(self.upper)
        lp.row_lower_, lp.row_upper_ = np.array([row[1] for row in self.rows]), np.array([row[2] for row in self.rows])
        lp.a_matrix_.format_ = highspy.MatrixFormat.kRowwise
        lp.a_matrix_.start_ = np.cumsum([0, *[len(row[0]) for row in self.rows]])
        lp.a_matrix_.index_ = np.array([i for row in self.rows for i, _ in row[0]], dtype=np.int32)
        lp.a_matrix_.value_ = np.array([x for row in self.rows for _, x in row[0]])
        solver: Any = new_solver(threads=1)
        solver.passModel(lp)
        status = run(solver)
        if status in INFEASIBLE:
            raise Infeasible("the limits of this moment leave no room", where="broker")
        if status != highspy.HighsModelStatus.kOptimal:
            raise PolysiliconError(f"the solver ended without an optimum: {solver.modelStatusToString(status)}", where="broker")
        solution = solver.getSolution()
        return list(solution.col_value), list(solution.row_dual)


def _within_reach(c: Commitment, lanes: Sequence[Lane], hours: Sequence[Ahead]) -> float:
    """Return what is missing, at most twice what all demand could draw: beyond that nothing changes but the arithmetic's exactness."""
    most = 0.0
    for hour in hours:
        for r, d in enumerate(hour.demand_mtok_per_s):
            prices = [p for p, lane in zip(hour.usd_per_mtok, lanes, strict=True) if lane.contract == c.id and lane.route == r]
            most += hour.frac * d * c.left_s * max(prices, default=0.0)
    reach = min(c.missing_usd, 2.0 * most)
    return reach if reach > 1e-6 else 0.0  # less than a thousandth of a cent is met
