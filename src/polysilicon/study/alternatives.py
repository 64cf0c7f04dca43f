"""The same question answered other ways, and what would change the answer: a few warm re-solves of the plan's program."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from polysilicon.errors import Infeasible
from polysilicon.planner import plan_problem
from polysilicon.planner.blocks import whole_blocks
from polysilicon.planner.problem import Problem
from polysilicon.planner.program import contracted
from polysilicon.planner.resolve import Asker, supplier, suppliers
from polysilicon.planner.thresholds import entry_prices, port_worth
from polysilicon.report import Alternative, WhatIf
from polysilicon.report.names import proper
from polysilicon.report.words import money
from polysilicon.study.run import Progress, StudyResult

Labels = NDArray[np.int64]
SMALL_CHIPS = 5000  # fleets up to this size are planned anew
UNSERVED = 1e-6  # share of requests below which all is served


def alternatives_of(result: StudyResult, *, seconds: float, progress: Progress | None = None) -> tuple[Alternative, ...]:
    """Return what one cloud alone, and nothing but hourly chips, would cost; within a time, most telling first.

    Caps on a supplier's share are lifted here: one supplier alone would break them by definition. Small fleets are planned
    anew, whole blocks and all. Large ones are re-solved with continuous blocks, so that each
    figure is a lower bound of its plan and the saving shown is never flattered.
    """
    if result.tables is None:
        return ()
    lifted = {"vendor_share_max_frac": None, "cloud_share_max_frac": None, "chip_family_share_max_frac": None,
              "region_share_max_frac": None, "vendor_hhi_max_frac": None, "cloud_hhi_max_frac": None}  # fmt: skip
    tables = replace(result.tables, limits=result.tables.limits.model_copy(update=lifted))
    began = time.monotonic()
    jobs = _jobs(result, tables)
    chips = sum(h.peak_chips for h in result.plan.holdings if h.period == len(result.plan.periods) - 1)
    asker = Asker(tables, seconds=max(1.0, seconds / 3.0)) if chips > SMALL_CHIPS else None
    out = []
    for i, (name, reduced, closed, single) in enumerate(jobs):
        if time.monotonic() - began > seconds:
            break
        if progress is not None:
            progress(i / len(jobs), name)
        out.append(_replanned(name, reduced, single, seconds) if asker is None else _asked(asker, name, closed(asker), single, result))
    return tuple(out)


def _jobs(result: StudyResult, tables: Problem) -> list[tuple[str, Problem, Callable[[Asker], Labels], bool]]:
    """Return (name, the question reduced, what is closed in the program, whether it is one supplier)."""
    clouds = [name for kind, name in suppliers(tables) if kind == "cloud"]
    spend = {cloud: sum(h.bill_usd for h in result.plan.holdings if h.cloud == cloud) for cloud in clouds}
    jobs: list[tuple[str, Problem, Callable[[Asker], Labels], bool]] = []
    for cloud in sorted(clouds, key=lambda c: -spend[c]) if len(clouds) > 1 else []:
        reduced = tables
        for other in clouds:
            reduced = reduced if other == cloud else reduced.without(cloud=other)
        jobs.append((f"{proper(cloud)} alone", reduced, partial(_others, cloud=cloud), True))
    terms = [o.id for o in tables.offers if contracted(o.kind, o.min_term_months)]
    if terms:
        jobs.insert(min(1, len(jobs)), ("hourly chips alone", tables.without(offers=terms), _terms, False))
    return jobs


def _replanned(name: str, reduced: Problem, single: bool, seconds: float) -> Alternative:
    try:
        return Alternative(name, plan_problem(reduced, seconds=max(1.0, seconds / 3.0)).objective_usd, "", single)
    except Infeasible:
        return Alternative(name, None, "not all demand can be served within the limits", single)


def _asked(asker: Asker, name: str, closed: Labels, single: bool, result: StudyResult) -> Alternative:
    answer = asker.ask(closed=closed)
    if not np.isfinite(answer.usd):
        return Alternative(name, None, "no plan was found within the limits", single)
    if answer.unserved_frac > (UNSERVED if result.plan.unserved_usd <= 0 else 1e-3):
        return Alternative(name, None, f"{answer.unserved_frac:.1%} of requests would go unserved", single)
    return Alternative(name, answer.usd, "", single)


def what_ifs_of(result: StudyResult, *, most: int = 8) -> tuple[WhatIf, ...]:
    """Return prices and ports that would change the plan, nearest first, from the worth of chips in the plan itself."""
    if result.program is None or result.solution is None:
        return ()
    out = []
    near = [e for e in entry_prices(result.program, result.solution) if e.threshold > 1e-9 and e.now > 0][:most]
    for entry in whole_blocks(result.program, result.solution, near):
        cut = 1.0 - entry.threshold / entry.now
        if cut >= 1.0:
            continue  # not even for nothing
        threshold = f"falls from ${entry.now:.3g} to ${entry.threshold:.3g} per chip-hour ({cut:.0%} less)" if cut > 0.005 else (
            f"is ${entry.now:.3g} per chip-hour, and a chip there is worth as much"
        )  # fmt: skip
        out.append(WhatIf(f"the price of {entry.what}", threshold, "its first chips are bought"))
    ports = [
        WhatIf(f"the port of {port.what}", f"costs less than {money(port.threshold)} (it costs {money(port.now)})", "it is started")
        for port in port_worth(result.program, result.solution)
        if port.threshold > 0
    ]
    return (*out[: most - min(3, len(ports))], *ports[:3])


def _others(asker: Asker, cloud: str) -> Labels:
    """Return everything that is sold by any other cloud."""
    mine = supplier(asker.tables, "cloud", cloud)
    return np.asarray(asker.owned(lambda pool, token: not mine(pool, token)), np.int64)


def _terms(asker: Asker) -> Labels:
    """Return everything that is signed for a term."""
    return np.asarray(asker.program.blocks.get("sign", np.empty(0, np.int64)), np.int64)
