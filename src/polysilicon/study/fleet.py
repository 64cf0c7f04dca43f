"""The fleet a plan holds for one workload at its busiest hour, at a scale that can be replayed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from math import ceil
from statistics import NormalDist

from polysilicon import performance
from polysilicon.application.workload import Workload
from polysilicon.errors import MissingFact
from polysilicon.model.port import Port
from polysilicon.performance import ServingPoint
from polysilicon.planner.problem import efficiency
from polysilicon.portfolio import Placement, Plan
from polysilicon.scenario import Resolved
from polysilicon.simulator.fleet import MAX_BATCH, Fleet, Pool
from polysilicon.study.serving import engine_of
from polysilicon.study.traffic import WARM_UP

SHARED_FRAC = 0.05  # of the prompt: above it, a request goes where its session is
_NORMAL = NormalDist()


@dataclass(frozen=True, slots=True)
class Part:
    """What a plan holds for one workload in one pool at its busiest hour."""

    placement: Placement
    point: ServingPoint
    port: Port | None
    replicas: int  # whole replicas in the chips held, the plan's spare share included
    rps: float  # what the plan sends here in that hour

    @property
    def rps_per_replica(self) -> float:
        """Return the load of one replica."""
        return self.rps / self.replicas


def parts_of(resolved: Resolved, plan: Plan, points: Mapping[tuple[str, str], ServingPoint], work: Workload, period: int) -> list[Part]:
    """Return the pools of a workload in a period with their load at its busiest hour.

    replicas = peak chips / utilisation limit / chips of a replica, rounded up to whole ones as the pool's blocks are.

    Raises: MissingFact when the plan places a workload where no serving point is known.
    """
    found = []
    busiest = float(resolved.peak_rps[work.id][period].max())
    placed = [p for p in plan.placements if (p.period, p.workload) == (period, work.id) and p.chip and p.peak_chips > 0]
    for placement in placed:
        point = points.get((work.id, placement.chip))
        if point is None:
            raise MissingFact(f"{work.id} on {placement.chip}", "serving point", needed_for="the proof", where="plan")
        port = engine_of(resolved, work, placement.chip)
        rate = rate_of(resolved, plan, points, placement)
        replicas = max(1, ceil(placement.peak_chips / resolved.limits.utilisation_max_frac / point.chips - 1e-6))
        found.append(Part(placement, point, port, replicas, placement.peak_chips * rate))
    total = sum(part.rps for part in found)
    on_chips = min(1.0, sum(p.share_frac for p in placed))
    if total <= 0:
        return []
    # Pools that peak at different hours would add up to more than there ever is at once; less than the demand is never replayed.
    scale = busiest * on_chips / total
    return [Part(p.placement, p.point, p.port, p.replicas, p.rps * scale) for p in found]


def rate_of(resolved: Resolved, plan: Plan, points: Mapping[tuple[str, str], ServingPoint], placement: Placement) -> float:
    """Return the requests/s a chip is planned to serve: the point's, through the engine, less the headroom."""
    point, work = points[placement.workload, placement.chip], resolved.workload(placement.workload)
    share = _age_efficiency(plan, resolved, engine_of(resolved, work, placement.chip), placement.period)
    return point.requests_per_s / point.chips * share / (1.0 + plan.headroom_frac.get(work.id, 0.0))


def fleet_of(
    resolved: Resolved,
    plan: Plan,
    work: Workload,
    parts: list[Part],
    *,
    period: int,
    scale: float,
    extra_frac: float,
    margin_quantile: float,
) -> tuple[Fleet, float, int]:
    """Return a fleet scaled down, the requests/s that go with it, and its replicas.

    Every pool keeps the load of its replicas: n of R replicas get n / R of the pool's traffic. `extra_frac` adds
    capacity, as more headroom in the plan would, by spreading the same traffic over more replicas.
    """
    pools, route, rps, count = [], dict[str, float](), 0.0, 0
    for part in parts:
        simulated = max(min(2, part.replicas), min(part.replicas, round(part.replicas * scale)))
        load = part.rps_per_replica * simulated / (1.0 + extra_frac)
        if load <= 0:
            continue
        name = part.placement.pool
        pools.append(_pool(resolved, work, part, simulated, margin_quantile, _age_efficiency(plan, resolved, part.port, period)))
        route[name] = load
        rps += load
        count += simulated
    routing = "sticky" if work.lengths.cached_frac > SHARED_FRAC else "weighted"
    return Fleet(tuple(pools), {work.id: route, WARM_UP: route}, routing=routing, slos={work.id: work.slo}), rps, count


def _pool(resolved: Resolved, work: Workload, part: Part, replicas: int, margin_quantile: float, efficiency_frac: float) -> Pool:
    chip, point = resolved.chips[part.placement.chip], part.point
    slower = efficiency_frac / (1.0 + point.error_frac * _NORMAL.inv_cdf(margin_quantile) / _NORMAL.inv_cdf(0.9))
    scenario = resolved.scenario
    times = performance.step_times(
        resolved.models[work.model], chip, point.layout, efficiency_frac=slower / point.slower_ratio,
        efficiency_path=str(scenario.file_beside(scenario.efficiency)) if scenario.efficiency else "",
    )  # fmt: skip
    return Pool(
        name=part.placement.pool,
        step_times=times,
        replicas=replicas,
        model=work.model,
        chip=chip.id,
        cloud=part.placement.cloud,
        region=part.placement.region,
        vendor=chip.vendor,
        chips_per_replica=point.chips,
        max_batch=int(min(MAX_BATCH, max(1, ceil(1.25 * point.batch)))),
        routing="sticky" if work.lengths.cached_frac > SHARED_FRAC else "least-loaded",
        busy_w_per_chip=point.w_per_chip,
    )


def _age_efficiency(plan: Plan, resolved: Resolved, port: Port | None, period: int) -> float:
    """Return the efficiency of an engine in a period, as the planner counts it: a port the plan starts is young at first."""
    if port is None:
        return 1.0
    pair = (port.model_family, port.chip_family)
    started = [p for p in plan.ports if (p["model_family"], p["chip_family"]) == pair]
    if not started:
        return port.efficiency_frac
    first = date.fromisoformat(str(started[0]["start"]))
    now = date.fromisoformat(resolved.periods[period].start)
    months = (now.year - first.year) * 12 + now.month - first.month - (port.lead_months or 0.0)
    return efficiency(port, max(0.0, months))
