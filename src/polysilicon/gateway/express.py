"""The short way of a usual request: a head known byte for byte, one dialect, nobody out of service, a connection that waits, a whole answer.

It does what `Exchange` and `Attempt` do, in their order and with their sums, in two steps: `Express.take` from the client's bytes to the
target's, `Flight.answered` back. Whatever is not usual is theirs: before a request is sent they begin it, afterwards `make_way` puts them
in place as if they had sent it. What nobody waits for (counters, the ledger's line) is done for all flights of a turn of the loop at once.
"""

from __future__ import annotations

import time
from collections import deque

import msgspec

from polysilicon.errors import InputError, MissingFact
from polysilicon.gateway import usage
from polysilicon.gateway.attempt import Attempt
from polysilicon.gateway.envelope import Envelope, conversation_of, decode_envelope, dialect_of, most_tokens, prompt_bound
from polysilicon.gateway.exchange import Exchange, Host
from polysilicon.gateway.heads import Answer, Head
from polysilicon.gateway.http import Inbound, Request, Watcher
from polysilicon.gateway.lane import Caller, Lane, Leg
from polysilicon.gateway.live import Live
from polysilicon.gateway.table import COST, IN, OK, OUT, REQUESTS, SECONDS_SUM, TTFT_SUM
from polysilicon.gateway.tariff import Tokens
from polysilicon.gateway.upstream import Connection
from polysilicon.gateway.usage import Used

_END = b"\r\n\r\n"
_LAST = b"connection: close\r\n"
_NEVER = float("inf")
_UNKNOWN = (-1, "")
_MODELS = 100


class _Waiting:
    """Stands for a request that is held until the turn's end."""

    keep_alive = True
    watcher: Watcher | None = None


_WAITING = _Waiting()


class Way:
    """What requests with one head have in common under one wiring."""

    __slots__ = ("beta", "caller", "dialect", "given", "lanes", "live", "version", "workload")

    def __init__(self, live: Live, head: Head) -> None:
        found = dialect_of(head.path)
        headers = head.headers
        self.live = live
        self.caller: Caller | None = None
        self.lanes: dict[bytes, Lane] = {}
        if found is None or head.method != b"POST" or found[1] != "create" or found[0] == "responses" or live.wiring.shadow_frac:
            return
        self.caller = live.caller(headers)
        self.dialect = found[0]
        self.version = headers.get(b"anthropic-version", b"")
        self.workload = headers.get(b"x-polysilicon-workload", b"")
        self.beta = headers.get(b"anthropic-beta", b"")
        self.given = headers.get(b"x-session-id") or headers.get(b"x-claude-code-session-id") or b""

    def lane(self, model: bytes) -> Lane | None:
        """Return the lane of a model if there is one already, and it is usual."""
        assert self.caller is not None
        lane = self.caller.lanes.get((model, self.dialect, "create", self.version, self.workload))
        if lane is None or not lane.usual or lane.directive is not self.live.router.directive:
            return None
        if len(self.lanes) >= _MODELS:  # one name can be spelled in many ways
            self.lanes.clear()
        self.lanes[model] = lane
        return lane


class Flight:
    """One request under way. `watcher` is itself while the client may be lost."""

    __slots__ = (
        "body", "bound", "due_s", "envelope", "express", "first_turn", "head", "held", "inbound", "lane", "leg", "now_s", "number", "out_tokens",
        "payload", "session", "stream", "trace", "upstream", "wall_s", "watcher", "way", "why",
    )  # fmt: skip

    body: bytes
    bound: int
    due_s: float
    envelope: Envelope
    first_turn: int
    lane: Lane
    leg: Leg
    now_s: float
    number: int
    out_tokens: int
    payload: bytes
    session: int
    stream: bool
    upstream: Connection
    wall_s: float
    why: str

    keep_alive = True

    def __init__(self, express: Express, inbound: Inbound, head: Head, way: Way, trace: bytes) -> None:
        self.express = express
        self.inbound = inbound
        self.head = head
        self.way = way
        self.trace = trace
        self.held = False
        self.watcher: Watcher | None = self

    # --- the connection's calls

    def hear(self, connection: Connection, data: bytes) -> bool:
        """Take the answer now, or with all others of this turn."""
        express = self.express
        if not express.busy:
            landed = self.land(connection, data, time.monotonic())
            express.deliver()
            return landed
        if self.held:  # there is more to it: what comes after the first piece is the attempt's
            express.work()
            connection.data_received(data)
        else:
            self.held = True
            express.answers.append((connection, data))
            if not express.ledger.scheduled:
                express.ledger.schedule()
        return True

    def lost(self) -> None:
        """Take the answer if it has come; else make way."""
        self.express.work()
        if self.upstream.quick is self:
            self.make_way()

    # --- the answer

    def land(self, connection: Connection, data: bytes, now_s: float) -> bool:
        """Take a whole answer whose head is known, up to its delivery; anything else is an attempt's."""
        end = data.find(_END) + 4
        head = data[:end]
        pool = connection.pool
        answer = pool.answers.exact.get(head) or pool.answers.find(head)
        body = data[end:]
        if answer is None or answer.length != len(body) or self.stream:
            self.make_way()
            return False
        used = Used()
        leg = self.leg
        try:
            stated = usage.of_message(body, used) if self.way.dialect == "messages" else usage.of_chat(body, used)
            tokens = (used.fresh_tokens, used.cached_tokens, used.write_5m_tokens, used.write_1h_tokens, used.output_tokens)
            price = leg.meter.price(used, tokens)
        except (msgspec.MsgspecError, RecursionError, MissingFact):
            stated = False
        if not stated:
            self.make_way()
            return False
        connection.quick = None
        pool.keep(connection, now_s)
        self.way.live.router.load[leg.target] -= 1.0
        express = self.express
        express.host.exchanges.discard(self)
        self.watcher = None
        express.landed.append((self, answer, body, used, tokens, price, now_s))
        return True

    # --- what is not usual

    def make_way(self) -> Exchange:
        """Put an exchange and an attempt in place, as if they had sent the request."""
        exchange = self.express.exchange(self)
        ask = exchange.ask_for(self.way.dialect)
        assert ask is not None  # it is the client's own
        leg = self.leg
        attempt = Attempt(exchange, leg.variant, leg.door, leg.pool, self.way.live.wiring.reliability)
        attempt.why = self.why
        exchange.asked = 1
        exchange.tried = (leg.index,)
        exchange.attempts.append(attempt)
        connection = self.upstream
        connection.quick = None
        attempt.adopt(connection, ask, self.way.dialect, self.now_s, self.payload, include_usage=exchange.include_usage)
        exchange.forgive(self.due_s - exchange.due_s)
        return exchange

    def client_gone(self) -> None:
        """Learn that the client has closed; what the target has said until now counts."""
        self.express.work()
        if self.watcher is self:
            self.make_way().client_gone()

    def client_slow(self, slow: bool) -> None:
        """Learn that the client reads more slowly than it is written to."""
        self.express.work()
        if self.watcher is self:
            self.make_way().client_slow(slow)

    def forgive(self, late_s: float) -> None:
        """Put the deadline off by the time that nobody could read."""
        self.due_s += late_s

    def tick(self, now_s: float) -> None:
        """Check the deadlines."""
        self.express.work()
        if self.watcher is self:
            self.make_way().tick(now_s)


Landed = tuple[Flight, Answer, bytes, Used, Tokens, tuple[tuple[int, ...], int, int], float]  # its price as `Meter.price` has it; when it came


class Express:
    """The short way of one worker."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.ledger = host.ledger
        self.landed: list[Landed] = []  # their answers have come, and are not yet handed on
        self.flown: list[Landed] = []  # answered, and not yet in the books
        self.busy = False  # much comes in one turn of the loop: it is held until all has come, then dealt with kind by kind
        self.answers: deque[tuple[Connection, bytes]] = deque()  # held
        self._working = False
        self._requests: deque[tuple[Inbound, Head, bytes, bytes]] = deque()

    def take(self, inbound: Inbound, head: Head, body: bytes, trace: bytes) -> bool:
        """Take a request, now or with all others of this turn, and return whether it is taken."""
        if not self.busy:
            self.host.live.refresh()
            return self.fly(inbound, head, body, trace, time.monotonic(), time.time())
        inbound.current = _WAITING
        inbound.deadline_s = _NEVER
        self._requests.append((inbound, head, body, trace))
        if not self.ledger.scheduled:
            self.ledger.schedule()
        return True

    def work(self) -> None:
        """Deal with what was held, in order; called at the end of a turn, and before anything that must not overtake it."""
        if self._working or not (self.answers or self._requests):
            return
        self._working = True
        try:
            self._work()
        finally:
            self._working = False

    def _work(self) -> None:
        answers, requests = self.answers, self._requests
        now_s, wall_s = time.monotonic(), time.time()  # what is held has all come by now
        try:
            while answers:
                connection, data = answers.popleft()
                try:
                    quick = connection.quick
                    if not isinstance(quick, Flight) or not quick.land(connection, data, now_s):
                        connection.parse(data)
                except Exception:  # ours: this one is cut, as the loop would have done; the others are still held, and come next
                    connection.transport.abort()
                    raise
        finally:
            self.deliver()
        if requests:
            self.host.live.refresh()
        while requests:
            inbound, head, body, trace = requests.popleft()
            try:
                if not inbound.closed and not self.fly(inbound, head, body, trace, now_s, wall_s):
                    inbound.start(Request(inbound, head, body, trace))
            except Exception:
                inbound.abort()
                raise

    def deliver(self) -> None:
        """Settle what was reserved for the answers that have come, once a key; then hand them on, so whoever has one finds it settled."""
        landed = self.landed
        if not landed:
            return
        self.landed = []
        owed: dict[Way, list[int]] = {}
        for flight, _, _, _, _, (_, _, cost), _ in landed:
            sums = owed.get(flight.way)
            if sums is None:
                owed[flight.way] = [flight.bound, cost]
            else:
                sums[0] += flight.bound
                sums[1] += cost
        for way, (bound, cost) in owed.items():
            assert way.caller is not None
            if way.caller.key.budgets:
                way.live.budgets.settle(way.caller.key.budgets, bound, cost)
        self.flown += landed
        if not self.ledger.scheduled:
            self.ledger.schedule()
        failed: Exception | None = None
        for flight, answer, body, _, _, (_, _, cost), now_s in landed:
            inbound, leg = flight.inbound, flight.leg
            if inbound.closed:
                continue
            try:
                inbound.transport.write(
                    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\nx-polysilicon-request: %b%08x\r\n%b"
                    b"x-polysilicon-attempts: 1\r\n%bx-polysilicon-cost-nano-usd: %d\r\n%b\r\n%b"
                    % (
                        len(body), flight.way.live.prefix_bytes, flight.number, leg.heads.get(flight.why) or leg.head(flight.why),
                        answer.id_line, cost, _LAST if inbound.server.draining else b"", body,
                    )
                )  # fmt: skip
                inbound.answered(flight, now_s)
            except Exception as error:  # ours: this one is cut; the others are settled, and are handed on
                inbound.abort()
                failed = error
        if failed is not None:
            raise failed

    def fly(self, inbound: Inbound, head: Head, body: bytes, trace: bytes, now_s: float, wall_s: float) -> bool:
        """Send a request on if it is usual; else leave everything as it was and return False."""
        host = self.host
        live = host.live
        way: Way = head.way
        if way is None or way.live is not live:
            way = head.way = Way(live, head)
        caller = way.caller
        if caller is None or live.health.shut:
            return False
        try:
            envelope = decode_envelope(body)
            model = bytes(envelope["model"])
            lane = way.lanes.get(model)
            if lane is None or lane.directive is not live.router.directive:
                lane = way.lane(model)
                if lane is None:
                    return False
            if not body.isascii():
                body.decode()
            stream = envelope.get("stream")
            out_tokens = most_tokens(envelope)
        except (KeyError, msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
            return False
        key = caller.key
        if key.requests_per_minute and not caller.admits(now_s, live.wiring.workers):
            return False
        bound = lane.bound_nano_usd(lane.mask, prompt_bound(body), out_tokens)
        if key.budgets and live.budgets.reserve(key.budgets, bound):
            if key.requests_per_minute:
                caller.level -= 1.0
            return False
        flight = Flight(self, inbound, head, way, trace)
        flight.body = body
        flight.envelope = envelope
        flight.lane = lane
        flight.stream = stream is not None and bytes(stream) == b"true"
        flight.out_tokens = out_tokens
        flight.bound = bound
        flight.now_s = now_s
        flight.wall_s = wall_s
        host.counter += 1
        flight.number = host.counter
        flight.session, flight.first_turn = conversation_of(envelope, way.given, caller.seed, len(body))
        inbound.current = flight
        inbound.deadline_s = _NEVER
        self._send(flight, live)
        return True

    def _send(self, flight: Flight, live: Live) -> None:
        router = live.router
        lane = flight.lane
        index, why = router.by_share(lane.route) if not flight.session else _UNKNOWN
        if index < 0:
            index, why = router.choose(lane.route, lane.mask, live.health, flight.now_s, session=flight.session)
            if index < 0:
                self.exchange(flight).try_at(index, why)
                return
        leg = flight.leg = lane.legs[index]
        connection = leg.pool.idle() if leg.door.simple else None
        if connection is None:
            self.exchange(flight).try_at(index, why)
            return
        try:
            payload = leg.request(flight.envelope, lane.version, flight.now_s, stream=flight.stream, beta=flight.way.beta)
        except InputError:
            leg.pool.keep(connection, flight.now_s)
            self.exchange(flight).try_at(index, why)
            return
        flight.why = why
        flight.payload = payload
        flight.upstream = connection
        flight.due_s = flight.now_s + live.shortest_s
        self.host.exchanges.add(flight)
        router.load[leg.target] += 1.0
        live.tally[leg.index][REQUESTS] += 1
        connection.quick = flight
        connection.transport.write(payload)

    def exchange(self, flight: Flight) -> Exchange:
        """Return what the long way would have made of a request that was admitted, and put it in the flight's place."""
        way = flight.way
        request = Request(flight.inbound, flight.head, flight.body, flight.trace)
        exchange = Exchange(self.host, request, way.dialect, "create")
        assert way.caller is not None
        exchange.resume(way.live, way.caller, flight)
        self.host.exchanges.discard(flight)
        if flight.inbound.current is flight:
            flight.inbound.current = request
        flight.watcher = None
        return exchange

    def book(self) -> None:
        """Deal with what is held; then count what was answered since the last call, and write its lines."""
        came = len(self.answers) + len(self._requests)
        self.work()
        flown = self.flown
        self.busy = came > 1 or (not self.busy and len(flown) > 1)
        if not flown:
            return
        self.flown = []
        ledger = self.host.ledger
        for flight, answer, _, used, tokens, (meters, listed, cost), done_s in flown:
            leg, lane = flight.leg, flight.lane
            live = flight.way.live
            seconds = done_s - flight.now_s
            us = int(seconds * 1e6)
            live.health.good(leg.index, seconds)
            tally = live.tally[leg.index]
            tally[OK] += 1
            tally[TTFT_SUM] += us
            tally[SECONDS_SUM] += us
            out = tokens[4]
            tally[IN] += sum(tokens) - out
            tally[OUT] += out
            tally[COST] += cost
            ledger.append_own((
                leg.number(ledger), flight.number, int(flight.wall_s * 1e6), "request", "ok", 200, flight.why, 1, False, tokens, meters, listed,
                cost, us, us, leg.costs(used, tokens, lane.mask) if leg.others else (), used.tier, used.speed, used.geo, answer.id,
                used.estimated, answer.spilled, False, used.stop[:40], flight.session, flight.trace.decode("latin-1") if flight.trace else "",
                used.reasoning_tokens, used.answer_id, "" if used.answer_model == leg.variant.name else used.answer_model,
            ))  # fmt: skip
            if flight.first_turn and live is self.host.live:
                live.router.bind(lane.route, flight.first_turn, leg.place, flight.now_s)
