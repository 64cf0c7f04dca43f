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

LONG_COLUMNS = 40_000  # from here on interior point with crossover beats simplex from cold, three to five times


@dataclass(frozen=True, slots=True)
class Market:
    """Pools, offers and arcs for a stretch of snapshots, one an hour unless said otherwise. Arrays over time are [.., hour].

    Representative days: `hours_each` says how long a snapshot is, `times` how often it comes in the years it stands for, and
    `day_snapshots` how many make a day, which no work waits across.
    """

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
    hours_each: F8 | None = None  # [hour]; None: one hour each
    times: F8 | None = None  # [hour]; None: each comes once
    day_snapshots: int | None = None  # None: one stretch
    offer_ramp_chips: F8 | None = None  # [offer] a hour that rented chips may change by; inf: at once

    @property
    def lengths_hours(self) -> F8:
        """Return the length of each snapshot."""
        return np.ones(self.demand_rps.shape[1]) if self.hours_each is None else np.asarray(self.hours_each, float)

    @property
    def weights_hours(self) -> F8:
        """Return the hours that each snapshot stands for."""
        return self.lengths_hours if self.times is None else self.lengths_hours * np.asarray(self.times, float)


@dataclass(frozen=True, slots=True)
class Dispatch:
    """One solved stretch. Dollars are per hour summed over the hours that the snapshots stand for."""

    usd: float
    busy_chips: F8  # [arc, hour]
    rented_chips: F8  # [offer, hour]
    backlog_requests: F8  # [waiting workload, hour]
    unserved_rps: F8  # [workload, hour]
    chip_hour_usd: F8  # [pool, hour] worth of one more chip
    request_usd: F8  # [workload, hour] cost of one more request


class Dispatcher:
    """min sum price u + VOLL U; per pool sum of x <= held + u; per workload rate x (+ backlog) + U = demand.

    Columns, hour-major inside a block: x [arc], u [offer], U [workload], B [waiting workload]; under a cap on each vendor's
    share also S, its spend by day in M$, so that no row is as long as the stretch.
    """

    def __init__(self, market: Market, *, solver: str = "") -> None:
        """Write the program; `solver` is HiGHS's: left out, interior point for a long stretch from cold, simplex for the rest."""
        _check(market)
        self.market = market
        self.hours = market.demand_rps.shape[1]
        self.waiting = np.flatnonzero(market.wait_hours > 0)
        counts = (len(market.arc_pool), len(market.offer_pool), len(market.demand_rps), len(self.waiting))
        starts = np.concatenate([[0], np.cumsum([c * self.hours for c in counts])])
        self.x, self.u, self.lost, self.backlog = (np.arange(starts[i], starts[i + 1]).reshape(counts[i], self.hours) for i in range(4))
        self.columns = int(starts[-1])
        self.weight = market.weights_hours
        self.share_rows = 0
        self.highs = new_solver()
        self.highs.setOptionValue("solver", solver or ("ipx" if self.columns > LONG_COLUMNS else "simplex"))
        self._write()

    def _write(self) -> None:
        m, hours = self.market, self.hours
        cost, upper = np.zeros(self.columns), np.full(self.columns, np.inf)
        cost[self.u], upper[self.u] = m.offer_usd_per_chip_hour * self.weight, m.offer_max_chips
        cost[self.lost] = m.unserved_usd_per_request[:, None] * 3600.0 * self.weight
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
        count, per_s = len(queue), 1.0 / (3600.0 * m.lengths_hours)
        values = np.concatenate(
            [
                np.ones(self.x.size),
                -np.ones(self.u.size),
                rate,
                np.ones(works * hours),
                np.tile(per_s, count // hours),
                -np.tile(np.roll(per_s, -1), count // hours),  # carried into the next snapshot, at its length
            ]
        )
        low = np.concatenate([np.full(base, -np.inf), m.demand_rps.ravel()])
        high = np.concatenate([m.held_chips.ravel(), m.demand_rps.ravel()])
        matrix = sparse.csr_matrix((values, (rows, cols)), shape=(len(low), self.columns))
        if m.vendor is not None and m.vendor_cap_frac < 1.0:
            self.share_rows = len(low)
            extra, spends = self._vendor_rows()
            matrix = sparse.vstack([sparse.hstack([matrix, sparse.csr_matrix((matrix.shape[0], spends))]), extra]).tocsr()
            low = np.concatenate([low, np.zeros(spends), np.full(extra.shape[0] - spends, -np.inf)])
            high = np.concatenate([high, np.zeros(extra.shape[0])])
            cost, upper = np.concatenate([cost, np.zeros(spends)]), np.concatenate([upper, np.full(spends, np.inf)])
        self.highs.addVars(len(cost), np.zeros(len(cost)), upper)
        self.highs.changeColsCost(len(cost), np.arange(len(cost), dtype=np.int32), cost)
        self.highs.addRows(matrix.shape[0], low, high, matrix.nnz, matrix.indptr, matrix.indices, matrix.data)
        self._ramps()

    def _ramps(self) -> None:
        """State |u_{t+1} - u_t| <= R x hours from middle to middle, inside a day."""
        if self.market.offer_ramp_chips is None:
            return
        size, lengths = self.market.day_snapshots or self.hours, self.market.lengths_hours
        t = np.flatnonzero((np.arange(1, self.hours) % size) != 0)  # the last snapshot of a day is followed by none
        limited = np.flatnonzero(np.isfinite(self.market.offer_ramp_chips))
        if not len(t) or not len(limited):
            return
        most = (self.market.offer_ramp_chips[limited, None] * (lengths[t] + lengths[t + 1]) / 2.0).ravel()
        pairs = np.stack([self.u[limited][:, t].ravel(), self.u[limited][:, t + 1].ravel()], axis=1).astype(np.int32)
        starts, signs = np.arange(0, 2 * len(most), 2, dtype=np.int32), np.tile([-1.0, 1.0], len(most))
        self.highs.addRows(len(most), -most, most, 2 * len(most), starts, pairs.ravel(), signs)

    def _vendor_rows(self) -> tuple[sparse.csr_matrix, int]:
        """Return rows, and how many columns S they add: spend of a vendor's offers in a day = S; sum of S_v <= cap x sum of S."""
        row, usd = self._spend_entries()
        days, vendors = self._days(), int(np.max(self.market.vendor)) + 1  # type: ignore[arg-type]
        spends = vendors * days
        column = self.u.ravel()
        rows = np.concatenate([row, np.arange(spends)])
        columns = np.concatenate([column, self.columns + np.arange(spends)])
        sums = sparse.csr_matrix((np.concatenate([usd, -np.ones(spends)]), (rows, columns)), shape=(spends, self.columns + spends))
        caps = np.repeat(np.eye(vendors) - self.market.vendor_cap_frac, days, axis=1)
        caps = sparse.hstack([sparse.csr_matrix((vendors, self.columns)), sparse.csr_matrix(caps)])
        return sparse.vstack([sums, caps]).tocsr(), spends

    def _spend_entries(self, usd_per_chip_hour: F8 | None = None) -> tuple[I8, F8]:
        """Return (row among the sums of spend, M$ per chip) of each rented chip, [offer x hour]."""
        price = self.market.offer_usd_per_chip_hour if usd_per_chip_hour is None else usd_per_chip_hour
        day = np.arange(self.hours) // (self.market.day_snapshots or 24)
        vendor = np.asarray(self.market.vendor, np.int64)
        return (vendor[:, None] * self._days() + day).ravel(), (price * self.weight / 1e6).ravel()

    def _days(self) -> int:
        return int(-(-self.hours // (self.market.day_snapshots or 24)))

    def _most_backlog(self) -> F8:
        """Return what may wait at the end of each snapshot: arrivals of the last `wait_hours` of its day, and nothing at its end."""
        lengths, size = self.market.lengths_hours, self.market.day_snapshots or self.hours
        ends = np.cumsum(lengths)
        last = np.minimum((np.arange(self.hours) // size + 1) * size, self.hours) - 1  # of each snapshot's day
        begins = np.concatenate([[0.0], ends])[np.arange(self.hours) // size * size]
        most = np.zeros((len(self.waiting), self.hours))
        for i, w in enumerate(self.waiting):
            arrived = np.concatenate([[0.0], np.cumsum(self.market.demand_rps[w] * lengths)]) * 3600.0
            since = np.maximum(begins, ends - self.market.wait_hours[w])
            most[i] = arrived[1:] - np.interp(since, np.concatenate([[0.0], ends]), arrived)
            most[i, last] = 0.0
        return most

    def set_prices(self, usd_per_chip_hour: F8) -> None:
        """Change the offers' prices, [offer, hour]."""
        flat = np.ascontiguousarray(usd_per_chip_hour * self.weight, float).ravel()
        self.highs.changeColsCost(len(flat), self.u.ravel().astype(np.int32), flat)
        if self.share_rows:
            rows, usd = self._spend_entries(usd_per_chip_hour)
            for row, column, value in zip(rows, self.u.ravel(), usd, strict=True):
                self.highs.changeCoeff(int(self.share_rows + row), int(column), float(value))

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
        self.highs.setOptionValue("solver", "simplex")  # from the last vertex on
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
            -dual[:base].reshape(pools, hours) / self.weight,
            dual[base : base + works * hours].reshape(works, hours) / 3600.0 / self.weight,
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
