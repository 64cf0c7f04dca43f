"""One client request from its head to its ledger line: admit, reserve, route, try, fail over, hand on, settle."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any, Protocol

import msgspec

from polysilicon.errors import InputError, MissingFact
from polysilicon.gateway import policy
from polysilicon.gateway.attempt import Attempt
from polysilicon.gateway.doors import Ask, Refusal
from polysilicon.gateway.envelope import Envelope, conversation_of, decode_envelope, most_tokens, prompt_bound
from polysilicon.gateway.http import Request, error_body
from polysilicon.gateway.lane import Caller, Lane, Refused, lane_of
from polysilicon.gateway.ledger import Entry, Writer
from polysilicon.gateway.live import Live
from polysilicon.gateway.table import COST, ERRORS, IN, OK, OUT, RATE, REQUESTS, SECONDS_SUM, TTFT_SUM
from polysilicon.gateway.translate import chat_in, chat_out, responses
from polysilicon.gateway.wiring import Key

_STR = msgspec.json.Decoder(str).decode
_PATIENT = ("server", "cut", "stall", "unreachable", "overloaded")  # worth another try at the same target, after a pause


class Host(Protocol):
    """Whose requests they are: the worker."""

    loop: asyncio.AbstractEventLoop
    live: Live
    ledger: Writer
    exchanges: set[Any]  # exchanges, and flights on the short way
    counter: int  # of requests; with the worker's prefix their ids
    hedges: int
    refused: dict[str, int]

    def may_hedge(self, share_max_frac: float, patience: float) -> bool:
        """Return whether one more hedge keeps them within their share of all requests; `patience`: the wait so far over the least one."""

    def answered(self, exchange: Exchange, attempt: Attempt, body: bytes) -> None:
        """Learn of a request that was answered whole."""


class Admitted(Protocol):
    """A request that was admitted the short way."""

    body: bytes
    bound: int
    envelope: Envelope
    first_turn: int
    lane: Lane
    now_s: float
    number: int
    out_tokens: int
    session: int
    stream: bool
    wall_s: float


class Exchange:
    """One client request. What is usual stands on the class, not in each request."""

    caller: Caller
    key: Key
    lane: Lane
    asked = 0
    done = False
    hedged = False
    last: Refusal | None = None
    refused_body = b""
    timer: Any = None
    tried: tuple[int, ...] = ()
    session = 0  # a number for the conversation, 0 where the request does not belong to one yet
    first_turn = 0  # the number it will have if this is a conversation's first turn
    _asks: dict[str, Ask | None] | None = None
    _own: Ask | None = None
    _reserved = 0
    _spent = 0
    _began_out = False
    _backoffs = 0
    include_usage = True

    def __init__(self, host: Host, request: Request, dialect: str, operation: str) -> None:
        self.host = host
        self.live = host.live
        self.request = request
        self.dialect = dialect
        self.operation = operation
        self.attempts: list[Attempt] = []

    @property
    def id(self) -> str:
        """Return the request's id, as the client and the ledger know it."""
        return f"{self.live.prefix}{self.number:08x}"

    # --- admission

    def start(self) -> None:
        """Check the request, reserve its money, make the first attempt."""
        self.now_s = time.monotonic()
        self.wall_s = time.time()
        host = self.host
        host.counter += 1
        self.number = host.counter
        refused = self._read() or self._admit()
        if refused is not None:
            self._refuse(*refused)
            return
        self.request.watcher = self
        self.due_s = self.now_s + self.live.shortest_s
        host.exchanges.add(self)
        self._attempt()

    def resume(self, live: Live, caller: Caller, flight: Admitted) -> None:
        """Take over a request that was admitted the short way."""
        self.live = live
        self.now_s, self.wall_s, self.number = flight.now_s, flight.wall_s, flight.number
        self.lane = flight.lane
        self.mask = flight.lane.mask
        self.caller = caller
        self.key = flight.lane.key
        self.envelope = flight.envelope
        self.stream = flight.stream
        self.out_tokens = flight.out_tokens
        self.body_tokens = len(flight.body) // 4
        self.bound = flight.bound
        self._reserved = flight.bound if self.key.budgets else 0
        self.session, self.first_turn = flight.session, flight.first_turn
        self.request.watcher = self
        self.due_s = self.now_s + live.shortest_s
        self.host.exchanges.add(self)

    def try_at(self, index: int, why: str) -> None:
        """Make the first attempt where the short way would have sent it; -1: nowhere."""
        if index < 0:
            self._nowhere(why)
        else:
            self._try(index, why, self.now_s)

    def _read(self) -> Refused | None:
        """Find out who asks for what; the rest of the body is passed on unread."""
        live = self.live
        request = self.request
        live.refresh()
        caller = live.caller(request.headers)
        if caller is None:
            return 401, "authentication_error", "a valid key is needed: Authorization: Bearer or x-api-key"
        self.caller = caller
        self.key = caller.key
        body = request.body
        try:
            self.envelope = envelope = decode_envelope(body)
            if not body.isascii():
                body.decode()
            raw = envelope["model"]
            model = bytes(raw)
            stream = envelope.get("stream")
            self.stream = stream is not None and self.operation == "create" and bytes(stream) == b"true"
            self.out_tokens = most_tokens(envelope)
            headers = request.headers
            lane: Lane | Refused | None = caller.lanes.get(
                (model, self.dialect, self.operation, headers.get(b"anthropic-version", b""), headers.get(b"x-polysilicon-workload", b""))
            )
            if lane is None or lane.directive is not live.router.directive:  # type: ignore[union-attr]  # one from the dictionary is a lane
                lane = lane_of(live, caller, model, _STR(raw), dialect=self.dialect, operation=self.operation, headers=headers)
                if isinstance(lane, tuple):
                    return lane
        except KeyError:
            return 400, "invalid_request_error", "model: is missing"
        except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
            return 400, "invalid_request_error", "the body must be one JSON object with a model, in UTF-8"
        self.lane = lane  # type: ignore[assignment]
        return None

    def _admit(self) -> Refused | None:
        live, key, lane = self.live, self.key, self.lane
        mask = lane.mask
        if not lane.plain:
            mask, words = self._able(mask)
            if not any(mask):
                return 400, "invalid_request_error", words or f"no target offers {self.operation} for this model"
        self.mask = mask
        if key.requests_per_minute and not self.caller.admits(self.now_s, live.wiring.workers):
            return 429, "rate_limit_error", f"key {key.id} is over its {key.requests_per_minute} requests per minute"
        body = self.request.body
        size = len(body)
        self.body_tokens = size // 4
        if self.operation == "count":
            self.bound = 0
        else:
            self.bound = lane.bound_nano_usd(mask, prompt_bound(body), self.out_tokens)
        if key.budgets and not self._reserve():
            return 429, "budget_exceeded", f"budget {self.refused_body.decode()} is exhausted"
        headers = self.request.headers
        given = headers.get(b"x-session-id") or headers.get(b"x-claude-code-session-id") or b""
        self.session, self.first_turn = conversation_of(self.envelope, given, self.caller.seed, size)
        return None

    def _able(self, mask: list[bool]) -> tuple[list[bool], str]:
        """Leave out the variants whose door cannot say this request."""
        live = self.live
        asked = self.lane.version
        out = mask
        words = ""
        verdicts: dict[tuple[str, str], str] = {}
        for j, v in enumerate(live.router.routes[self.lane.route].variants):
            if not mask[j]:
                continue
            door = live.doors[live.wiring.variants[v].target]
            if not door.supports(self.operation):
                out = list(out) if out is mask else out
                out[j] = False
                words = f"{self.operation} is not offered by {'an' if door.kind[0] in 'aeiou' else 'a'} {door.kind} target"
                continue
            version = door.version(asked) if door.dialect == "messages" else ""
            verdict = verdicts.get((door.dialect, version))
            if verdict is None:
                ask = self.ask_for(door.dialect)
                verdict = self.refused_body.decode() if ask is None else policy.refuses(ask.envelope, version, live.wiring.sampling)
                verdicts[door.dialect, version] = verdict
            if verdict:
                out = list(out) if out is mask else out
                out[j] = False
                words = verdict
        return out, words

    def ask_for(self, dialect: str) -> Ask | None:
        """Return the request in a door's dialect; None, with the words kept, where it cannot be said in it."""
        if dialect == self.dialect:
            if self._own is None:
                self._own = self._ask_of(self.envelope)
                if dialect == "chat":
                    self._heed_usage()
            return self._own
        if self._asks is None:
            self._asks = {}
            if self.dialect == "chat":
                self._heed_usage()
        if dialect in self._asks:
            return self._asks[dialect]
        ask = None
        try:
            ask = self._ask_of(msgspec.json.decode(msgspec.json.encode(_translate(self.request.body, self.dialect, dialect)), type=Envelope))
        except InputError as error:
            self.refused_body = str(error).encode()
        except (KeyError, TypeError, AttributeError, ValueError, msgspec.MsgspecError, RecursionError):
            self.refused_body = b"the request has not the shape its API asks for"
        self._asks[dialect] = ask
        return ask

    def _ask_of(self, envelope: Envelope) -> Ask:
        return Ask(self.operation, self.stream, envelope, self.lane.version, self.request.headers.get(b"anthropic-beta", b""))

    def _heed_usage(self) -> None:
        raw = self.envelope.get("stream_options")
        self.include_usage = raw is not None and b'"include_usage":true' in bytes(raw).replace(b" ", b"")

    def _reserve(self) -> bool:
        exhausted = self.live.budgets.reserve(self.key.budgets, self.bound)
        if exhausted:
            self.refused_body = exhausted.encode()
            return False
        self._reserved += self.bound
        return True

    # --- attempts

    def _attempt(self, *, hedge: bool = False) -> None:
        live = self.live
        router = live.router
        now_s = time.monotonic() if self.asked else self.now_s
        index, why = router.choose(self.lane.route, self.mask, live.health, now_s, session=self.session, tried=self.tried)
        if index < 0:
            if not hedge and not self.attempts:
                self._nowhere(why)
            return
        self._try(index, "hedge" if hedge else why, now_s)

    def _try(self, index: int, why: str, now_s: float) -> None:
        """Ask one variant."""
        live = self.live
        router = live.router
        leg = self.lane.legs[index]
        door = leg.door
        ask = self.ask_for(door.dialect)
        assert ask is not None  # `_able` has masked the doors it cannot be said to
        self.asked += 1
        self.tried += (index,)
        attempt = Attempt(self, leg.variant, door, leg.pool, live.wiring.reliability)
        attempt.why = why
        self.attempts.append(attempt)
        target = leg.target
        router.load[target] += 1.0
        live.health.asked(index)
        live.tally[index][REQUESTS] += 1
        bucket = router.buckets[target]
        if bucket is not None:
            bucket.add(self.body_tokens + 100)
        want = "count" if self.operation == "count" else self.dialect
        try:
            attempt.start(ask, want, now_s, include_usage=self.include_usage)
        except InputError as error:  # a secret or an option is missing
            attempt.drop()
            self.attempt_failed(attempt, Refusal("auth", 502, error.message, True, 60.0))

    def _leave(self, attempt: Attempt) -> None:
        self.attempts.remove(attempt)
        self.live.router.load[attempt.variant.target] -= 1.0

    def attempt_content(self, attempt: Attempt, data: bytes) -> None:
        """Hand content on; the first that has any wins a hedge."""
        if self.done:
            return
        if not self._began_out:
            self._began_out = True
            self._drop_others(attempt)
            self.request.begin(200, self._headers(attempt))
            if self.request.chunked:
                attempt.relay_to(self.request.connection)
        self.request.write(data)

    def _drop_others(self, winner: Attempt) -> None:
        for other in [a for a in self.attempts if a is not winner]:
            other.drop()
            self._leave(other)
            self.live.health.left(other.variant.index)
            other.settle_partial()
            other.used.fresh_tokens = other.used.fresh_tokens or self.body_tokens
            other.used.estimated = True
            self._book(other, "hedge", "rejected", 0)

    def attempt_done(self, attempt: Attempt, body: bytes) -> None:
        """Finish: the answer is whole."""
        if self.done:
            return
        self._leave(attempt)
        if self.attempts:
            self._drop_others(attempt)
        now_s = time.monotonic()
        live = self.live
        index = attempt.variant.index
        ttft_s = (attempt.content_s or now_s) - attempt.began_s
        live.health.good(index, ttft_s)
        tally = live.tally[index]
        tally[OK] += 1
        tally[TTFT_SUM] += int(ttft_s * 1e6)
        tally[SECONDS_SUM] += int((now_s - attempt.began_s) * 1e6)
        cost = self._book(attempt, "request", "ok", 200)
        self._finish()  # whoever has the answer finds it settled
        if self.stream:
            self.request.end()
        else:
            self.request.respond(200, body, b"%bx-polysilicon-cost-nano-usd: %d\r\n" % (self._headers(attempt), cost))
        self.host.answered(self, attempt, body)

    def attempt_failed(self, attempt: Attempt, refusal: Refusal) -> None:
        """Try elsewhere while the client has seen nothing; afterwards say what happened, in its own dialect."""
        if self.done:
            return
        self._leave(attempt)
        live = self.live
        index = attempt.variant.index
        now_s = time.monotonic()
        tally = live.tally[index]
        tally[ERRORS] += 1
        if refusal.kind in ("rate", "overloaded", "spend"):
            tally[RATE] += 1
        if refusal.kind in ("request", "missing"):
            live.health.left(index)
        else:
            live.health.bad(index, now_s, f"{refusal.kind}: {refusal.message}"[:200], shut_s=refusal.shut_s)
        self.last = refusal
        if attempt.status not in (0, 200) and attempt.door.dialect == self.dialect:
            self.refused_body = attempt.body
        paid = attempt.used.fresh_tokens or attempt.used.output_tokens
        if self._began_out:
            if attempt.begun:
                self._book(attempt, "request", "cut", refusal.status)
                self._finish()
                self._say_error(refusal)
            return
        if paid:
            self._book(attempt, "retry", "error", refusal.status)
        if self.attempts:  # a hedge is still under way
            return
        if not refusal.elsewhere or self.asked >= live.wiring.reliability.attempts:
            self._give_up(refusal)
        elif paid and not self._reserve():
            self._refuse_late(429, "budget_exceeded", f"budget {self.refused_body.decode()} is exhausted")
        else:
            self._attempt()

    def _nowhere(self, why: str) -> None:
        """Nobody else can take it: pause and try the same ones again where that may help, else give up."""
        last = self.last
        settings = self.live.wiring.reliability
        if last is not None and last.kind in _PATIENT and not last.shut_s and self.asked < settings.attempts and self._backoffs < 2:
            self._backoffs += 1
            self.tried = ()
            pause_s = 0.1 * 2**self._backoffs
            self.timer = self.host.loop.call_later(pause_s, self._attempt)
        elif last is not None:
            self._give_up(last)
        else:
            self._refuse_late(529, "overloaded_error", f"no target can take the request now: {why}", retry=True)

    def _give_up(self, refusal: Refusal) -> None:
        kind = {"rate": "rate_limit_error", "spend": "rate_limit_error", "overloaded": "overloaded_error", "request": "invalid_request_error",
                "missing": "not_found_error", "stall": "timeout_error"}.get(refusal.kind, "api_error")  # fmt: skip
        self._refuse_late(refusal.status, kind, refusal.message, retry=refusal.kind in ("rate", "overloaded"), body=self.refused_body)

    # --- endings

    def _headers(self, attempt: Attempt) -> bytes:
        out = b"x-polysilicon-request: %b%08x\r\n%bx-polysilicon-attempts: %d\r\n" % (
            self.live.prefix_bytes, self.number, self.lane.legs[attempt.variant.index].head(attempt.why), self.asked,
        )  # fmt: skip
        if attempt.stripped:
            out += b"x-polysilicon-stripped: %b\r\n" % ",".join(attempt.stripped).encode()
        upstream = attempt.headers.get(b"request-id") or attempt.headers.get(b"x-request-id")
        return b"%brequest-id: %b\r\n" % (out, upstream) if upstream else out

    def _refuse(self, status: int, kind: str, message: str) -> None:
        """Answer a request that no target was asked."""
        self._settle()
        self.host.refused[kind] = self.host.refused.get(kind, 0) + 1
        self.request.respond(
            status,
            error_body(kind, message, openai=self.dialect != "messages"),
            b"x-should-retry: false\r\n" if status == 403 else b"",
        )

    def _refuse_late(self, status: int, kind: str, message: str, *, retry: bool = False, body: bytes = b"") -> None:
        self._book_rejected(status, message)
        self._finish()
        if not self._began_out:
            lines = b"x-polysilicon-request: %b\r\n" % self.id.encode()
            if retry:
                lines += b"retry-after: 1\r\n"
            self.request.respond(status, body or error_body(kind, message, openai=self.dialect != "messages"), lines)

    def _say_error(self, refusal: Refusal) -> None:
        """End a stream with a typed error: never with a second beginning, never as if it were whole."""
        kind = {"rate": "rate_limit_error", "overloaded": "overloaded_error", "stall": "timeout_error"}.get(refusal.kind, "api_error")
        message = f"the target {refusal.message}" if refusal.kind in ("cut", "stall") else refusal.message
        if self.dialect == "messages":
            self.request.write(b"event: error\ndata: " + error_body(kind, message) + b"\n\n")
        elif self.dialect == "chat":
            self.request.write(b"data: " + error_body(kind, message, openai=True) + b"\n\n")
        else:
            data = msgspec.json.encode({"type": "error", "code": kind, "message": message, "param": None, "sequence_number": 0})
            self.request.write(b"event: error\ndata: " + data + b"\n\n")
        self.request.end()

    def client_gone(self) -> None:
        """Stop: nobody listens. What the target did until now is paid for."""
        if self.done:
            return
        for attempt in list(self.attempts):
            attempt.drop()
            attempt.settle_partial()
            self._leave(attempt)
            self.live.health.left(attempt.variant.index)
            attempt.used.fresh_tokens = attempt.used.fresh_tokens or self.body_tokens
            attempt.used.estimated = True
            self._book(attempt, "request", "client_gone", 499)
        self._finish()

    def client_slow(self, slow: bool) -> None:
        """Pass the client's pace on to the target."""
        for attempt in self.attempts:
            attempt.slow(slow)

    def forgive(self, late_s: float) -> None:
        """Put the targets' deadlines off by the time that nobody could read their answers."""
        self.due_s += late_s
        for attempt in self.attempts:
            attempt.deadline_s += late_s

    def tick(self, now_s: float) -> None:
        """Check the deadlines; start a hedge where one is due. Called when `due_s` has passed."""
        settings = self.live.wiring.reliability
        over_s = self.now_s + settings.total_timeout_s
        for attempt in list(self.attempts):
            if now_s > over_s or now_s > attempt.deadline_s:
                attempt.expire()
        if now_s > over_s:
            return
        if settings.hedge_after_s and not self.hedged and not self._began_out and len(self.attempts) == 1 and (
            now_s - self.attempts[0].began_s > settings.hedge_after_s
            and self.host.may_hedge(settings.hedge_share_max_frac, (now_s - self.attempts[0].began_s) / settings.hedge_after_s)
        ):  # fmt: skip
            self.hedged = True
            if self._reserve():
                self.host.hedges += 1
                self._attempt(hedge=True)
        if settings.hedge_after_s and not self.hedged and not self._began_out:
            return  # a hedge may be allowed at the next look
        # what moves a deadline sets it no nearer than the shortest timeout from then
        self.due_s = min([over_s, now_s + self.live.shortest_s, *[a.deadline_s for a in self.attempts]])

    def _finish(self) -> None:
        self.done = True
        self.host.exchanges.discard(self)
        if self.timer is not None:
            self.timer.cancel()
        self._settle()

    def _settle(self) -> None:
        if self._reserved or self._spent:
            self.live.budgets.settle(self.key.budgets, self._reserved, self._spent)
            self._reserved = self._spent = 0

    # --- the ledger

    def _book(self, attempt: Attempt, kind: str, outcome: str, status: int) -> int:
        """Write the attempt's line; return its cost in nano-dollars."""
        if self.operation == "count":
            return 0
        live = self.live
        used = attempt.used
        headers = attempt.headers
        index = attempt.variant.index
        leg = self.lane.legs[index]
        tokens = (used.fresh_tokens, used.cached_tokens, used.write_5m_tokens, used.write_1h_tokens, used.output_tokens)
        unpriced = False
        meters: tuple[int, ...]
        try:
            meters, listed, cost = leg.meter.price(used, tokens)
        except MissingFact:
            meters, listed, cost, unpriced = (0, 0, 0, 0, 0), 0, 0, True
        others = leg.costs(used, tokens, self.mask) if kind == "request" and leg.others else ()
        total = sum(tokens)
        bucket = live.router.buckets[leg.target]
        if bucket is not None:
            bucket.add(total - self.body_tokens - 100)
        self._spent += cost
        tally = live.tally[index]
        tally[IN] += total - tokens[4]
        tally[OUT] += tokens[4]
        tally[COST] += cost
        upstream = headers.get(b"request-id") or headers.get(b"x-request-id")
        trace = self.request.headers.get(b"traceparent")
        ledger = self.host.ledger
        ledger.append_own((
            leg.number(ledger), self.number, int(self.wall_s * 1e6), kind, outcome, status, attempt.why, self.asked, self.stream, tokens, meters,
            listed, cost, int((attempt.content_s - attempt.began_s) * 1e6) if attempt.content_s else 0,
            int((time.monotonic() - self.now_s) * 1e6), others, used.tier, used.speed, used.geo,
            upstream[:100].decode("latin-1") if upstream else "", used.estimated, b"x-ms-is-spilled-over" in headers, unpriced,
            used.stop[:40], self.session, trace[:55].decode("latin-1") if trace else "", used.reasoning_tokens,
            used.answer_id, "" if used.answer_model == attempt.variant.name else used.answer_model,
        ))  # fmt: skip
        return cost

    def book_shadow(self, attempt: Attempt, outcome: str, status: int) -> None:
        """Write a shadow's line: it is paid for, but by nobody's budget."""
        self._book(attempt, "shadow", outcome, status)
        self._spent = 0

    def _book_rejected(self, status: int, message: str) -> None:
        if self.operation == "count":
            return
        self.host.ledger.append(Entry(
            id=self.id, at_s=self.wall_s, kind="request", outcome="rejected", status=status, model=self.lane.model,
            route=self.live.wiring.routes[self.lane.route].id, target="", variant="", chip="", cloud="", region="", stage="", team=self.key.team,
            application=self.key.application, key=self.key.id, why=message[:200], attempts=self.asked, stream=self.stream,
            plan_version=self.live.wiring.plan_version, directive=self.lane.directive.number, seconds=time.monotonic() - self.now_s,
        ))  # fmt: skip


def _translate(body: bytes, have: str, want: str) -> dict[str, Any]:
    """Return a request in another dialect."""
    given = msgspec.json.decode(body, type=dict[str, Any])
    to_messages: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {"chat": chat_in.request, "responses": responses.request}
    message = to_messages[have](given) if have in to_messages else given
    return chat_out.request(message) if want == "chat" else message
