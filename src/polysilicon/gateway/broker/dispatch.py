"""The small exact program of one tick: where should demand go now, given prices, limits and what commitments still ask for.

    minimise    sum_rv price_rv d_r x_rv  +  sum_k s_k / T_k  +  penalty sum_r d_r u_r
    subject to  sum_v x_rv + u_r = 1                                     all demand is served, or paid dearly
                low_rv <= x_rv <= cap_rv                                 stage, gate, availability, the plan's bounds
                sum_rv d_r x_rv <= capacity_t              per target    tokens a second
                sum_rv spend_rv d_r x_rv T_k + s_k >= missing_k          per commitment, over its remaining time T_k
                sum_{v in cloud} d_r x_rv <= share_c sum_r d_r           concentration

x is a share of a route's demand, s_k the shortfall that would have to be paid for nothing. The dual of a commitment's row is what
one more dollar drawn is worth now: 1 when the shortfall is certain, 0 when it will be met anyway.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from polysilicon.errors import Infeasible, PolysiliconError

_UNSERVED_USD_PER_MTOK = 1e4


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
class Dispatch:
    """Shares per lane, and what the limits are worth."""

    shares: tuple[float, ...]
    usd_per_s: float
    shortfall_usd: dict[str, float] = field(default_factory=dict)
    shadow_usd: dict[str, float] = field(default_factory=dict)  # contract -> worth of one more dollar drawn
    capacity_usd: dict[int, float] = field(default_factory=dict)  # target -> worth of one more Mtok/s, dollars a second


def dispatch(
    lanes: Sequence[Lane],
    demand_mtok_per_s: Sequence[float],
    *,
    commitments: Sequence[Commitment] = (),
    capacity_mtok_per_s: Mapping[int, float] | None = None,
    cloud_share_max_frac: Mapping[str, float] | None = None,
) -> Dispatch:
    """Return the cheapest shares.

    >>> lanes = [Lane(0, 0, 0, "aws", 2.0), Lane(0, 1, 1, "gcp", 1.0, cap_frac=0.25)]
    >>> dispatch(lanes, [1.0]).shares
    (0.75, 0.25)

    Raises: Infeasible when the bounds of a route leave no room, which the callers' own clipping rules out; PolysiliconError when
    the solver refuses or fails: the last directive then stands.
    """
    import highspy
    import numpy as np

    from polysilicon.highs import INFEASIBLE, new_solver, run

    inf = highspy.kHighsInf
    demand = [max(d, 1e-9) for d in demand_mtok_per_s]
    n, routes = len(lanes), len(demand)
    cost = [lane.usd_per_mtok * demand[lane.route] for lane in lanes]
    missing = [_within_reach(c, lanes, demand) for c in commitments]  # shortfalls are shares of these, so that rows are of like size
    cost += [_UNSERVED_USD_PER_MTOK * d for d in demand] + [m / max(c.left_s, 1.0) for m, c in zip(missing, commitments, strict=True)]
    lower = [lane.low_frac for lane in lanes] + [0.0] * (routes + len(commitments))
    upper = [max(lane.cap_frac, lane.low_frac) for lane in lanes] + [1.0] * routes + [inf] * len(commitments)
    rows: list[tuple[list[tuple[int, float]], float, float]] = []
    rows += [([*[(i, 1.0) for i, lane in enumerate(lanes) if lane.route == r], (n + r, 1.0)], 1.0, 1.0) for r in range(routes)]
    capacities = list((capacity_mtok_per_s or {}).items())
    rows += [([(i, demand[lane.route]) for i, lane in enumerate(lanes) if lane.target == t], -inf, most) for t, most in capacities]
    for k, c in enumerate(commitments):
        if missing[k] > 0:
            drawn = [(i, lane.usd_per_mtok * demand[lane.route] * c.left_s / missing[k]) for i, lane in enumerate(lanes) if lane.contract == c.id]
            rows.append(([*drawn, (n + routes + k, 1.0)], 1.0, inf))
        else:
            rows.append(([(n + routes + k, 1.0)], -inf, inf))
    for cloud, share in (cloud_share_max_frac or {}).items():
        rows.append(([(i, demand[lane.route]) for i, lane in enumerate(lanes) if lane.cloud == cloud], -inf, share * sum(demand)))

    lp = highspy.HighsLp()
    lp.num_col_, lp.num_row_ = len(cost), len(rows)
    lp.col_cost_, lp.col_lower_, lp.col_upper_ = np.array(cost), np.array(lower), np.array(upper)
    lp.row_lower_, lp.row_upper_ = np.array([row[1] for row in rows]), np.array([row[2] for row in rows])
    starts = np.cumsum([0, *[len(row[0]) for row in rows]])
    lp.a_matrix_.format_ = highspy.MatrixFormat.kRowwise
    lp.a_matrix_.start_ = starts
    lp.a_matrix_.index_ = np.array([i for row in rows for i, _ in row[0]], dtype=np.int32)
    lp.a_matrix_.value_ = np.array([x for row in rows for _, x in row[0]])
    solver: Any = new_solver(threads=1)
    solver.passModel(lp)
    status = run(solver)
    if status in INFEASIBLE:
        raise Infeasible("the limits of this moment leave no room", where="broker")
    if status != highspy.HighsModelStatus.kOptimal:
        raise PolysiliconError(f"the solver ended without an optimum: {solver.modelStatusToString(status)}", where="broker")
    solution = solver.getSolution()
    values, duals = list(solution.col_value), list(solution.row_dual)
    at = routes + len(capacities)
    shadow = {}
    for k, c in enumerate(commitments):
        shadow[c.id] = round(duals[at + k] * max(c.left_s, 1.0) / missing[k], 9) if missing[k] > 0 else 0.0
    return Dispatch(
        tuple(round(max(0.0, v), 9) for v in values[:n]),
        sum(c * v for c, v in zip(cost, values, strict=True))
        + sum((c.missing_usd - m) / max(c.left_s, 1.0) for m, c in zip(missing, commitments, strict=True)),
        {c.id: values[n + routes + k] * missing[k] + c.missing_usd - missing[k] for k, c in enumerate(commitments)},
        shadow,
        {target: -duals[routes + j] for j, (target, _) in enumerate(capacities)},
    )


def _within_reach(c: Commitment, lanes: Sequence[Lane], demand: Sequence[float]) -> float:
    """Return what is missing, at most twice what all demand could draw: beyond that nothing changes but the arithmetic's exactness."""
    most = sum(
        d * c.left_s * max((lane.usd_per_mtok for lane in lanes if lane.contract == c.id and lane.route == r), default=0.0)
        for r, d in enumerate(demand)
    )
    reach = min(c.missing_usd, 2.0 * most)
    return reach if reach > 1e-6 else 0.0  # less than a thousandth of a cent is met
