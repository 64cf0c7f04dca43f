"""Measures of a plan: concentration, unit economics, the waterfall of its cost, the cheapest route of each workload."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from polysilicon.application.workload import Workload
from polysilicon.planner.problem import Problem
from polysilicon.planner.program import Program
from polysilicon.planner.solution import Solution
from polysilicon.planner.thresholds import chip_hour_usd
from polysilicon.portfolio import Plan


def hhi(amounts: Iterable[float]) -> float:
    """Return the Herfindahl-Hirschman index: the sum of squared shares, 1 for a single supplier, 1/n for n equal ones.

    >>> hhi([5.0, 5.0, 5.0, 5.0])
    0.25
    """
    values = [a for a in amounts if a > 0]
    total = sum(values)
    return sum((a / total) ** 2 for a in values) if total > 0 else 0.0


def concentration(plan: Plan, vendor_of: Mapping[str, str]) -> dict[str, dict[str, float]]:
    """Return HHI and largest share by chip vendor, cloud and site, in dollars of holdings and in tokens served.

    `vendor_of` maps chip ids to vendors; per-token placements count as their cloud's own.
    """
    found: dict[str, dict[str, float]] = {}
    for name, of_holding, of_placement in (
        ("vendor", lambda h: vendor_of.get(h.chip, h.cloud), lambda p: vendor_of.get(p.chip, p.cloud)),
        ("cloud", lambda h: h.cloud, lambda p: p.cloud),
        ("site", lambda h: f"{h.cloud}/{h.region}", lambda p: f"{p.cloud}/{p.region}"),
    ):
        usd: dict[str, float] = {}
        mtok: dict[str, float] = {}
        for holding in plan.holdings:
            usd[of_holding(holding)] = usd.get(of_holding(holding), 0.0) + holding.bill_usd
        for placement in plan.placements:
            mtok[of_placement(placement)] = mtok.get(of_placement(placement), 0.0) + placement.mtok
        for basis, amounts in (("usd", usd), ("tokens", mtok)):
            total = sum(amounts.values())
            found[f"{name}_{basis}"] = {
                "hhi": hhi(amounts.values()),
                "top_frac": max(amounts.values(), default=0.0) / total if total > 0 else 0.0,
            }
    return found


def waterfall(plan: Plan, training: Iterable[str] = ()) -> dict[str, float]:
    """Return what the plan pays, by part; the parts sum to the total.

    Chips that serve are split between training and inference by busy chip-hours; idle and unused terms stand apart.
    """
    names = set(training)
    bill = sum(c.total_usd for c in plan.contracts)
    shortfall = sum(c.shortfall_usd for c in plan.contracts)
    placed = sum(p.usd for p in plan.placements)
    trained = sum(p.usd for p in plan.placements if p.workload in names)
    chips = bill - shortfall
    share = trained / placed if placed > 0 else 0.0
    return {
        "inference": chips * (1 - share),
        "training": chips * share,
        "unused commitment": shortfall,
        "energy": plan.energy_usd,
        "porting": plan.port_usd,
        "unserved": plan.unserved_usd,
    }


@dataclass(frozen=True, slots=True)
class UnitEconomics:
    """Price, cost and margin of a million output tokens of one workload on one chip."""

    workload: str
    model: str
    application: str
    chip: str
    mtok_out: float
    cost_usd_per_mtok: float
    revenue_usd_per_mtok: float | None  # in, cached and out, per million output tokens; None where no price is stated
    margin_frac: float | None


def unit_economics(plan: Plan, workloads: Iterable[Workload]) -> list[UnitEconomics]:
    """Return cost, price and margin per million output tokens by model, chip and application.

    margin = 1 - cost / revenue; revenue counts input, cached input and output tokens at the workload's prices.
    """
    works = {w.id: w for w in workloads}
    sums: dict[tuple[str, str], tuple[float, float]] = {}
    for p in plan.placements:
        lengths = works[p.workload].lengths
        out = p.mtok * lengths.osl_tokens / (lengths.isl_tokens + lengths.osl_tokens)
        mtok, usd = sums.get((p.workload, p.chip or p.pool), (0.0, 0.0))
        sums[p.workload, p.chip or p.pool] = (mtok + out, usd + p.usd)
    rows = []
    for (name, chip), (out, usd) in sorted(sums.items()):
        work = works[name]
        cost = usd / out if out > 0 else 0.0
        revenue = _revenue(work)
        rows.append(UnitEconomics(name, work.model, work.application, chip, out, cost, revenue, 1 - cost / revenue if revenue else None))
    return rows


def _revenue(work: Workload) -> float | None:
    if work.usd_per_mtok_in is None or work.usd_per_mtok_out is None:
        return None
    cached_price = work.usd_per_mtok_in if work.usd_per_mtok_cached is None else work.usd_per_mtok_cached
    cached = work.lengths.isl_tokens * work.lengths.cached_frac
    income = (work.lengths.isl_tokens - cached) * work.usd_per_mtok_in + cached * cached_price + work.lengths.osl_tokens * work.usd_per_mtok_out
    return income / work.lengths.osl_tokens


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
