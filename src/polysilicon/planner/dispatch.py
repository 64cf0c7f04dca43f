"""Hour by hour with the structure given: which chips are rented and who runs where, now or over days. Warm and direct.

The program is written straight into HiGHS, so that a price tick costs a change of coefficients and a few pivots: re-arbitrage
of one snapshot takes under a millisecond, of a day some tens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import highspy
import numpy as np
from scipy import sparse

from polysilicon.errors import InputError
from polysilicon.highs import new_solver, run
from polysilicon.planner.problem import F8, I8


@dataclass(frozen=True, slots=True)
class Market:
    """Pools, offers and arcs for a stretch of hours. Arrays over time are [.., hours]."""

    held_chips: F8  # [pool, hour] at no further cost
    offer_pool: I8  # [offer]
    offer_usd_per_chip_hour: F8  # [offer, hour]
    offer_max_chips: F8  # [offer, hour]; inf: no limit
    arc_workload: I8  # [arc]
    arc_pool: I8  # [arc]
    arc_rps_per_chip: F8  # [arc]
    demand_rps: F8  # [workload, hour]
    wait_hours: I8  # [workload] how long work may wait; 0: not at all
    unserved_usd_per_request: F8  # [workload]
    vendor: I8 | None = None  # [offer] for a cap on each vendor's share of the spend
    vendor_cap_frac: float = 1.0


@dataclass(frozen=True, slots=True)
class Dispatch:
    """One solved stretch. Dollars are per hour summed over the hours."""

    usd: float
    busy_chips: F8  # [arc, hour]
    rented_chips: F8  # [offer, hour]
    backlog_requests: F8  # [waiting workload, hour]
    unserved_rps: F8  # [workload, hour]
    chip_hour_usd: F8  # [pool, hour] worth of one more chip
    request_usd: F8  # [workload, hour] cost of one more request


class Dispatcher:
    """min sum price u + VOLL U; per pool sum of x <= held + u; per workload rate x (+ backlog) + U = demand.

    Columns, hour-major inside a block: x [arc], u [offer], U [workload], B [waiting workload].
    """

    def __init__(self, market: Market, *, solver: str = "simplex") -> None:
        _check(market)
        self.market = market
        self.hours = market.demand_rps.shape[1]
        self.waiting = np.flatnonzero(market.wait_hours > 0)
        counts = (len(market.arc_pool), len(market.offer_pool), len(market.demand_rps), len(self.waiting))
        starts = np.concatenate([[0], np.cumsum([c * self.hours for c in counts])])
        self.x, self.u, self.lost, self.backlog = (np.arange(starts[i], starts[i + 1]).reshape(counts[i], self.hours) for i in range(4))
        self.columns = int(starts[-1])
        self.highs = new_solver()
        self.highs.setOptionValue("solver", solver)
        self._write()

    def _write(self) -> None:
        m, hours = self.market, self.hours
        cost, upper = np.zeros(self.columns), np.full(self.columns, np.inf)
        cost[self.u], upper[self.u] = m.offer_usd_per_chip_hour, m.offer_max_chips
        cost[self.lost] = m.unserved_usd_per_request[:, None] * 3600.0
        upper[self.lost] = np.where(m.wait_hours[:, None] > 0, np.inf, m.demand_rps)
        upper[self.backlog] = self._most_backlog()
        pools, works = len(m.held_chips), len(m.demand_rps)
        t = np.arange(hours)
        capacity = (m.arc_pool[:, None] * hours + t).ravel()
        rent = (m.offer_pool[:, None] * hours + t).ravel()
        base = pools * hours
        serve = base + (m.arc_workload[:, None] * hours + t).ravel()
        lost = base + np.arange(works * hours)
        queue = base + (self.waiting[:, None] * hours + t).ravel()
        carried = base + (self.waiting[:, None] * hours + (t + 1) % hours).ravel()  # the last hour hands to the first: both nil
        rows = np.concatenate([capacity, rent, serve, lost, queue, carried])
        cols = np.concatenate([self.x.ravel(), self.u.ravel(), self.x.ravel(), self.lost.ravel(), self.backlog.ravel(), self.backlog.ravel()])
        rate = np.repeat(m.arc_rps_per_chip, hours)
        count = len(queue)
        values = np.concatenate(
            [
                np.ones(self.x.size),
                -np.ones(self.u.size),
                rate,
                np.ones(works * hours),
                np.full(count, 1 / 3600.0),
                np.full(count, -1 / 3600.0),
            ]
        )
        low = np.concatenate([np.full(base, -np.inf), m.demand_rps.ravel()])
        high = np.concatenate([m.held_chips.ravel(), m.demand_rps.ravel()])
        matrix = sparse.csr_matrix((values, (rows, cols)), shape=(len(low), self.columns))
        if m.vendor is not None and m.vendor_cap_frac < 1.0:
            extra = self._vendor_rows()
            matrix = sparse.vstack([matrix, extra]).tocsr()
            low = np.concatenate([low, np.full(extra.shape[0], -np.inf)])
            high = np.concatenate([high, np.zeros(extra.shape[0])])
        self.highs.addVars(self.columns, np.zeros(self.columns), upper)
        self.highs.changeColsCost(self.columns, np.arange(self.columns, dtype=np.int32), cost)
        self.highs.addRows(matrix.shape[0], low, high, matrix.nnz, matrix.indptr, matrix.indices, matrix.data)

    def _vendor_rows(self) -> sparse.csr_matrix:
        """Return spend of each vendor - cap x spend of all, one row a vendor over all hours."""
        m = self.market
        assert m.vendor is not None
        usd = m.offer_usd_per_chip_hour.ravel()
        of_column = np.repeat(m.vendor, self.hours)
        rows = [np.where(of_column == v, usd, 0.0) - m.vendor_cap_frac * usd for v in range(int(m.vendor.max()) + 1)]
        block = sparse.lil_matrix((len(rows), self.columns))
        for i, row in enumerate(rows):
            block[i, self.u.ravel()] = row
        return block.tocsr()

    def _most_backlog(self) -> F8:
        """Return what may wait at the end of each hour: arrivals of the last `wait_hours`, and nothing at the end."""
        most = np.zeros((len(self.waiting), self.hours))
        for i, w in enumerate(self.waiting):
            arrived = np.concatenate([[0.0], np.cumsum(self.market.demand_rps[w])]) * 3600.0
            ends = np.arange(1, self.hours + 1)
            most[i] = arrived[ends] - arrived[np.maximum(0, ends - self.market.wait_hours[w])]
            most[i, -1] = 0.0
        return most

    def set_prices(self, usd_per_chip_hour: F8) -> None:
        """Change the offers' prices, [offer, hour]."""
        flat = np.ascontiguousarray(usd_per_chip_hour, float).ravel()
        self.highs.changeColsCost(len(flat), self.u.ravel().astype(np.int32), flat)

    def set_limits(self, max_chips: F8) -> None:
        """Change what the offers can give, [offer, hour]."""
        flat = np.ascontiguousarray(max_chips, float).ravel()
        self.highs.changeColsBounds(len(flat), self.u.ravel().astype(np.int32), np.zeros(len(flat)), flat)

    def solve(self) -> Dispatch:
        """Return the cheapest dispatch; warm from the last one.

        Raises: InputError when HiGHS ends without an optimum.
        """
        if run(self.highs) != highspy.HighsModelStatus.kOptimal:
            raise InputError(f"the dispatch has no optimum: {self.highs.modelStatusToString(self.highs.getModelStatus())}")
        found = self.highs.getSolution()
        value, dual = np.asarray(found.col_value), np.asarray(found.row_dual)
        pools, works, hours = len(self.market.held_chips), len(self.market.demand_rps), self.hours
        base = pools * hours
        return Dispatch(
            float(self.highs.getInfo().objective_function_value),
            value[self.x],
            value[self.u],
            value[self.backlog],
            value[self.lost],
            -dual[:base].reshape(pools, hours),
            dual[base : base + works * hours].reshape(works, hours) / 3600.0,
        )


def _check(market: Market) -> None:
    wrong = [
        name
        for name, values in (
            ("held_chips", market.held_chips),
            ("offer_usd_per_chip_hour", market.offer_usd_per_chip_hour),
            ("offer_max_chips", market.offer_max_chips),
            ("arc_rps_per_chip", market.arc_rps_per_chip),
            ("demand_rps", market.demand_rps),
        )
        if np.isnan(values).any() or (values < 0).any()
    ]
    if wrong:
        raise InputError(f"{', '.join(wrong)}: every number must be known and not negative")


def day(hours: int, *, peak: float = 1.5, at: int = 15) -> F8:
    """Return a smooth daily shape with mean 1 over whole days, [hour].

    >>> round(float(day(24).mean()), 6), int(day(24).argmax())
    (1.0, 15)
    """
    return np.asarray(1.0 + (peak - 1.0) * np.cos(2 * np.pi * (np.arange(hours) - at) / 24.0))


def tile(values: Sequence[float], hours: int) -> F8:
    """Return values repeated over hours, [.., hours]."""
    return np.repeat(np.asarray(values, float)[:, None], hours, axis=1)
