"""The same question answered other ways, and what would change the answer: a few warm re-solves of the plan's program."""

from __future__ import annotations

import time

import numpy as np

from polysilicon.planner.problem import Problem
from polysilicon.planner.resolve import Asker, supplier, suppliers
from polysilicon.planner.thresholds import entry_prices, port_worth
from polysilicon.report import Alternative, WhatIf
from polysilicon.report.names import proper
from polysilicon.study.run import Progress, StudyResult, money

UNSERVED = 1e-6  # share of requests below which all is served


def alternatives_of(result: StudyResult, *, seconds: float, progress: Progress | None = None) -> tuple[Alternative, ...]:
    """Return what one cloud alone, and nothing but hourly chips, would cost; within a time, most telling first.

    Blocks are continuous in these re-solves, so each is a lower bound of its plan; the saving shown is never flattered.
    """
    tables = result.tables
    if tables is None:
        return ()
    began = time.monotonic()
    asker = Asker(tables, seconds=max(1.0, seconds / 3.0))
    clouds = [name for kind, name in suppliers(tables) if kind == "cloud"]
    spend = {cloud: sum(h.bill_usd for h in result.plan.holdings if h.cloud == cloud) for cloud in clouds}
    jobs = [(f"{proper(cloud)} alone", _others(asker, tables, cloud), True) for cloud in sorted(clouds, key=lambda c: -spend[c])]
    jobs = jobs if len(clouds) > 1 else []
    hourly = _terms(asker)
    if len(hourly):
        jobs.insert(min(1, len(jobs)), ("hourly chips alone", hourly, False))
    out = []
    for i, (name, closed, single) in enumerate(jobs):
        if time.monotonic() - began > seconds:
            break
        if progress is not None:
            progress(i / len(jobs), name)
        answer = asker.ask(closed=closed)
        if not np.isfinite(answer.usd):
            out.append(Alternative(name, None, "no plan was found within the limits", single))
        elif answer.unserved_frac > max(UNSERVED, 2.0 * _unserved(result)):
            out.append(Alternative(name, None, f"{answer.unserved_frac:.0%} of requests would go unserved", single))
        else:
            out.append(Alternative(name, answer.usd, "", single))
    return tuple(out)


def what_ifs_of(result: StudyResult, *, most: int = 8) -> tuple[WhatIf, ...]:
    """Return prices and ports that would change the plan, nearest first, from the worth of chips in the plan itself."""
    if result.program is None or result.solution is None:
        return ()
    out = []
    for entry in entry_prices(result.program, result.solution):
        if entry.threshold <= 1e-9 or entry.now <= 0:
            continue
        cut = 1.0 - entry.threshold / entry.now
        threshold = f"falls from ${entry.now:.3g} to ${entry.threshold:.3g} per chip-hour ({cut:.0%} less)" if cut > 0.005 else (
            f"is ${entry.now:.3g} per chip-hour, and a chip there is worth as much"
        )  # fmt: skip
        out.append(WhatIf(f"the price of {entry.what}", threshold, "its first chips are bought"))
    ports = [
        WhatIf(
            f"the port of {port.what}", f"costs less than {money(port.threshold)} (it costs {money(port.now)})", "it is started"
        )
        for port in port_worth(result.program, result.solution)
        if port.threshold > 0
    ]
    return (*out[: most - min(3, len(ports))], *ports[:3])


def _others(asker: Asker, tables: Problem, cloud: str) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Return everything that is sold by any other cloud."""
    mine = supplier(tables, "cloud", cloud)
    return asker.owned(lambda pool, token: not mine(pool, token))


def _terms(asker: Asker) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Return everything that is signed for a term."""
    return np.asarray(asker.program.blocks.get("sign", np.empty(0, np.int64)), np.int64)


def _unserved(result: StudyResult) -> float:
    return 0.0 if result.plan.unserved_usd <= 0 else 1e-3
