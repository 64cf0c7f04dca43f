"""What happens to a fleet while it serves: outages and repairs, reclaims, prices, scaling, and samples of its state.

Nothing here is in the compiled loop. The loop runs up to the next of these moments, Python acts, the loop goes on; so a
scaling policy is a plain function.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from polysilicon.errors import InputError, did_you_mean
from polysilicon.simulator.fleet import Fleet
from polysilicon.simulator.host import Host
from polysilicon.simulator.state import DRAINING, FAILED, OFF, STARTING, STRANDED, UP

Scope = Literal["replica", "node", "pool", "region", "cloud", "vendor", "chip"]
SCOPES: tuple[str, ...] = ("replica", "node", "pool", "region", "cloud", "vendor", "chip")


@dataclass(frozen=True, slots=True)
class Outage:
    """Replicas lost from `at_s` on, with their memory; back after `duration_s` and the pool's start-up time.

    `name` is a pool (with #i for its i-th replica or node), a region, a cloud, a vendor or a chip, by `scope`.
    `duration_s` of infinity is for good. `why` is told in the report: outage, reclaim, maintenance, slip.
    """

    at_s: float
    scope: str
    name: str
    duration_s: float = math.inf
    why: str = "outage"


@dataclass(frozen=True, slots=True)
class PriceChange:
    """A new price of the pools that match `pool` (a glob) from `at_s` on."""

    at_s: float
    pool: str
    usd_per_chip_hour: float


@dataclass(frozen=True, slots=True)
class WeightChange:
    """New shares of a workload's requests among the pools, in the order of the fleet's pools, from `at_s` on: as a broker directs them."""

    at_s: float
    workload: str
    shares: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Availability:
    """From `at_s` on at most `replicas` of a pool can be had; what is above is taken back, what comes back is started."""

    at_s: float
    pool: str
    replicas: int


@dataclass(frozen=True, slots=True)
class PoolState:
    """What a scaling policy sees of one pool."""

    up: int
    starting: int
    outstanding: int
    waiting: int
    busy_frac: float  # of the time since the policy last looked
    oldest_wait_s: float  # how long the request at the head of the longest-standing queue has waited
    max_batch: int


@dataclass(frozen=True, slots=True)
class Autoscaling:
    """Scale one pool between `least` and its own replicas, looking every `interval_s`.

    `policy` is utilisation (`target_ratio`: busy share), queue (outstanding requests a replica) or slo (seconds a
    request may wait). `down_after_s` is how long fewer must do before a replica drains.
    """

    pool: str
    policy: str = "utilisation"
    target_ratio: float = 0.7  # a share, requests a replica or seconds, by policy
    least: int = 1
    interval_s: float = 15.0
    down_after_s: float = 300.0


def _by_utilisation(view: PoolState, target: float) -> int:
    return math.ceil(view.up * view.busy_frac / target)


def _by_queue(view: PoolState, target: float) -> int:
    return math.ceil(view.outstanding / target)


def _by_slo(view: PoolState, target: float) -> int:
    if view.oldest_wait_s > 0.5 * target:
        return view.up + max(1, math.ceil(0.25 * view.up))
    return view.up - (view.waiting == 0 and view.outstanding < 0.5 * view.up * view.max_batch)


POLICIES: dict[str, Callable[[PoolState, float], int]] = {"utilisation": _by_utilisation, "queue": _by_queue, "slo": _by_slo}


@dataclass(frozen=True, slots=True)
class Happenings:
    """Everything that is to happen to a fleet in one run."""

    outages: Sequence[Outage] = ()
    prices: Sequence[PriceChange] = ()
    weights: Sequence[WeightChange] = ()
    availability: Sequence[Availability] = ()
    autoscaling: Sequence[Autoscaling] = ()
    sample_s: float = 0.0  # 0: no samples
    watch: str = ""  # the replica whose own samples are kept, as pool#3; without, the first one an outage takes, else the first


def replicas_of(fleet: Fleet, scope: str, name: str) -> list[int]:
    """Return the indexes of the replicas a scope and a name stand for.

    Raises: InputError when there are none.
    """
    if scope not in SCOPES:
        raise InputError(f'"{scope}" is not one of {", ".join(SCOPES)}', where="outage")
    base, _, number = name.partition("#")
    found: list[int] = []
    first = 0
    known: set[str] = set()
    for pool in fleet.pools:
        mine = list(range(first, first + pool.replicas))
        first += pool.replicas
        label = pool.name if scope in ("replica", "node", "pool") else str(getattr(pool, scope))
        known.add(label)
        if not fnmatchcase(label, base):
            continue
        if scope in ("replica", "node"):
            size = 1 if scope == "replica" else pool.replicas_per_node
            if not number.isdigit() or int(number) * size >= len(mine):
                raise InputError(f'"{name}" is no {scope}; pool {pool.name} has {pool.name}#0 to #{(len(mine) - 1) // size}', where="outage")
            mine = mine[int(number) * size : (int(number) + 1) * size]
        found += mine
    if not found:
        raise InputError(f'no replica has the {scope} "{name}"', where="outage", hint=did_you_mean(base, known))
    return found


def random_outages(
    fleet: Fleet, *, mtbf_hours: float, repair_s: float, span_s: float, seed: int, scope: Literal["replica", "node"] = "node",
) -> list[Outage]:  # fmt: skip
    """Draw failures of each node (or replica) at a mean time between failures, exponentially distributed, seeded."""
    rng = np.random.default_rng(seed)
    found = []
    for pool in fleet.pools:
        units = math.ceil(pool.replicas / (pool.replicas_per_node if scope == "node" else 1))
        for unit in range(units):
            t = rng.exponential(mtbf_hours * 3600)
            while t < span_s:
                found.append(Outage(float(t), scope, f"{pool.name}#{unit}", repair_s, "failure"))
                t += repair_s + rng.exponential(mtbf_hours * 3600)
    return sorted(found, key=lambda o: (o.at_s, o.name))


def spot_reclaims(fleet: Fleet, *, per_hour: float, away_s: float, span_s: float, seed: int) -> list[Outage]:
    """Draw reclaims of each replica of the spot pools at a rate per hour, back after `away_s`, seeded."""
    spot = tuple(pool for pool in fleet.pools if pool.kind == "spot")
    drawn = random_outages(Fleet(spot), mtbf_hours=1 / per_hour, repair_s=away_s, span_s=span_s, seed=seed, scope="replica") if spot else []
    return [Outage(o.at_s, o.scope, o.name, o.duration_s, "reclaim") for o in drawn]


@dataclass
class Stage:
    """One run in progress: the host, the moments to come, and what is noted on the way."""

    host: Host
    happenings: Happenings
    _moments: list[tuple[float, int, bool, Callable[[float], None]]] = field(default_factory=list)
    _notes: list[tuple[float, str]] = field(default_factory=list)
    samples: list[tuple[Any, ...]] = field(default_factory=list)
    replica_samples: list[tuple[Any, ...]] = field(default_factory=list)
    watched_replica: int = 0
    bill_usd: NDArray[np.float64] = field(init=False)
    counted_s: NDArray[np.float64] = field(init=False)
    planned: int = 0
    down: dict[int, int] = field(default_factory=dict)  # replica -> outages it is in
    taken: dict[int, int] = field(default_factory=dict)  # replica -> number of its latest start, to void older ones

    def __post_init__(self) -> None:
        fleet = self.host.fleet
        self.bill_usd = np.zeros(len(fleet.pools))
        self.counted_s = np.zeros(len(fleet.pools))
        self.prices = np.array([pool.usd_per_chip_hour for pool in fleet.pools])
        for outage in self.happenings.outages:
            self.at(outage.at_s, lambda t, o=outage: self._lose(t, o))  # type: ignore[misc]
        for change in self.happenings.prices:
            self.at(change.at_s, lambda t, c=change: self._reprice(t, c))  # type: ignore[misc]
        for moved in self.happenings.weights:
            self.at(moved.at_s, lambda t, m=moved: self._reweigh(t, m))  # type: ignore[misc]
        for supply in self.happenings.availability:
            self.at(supply.at_s, lambda t, a=supply: self._supply(t, a))  # type: ignore[misc]
        for scaling in self.happenings.autoscaling:
            self._begin_scaling(scaling)
        self.watched_replica = _watched(self.happenings, fleet)
        if self.happenings.sample_s > 0:
            self._sample(0.0)

    # --- the clock ---------------------------------------------------------------------------------------------------
    def at(self, when_s: float, action: Callable[[float], None], *, ticks: bool = False) -> None:
        """Plan an action; one that `ticks` does not keep the run alive by itself."""
        self.planned += 1  # equal times act in the order they were planned
        heapq.heappush(self._moments, (when_s, self.planned, ticks, action))

    def run(self, until_s: float = math.inf, progress: Callable[[float], None] | None = None) -> None:
        """Run to the end of all requests and events, or to `until_s`."""
        while True:
            when = min(self._moments[0][0] if self._moments else math.inf, until_s)
            more = self.host.run(when)
            if progress:
                progress(self.host.now_s)
            alive = more or any(not ticks for _, _, ticks, _ in self._moments) or self._door_may_open()
            if not self._moments or when >= until_s or not alive:
                return
            when, _, _, action = heapq.heappop(self._moments)
            self.host.set_now(when)
            action(when)

    def _door_may_open(self) -> bool:
        """Return whether somebody waits for a replica that scaling could still start."""
        if self.host.state.counters[STRANDED] < 0:
            return False
        scaled = [r for a in self.happenings.autoscaling for r in replicas_of(self.host.fleet, "pool", a.pool)]
        return any(self.down.get(r, 0) == 0 for r in scaled)

    @property
    def notes(self) -> tuple[tuple[float, str], ...]:
        """Return what happened, and when."""
        return tuple(self._notes)

    def note(self, t: float, words: str) -> None:
        """Remember that something happened."""
        self._notes.append((t, words))

    # --- replicas come and go ----------------------------------------------------------------------------------------
    def start(self, t: float, replica: int) -> None:
        """Start a replica; it is up after its pool's start-up time, and paid for from now on."""
        state = self.host.state.reps["state"]
        if state[replica] in (UP, STARTING) or self.down.get(replica, 0) > 0:
            return
        pool = self.host.fleet.pools[int(self.host.state.reps["pool"][replica])]
        if pool.startup_s <= 0 or state[replica] not in (OFF, FAILED):
            self._up(replica)
            return
        state[replica] = STARTING
        self.host.state.reps["up_since"][replica] = t
        number = self.taken[replica] = self.taken.get(replica, 0) + 1
        self.at(t + pool.startup_s, lambda _t: self._up(replica) if self.taken[replica] == number else None)

    def _up(self, replica: int) -> None:
        if self.down.get(replica, 0) == 0:
            self.host.rise(replica)
            self.host.open_door()

    def _stop(self, replica: int, state: int) -> int:
        self.taken[replica] = self.taken.get(replica, 0) + 1
        return self.host.fail(replica, state)

    def _lose(self, t: float, outage: Outage) -> None:
        lost = replicas_of(self.host.fleet, outage.scope, outage.name)
        was_off = {r for r in lost if self.host.state.reps["state"][r] == OFF}
        moved = 0
        for r in lost:
            self.down[r] = self.down.get(r, 0) + 1
            moved += self._stop(r, FAILED)
        for r in was_off:
            self.host.state.reps["state"][r] = OFF
        self.note(t, f"{outage.why}: {outage.scope} {outage.name}, {len(lost)} replicas, {moved} requests moved")
        if math.isfinite(outage.duration_s):
            self.at(t + outage.duration_s, lambda at: self._repair(at, outage, [r for r in lost if r not in was_off], lost))

    def _repair(self, t: float, outage: Outage, back: list[int], lost: list[int]) -> None:
        self.note(t, f"repair: {outage.scope} {outage.name}")
        for r in lost:
            self.down[r] -= 1
        for r in back:
            self.start(t, r)

    def _supply(self, t: float, supply: Availability) -> None:
        mine = replicas_of(self.host.fleet, "pool", supply.pool)
        state = self.host.state.reps["state"]
        here = [r for r in mine if state[r] in (UP, STARTING)]
        for r in here[max(0, supply.replicas) :][::-1]:
            self._stop(r, OFF)
        missing = [r for r in mine if state[r] in (OFF, FAILED)][: max(0, supply.replicas - len(here))]
        for r in missing:
            self.start(t, r)
        self.note(t, f"availability: {supply.pool} {supply.replicas} replicas")

    # --- money -------------------------------------------------------------------------------------------------------
    def count_money(self, t: float) -> None:
        """Book what each pool has cost since money was last counted, at its present price."""
        reps = self.host.state.reps
        running = np.isin(reps["state"], (UP, STARTING, DRAINING))
        up = reps["up_s"] + np.where(running, t - reps["up_since"], 0.0)
        seconds = np.bincount(reps["pool"], weights=up, minlength=len(self.prices)).astype(np.float64)
        chips = np.array([pool.chips_per_replica for pool in self.host.fleet.pools])
        self.bill_usd += (seconds - self.counted_s) * chips * self.prices / 3600
        self.counted_s = np.asarray(seconds, np.float64)

    def _reprice(self, t: float, change: PriceChange) -> None:
        self.count_money(t)
        for p, pool in enumerate(self.host.fleet.pools):
            if fnmatchcase(pool.name, change.pool):
                self.prices[p] = change.usd_per_chip_hour
                self.host.state.price[p] = change.usd_per_chip_hour * pool.chips_per_replica
        self.note(t, f"price: {change.pool} {change.usd_per_chip_hour:g} $/chip-hour")

    def _reweigh(self, t: float, change: WeightChange) -> None:
        if change.workload not in self.host.names:
            return
        state, w = self.host.state, self.host.names.index(change.workload)
        state.share[w] = change.shares
        state.workloads["pools"][w] = np.count_nonzero(state.share[w])
        state.workloads["only"][w] = int(np.argmax(state.share[w]))
        self.note(t, f"weights: {change.workload} {', '.join(f'{x:.3f}' for x in change.shares)}")

    # --- scaling -----------------------------------------------------------------------------------------------------
    def _begin_scaling(self, scaling: Autoscaling) -> None:
        if scaling.policy not in POLICIES:
            raise InputError(f'"{scaling.policy}" is not one of {", ".join(POLICIES)}', where="autoscaling")
        if not (scaling.target_ratio > 0 and scaling.interval_s > 0 and scaling.least >= 0):
            raise InputError("target_ratio and interval_s must be above 0, least 0 or more", where=f"autoscaling of {scaling.pool}")
        mine = replicas_of(self.host.fleet, "pool", scaling.pool)
        for r in mine[scaling.least :]:
            self.host.fail(r, OFF)
        memory = {"busy": 0.0, "enough_since": 0.0}
        self.at(scaling.interval_s, lambda t: self._scale(t, scaling, mine, memory), ticks=True)

    def _scale(self, t: float, scaling: Autoscaling, mine: list[int], memory: dict[str, float]) -> None:
        self.at(t + scaling.interval_s, lambda at: self._scale(at, scaling, mine, memory), ticks=True)
        view, memory["busy"] = self._look(t, scaling, mine, memory["busy"])
        wanted = min(len(mine), max(scaling.least, POLICIES[scaling.policy](view, scaling.target_ratio)))
        have = view.up + view.starting
        if have == 0 and self.host.state.counters[STRANDED] >= 0:
            wanted = max(1, wanted)
        if wanted >= have:
            memory["enough_since"] = t
        state = self.host.state.reps["state"]
        if wanted > have:
            for r in [r for r in mine if state[r] not in (UP, STARTING)][: wanted - have]:
                self.start(t, r)
            self.note(t, f"scale up: {scaling.pool} {have} -> {wanted}")
        elif wanted < have and t - memory["enough_since"] >= scaling.down_after_s:
            up = sorted((r for r in mine if state[r] == UP), key=lambda r: int(self.host.state.reps["outstanding"][r]))
            for r in up[: have - wanted]:
                self.host.drain(r)
            memory["enough_since"] = t
            self.note(t, f"scale down: {scaling.pool} {have} -> {wanted}")

    def _look(self, t: float, scaling: Autoscaling, mine: list[int], busy_before: float) -> tuple[PoolState, float]:
        reps = self.host.state.reps[mine[0] : mine[-1] + 1]
        flying = (reps["planned"] > 0) & (reps["state"] == UP)
        busy = float(reps["busy_s"].sum() + (t - reps["t0"][flying]).sum())
        up = int((reps["state"] == UP).sum())
        heads = self.host.state.queues[mine[0] : mine[-1] + 1, ::2]
        first = heads[heads >= 0]
        oldest = float(t - self.host.state.slots["arrival"][first].min()) if len(first) else 0.0
        view = PoolState(
            up=up, starting=int((reps["state"] == STARTING).sum()), outstanding=int(reps["outstanding"].sum()),
            waiting=int(reps["waiting"].sum()), busy_frac=min(1.0, (busy - busy_before) / (max(1, up) * scaling.interval_s)),
            oldest_wait_s=oldest, max_batch=self.host.fleet.pools[int(reps["pool"][0])].max_batch,
        )  # fmt: skip
        return view, busy

    # --- samples -----------------------------------------------------------------------------------------------------
    def _sample(self, t: float) -> None:
        reps = self.host.state.reps
        for p, pool in enumerate(self.host.fleet.pools):
            mine = reps[reps["pool"] == p]
            up = mine["state"] == UP
            kv = float(mine["used"].sum() / (max(1, int(up.sum())) * pool.kv_blocks))
            self.samples.append((t, p, int(up.sum()), int(mine["waiting"].sum()), int(mine["n"].sum()), kv, float(self.prices[p])))
        one = reps[self.watched_replica]
        kv = float(one["used"] / self.host.fleet.pools[int(one["pool"])].kv_blocks)
        self.replica_samples.append((t, int(one["waiting"]), int(one["n"]), kv))
        self.at(t + self.happenings.sample_s, self._sample, ticks=True)

    def timeline(self) -> dict[str, NDArray[Any]]:
        """Return the samples as columns: t_s, pool, up, waiting, batch, kv_frac, usd_per_chip_hour."""
        names = ("t_s", "pool", "up", "waiting", "batch", "kv_frac", "usd_per_chip_hour")
        return {name: np.array(column) for name, column in zip(names, zip(*self.samples, strict=True), strict=False)} if self.samples else {}

    def watched(self) -> dict[str, Any]:
        """Return the samples of the watched replica as columns, with its name and index."""
        if not self.replica_samples:
            return {}
        pool = int(self.host.state.reps["pool"][self.watched_replica])
        number = self.watched_replica - int(self.host.state.pools["first"][pool])
        columns = zip(("t_s", "waiting", "batch", "kv_frac"), zip(*self.replica_samples, strict=True), strict=True)
        name = f"{self.host.fleet.pools[pool].name}#{number}"
        return {"name": name, "replica": self.watched_replica, **{key: np.array(values) for key, values in columns}}


def _watched(happenings: Happenings, fleet: Fleet) -> int:
    """Return the replica to watch."""
    if happenings.watch:
        return replicas_of(fleet, "replica", happenings.watch)[0]
    first = min(happenings.outages, key=lambda o: o.at_s, default=None)
    return replicas_of(fleet, first.scope, first.name)[0] if first else 0


def bills(stage: Stage, fleet: Fleet, end_s: float) -> Mapping[str, float]:
    """Return what each pool cost over the run, each hour at the price it had."""
    stage.count_money(end_s)
    return {pool.name: float(usd) for pool, usd in zip(fleet.pools, stage.bill_usd, strict=True)}


def check(happenings: Happenings, fleet: Fleet) -> None:
    """Say what cannot happen to this fleet. Raises: InputError."""
    for outage in happenings.outages:
        replicas_of(fleet, outage.scope, outage.name)
    _finite([(o.at_s, "an outage") for o in happenings.outages] + [(p.at_s, "a price") for p in happenings.prices])
    for change in happenings.prices:
        if not (math.isfinite(change.usd_per_chip_hour) and change.usd_per_chip_hour >= 0):
            raise InputError(f"a price is {change.usd_per_chip_hour}; it must be 0 or more", where="price tape")
        replicas_of(fleet, "pool", change.pool)
    for supply in happenings.availability:
        replicas_of(fleet, "pool", supply.pool)
    _finite([(w.at_s, "a change of weights") for w in happenings.weights])
    for moved in happenings.weights:
        if len(moved.shares) != len(fleet.pools) or not all(math.isfinite(x) and x >= 0 for x in moved.shares):
            raise InputError(f"{len(moved.shares)} shares {moved.shares} for {len(fleet.pools)} pools; one of 0 or more each", where="weights")
    if happenings.watch:
        replicas_of(fleet, "replica", happenings.watch)


def _finite(times: Iterable[tuple[float, str]]) -> None:
    for at_s, what in times:
        if not (math.isfinite(at_s) and at_s >= 0):
            raise InputError(f"{what} is set for {at_s} s; it must be 0 or later", where="events")
