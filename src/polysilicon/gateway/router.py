"""Which variant answers a request: eligibility by promise, stage, health and room, then `routing.pick`.

What is paid for already comes first: reserved throughput and own chips have no marginal price until they are full. Then the
broker's shares; where none of those has room, the cheapest variant that may serve (a spill). A session stays where its prompt
cache is while its variant keeps at least half of the share it had when the session came.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import NamedTuple

from polysilicon.cloud.region import lies_in
from polysilicon.gateway.health import Health
from polysilicon.gateway.table import Table
from polysilicon.gateway.wiring import Directive, Key, Wiring
from polysilicon.routing import PRICE, STICKY, WEIGHTED, pick

_SESSIONS = 100_000
_SESSION_TTL_S = 3600.0
_WINDOW = 20_000.0  # requests after which old shares count half


class Choice(NamedTuple):
    """A variant and the reason for it; index -1 and why not, where there is none."""

    variant: int
    why: str


class Bucket:
    """A leaky bucket of tokens per minute: room while its level is below one second's worth, corrected once usage is known.

    One that is shared keeps level and time in the table, under a kernel lock, some 7 us a request: all workers fill the same bucket, so reserved
    throughput is used up before anybody spills, however unevenly connections fall to workers.
    """

    __slots__ = ("_at_us", "_level", "_table", "at_s", "level", "per_s")

    def __init__(self, per_minute: float, table: Table | None = None, variant: int = 0) -> None:
        self.per_s = per_minute / 60.0
        self.level = 0.0
        self.at_s = 0.0
        self._table = table
        if table is not None:
            self._level, self._at_us = (table.cell(0, variant, name) for name in ("reserved_level", "reserved_at_us"))

    def has_room(self, now_s: float) -> bool:
        """Return whether a request may be sent."""
        if self._table is None:
            self.level = max(0.0, self.level - (now_s - self.at_s) * self.per_s)
            self.at_s = now_s
            return self.level <= self.per_s
        with self._table.locked():
            now_us = int(now_s * 1e6)
            left = int(max(0, now_us - self._at_us[0]) * self.per_s / 1e6)
            if left > 0:  # whole tokens, and the time of just these: many looks leak no less than few
                self._level[0] = max(0, self._level[0] - left)
                self._at_us[0] += int(left * 1e6 / self.per_s)
            self.level = float(self._level[0])
        return self.level <= self.per_s

    def add(self, tokens: float) -> None:
        """Count tokens, or give back those that were counted too many."""
        if self._table is None:
            self.level = max(0.0, self.level + tokens)
            return
        with self._table.locked():
            self._level[0] = max(0, self._level[0] + int(tokens))


def _getter(targets: list[int]) -> Callable[[list[float]], Sequence[float]]:
    """Return what takes some targets' load out of the list of all."""
    if len(targets) > 1:
        return itemgetter(*targets)
    return lambda load: [load[t] for t in targets]


class Router:
    """One worker's routing state: credits, sessions, shares carried, reserved throughput left."""

    def __init__(self, wiring: Wiring, directive: Directive) -> None:
        self.wiring = wiring
        self.routes = wiring.routes
        self.target_of = [v.target for v in wiring.variants]
        self.load = [0.0] * len(wiring.targets)  # in flight, per target
        self.buckets = [Bucket(t.provisioned_tokens_per_minute / wiring.workers) if t.provisioned_tokens_per_minute else None for t in wiring.targets]
        self._by_name = {(r.model, r.workload): i for i, r in enumerate(wiring.routes)}
        for i, route in enumerate(wiring.routes):
            self._by_name.setdefault((route.model, ""), i)
        self._credit = [[0.0] * len(r.variants) for r in wiring.routes]
        self._reserved_credit = [[0.0] * len(r.variants) for r in wiring.routes]
        self._nothing = [[0.0] * len(r.variants) for r in wiring.routes]
        self._reserved = [[wiring.variants[v].tariff.provisioned for v in r.variants] for r in wiring.routes]
        self._total = [0.0] * len(wiring.routes)
        self._carried = [[0.0] * len(r.variants) for r in wiring.routes]
        self._sessions: OrderedDict[int, tuple[int, float, float]] = OrderedDict()  # by session and route
        self._load_of = [_getter([self.target_of[v] for v in r.variants]) for r in wiring.routes]
        self._any_reserved = [any(row) for row in self._reserved]
        self._masks: dict[tuple[str, int], tuple[list[bool], str]] = {}
        self.switches = 0
        self.follow(directive)

    def share(self, table: Table) -> None:
        """Fill the buckets of reserved throughput together with the other workers."""
        for i, target in enumerate(self.wiring.targets):
            first = next((v.index for v in self.wiring.variants if v.target == i), -1)
            if target.provisioned_tokens_per_minute and first >= 0:
                self.buckets[i] = Bucket(target.provisioned_tokens_per_minute, table, first)

    def follow(self, directive: Directive) -> None:
        """Take the broker's latest directive."""
        self.directive = directive
        self._capped = [[directive.caps[v] < 1.0 for v in r.variants] for r in self.routes]
        self._any_capped = [any(row) for row in self._capped]
        word = "plan" if directive.number <= 1 else f"broker {directive.number}:"
        self._why = [[f"{word} {weight:.3f}" for weight in weights] for weights in directive.weights]
        most = [float(t.max_concurrent) for t in self.wiring.targets]
        self._room = [[most[self.target_of[v]] if directive.open[v] else 0.0 for v in r.variants] for r in self.routes]
        self._usual = [
            (directive.weights[r], self._load_of[r], self._room[r], self._nothing[r], self._credit[r], route.variants, self._why[r])
            for r, route in enumerate(self.routes)
        ]

    def route(self, model: str, workload: str) -> int:
        """Return the route of a model for a workload, the model's first one where the workload has none, -1 for an unknown model."""
        found = self._by_name.get((model, workload))
        return found if found is not None else self._by_name.get((model, ""), -1)

    def mask(self, route: int, key: Key) -> tuple[list[bool], str]:
        """Return which variants of a route a key may use, and why the others are out."""
        cached = self._masks.get((key.id, route))
        if cached is None:
            reasons = [self._refuses(v, key) for v in self.routes[route].variants]
            words = "; ".join(f"{self.wiring.variants[v].id}: {r}" for v, r in zip(self.routes[route].variants, reasons, strict=True) if r)
            cached = self._masks[key.id, route] = ([not r for r in reasons], words)
        return cached

    def _refuses(self, variant: int, key: Key) -> str:
        v = self.wiring.variants[variant]
        target = self.wiring.targets[v.target]
        if key.clouds and target.cloud not in key.clouds:
            return f"cloud {target.cloud} is not {' or '.join(key.clouds)}"
        if key.regions and not any(lies_in(target.region, wanted) for wanted in key.regions):
            return f"region {target.region} is not in {' or '.join(key.regions)}"
        missing = [tag for tag in key.tags if tag not in target.tags]
        if missing:
            return f"lacks {', '.join(missing)}"
        if key.chips and v.chip not in key.chips:
            return f"chip {v.chip or 'unknown'} is not {' or '.join(key.chips)}"
        return ""

    def choose(self, route: int, mask: Sequence[bool], health: Health, now_s: float, *, session: int = 0, tried: Sequence[int] = ()) -> Choice:
        """Return the variant for the next request of a route, and why."""
        directive = self.directive
        variants = self.routes[route].variants
        weights = directive.weights[route]
        load = self._load_of[route](self.load)
        caps = self._room[route]
        if tried or health.shut or self._any_capped[route] or False in mask:
            caps = [
                cap if mask[j] and v not in tried and health.admits(v, now_s) and self._may(route, j, v) else 0.0
                for j, (v, cap) in enumerate(zip(variants, caps, strict=True))
            ]
        zeros = self._nothing[route]
        j = -1
        why = ""
        if session:
            j = self._stay(route, session, weights, load, caps, now_s)
            why = "session"
        if j < 0 and self._any_reserved[route]:
            caps = list(caps)
            j = self._reserved_first(route, weights, load, caps, now_s)
            why = "paid for already"
        if j < 0:
            j = pick(WEIGHTED, weights, load, caps, zeros, zeros, self._credit[route])
            why = self._why[route][j]
        if j < 0:  # nothing that carries a share has room: whatever may serve, the cheapest first
            price = [directive.price_nano_usd[v] for v in variants]
            ones = [1.0] * len(variants)
            j = pick(PRICE, ones, load, caps, price, zeros, zeros)
            why = "spill"
        if j < 0:
            return Choice(-1, self._why_not(route, mask, health, now_s, tried))
        if tried:
            why = f"failover, {why}"
        self._carry(route, j)
        if session:
            self._remember(route, session, j, weights[j], now_s)
        return Choice(variants[j], why)

    def is_special(self, route: int) -> bool:
        """Return whether more than shares and room decides on a route: caps of stages, or capacity that is paid for already."""
        return self._any_capped[route] or self._any_reserved[route] or any(self.buckets[self.target_of[v]] for v in self.routes[route].variants)

    def by_share(self, route: int) -> tuple[int, str]:
        """Do what `choose` does where a route is not special, nobody is out of service and no conversation is known; -1: ask it."""
        weights, load_of, room, zeros, credit, variants, why = self._usual[route]
        j = pick(WEIGHTED, weights, load_of(self.load), room, zeros, zeros, credit)
        if j < 0:
            return -1, ""
        self._carry(route, j)
        return variants[j], why[j]

    def _may(self, route: int, j: int, variant: int) -> bool:
        """Return whether one more request keeps a capped variant within its share of the route's requests."""
        if not self._capped[route][j]:
            return True
        cap = self.directive.caps[variant]
        return cap > 0.0 and self._carried[route][j] + 1.0 <= cap * (self._total[route] + 1.0)

    def _carry(self, route: int, j: int) -> None:
        self._total[route] += 1.0
        self._carried[route][j] += 1.0
        if self._total[route] > _WINDOW:
            self._total[route] *= 0.5
            self._carried[route] = [x * 0.5 for x in self._carried[route]]

    def _reserved_first(self, route: int, weights: Sequence[float], load: Sequence[float], caps: list[float], now_s: float) -> int:
        room = list(caps)
        for j, reserved in enumerate(self._reserved[route]):
            bucket = self.buckets[self.target_of[self.routes[route].variants[j]]]
            if not reserved or (bucket is not None and not bucket.has_room(now_s)):
                room[j] = 0.0
                if reserved:
                    caps[j] = 0.0  # full: its share goes to the others
        shares = [max(w, 1e-6) for w in weights]
        zeros = self._nothing[route]
        return pick(WEIGHTED, shares, load, room, zeros, zeros, self._reserved_credit[route])

    def _stay(self, route: int, session: int, weights: Sequence[float], load: Sequence[float], caps: list[float], now_s: float) -> int:
        known = self._sessions.get(session << 16 | route)
        if known is None:
            return -1
        j, weight, seen_s = known
        if now_s - seen_s > _SESSION_TTL_S or caps[j] <= load[j] or weights[j] < 0.5 * weight or weights[j] <= 0.0:
            self.switches += 1
            return -1
        affinity = [0.0] * len(caps)
        affinity[j] = 1.0
        return pick(STICKY, weights, load, caps, affinity, affinity, affinity)

    def _remember(self, route: int, session: int, j: int, weight: float, now_s: float) -> None:
        sessions = self._sessions
        at = session << 16 | route
        known = sessions.get(at)
        kept = known[1] if known is not None and known[0] == j else weight
        sessions[at] = (j, kept, now_s)
        if known is not None:
            sessions.move_to_end(at)
        elif len(sessions) > _SESSIONS:
            sessions.popitem(last=False)

    def bind(self, route: int, session: int, place: int, now_s: float) -> None:
        """Bind a session to the variant, told by its place in the route, that answered its first turn."""
        self._remember(route, session, place, self.directive.weights[route][place], now_s)

    def _why_not(self, route: int, mask: Sequence[bool], health: Health, now_s: float, tried: Sequence[int]) -> str:
        words = []
        for j, v in enumerate(self.routes[route].variants):
            name = self.wiring.variants[v].id
            if not mask[j]:
                words.append(f"{name}: not allowed for this key")
            elif v in tried:
                words.append(f"{name}: failed just now")
            elif not self.directive.open[v]:
                words.append(f"{name}: out of service")
            elif not health.admits(v, now_s):
                words.append(f"{name}: breaker {health.state(v, now_s)} ({health.reason[v]})")
            elif not self._may(route, j, v):
                words.append(f"{name}: at its stage's cap ({self.directive.stages[v]}, {self.directive.caps[v]:.0%})")
            else:
                words.append(f"{name}: full")
        return "; ".join(words)

    def shares(self, route: int) -> list[float]:
        """Return the shares the route's variants have carried of late."""
        total = sum(self._carried[route])
        return [x / total if total else 0.0 for x in self._carried[route]]
