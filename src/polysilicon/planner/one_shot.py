"""One model, one instant: how many chips of which kind, for a histogram of request sizes. The question other planners ask."""

from __future__ import annotations

from dataclasses import dataclass

import highspy
import numpy as np

from polysilicon.errors import InputError
from polysilicon.highs import new_solver, run_to_optimum
from polysilicon.planner.problem import F8, I8


@dataclass(frozen=True, slots=True)
class OneShot:
    """Whole chips of each kind, their price, and the price if chips could be cut."""

    chips: I8  # [kind]
    usd_per_hour: float
    bound_usd_per_hour: float
    share: F8  # [kind, size] of each size's requests


def cheapest_chips(demand_rps: F8, rate_rps: F8, usd_per_chip_hour: F8) -> OneShot:
    """Return the cheapest whole chips that carry a demand by request size.

    min sum of price n, sum of share = 1 for each size, sum of demand share / rate <= n for each kind, n whole. Requests of one
    size may be split over kinds freely, so the answer is never dearer than one that assigns slices whole.

    `demand_rps` is [size], `rate_rps` [kind, size] requests per second of one chip, 0 where it cannot; prices are [kind].
    A size without demand needs nobody.

    >>> found = cheapest_chips(np.array([2.0, 1.0]), np.array([[2.0, 0.5], [4.0, 4.0]]), np.array([1.0, 2.9]))
    >>> found.chips.tolist(), found.usd_per_hour
    ([0, 1], 2.9)

    Raises: InputError when some size with demand can be served by none.
    """
    kinds, sizes = rate_rps.shape
    needed = demand_rps > 0
    if not ((rate_rps > 0).any(axis=0) | ~needed).all():
        raise InputError("some request sizes can be served by no chip", hint="give at least one chip a rate for every size with demand")
    highs = new_solver()
    highs.setOptionValue("mip_rel_gap", 0.0)
    can = (rate_rps > 0) & needed
    upper = np.concatenate([can.ravel().astype(float), np.full(kinds, np.inf)])
    highs.addVars(len(upper), np.zeros(len(upper)), upper)
    highs.changeColsCost(kinds, np.arange(kinds * sizes, kinds * sizes + kinds, dtype=np.int32), np.asarray(usd_per_chip_hour, float))
    for b in np.flatnonzero(needed):
        columns = (np.arange(kinds) * sizes + b).astype(np.int32)
        highs.addRow(1.0, 1.0, kinds, columns, np.ones(kinds))
    for i in range(kinds):
        load = np.divide(demand_rps, rate_rps[i], out=np.zeros(sizes), where=can[i])
        columns = np.append(np.arange(i * sizes, (i + 1) * sizes), kinds * sizes + i).astype(np.int32)
        highs.addRow(-highspy.kHighsInf, 0.0, len(columns), columns, np.append(load, -1.0))
    run_to_optimum(highs, "the choice of chips, cut")
    bound = float(highs.getInfo().objective_function_value)
    whole = np.arange(kinds * sizes, kinds * sizes + kinds, dtype=np.int32)
    highs.changeColsIntegrality(kinds, whole, np.full(kinds, highspy.HighsVarType.kInteger))
    run_to_optimum(highs, "the choice of chips")
    point = np.asarray(highs.getSolution().col_value)
    return OneShot(np.round(point[kinds * sizes :]).astype(np.int64), float(highs.getInfo().objective_function_value), bound,
                   point[: kinds * sizes].reshape(kinds, sizes))  # fmt: skip
