"""The fleet a plan holds for one workload at its busiest hour, at a scale that can be replayed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date
from math import ceil
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from polysilicon import performance
from polysilicon.application.workload import Workload
from polysilicon.errors import MissingFact
from polysilicon.model.port import Port
from polysilicon.performance import ServingPoint, StepTimes
from polysilicon.planner.problem import efficiency
from polysilicon.portfolio import Placement, Plan
from polysilicon.scenario import Resolved
from polysilicon.silicon.chip import Chip
from polysilicon.simulator.fleet import MAX_BATCH, Fleet, Pool
from polysilicon.study.promises import engine_of
from polysilicon.study.traffic import WARM_UP

F8 = NDArray[np.float64]
SHARED_FRAC = 0.05  # of the prompt: above it, a request goes where its session is
DECODERS = 4  # so many replicas at least decode in a proof, so that whole ones keep the plan's proportion
_NORMAL = NormalDist()


@dataclass(frozen=True, slots=True)
class Scaled:
    """A fleet scaled down for a replay, with the traffic that goes with it."""

    fleet: Fleet
    rps: float
    replicas: int
    weights: Mapping[str, float]  # by pool: how many requests of the plan one replayed request stands for


@dataclass(frozen=True, slots=True)
class DecodePart:
    """The replicas that decode what a part prefills, and the wire between."""

    point: ServingPoint
    port: Port | None
    replicas: int
    link_gb_per_s: float  # of a sending chip
    latency_s: float


@dataclass(frozen=True, slots=True)
class Part:
    """What a plan holds for one workload in one pool at its busiest hour."""

    placement: Placement
    point: ServingPoint
    port: Port | None
    replicas: int  # whole replicas in the chips held, the plan's spare share included
    rps: float  # what the plan sends here in that hour
    decode: DecodePart | None = None  # where other replicas decode what these prefill

    @property
    def points(self) -> tuple[ServingPoint, ...]:
        """Return the serving points, one a phase that is apart."""
        return (self.point,) if self.decode is None else (self.point, self.decode.point)

    @property
    def tpot_s(self) -> float:
        """Return the time per output token, of the replicas that decode."""
        return self.point.tpot_s if self.decode is None else self.decode.point.tpot_s

    @property
    def held_replicas(self) -> int:
        """Return all replicas, those that decode included."""
        return self.replicas + (0 if self.decode is None else self.decode.replicas)

    @property
    def rps_per_replica(self) -> float:
        """Return the load of one replica."""
        return self.rps / self.replicas


def is_sticky(work: Workload) -> bool:
    """Return whether requests go where their session is."""
    return work.lengths.cached_frac > SHARED_FRAC


def parts_of(resolved: Resolved, plan: Plan, points: Mapping[tuple[str, str], ServingPoint], work: Workload, period: int) -> list[Part]:
    """Return the pools of a workload in a period with their load at its busiest hour.

    replicas = peak chips / utilisation limit / chips of a replica, rounded up to whole ones as the pool's blocks are.

    Raises: MissingFact when the plan places a workload where no serving point is known.
    """
    found = []
    busiest = float(resolved.peak_rps[work.id][period].max())
    placed = [p for p in plan.placements if (p.period, p.workload) == (period, work.id) and p.chip and p.peak_chips > 0]
    for placement in placed:
        point = point_of(plan, points, placement)
        port = engine_of(resolved, work, placement.chip)
        rate = rate_of(resolved, plan, points, placement)
        replicas = _replicas(resolved, placement.peak_chips, point)
        found.append(Part(placement, point, port, replicas, placement.peak_chips * rate, _decode_part(resolved, plan, work, placement)))
    total = sum(part.rps for part in found)
    if total <= 0:
        return []
    # Pools that peak at different hours would add up to more than there ever is at once. Less than the demand is never replayed,
    # but where tokens are bought they may take the peak: then chips get what the plan sends them at most.
    bought = any((p.period, p.workload) == (period, work.id) and not p.chip and p.share_frac > 0 for p in plan.placements)
    scale = min(1.0, busiest / total) if bought else busiest * min(1.0, sum(p.share_frac for p in placed)) / total
    return [replace(p, rps=p.rps * scale) for p in found]


def point_of(plan: Plan, points: Mapping[tuple[str, str], ServingPoint], placement: Placement) -> ServingPoint:
    """Return the serving point a placement was sized with; of prefill alone where another pool decodes.

    Raises: MissingFact when there is none.
    """
    if placement.decode is None:
        point = points.get((placement.workload, placement.chip))
    else:
        point = _phase_point(plan, placement.workload, placement.chip, "prefill")
    if point is None:
        raise MissingFact(f"{placement.workload} on {placement.chip}", "serving point", needed_for="the proof", where="plan")
    return point


def _phase_point(plan: Plan, workload: str, chip: str, phase: str) -> ServingPoint | None:
    return next((s for s in plan.phase_serving if (s.workload, s.chip, s.phase) == (workload, chip, phase)), None)


def _replicas(resolved: Resolved, peak_chips: float, point: ServingPoint) -> int:
    return max(1, ceil(peak_chips / resolved.limits.utilisation_max_frac / point.chips - 1e-6))


def _decode_part(resolved: Resolved, plan: Plan, work: Workload, placement: Placement) -> DecodePart | None:
    """Return the replicas that decode a placement's requests. Raises: MissingFact when their serving point is not known."""
    side = placement.decode
    if side is None:
        return None
    point = _phase_point(plan, work.id, side.chip, "decode")
    part = resolved.disaggregation
    link = next((x for x in part.links if x.id == side.link), None) if part is not None else None
    if point is None or link is None:
        lacking = "serving point" if point is None else f"link {side.link}"
        raise MissingFact(f"{work.id} decoding on {side.chip}", lacking, needed_for="the proof", where="plan")
    replicas = _replicas(resolved, side.peak_chips, point)
    return DecodePart(point, engine_of(resolved, work, side.chip), replicas, link.gb_per_s_per_chip, link.latency_s)


def rate_of(resolved: Resolved, plan: Plan, points: Mapping[tuple[str, str], ServingPoint], placement: Placement) -> float:
    """Return the requests/s a chip is planned to serve: the point's, through the engine, less the headroom."""
    point, work = point_of(plan, points, placement), resolved.workload(placement.workload)
    share = _age_efficiency(plan, resolved, engine_of(resolved, work, placement.chip), placement.period)
    return point.requests_per_s / point.chips * share / (1.0 + plan.headroom_frac.get(placement.headroom_key, 0.0))


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
) -> Scaled:
    """Return a fleet scaled down.

    Every pool keeps the load of its replicas: n of R replicas get n / R of the pool's traffic. A small pool is scaled down less
    than a large one, so its requests weigh less. `extra_frac` adds capacity, as more headroom in the plan would, by spreading
    the same traffic over more replicas.
    """
    pools, route, weights, rps, count = [], dict[str, float](), dict[str, float](), 0.0, 0
    for part in parts:
        fewest = 2 if part.decode is None else max(2, ceil(DECODERS * part.replicas / part.decode.replicas))
        simulated = max(min(fewest, part.replicas), min(part.replicas, round(part.replicas * scale)))
        load = part.rps_per_replica * simulated / (1.0 + extra_frac)
        if load <= 0:
            continue
        name = part.placement.pool
        made = _pool(resolved, work, part, simulated, margin_quantile, _age_efficiency(plan, resolved, part.port, period))
        if part.decode is not None:
            pair = _decode_pool(resolved, work, part, simulated, margin_quantile, _age_efficiency(plan, resolved, part.decode.port, period))
            made = replace(made, role="prefill", decode_pool=pair.name)
            pools.append(pair)
            weights[pair.name] = part.rps / load
            count += pair.replicas
        pools.append(made)
        route[name] = load
        weights[name] = part.rps / load
        rps += load
        count += simulated
    routing = "sticky" if is_sticky(work) else "weighted"
    return Scaled(Fleet(tuple(pools), {work.id: route, WARM_UP: route}, routing=routing, slos={work.id: work.slo}), rps, count, weights)


def prefill_s(fleet: Fleet, workload: str, prompts: F8) -> F8:
    """Return how long each prompt (tokens, none cached) keeps the fleet's busiest pool busy, pools sharing prompts by the route.

    seconds(n) = max over pools of  share of the route / replicas x (n x s per token of a full step + pair_s x n (n + 1) / 2).
    """
    route = fleet.routes[workload]
    busy = np.zeros(len(prompts))
    for pool in fleet.pools:
        if share := route.get(pool.name, 0.0) / sum(route.values()) / pool.replicas:
            times, most = pool.step_times, pool.max_step_tokens
            per_token = (float(times.tokens_s[most]) + times.prefill_step_s) / most
            busy = np.maximum(busy, share * (prompts * per_token + times.pair_s * prompts * (prompts + 1.0) / 2.0))
    return busy


def _pool(resolved: Resolved, work: Workload, part: Part, replicas: int, margin_quantile: float, efficiency_frac: float) -> Pool:
    chip, point = resolved.chips[part.placement.chip], part.point
    slower = efficiency_frac / (1.0 + point.error_frac * _NORMAL.inv_cdf(margin_quantile) / _NORMAL.inv_cdf(0.9))
    times = _step_times(resolved, work, chip, point, slower, None if part.decode is None else part.decode.link_gb_per_s)
    if part.decode is not None:
        times = replace(times, transfer_latency_s=times.transfer_latency_s + part.decode.latency_s)
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
        routing="sticky" if is_sticky(work) else "least-loaded",
        busy_w_per_chip=point.w_per_chip,
    )


def _step_times(resolved: Resolved, work: Workload, chip: Chip, point: ServingPoint, efficiency_frac: float, wire: float | None) -> StepTimes:
    scenario = resolved.scenario
    return performance.step_times(
        resolved.models[work.model], chip, point.layout, efficiency_frac=efficiency_frac / point.slower_ratio, link_gb_per_s=wire,
        efficiency_path=str(scenario.file_beside(scenario.efficiency)) if scenario.efficiency else "",
    )  # fmt: skip


def _decode_pool(resolved: Resolved, work: Workload, part: Part, prefilling: int, margin_quantile: float, efficiency_frac: float) -> Pool:
    """Return the replicas that decode, in the plan's proportion to those that prefill."""
    other, side = part.decode, part.placement.decode
    if other is None or side is None:
        raise ValueError("this part decodes where it prefills")
    chip, point = resolved.chips[side.chip], other.point
    slower = efficiency_frac / (1.0 + point.error_frac * _NORMAL.inv_cdf(margin_quantile) / _NORMAL.inv_cdf(0.9))
    times = _step_times(resolved, work, chip, point, slower, None)
    return Pool(
        name=f"{part.placement.pool}:decode",
        step_times=times,
        replicas=max(1, int(other.replicas * prefilling / part.replicas + 1e-6)),  # never more than the plan's proportion
        model=work.model,
        chip=chip.id,
        cloud=side.cloud,
        region=side.region,
        vendor=chip.vendor,
        role="decode",
        chips_per_replica=point.chips,
        max_batch=int(min(MAX_BATCH, max(1, ceil(1.25 * point.batch)))),
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
