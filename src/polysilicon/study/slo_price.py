"""What a millisecond of a promise costs: promises cut by a tenth, serving points and plan made again."""

from __future__ import annotations

import numpy as np

from polysilicon import planner
from polysilicon.errors import InputError
from polysilicon.planner.problem import Problem
from polysilicon.planner.resolve import Answer, Asker
from polysilicon.report.asked import SloPrice
from polysilicon.scenario import Resolved
from polysilicon.study.serving import serving_table

TIGHTER = 0.9


def slo_price(resolved: Resolved, tables: Problem, name: str, *, margin_quantile: float, base: Answer | None = None) -> SloPrice:
    """Return what promises of a workload a tenth shorter cost over the horizon, a millisecond of its TPOT (else its TTFT).

    Raises: InputError for a workload that promises no latency.
    """
    work = resolved.workload(name)
    promise = work.slo.tpot_s or work.slo.ttft_s
    if promise is None:
        raise InputError(f'workload "{name}" promises no latency', hint="only ttft_s and tpot_s have a price per millisecond")
    base = base or Asker(tables).ask()
    tighter = serving_table(resolved, margin_quantile=margin_quantile, strictness={name: TIGHTER})
    found = Asker(planner.problem(resolved, tighter.points, phases=tighter.phases, headroom_frac=tables.headroom_frac)).ask()
    kept = np.isfinite(found.usd) and (found.is_priced or not base.is_priced)
    measure = "TPOT" if work.slo.tpot_s else "TTFT"
    return SloPrice(name, measure, promise, promise * (1.0 - TIGHTER) * 1000.0, float(found.usd - base.usd) if kept else None)
