"""The referee: the same engine, fleet and router in plain Python, one step at a time, with lists and no cleverness.

It shares no code with the compiled loop but `routing.pick`. Slow by design; the compiled loop must agree with it.
"""

from __future__ import annotations

import itertools
import math
from collections import OrderedDict

from scipy.optimize import brentq

from polysilicon import routing
from polysilicon.application.trace import Trace
from polysilicon.simulator.fleet import Fleet, Pool

DONE, TOO_LONG, TOO_LARGE, QUEUE_FULL, EMPTY, UNSERVED = 1, 2, 3, 4, 5, 6


class Request:
    def __init__(self, i: int, trace: Trace) -> None:
        def column(array, missing):
            return array[i] if len(array) else missing

        self.id, self.isl, self.osl = i, int(trace.isl_tokens[i]), int(trace.osl_tokens[i])
        self.workload, self.session = int(column(trace.workload, 0)), int(column(trace.session, -1))
        self.priority, self.think = int(column(trace.priority, 0)), float(column(trace.think_s, 0.0))
        self.arrival, self.start, self.first, self.finished = float(trace.arrival_s[i]), -1.0, -1.0, -1.0
        self.hashes = trace.block_hash[trace.block_offset[i] : trace.block_offset[i + 1]].tolist() if trace.has_blocks else None
        if self.hashes is not None:  # a block that the prompt does not fill is never cached, so nobody asks for it
            self.hashes = self.hashes[: self.isl // trace.block_tokens]
        self.emitted = self.target = self.done = self.steps = self.left = self.blocks = self.order = 0
        self.cached = self.preemptions = self.retries = self.status = 0
        self.shared: list = []
        self.replica = self.source = self.epochs = None
        self.handed_over, self.late = False, 0.0

    def key(self, j: int):
        return self.hashes[j] if self.hashes is not None else (self.session, j)


class Replica:
    def __init__(self, index: int, number: int, pool: Pool, hash_tokens: int, prefix: bool) -> None:
        self.index, self.number, self.pool, self.times = index, number, pool, pool.step_times
        self.hash_tokens, self.hash_blocks, self.prefix = hash_tokens, hash_tokens // pool.block_tokens, prefix
        self.up, self.epoch, self.outstanding, self.nic_free = True, 0, 0, 0.0
        self.wipe()

    def wipe(self) -> None:
        self.running, self.prefilling, self.partial, self.waiting, self.holding = [], [], None, [], []
        self.live, self.idle, self.until, self.step_s = {}, OrderedDict(), math.inf, 0.0

    # memory
    def used(self) -> int:
        return sum(q.blocks - self.hash_blocks * len(q.shared) for q in self.holding) + self.hash_blocks * len(self.live)

    def evict(self) -> None:
        while self.used() + self.hash_blocks * len(self.idle) > self.pool.kv_blocks and self.idle:
            self.idle.popitem(last=False)

    def need(self, q: Request, context: float) -> int:
        prompt = math.ceil(q.target / self.pool.block_tokens)
        return max(prompt, math.ceil((context + self.pool.draft_tokens) / self.pool.block_tokens))

    def context(self, q: Request) -> float:
        return q.target + 1.0 + q.rate * q.steps

    def full(self, q: Request, tokens: int) -> int:
        if not self.prefix or (q.hashes is None and q.session < 0):
            return 0
        return tokens // self.hash_tokens if q.hashes is None else min(min(tokens, q.isl) // self.hash_tokens, len(q.hashes))

    def free(self, q: Request, written: int) -> None:
        self.holding.remove(q)
        for j in range(self.full(q, written) - 1, len(q.shared) - 1, -1):
            if q.key(j) not in self.live and q.key(j) not in self.idle:
                self.idle[q.key(j)] = True
        for key in reversed(q.shared):
            self.live[key] -= 1
            if self.live[key] == 0:
                del self.live[key]
                self.idle[key] = True
        q.shared, q.blocks = [], 0
        self.evict()

    def admit(self, q: Request, t: float, order: int) -> bool:
        pool = self.pool
        q.target = q.isl + q.emitted - q.handed_over
        keys = [q.key(j) for j in range(self.full(q, q.target))]
        prompt = math.ceil(q.target / pool.block_tokens)
        extra = self.need(q, q.target + 1.0) - prompt if q.handed_over else 0
        new = prompt + extra - self.hash_blocks * sum(k in self.live for k in keys)
        reserve = math.ceil(pool.watermark_frac * pool.kv_blocks) if self.used() > 0 else 0
        if self.used() + new + reserve > pool.kv_blocks:
            return False
        found = next((j for j, k in enumerate(keys) if k not in self.live and k not in self.idle), len(keys))
        found = min(found, (q.target - 1) // self.hash_tokens) if keys else 0
        for k in keys:
            self.idle.pop(k, None)
            self.live[k] = self.live.get(k, 0) + 1
        q.shared, q.blocks, q.order, q.steps = keys, prompt + extra, order, 0
        self.holding.append(q)
        self.evict()
        if q.start < 0:
            q.start, q.cached = t, found * self.hash_tokens
        q.done = found * self.hash_tokens
        return True

    def preempt(self) -> None:
        candidates = self.running + ([self.partial] if self.partial else [])
        q = max(candidates, key=lambda c: (c.priority, c.order))
        if q is self.partial:
            self.partial = None
        else:
            self.running.remove(q)
            q.emitted = self.emitted(q)
        self.free(q, 0)
        q.done, q.steps, q.handed_over = 0, 0, False
        q.preemptions += 1
        self.waiting.insert(0, q)
        self.waiting.sort(key=lambda c: c.priority)

    def emitted(self, q: Request) -> int:
        return min(q.emitted + math.floor(q.rate * q.steps), q.osl - 1)


class Referee:
    def __init__(self, fleet: Fleet, trace: Trace, *, seed: int = 0, limit: float = math.inf, outages=()) -> None:
        self.fleet, self.trace, self.seed, self.limit = fleet, trace, seed, limit
        hash_tokens = trace.block_tokens if trace.has_blocks else 64
        prefix = trace.has_blocks or len(trace.session) > 0
        self.replicas = [
            Replica(0, i, pool, hash_tokens, prefix) for pool in fleet.pools for i in range(pool.replicas)
        ]  # fmt: skip
        for i, rep in enumerate(self.replicas):
            rep.index = i
        self.requests = [Request(i, trace) for i in range(len(trace))]
        self.outages = sorted(outages)
        self.releases, self.stranded, self.deferred = [], [], []
        self.inside = self.sequence = self.orders = 0
        self.sessions: dict = {}
        self.owner: dict = {}
        self.turns = {pool.name: seed % max(1, pool.replicas) for pool in fleet.pools}
        self.credit = {name: [0.0] * len(fleet.pools) for name in trace.workload_names}
        self.gone: list[Request] = []

    # routing
    def of(self, pool: Pool) -> list[Replica]:
        return [rep for rep in self.replicas if rep.pool is pool]

    def candidate(self, q: Request, policy: str, t: float):
        session = self.sessions.get(q.session, {}).get("replica")
        if policy == "sticky" or (policy == "prefix" and q.hashes is None):
            return (session, 1.0) if session is not None else (None, 0.0)
        if policy != "prefix":
            return None, 0.0
        memory = self.fleet.prefix_memory_s
        known = [self.owner[h][0] for h in itertools.takewhile(lambda h: h in self.owner and t - self.owner[h][1] <= memory, q.hashes)]
        return (known[-1], min(1.0, len(known) * known[-1].hash_tokens / q.isl)) if known else (None, 0.0)

    def pick(self, policy: str, weights, load, caps, price, affinity, credit, tie=0) -> int:
        return routing.pick(routing.POLICIES[policy], weights, load, caps, price, affinity, credit, tie)

    def choose_pool(self, q: Request, t: float):
        fleet, name = self.fleet, self.trace.workload_names[q.workload]
        weights = fleet.shares(name)
        ups = [sum(rep.up for rep in self.of(pool)) for pool in fleet.pools]
        if sum(w > 0 for w in weights) == 1:
            p = next(i for i, w in enumerate(weights) if w > 0)
            return fleet.pools[p] if ups[p] else None
        rep, share = self.candidate(q, fleet.routing, t)
        caps = [up * self.cap(pool) for up, pool in zip(ups, fleet.pools, strict=True)]
        load = [float(sum(rep.outstanding for rep in self.of(pool))) for pool in fleet.pools]
        price = [pool.usd_per_chip_hour * pool.chips_per_replica for pool in fleet.pools]
        affinity = [share * pool.prefix_gain_requests if rep is not None and rep.pool is pool else 0.0 for pool in fleet.pools]
        p = self.pick(fleet.routing, weights, load, caps, price, affinity, self.credit[name])
        return fleet.pools[p] if p >= 0 else None

    def cap(self, pool: Pool) -> float:
        return 2.0**40 if pool.queue_requests is None else pool.queue_requests + pool.max_batch

    def choose_replica(self, q: Request, pool: Pool, t: float, always: bool = False):
        reps = self.of(pool)
        n = len(reps)
        caps = [(2.0**50 if always else self.cap(pool)) if rep.up else 0.0 for rep in reps]
        load, ones, zeros = [float(rep.outstanding) for rep in reps], [1.0] * n, [0.0] * n
        if pool.routing == "weighted" and not always:
            for _ in range(n):
                at = self.turns[pool.name]
                self.turns[pool.name] = (at + 1) % n
                if load[at] < caps[at]:
                    return reps[at]
            return None
        best = self.pick("least-loaded", ones, load, caps, zeros, zeros, zeros, self.seed % n)
        rep, share = self.candidate(q, pool.routing, t) if not always else (None, 0.0)
        if best < 0 or rep is None or rep.pool is not pool or not load[rep.number] < caps[rep.number]:
            return reps[best] if best >= 0 else None
        gain = 1e9 if pool.routing == "sticky" else share * pool.prefix_gain_requests
        return rep if load[rep.number] - gain <= load[best] else reps[best]

    def refusal(self, q: Request, pool: Pool) -> int:
        tokens = q.isl + q.osl
        if pool.context_tokens and tokens > pool.context_tokens:
            return TOO_LONG
        if math.ceil((tokens + pool.draft_tokens) / pool.block_tokens) > pool.kv_blocks:
            return TOO_LARGE
        return self.refusal(q, self.fleet.pool(pool.decode_pool)) if pool.decode_pool else 0

    def dispatch(self, q: Request, t: float, *, may_wait: bool = True, retry: bool = False) -> None:
        pool = self.choose_pool(q, t)
        decode = next((p for p in self.fleet.pools if pool and p.name == pool.decode_pool), None)
        if decode is not None and not any(rep.up for rep in self.of(decode)):
            self.stranded.append(q)
            return
        if pool is None:
            shares = self.fleet.shares(self.trace.workload_names[q.workload])
            some = any(w > 0 and any(rep.up for rep in self.of(p)) for w, p in zip(shares, self.fleet.pools, strict=True))
            if some and not retry:
                self.end(q, t, QUEUE_FULL)
            else:
                self.stranded.append(q)
            return
        refusal = self.refusal(q, pool)
        rep = None if refusal else self.choose_replica(q, pool, t) or (self.choose_replica(q, pool, t, always=True) if retry else None)
        if refusal or rep is None:
            self.end(q, t, refusal or QUEUE_FULL)
            return
        slo = self.fleet.slos.get(self.trace.workload_names[q.workload])
        if may_wait and not retry and slo is not None and slo.deferrable:
            shares = self.fleet.shares(self.trace.workload_names[q.workload])
            pools = [p for p, w in zip(self.fleet.pools, shares, strict=True) if w > 0 and not self.refusal(q, p)]
            least = [best for p in pools if (best := self.choose_replica(q, p, t, always=True)) is not None]
            rep = next((r for r in [rep, *least] if r.outstanding < self.deferred_batch(r.pool)), None)
            if rep is None:
                self.deferred.append((q.arrival + 0.5 * slo.deadline_s, q.workload, q))
                return
        q.replica = rep
        if q.session >= 0:
            self.sessions[q.session]["replica"] = rep
        for h in q.hashes or ():
            self.owner[h] = (rep, t)
        rep.outstanding += 1
        self.enqueue(q, rep, t)

    def deferred_batch(self, pool: Pool) -> int:
        return pool.max_batch // 2 if pool.deferred_batch is None else pool.deferred_batch

    def enqueue(self, q: Request, rep: Replica, t: float) -> None:
        rep.waiting.append(q)
        rep.waiting.sort(key=lambda c: c.priority)
        if rep.until == math.inf:
            rep.until = t

    # a request's end
    def end(self, q: Request, t: float, status: int) -> None:
        q.status, q.finished = status, t
        self.gone.append(q)
        self.inside -= 1
        if q.session < 0:
            return
        session = self.sessions[q.session]
        session["last"] = t
        if not session["parked"]:
            session["busy"] = False
            return
        following = session["parked"].pop(0)
        self.inside += 1
        self.release(following, max(following.arrival, t + following.think))

    def release(self, q: Request, t: float) -> None:
        self.releases.append((t, self.sequence, q))
        self.sequence += 1

    def leave(self, q: Request, rep: Replica, t: float) -> None:
        q.emitted = q.osl
        rep.free(q, q.isl + q.osl - 1)
        rep.outstanding -= 1
        self.end(q, t + q.late, DONE)

    # a step
    def begin(self, rep: Replica, t: float) -> None:
        pool, times = rep.pool, rep.times
        preempted = False
        while rep.running and rep.used() + sum(rep.need(q, rep.context(q)) - q.blocks for q in rep.running) > pool.kv_blocks:
            rep.preempt()
            preempted = True
        for q in rep.running:
            q.blocks = rep.need(q, rep.context(q))
        rep.evict()
        width = 1 + pool.draft_tokens
        budget = pool.max_step_tokens - width * len(rep.running)
        running, prefill, pairs = len(rep.running), 0, 0.0
        rep.prefilling = []

        def chunk(q: Request) -> None:
            nonlocal budget, prefill, pairs
            q.chunk = min(budget, q.target - q.done)
            pairs += sum(q.done + x for x in range(1, q.chunk + 1))
            prefill += q.chunk
            budget -= q.chunk
            rep.prefilling.append(q)

        if rep.partial:
            running += 1
            if budget > 0:
                chunk(rep.partial)
                rep.partial = None
        if not preempted and rep.up and not rep.waiting:
            self.pull(rep)
        while not preempted and rep.waiting and budget > 0 and running < pool.max_batch:
            q = rep.waiting[0]
            if (q.handed_over and budget < width) or not rep.admit(q, t, self.orders):
                break
            self.orders += 1
            rep.waiting.pop(0)
            running += 1
            if q.handed_over:
                budget -= width
                self.join(q, rep)
            else:
                chunk(q)
        n = len(rep.running)
        if n + prefill == 0:
            rep.until = math.inf
            return
        contexts = [rep.context(q) for q in rep.running]
        rep.step_s = times.tokens_s[prefill + n * width] + times.sequence_s * n + times.kv_s_per_token * sum(contexts)
        if times.window_tokens > 0:
            rep.step_s += times.window_s_per_token * sum(min(c, times.window_tokens) for c in contexts)
        rep.step_s += times.pair_s * pairs + (pool.draft_s if n else 0.0) + (times.prefill_step_s if prefill else 0.0)
        rep.until = t + rep.step_s

    def pull(self, rep: Replica) -> None:
        while self.deferred and rep.outstanding < self.deferred_batch(rep.pool):
            heads = {w: (due, w, q) for due, w, q in reversed(self.deferred)}  # the oldest of each workload
            names = self.trace.workload_names
            p = self.fleet.pools.index(rep.pool)
            mine = [h for h in heads.values() if self.fleet.shares(names[h[1]])[p] > 0]
            if not mine:
                return
            best = min(mine, key=lambda h: h[:2])
            if self.refusal(best[2], rep.pool):
                return
            self.deferred.remove(best)
            best[2].replica = rep
            rep.outstanding += 1
            rep.waiting.append(best[2])
            rep.waiting.sort(key=lambda c: c.priority)

    def join(self, q: Request, rep: Replica) -> None:
        left = q.osl - q.emitted
        q.steps, q.left, q.rate = 0, math.ceil(left / rep.pool.accepted_tokens), rep.pool.accepted_tokens
        if rep.pool.draft_tokens and rep.pool.acceptance == "sampled":
            q.left = self.drawn_steps(q, rep.pool, left)
            q.rate = left / q.left
        rep.running.append(q)

    def drawn_steps(self, q: Request, pool: Pool, left: int) -> int:
        chance = brentq(lambda p: sum(p**j for j in range(pool.draft_tokens + 1)) - pool.accepted_tokens, 0.0, 1.0, xtol=1e-15)
        word, steps, tokens = 1 << 64, 0, 0

        def mixed(x: int) -> int:
            x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9 % word
            x = (x ^ x >> 27) * 0x94D049BB133111EB % word
            return x ^ x >> 31

        stream = mixed((q.id * 0x9E3779B97F4A7C15 + self.seed) % word)
        while tokens < left:
            u = (mixed((stream + (q.emitted + tokens) * 0xD1342543DE82EF95) % word) >> 11) / 2.0**53
            steps += 1
            tokens += 1 + sum(u < chance**j for j in range(1, pool.draft_tokens + 1))
        return steps

    def finish_step(self, rep: Replica, t: float) -> None:
        for q in rep.running:
            q.steps += 1
        for q in sorted((q for q in rep.running if q.steps >= q.left), key=lambda q: q.order):
            rep.running.remove(q)
            self.leave(q, rep, t)
        moving = []
        for q in rep.prefilling:
            q.done += q.chunk
            if q.done < q.target:
                rep.partial = q
                continue
            q.emitted += 1
            if q.first < 0:
                q.late = rep.times.first_token_s
                q.first = t + q.late
            if q.emitted >= q.osl:
                self.leave(q, rep, t)
            elif rep.pool.role == "prefill":
                moving.append(q)
            else:
                self.join(q, rep)
        rep.prefilling = []
        for q in moving:
            rep.nic_free = max(t, rep.nic_free) + rep.times.transfer_s_per_token * q.target
            goals = self.of(self.fleet.pool(rep.pool.decode_pool))
            n = len(goals)
            loads = [(g.outstanding if g.up else 2**60, (g.number - self.seed) % n, g) for g in goals]
            goal = min(loads, key=lambda item: item[:2])[2]
            q.source, q.replica, q.handed_over, q.epochs = rep, goal, True, (rep.epoch, goal.epoch if goal.up else -1)
            goal.outstanding += goal.up
            self.release(q, rep.nic_free + rep.times.transfer_latency_s)

    def receive(self, q: Request, t: float) -> None:
        source, goal = q.source, q.replica
        intact, waited_for = source.epoch == q.epochs[0], goal.epoch == q.epochs[1] and goal.up
        if intact:
            source.free(q, 0)
            source.outstanding -= 1
            if source.until == math.inf:
                source.until = t
        if intact and waited_for:
            self.enqueue(q, goal, t)
            return
        goal.outstanding -= waited_for
        q.handed_over = False
        q.retries += 1
        self.dispatch(q, t, may_wait=False, retry=True)

    def outage(self, t: float, index: int, up: bool) -> None:
        rep = self.replicas[index]
        if up:
            rep.up = True
            rep.until = t if rep.until == math.inf else rep.until
            stranded, self.stranded = self.stranded, []
            for q in stranded:
                self.dispatch(q, t, may_wait=False, retry=True)
            return
        for q in rep.running:
            q.emitted = rep.emitted(q)
        lost = sorted(rep.running + rep.prefilling + ([rep.partial] if rep.partial else []), key=lambda q: q.order) + rep.waiting
        rep.up, rep.epoch, rep.outstanding, rep.nic_free = False, rep.epoch + 1, 0, 0.0
        rep.wipe()
        for q in lost:
            q.done, q.steps, q.blocks, q.shared, q.handed_over = 0, 0, 0, [], False
            q.retries += 1
            self.dispatch(q, t, may_wait=False, retry=True)

    # the clock
    def enter(self, q: Request, t: float) -> None:
        q.arrival = t
        self.inside += 1
        if q.session >= 0:
            session = self.sessions.setdefault(q.session, {"busy": False, "last": -math.inf, "parked": [], "replica": None})
            if session["busy"]:
                self.inside -= 1
                session["parked"].append(q)
                return
            session["busy"] = True
            if session["last"] + q.think > t:
                self.release(q, session["last"] + q.think)
                return
        self.let_in(q, t)

    def let_in(self, q: Request, t: float) -> None:
        if q.isl <= 0 or q.osl <= 0:
            self.end(q, t, EMPTY)
        else:
            self.dispatch(q, t)

    def run(self) -> list[Request]:
        now, at = 0.0, 0
        while True:
            arrival = max(self.requests[at].arrival, now) if at < len(self.requests) and self.inside < self.limit else math.inf
            release = min(self.releases, key=lambda r: r[:2], default=(math.inf, 0, None))
            promotion = min(self.deferred, key=lambda d: d[:2], default=(math.inf, 0, None))
            rep = min(self.replicas, key=lambda r: (r.until, r.index))
            t = min(arrival, release[0], promotion[0], rep.until)
            if self.outages and self.outages[0][0] <= t:
                now, index, up = self.outages.pop(0)
                self.outage(now, index, up)
                continue
            if t == math.inf:
                if not self.stranded:
                    return self.requests
                stranded, self.stranded = self.stranded, []
                for q in stranded:
                    self.end(q, now, UNSERVED)
                continue
            now = t
            if arrival <= t:
                at += 1
                self.enter(self.requests[at - 1], t)
            elif release[0] <= t:
                self.releases.remove(release)
                q = release[2]
                if q.handed_over:
                    self.receive(q, t)
                else:
                    q.arrival = t
                    self.let_in(q, t)
            elif promotion[0] <= t:
                due = sorted((d for d in self.deferred if d[0] <= t), key=lambda d: d[1])
                self.deferred = [d for d in self.deferred if d[0] > t]
                for d in due:
                    self.dispatch(d[2], t, may_wait=False, retry=True)
            else:
                if rep.step_s or rep.running or rep.prefilling:
                    self.finish_step(rep, t)
                rep.step_s = 0.0
                self.begin(rep, t)
