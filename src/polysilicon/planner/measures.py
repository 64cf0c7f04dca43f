"""What a buyer asks of a plan: the cheapest route of each workload in each cloud, what to evaluate before moving one."""

from __future__ import annotations

from polysilicon.planner.problem import Problem
from polysilicon.planner.program import Program
from polysilicon.planner.solution import Solution
from polysilicon.planner.thresholds import chip_hour_usd


def routes(program: Program, solution: Solution, *, period: int = 0) -> list[dict[str, str | float]]:
    """Return each workload's cheapest way in each cloud, in dollars per million tokens: the buyer's view."""
    tables, worth = program.tables, chip_hour_usd(program, solution)
    mean = worth[:, tables.slot_period == period].mean(axis=1)
    best: dict[tuple[str, str], tuple[float, str]] = {}
    for arc in tables.arcs:
        if arc.efficiency_frac[period] <= 0 or arc.port >= 0 or arc.decode is not None:
            continue
        if arc.pool >= 0:
            pool = tables.pools[arc.pool]
            usd, where, cloud = (
                _list_usd(tables, arc.pool, mean[arc.pool]) / (arc.rps_per_chip * arc.efficiency_frac[period] * 3600.0),
                pool.id,
                pool.cloud,
            )
        else:
            offer = tables.token_offers[arc.offer]
            usd, where, cloud = arc.usd_per_request, offer.id, offer.cloud
        key = (tables.workloads[arc.workload].id, cloud)
        per_mtok = usd / max(tables.mtok(arc.workload, 1.0), 1e-30)
        best[key] = min(best.get(key, (float("inf"), "")), (per_mtok, where))
    return [
        {"workload": w, "cloud": c, "usd_per_mtok": usd, "where": where}
        for (w, c), (usd, where) in sorted(best.items(), key=lambda i: (i[0][0], i[1]))
    ]


def _list_usd(tables: Problem, pool: int, worth: float) -> float:
    """Return the least price asked for a pool's chip-hour; what its hours are worth where nothing is asked."""
    asked = [o.usd_per_chip_hour or 0.0 for o, p in zip(tables.offers, tables.pool_of, strict=True) if p == pool]
    return min(asked) if asked else float(worth)


def checklist(tables: Problem, workload: str, chip_family: str, *, switch_factor: float | None) -> list[str]:
    """Return what to evaluate before serving a workload on another chip family, with this question's own numbers."""
    shape = "{:.0f} tokens in, {:.0f} out, {:g} requests/s"
    w = next(i for i, work in enumerate(tables.workloads) if work.id == workload)
    work, family = tables.workloads[w], tables.families[w]
    chips = sorted({p.chip.id for p in tables.pools if p.chip.family == chip_family})
    port = next((c.port for c in tables.candidates if c.key == (family, chip_family)), None)
    steps = [
        f"workload: {work.id} ({work.model}), " + shape.format(work.lengths.isl_tokens, work.lengths.osl_tokens, work.mean_rps),
        f"benchmark on {', '.join(chips) or 'no chip on offer'}: TTFT and TPOT at the {work.slo.quantile:.0%} quantile "
        "under your arrivals, tokens/s per chip, watts",
        "quality: the same evaluation set on both engines, difference within your limit before any production traffic",
        "operations: cold start, failover within the hour, tooling, who carries the pager",
    ]
    if port is not None:
        steps.append(f"port: {port.lead_months:g} months of lead at the cost stated; pilot at most {port.max_share_frac:.0%} of traffic")
    if switch_factor is None:
        steps.append("break-even: no efficiency within reach makes the port pay at today's volume; look again when volume or prices change")
    else:
        steps.append(f"break-even: it pays from {switch_factor:.2f} times the efficiency assumed; measure that first")
    return steps
