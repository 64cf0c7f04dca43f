"""A fleet: pools of equal replicas, what each costs and draws, and which workloads go where."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from polysilicon import routing
from polysilicon.application.workload import Slo, Workload
from polysilicon.errors import InputError, InputErrors, MissingFact, unknown_name
from polysilicon.model.port import Port
from polysilicon.performance import StepTimes
from polysilicon.portfolio import Placement, Plan
from polysilicon.simulator.state import MAX_KV_TOKENS, ROLES

if TYPE_CHECKING:
    from polysilicon.catalogue import Catalogue

MAX_BATCH = 4096
ACCEPTANCE = ("sampled", "mean")
IDLE_POWER_FRAC = 0.3  # assumed share of busy power that an idle replica draws


@dataclass(frozen=True, slots=True)
class Pool:
    """Equal replicas of one model on one chip in one place.

    `role` is both, prefill or decode; a prefill pool names the `decode_pool` its KV goes to. `accepted_tokens` is what
    one decode step yields on average with speculative decoding of `draft_tokens` drafts (1 without).
    """

    name: str
    step_times: StepTimes = field(repr=False)
    replicas: int = 1
    model: str = ""
    chip: str = ""
    cloud: str = ""
    region: str = ""
    vendor: str = ""
    role: str = "both"
    decode_pool: str = ""
    chips_per_replica: int = 1
    max_batch: int = 256
    block_tokens: int = 16
    watermark_frac: float = 0.01  # of KV blocks kept free when a request is admitted
    context_tokens: int = 0  # 0: no limit beyond the KV cache
    queue_requests: int | None = None  # waiting requests a replica takes before it refuses; None: no limit
    routing: str = "least-loaded"  # between the replicas of this pool
    prefix_gain_requests: float = 8.0  # how much load a full prefix hit is worth to the router
    draft_tokens: int = 0
    accepted_tokens: float = 1.0
    acceptance: str = "sampled"  # each step draws how many drafts it accepts; mean: every step yields accepted_tokens
    draft_s: float = 0.0  # drafting, per decode step
    deferred_batch: int | None = None  # work that may wait fills a replica up to so many requests; None: half of max_batch
    startup_s: float = 0.0
    replicas_per_node: int = 1
    kind: str = "on_demand"
    usd_per_chip_hour: float = 0.0
    busy_w_per_chip: float = 0.0
    idle_w_per_chip: float = 0.0
    pue: float = 1.0
    usd_per_kwh: float = 0.0
    g_co2_per_kwh: float = 0.0

    @property
    def max_step_tokens(self) -> int:
        """Return the token budget of one step: as far as the step table goes."""
        return len(self.step_times.tokens_s) - 1

    @property
    def kv_blocks(self) -> int:
        """Return the whole KV blocks one replica has."""
        return self.step_times.kv_tokens // self.block_tokens

    @property
    def chips(self) -> int:
        """Return the chips of the whole pool."""
        return self.replicas * self.chips_per_replica


@dataclass(frozen=True, slots=True)
class Fleet:
    """Pools and routes. `routes[workload][pool]` is the share of a workload a pool should get; without routes every
    workload may go to every pool, in proportion to its replicas.

    `routing` chooses between the pools of a workload: weighted, least-loaded, sticky, prefix or price.
    """  # noqa: D205

    pools: tuple[Pool, ...]
    routes: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    routing: str = "weighted"
    prefix_memory_s: float = math.inf  # how long the prefix router believes that a replica keeps what it was sent
    slos: Mapping[str, Slo] = field(default_factory=dict)

    @property
    def replicas(self) -> int:
        """Return the replicas of all pools."""
        return sum(pool.replicas for pool in self.pools)

    def pool(self, name: str) -> Pool:
        """Return a pool by name. Raises: InputError."""
        for pool in self.pools:
            if pool.name == name:
                return pool
        raise unknown_name(name, [p.name for p in self.pools], where="fleet", what="pool", plural="pools")

    def shares(self, workload: str) -> list[float]:
        """Return the workload's weight on each pool, in the fleet's order."""
        entrances = [0.0 if pool.role == "decode" else float(max(pool.replicas, 0)) for pool in self.pools]
        route = self.routes.get(workload, self.routes.get("*"))
        if route is None:
            return [0.0 for _ in self.pools] if self.routes else entrances
        return [float(route.get(pool.name, 0.0)) for pool in self.pools]


def check(fleet: Fleet, *, where: str = "fleet") -> None:
    """Say everything that cannot be right about a fleet. Raises: InputErrors."""
    problems = list(_problems(fleet, where))
    if problems:
        raise InputErrors(problems)


def _problems(fleet: Fleet, where: str) -> list[InputError]:
    names = [pool.name for pool in fleet.pools]
    found: list[InputError] = []
    if not fleet.pools:
        found.append(InputError("has no pools; at least one is needed", where=where))
    twice = sorted({n for n in names if names.count(n) > 1})
    found += [InputError(f'pool "{name}" stands there {names.count(name)} times; names must differ', where=where) for name in twice]
    if fleet.routing not in routing.POLICIES:
        found.append(InputError(f'routing "{fleet.routing}" is not one of {", ".join(routing.POLICIES)}', where=where))
    if not fleet.prefix_memory_s >= 0:
        found.append(InputError(f"prefix_memory_s is {fleet.prefix_memory_s}; it must be 0 or more", where=where))
    for pool in fleet.pools:
        here = f"{where}: pools.{pool.name}"
        found += [InputError(words, where=here) for words in _pool_problems(pool, fleet)]
    for workload, route in fleet.routes.items():
        for name, share in route.items():
            here = f"{where}: routes.{workload}.{name}"
            if name not in names:
                found.append(unknown_name(name, names, where=here, what="pool", plural="pools"))
            elif fleet.pool(name).role == "decode":
                found.append(InputError("is a decode pool; traffic enters at its prefill pool", where=here))
            if not (math.isfinite(share) and share >= 0):
                found.append(InputError(f"weight is {share}; it must be 0 or more", where=here))
        if route and not any(share > 0 for share in route.values()):
            found.append(InputError("all weights are 0; at least one pool must serve it", where=f"{where}: routes.{workload}"))
    return found


def _pool_problems(pool: Pool, fleet: Fleet) -> list[str]:
    times = pool.step_times
    width = 1 + pool.draft_tokens
    names = [p.name for p in fleet.pools]
    rates = (times.sequence_s, times.kv_s_per_token, times.window_s_per_token, times.pair_s, times.prefill_step_s, times.first_token_s, pool.draft_s)
    decode = next((p for p in fleet.pools if p.name == pool.decode_pool), None)
    steps = len(times.tokens_s)
    table = times.tokens_s
    rules = [
        (pool.replicas >= 0, f"replicas is {pool.replicas}; it must be 0 or more"),
        (pool.chips_per_replica >= 1, f"chips_per_replica is {pool.chips_per_replica}; it must be 1 or more"),
        (1 <= pool.max_batch <= MAX_BATCH, f"max_batch is {pool.max_batch}; it must be 1 to {MAX_BATCH}"),
        (1 <= pool.block_tokens <= 4096, f"block_tokens is {pool.block_tokens}; it must be 1 to 4096"),
        (0 <= pool.watermark_frac < 1, f"watermark_frac is {pool.watermark_frac}; it must be 0 or more and below 1"),
        (pool.draft_tokens >= 0, f"draft_tokens is {pool.draft_tokens}; it must be 0 or more"),
        (1 <= pool.accepted_tokens <= width,
        f"accepted_tokens is {pool.accepted_tokens}; it must be 1 to 1 + draft_tokens = {width}"),
        (pool.acceptance in ACCEPTANCE, f'acceptance "{pool.acceptance}" is not one of {", ".join(ACCEPTANCE)}'),
        (pool.role in ROLES, f'role "{pool.role}" is not one of {", ".join(ROLES)}'),
        (pool.routing in routing.POLICIES, f'routing "{pool.routing}" is not one of {", ".join(routing.POLICIES)}'),
        (steps >= 2, f"the step table has {steps} entries; it needs one for 0 and one for 1 token at least"),
        (steps < 2 or (bool(np.isfinite(table).all()) and table[1:].min() > 0),
        "the step table holds a time that is not finite or not above 0"),
        (all(math.isfinite(x) and x >= 0 for x in rates), "a time per sequence, token, pair, prefill step or first token is negative or infinite"),
        (times.kv_tokens >= pool.block_tokens, f"kv_tokens is {times.kv_tokens}; one block of {pool.block_tokens} must fit"),
        (times.kv_tokens <= MAX_KV_TOKENS, f"kv_tokens is {times.kv_tokens}; one replica holds at most {MAX_KV_TOKENS}"),
        (pool.max_batch * width < steps, f"max_batch {pool.max_batch} x {width} tokens exceeds the step's budget of {steps - 1}"),
        (math.isfinite(pool.startup_s) and pool.startup_s >= 0, f"startup_s is {pool.startup_s}; it must be 0 or more"),
        ((pool.role == "prefill") == bool(pool.decode_pool), "a prefill pool, and only that, names its decode_pool"),
        (not pool.decode_pool or pool.decode_pool in names, f'decode_pool "{pool.decode_pool}" is not a pool of this fleet'),
        (decode is None or decode.role == "decode", f'decode_pool "{pool.decode_pool}" does not have the role decode'),
    ]  # fmt: skip
    return [words for fine, words in rules if not fine]


def from_plan(plan: Plan, catalogue: Catalogue, period: int, *, workloads: Sequence[Workload]) -> Fleet:
    """Build the fleet that a plan holds in one period: a pool for every workload on every chip in every place.

    replicas = peak chips x (peak chips held there / peak chips placed there) / chips of a replica, rounded up, so the share
    kept free is in them. Step times come from the same performance functions that made the serving points, slowed by the
    efficiency of the engine as the catalogue knows it: the mature one, or the first one where the plan starts the port.

    Ignores: placements on per-token offers, which have no chips of ours; ports, overlays and efficiency tables that a scenario
    alone states, and how an engine learns between its first and its mature pace. The proof of a plan knows them all; what the
    user measured travels in the plan's serving points.
    Raises: InputError when the period does not exist; MissingFact when the plan has no serving point for a placement.
    """
    if all(p.index != period for p in plan.periods):
        raise InputError(f"the plan has no period {period}; it has {len(plan.periods)}", where="plan")
    by_id = {workload.id: workload for workload in workloads}
    pools: list[Pool] = []
    routes: dict[str, dict[str, float]] = {}
    for placement in plan.placements:
        if placement.period != period or not placement.chip or placement.share_frac <= 0 or placement.workload not in by_id:
            continue
        made = _placed_pools(plan, catalogue, placement)
        pools += made
        routes.setdefault(placement.workload, {})[made[0].name] = placement.share_frac
    slos = {workload.id: workload.slo for workload in workloads}
    return Fleet(tuple(pools), routes, slos=slos)


def _placed_pools(plan: Plan, catalogue: Catalogue, placement: Placement) -> list[Pool]:
    """Return the pool of a placement; where prefill and decode are apart, both, the entrance first.

    Ignores: the wire's rate, which a plan file does not hold: the chip's own scale-out link is taken.
    """
    name, other = f"{placement.workload}:{placement.pool}", placement.decode
    first = _placed_pool(plan, catalogue, placement, name, "both" if other is None else "prefill")
    if other is None:
        return [first]
    there = replace(placement, chip=other.chip, cloud=other.cloud, region=other.region, peak_chips=other.peak_chips)
    second = _placed_pool(plan, catalogue, there, f"{name}:decode", "decode")
    return [replace(first, role="prefill", decode_pool=second.name), replace(second, role="decode")]


def _placed_pool(plan: Plan, catalogue: Catalogue, placement: Placement, name: str, phase: str) -> Pool:
    from polysilicon import performance

    workload = placement.workload
    point = next((s for s in plan.points if (s.workload, s.chip, s.phase) == (workload, placement.chip, phase)), None)
    if point is None:
        raise MissingFact(f"{workload} on {placement.chip}", "serving point", needed_for="the replay", where="plan")
    chip = catalogue.chip(placement.chip)
    model = catalogue.model(point.model)
    port = catalogue.port(model.family, chip.family)
    share = _efficiency(plan, port) if port else 1.0
    times = performance.step_times(model, chip, point.layout, efficiency_frac=share / point.slower_ratio)
    here = (placement.period, placement.chip, placement.cloud, placement.region)
    holdings = [h for h in plan.holdings if (h.period, h.chip, h.cloud, h.region) == here]
    placed = sum(_peak_chips_at(p, here) for p in plan.placements)
    spare = max(1.0, sum(h.peak_chips for h in holdings) / placed) if placed > 0 else 1.0
    chips = sum(h.chips for h in holdings)
    usd = sum(h.chips * h.usd_per_chip_hour for h in holdings) / chips if chips > 0 else 0.0
    return Pool(
        name=name, step_times=times, replicas=max(1, math.ceil(spare * placement.peak_chips / point.chips - 1e-6)),
        model=point.model,
        chip=placement.chip, cloud=placement.cloud, region=placement.region, vendor=chip.vendor, chips_per_replica=point.chips,
        max_batch=int(min(MAX_BATCH, max(1, math.ceil(1.25 * point.batch)))), usd_per_chip_hour=usd, busy_w_per_chip=point.w_per_chip,
        idle_w_per_chip=IDLE_POWER_FRAC * point.w_per_chip,
    )  # fmt: skip


def _peak_chips_at(p: Placement, where: tuple[int, str, str, str]) -> float:
    """Return the peak chips of a placement at (period, chip, cloud, region), of both its phases."""
    here = p.peak_chips if (p.period, p.chip, p.cloud, p.region) == where else 0.0
    other = p.decode
    return here + (other.peak_chips if other is not None and (p.period, other.chip, other.cloud, other.region) == where else 0.0)


def _efficiency(plan: Plan, port: Port) -> float:
    """Return an engine's share of the predicted speed: its first one where the plan starts the port, else its mature one."""
    pair = (port.model_family, port.chip_family)
    started = any((p["model_family"], p["chip_family"]) == pair for p in plan.ports)
    first = port.initial_efficiency_frac
    return first if started and first is not None else port.efficiency_frac
