"""What all requests of one key for one model have in common, worked out once per directive: who may answer, in what words, for what price.

A request looks its lane up by what it says and then only adds and multiplies. Lanes live as long as the directive they were made
under; a request keeps the lane it was admitted by, so its price version is the one it was routed at.
"""

from __future__ import annotations

from typing import Protocol
from zlib import crc32

from polysilicon.errors import MissingFact
from polysilicon.gateway import policy
from polysilicon.gateway.doors import Door
from polysilicon.gateway.envelope import Envelope
from polysilicon.gateway.ledger import Setting, Writer
from polysilicon.gateway.router import Router
from polysilicon.gateway.tariff import Meter, Tariff, Tokens, bound_nano_usd
from polysilicon.gateway.upstream import Pool
from polysilicon.gateway.usage import Used
from polysilicon.gateway.wiring import OLD, Key, Variant, Wiring

Refused = tuple[int, str, str]  # status, kind, words
_LANES = 1_000  # per key; a client that asks for more of them has them made anew


class Ground(Protocol):
    """What lanes are made of: `Live`."""

    wiring: Wiring
    router: Router
    doors: list[Door]
    pools: list[Pool]
    meters: list[Meter]
    prefix: str


class Caller:
    """One virtual key at work in one worker."""

    __slots__ = ("at_s", "key", "lanes", "level", "seed")

    def __init__(self, key: Key) -> None:
        self.key = key
        self.seed = crc32(key.id.encode())  # of the numbers of its conversations
        self.lanes: dict[tuple[bytes, str, str, bytes, bytes], Lane] = {}
        self.level = 0.0  # requests of late, leaking at the key's rate
        self.at_s = 0.0

    def admits(self, now_s: float, workers: int) -> bool:
        """Return whether the key is within its requests per minute, and count the request."""
        per_minute = self.key.requests_per_minute / workers
        level = self.level - (now_s - self.at_s) * per_minute / 60.0
        if level < 0.0:
            level = 0.0
        self.at_s = now_s
        if level + 1.0 > per_minute and level > 0.0:
            self.level = level
            return False
        self.level = level + 1.0
        return True


class Leg:
    """One variant as one lane sees it."""

    __slots__ = ("_asks", "_rates", "_segment", "_setting", "door", "heads", "index", "meter", "others", "place", "pool", "target", "variant")

    def __init__(self, lane: Lane, live: Ground, variant: Variant) -> None:
        wiring = live.wiring
        directive = live.router.directive
        route = wiring.routes[lane.route]
        target = wiring.targets[variant.target]
        key = lane.key
        self.variant = variant
        self.index = variant.index
        self.target = variant.target
        self.door: Door = live.doors[variant.target]
        self.pool: Pool = live.pools[variant.target]
        self.meter = live.meters[variant.index]
        others = [(j, wiring.variants[v].id, live.meters[v]) for j, v in enumerate(route.variants) if lane.mask[j] and v != variant.index]
        self.others = [(j, meter) for j, _, meter in others]
        self._rates = [meter.plain for _, _, meter in others] if all(meter.plain for _, _, meter in others) else []
        self.place = route.variants.index(variant.index)
        self._setting = Setting(
            live.prefix, variant.model, route.id, target.id, variant.id, variant.chip, target.cloud, target.region, directive.stages[variant.index],
            key.team, key.application, key.id, variant.engine, variant.contract, self.meter.tariff.version, wiring.plan_version, directive.number,
            directive.shadow_usd.get(variant.contract, 0.0), tuple(name for _, name, _ in others),
        )  # fmt: skip
        self._segment = -1
        self._asks: tuple[bytes, bytes, float] = b"", b"", float("-inf")
        self.heads: dict[str, bytes] = {}  # those that were made, by reason

    def request(self, envelope: Envelope, version: str, now_s: float, *, stream: bool, beta: bytes) -> bytes:
        """Return the whole request to a door that is simple, of an operation that creates."""
        plain, streaming, until_s = self._asks
        if now_s > until_s:
            plain, streaming, _ = self._asks = self.door.simple_heads(self.variant, "create", version)
        return self.door.simple_with(streaming if stream else plain, self.variant, envelope, stream=stream, beta=beta)

    def number(self, ledger: Writer) -> int:
        """Return the number of what this leg's entries have in common, stated in the segment where it was not yet."""
        if self._segment != ledger.segment:
            ledger.state(self._setting)
            self._segment = ledger.segment
        return self._setting.number

    def costs(self, used: Used, tokens: Tokens, mask: list[bool]) -> list[int | None]:
        """Return what the other eligible variants would have cost; what is not known is not stated."""
        if self._rates and used.tier != "batch" and False not in mask:
            fresh, cached, w5, w1, output = tokens
            costs: list[int | None] = []
            for a, b, c, d, e in self._rates:  # whole numbers, spelled out: it is done for every request
                costs.append(fresh * a + cached * b + w5 * c + w1 * d + output * e)
            return costs
        out: list[int | None] = []
        for j, meter in self.others:
            try:
                out.append(meter.cost_nano_usd(used, tokens) if mask[j] else None)
            except MissingFact:
                out.append(None)
        return out

    def head(self, why: str) -> bytes:
        """Return the lines that say which target, why, at what price and by which plan."""
        head = self.heads.get(why)
        if head is None:
            s = self._setting
            text = (
                f"x-polysilicon-target: {s.target}\r\nx-polysilicon-why: {why}\r\nx-polysilicon-price: {s.price_version}\r\n"
                f"x-polysilicon-plan: {s.plan_version}/{s.directive}\r\n"
            )
            if s.chip:
                text += f"x-polysilicon-chip: {s.chip}\r\n"
            head = text.encode("latin-1", "replace")
            if len(self.heads) < 100:
                self.heads[why] = head
        return head


class Lane:
    """One key, one model, one dialect and version, under one directive."""

    def __init__(self, live: Ground, key: Key, *, model: str, route: int, dialect: str, operation: str, version: str) -> None:
        self.key = key
        self.model = model  # as the client says it
        self.route = route
        self.directive = live.router.directive
        self.version = version
        self.mask, self.words = live.router.mask(route, key)
        variants = [live.wiring.variants[v] for v in live.wiring.routes[route].variants]
        self.legs = {v.index: Leg(self, live, v) for v in variants}
        self._variants = variants
        # every door speaks such requests as they are: no need to look at what a version would refuse
        doors = [live.doors[v.target] for v, may in zip(variants, self.mask, strict=True) if may]
        self.plain = operation == "create" and all(d.dialect == dialect and (dialect == "chat" or d.version(version) == OLD) for d in doors)
        self._bounds = self._ceilings(self.mask)
        # nothing but shares decides where a request without a conversation goes
        self.usual = self.plain and all(self.mask) and not live.router.is_special(route)

    def _ceilings(self, mask: list[bool]) -> tuple[list[tuple[int, int, int]], list[tuple[Tariff, int]]]:
        """Return what bounds a request's cost: as rates where those do for all lengths, else as tariffs."""
        plain: set[tuple[int, int, int]] = set()
        rest: list[tuple[Tariff, int]] = []
        for j, v in enumerate(self._variants):
            if mask[j]:
                tariff = self.legs[v.index].meter.tariff
                if tariff.long is None and not tariff.factors:
                    plain.add((max(tariff.rates[0], tariff.rates[2], tariff.rates[3], 0), max(tariff.rates[4], 0), v.max_output_tokens))
                else:
                    rest.append((tariff, v.max_output_tokens))
        return sorted(plain), rest

    def bound_nano_usd(self, mask: list[bool], prompt_tokens: int, output_tokens: int) -> int:
        """Return the most a request can cost at any of the variants that may serve it."""
        plain, rest = self._bounds if mask is self.mask else self._ceilings(mask)
        most = 0
        for dearest, out, max_out in plain:
            total = (prompt_tokens * dearest + (output_tokens or max_out) * out + 999) // 1000
            if total > most:
                most = total
        for tariff, max_out in rest:
            most = max(most, bound_nano_usd(tariff, prompt_tokens, output_tokens or max_out))
        return most


def lane_of(
    live: Ground, caller: Caller, raw_model: bytes, model: str, *, dialect: str, operation: str, headers: dict[bytes, bytes]
) -> Lane | Refused:
    """Return the lane of a request, made where there is none yet; or why there is none."""
    asked = headers.get(b"anthropic-version", b"")
    workload = headers.get(b"x-polysilicon-workload", b"")
    at = (raw_model, dialect, operation, asked, workload)
    key = caller.key
    version = asked.decode("latin-1") or OLD
    if dialect == "messages" and version not in policy.VERSIONS:
        known = ", ".join(policy.VERSIONS)
        return 400, "invalid_request_error", f'anthropic-version "{version[:20]}" is not one of {known}'
    name = live.wiring.models.get(model, model)
    route = live.router.route(name, key.workload or workload.decode("latin-1"))  # a client cannot leave its key's workload, nor its residency
    if route < 0 or (key.models and name not in key.models):
        return 404, "not_found_error", f'model "{model[:100]}" is not offered to this key'
    lane = Lane(live, key, model=model, route=route, dialect=dialect, operation=operation, version=version)
    if not any(lane.mask):
        return 403, "permission_error", f"no target may serve this key: {lane.words}"
    if len(caller.lanes) >= _LANES:
        caller.lanes.clear()
    caller.lanes[at] = lane
    return lane
