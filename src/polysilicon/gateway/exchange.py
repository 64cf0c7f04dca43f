"""One client request from its head to its ledger line: admit, reserve, route, try, fail over, hand on, settle."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from hashlib import sha256
from typing import TYPE_CHECKING, Any
from zlib import crc32

import msgspec

from polysilicon.errors import InputError, MissingFact
from polysilicon.gateway import policy
from polysilicon.gateway.attempt import Attempt
from polysilicon.gateway.doors import Ask, Refusal
from polysilicon.gateway.http import Request, error_body
from polysilicon.gateway.ledger import Entry
from polysilicon.gateway.live import OPEN_KEY, Live
from polysilicon.gateway.tariff import bound_nano_usd, cost_nano_usd, discounted, list_nano_usd, meter_nano_usd
from polysilicon.gateway.translate import chat_in, chat_out, responses
from polysilicon.gateway.wiring import OLD

if TYPE_CHECKING:
    from polysilicon.gateway.worker import Worker

Envelope = dict[str, msgspec.Raw]
_DECODE = msgspec.json.Decoder(Envelope).decode
_STR = msgspec.json.Decoder(str).decode
_INT = msgspec.json.Decoder(int).decode
_DIALECTS = {
    b"/v1/messages": ("messages", "create"), b"/anthropic/v1/messages": ("messages", "create"),
    b"/v1/messages/count_tokens": ("messages", "count"), b"/anthropic/v1/messages/count_tokens": ("messages", "count"),
    b"/v1/chat/completions": ("chat", "create"), b"/openai/v1/chat/completions": ("chat", "create"),
    b"/v1/responses": ("responses", "create"), b"/openai/v1/responses": ("responses", "create"),
}  # fmt: skip
_IMAGE_TOKENS = 5_000  # more than any provider counts for one image
_PROMPT_OVERHEAD_TOKENS = 1_000  # what a provider adds around tools and the system prompt
_PATIENT = ("server", "cut", "stall", "unreachable", "overloaded")  # worth another try at the same target, after a pause
_REQUESTS, _OK, _ERRORS, _RATE, _IN, _OUT, _COST, _TTFT_SUM, _SECONDS_SUM = 0, 1, 2, 3, 5, 6, 7, 11, 12  # columns of the table


def dialect_of(path: bytes) -> tuple[str, str] | None:
    """Return the dialect and operation of a path, None for any other path."""
    return _DIALECTS.get(path)


class Exchange:
    """One client request."""

    __slots__ = (
        "_asks", "_backoffs", "_began_out", "_include_usage", "_reserved", "_spent", "asked", "attempts", "body_tokens", "bound", "dialect", "done",
        "envelope", "hedged", "id", "key", "last", "live", "mask", "model", "now_s", "operation", "out_tokens", "refused_body", "request", "route",
        "session", "stream", "timer", "tried", "version", "wall_s", "why", "worker",
    )  # fmt: skip

    def __init__(self, worker: Worker, request: Request, dialect: str, operation: str) -> None:
        self.worker = worker
        self.live: Live = worker.live
        self.request = request
        self.dialect = dialect
        self.operation = operation
        self.attempts: list[Attempt] = []
        self.tried: list[int] = []
        self.asked = 0
        self.done = False
        self.hedged = False
        self.last: Refusal | None = None
        self.refused_body = b""
        self.timer: Any = None
        self.why: dict[int, str] = {}
        self._asks: dict[str, Ask | None] = {}
        self._reserved = 0
        self._spent = 0
        self._began_out = False
        self._backoffs = 0
        self._include_usage = True

    # --- admission

    def start(self) -> None:
        """Check the request, reserve its money, make the first attempt."""
        self.now_s = time.monotonic()
        self.wall_s = time.time()
        self.id = worker_id(self.worker)
        refused = self._read()
        if refused is None:
            refused = self._admit()
        if refused is not None:
            self._refuse(*refused)
            return
        self.request.watcher = self
        self.worker.exchanges.add(self)
        self._attempt()

    def _read(self) -> tuple[int, str, str] | None:
        headers = self.request.headers
        given = headers.get(b"x-api-key") or headers.get(b"authorization", b"").removeprefix(b"Bearer ") or headers.get(b"api-key", b"")
        key = self.live.keys.get(sha256(given).hexdigest()) if given else None
        if key is None:
            if not self.live.wiring.open_access:
                return 401, "authentication_error", "a valid key is needed: Authorization: Bearer or x-api-key"
            key = OPEN_KEY
        self.key = key
        try:
            self.envelope: Envelope = _DECODE(self.request.body)
            if not self.request.body.isascii():
                self.request.body.decode()
            self.model = _STR(self.envelope["model"])
            self.stream = self.operation == "create" and bytes(self.envelope.get("stream", b"false")) == b"true"
            self.out_tokens = self._max_tokens()
        except KeyError:
            return 400, "invalid_request_error", "model: is missing"
        except (msgspec.MsgspecError, UnicodeDecodeError):
            return 400, "invalid_request_error", "the body must be one JSON object with a model, in UTF-8"
        self.version = self.request.header(b"anthropic-version") or OLD
        if self.dialect == "messages" and self.version not in policy.VERSIONS:
            known = ", ".join(policy.VERSIONS)
            return 400, "invalid_request_error", f'anthropic-version "{self.version[:20]}" is not one of {known}'
        return None

    def _max_tokens(self) -> int:
        for name in ("max_tokens", "max_completion_tokens", "max_output_tokens"):
            raw = self.envelope.get(name)
            if raw is not None and bytes(raw) != b"null":
                return max(0, _INT(raw))
        return 0

    def _admit(self) -> tuple[int, str, str] | None:
        live, key = self.live, self.key
        router = live.router
        model = live.wiring.models.get(self.model, self.model)
        self.route = router.route(model, self.request.header(b"x-polysilicon-workload") or key.workload)
        if self.route < 0 or (key.models and model not in key.models):
            return 404, "not_found_error", f'model "{self.model[:100]}" is not offered to this key'
        live.refresh()
        mask, words = router.mask(self.route, key)
        if not any(mask):
            return 403, "permission_error", f"no target may serve this key: {words}"
        mask, words = self._able(mask)
        if not any(mask):
            return 400, "invalid_request_error", words or f"no target offers {self.operation} for this model"
        self.mask = mask
        if not live.admit(key, self.now_s):
            return 429, "rate_limit_error", f"key {key.id} is over its {key.requests_per_minute} requests per minute"
        body = self.request.body
        images = body.count(b'"image') if b'"image' in body else 0
        self.body_tokens = len(body) // 4
        variants = router.routes[self.route].variants
        self.bound = max(
            bound_nano_usd(
                live.tariffs[v],
                len(body) + _PROMPT_OVERHEAD_TOKENS + images * _IMAGE_TOKENS,
                self.out_tokens or live.wiring.variants[v].max_output_tokens,
            )
            for j, v in enumerate(variants)
            if mask[j]
        )
        if self.operation == "count":
            self.bound = 0
        if not self._reserve():
            return 429, "budget_exceeded", f"budget {self.refused_body.decode()} is exhausted"
        self.session = self._session()
        return None

    def _able(self, mask: list[bool]) -> tuple[list[bool], str]:
        """Leave out the variants whose door cannot say this request."""
        live = self.live
        if self.operation == "create" and (self.dialect, self.version) in live.plain and self._ask(self.dialect) is not None:
            return mask, ""
        variants = live.router.routes[self.route].variants
        out = mask
        words = ""
        verdicts: dict[tuple[str, str], str] = {}
        for j, v in enumerate(variants):
            if not mask[j]:
                continue
            door = live.doors[live.wiring.variants[v].target]
            version = door.version(self.version) if door.dialect == "messages" else ""
            verdict = verdicts.get((door.dialect, version))
            if verdict is None:
                ask = self._ask(door.dialect)
                verdict = self.refused_body.decode() if ask is None else policy.refuses(ask.envelope, version, live.wiring.sampling)
                verdicts[door.dialect, version] = verdict
            if not verdict and not door.supports(self.operation):
                verdict = f"{self.operation} is not offered by a {door.kind} target"
            if verdict:
                out = list(out) if out is mask else out
                out[j] = False
                words = verdict
        return out, words

    def _ask(self, dialect: str) -> Ask | None:
        """Return the request in a door's dialect; None, with the words kept, where it cannot be said in it."""
        if dialect in self._asks:
            return self._asks[dialect]
        envelope: dict[str, Any] | None = self.envelope
        if self.dialect == "chat":
            raw = self.envelope.get("stream_options")
            self._include_usage = raw is not None and b'"include_usage":true' in bytes(raw).replace(b" ", b"")
        if dialect != self.dialect:
            try:
                envelope = msgspec.json.decode(msgspec.json.encode(_translate(self.request.body, self.dialect, dialect)), type=Envelope)
            except InputError as error:
                self.refused_body = str(error).encode()
                envelope = None
            except (KeyError, TypeError, AttributeError, ValueError, msgspec.MsgspecError):
                self.refused_body = b"the request has not the shape its API asks for"
                envelope = None
        ask = None
        if envelope is not None:
            ask = Ask(self.operation, self.stream, envelope, self.version, self.request.headers.get(b"anthropic-beta", b""))
        self._asks[dialect] = ask
        return ask

    def _reserve(self) -> bool:
        exhausted = self.live.budgets.reserve(self.key.budgets, self.bound)
        if exhausted:
            self.refused_body = exhausted.encode()
            return False
        self._reserved += self.bound
        return True

    def _session(self) -> int:
        """Return a number for the conversation, 0 where the request does not belong to one yet."""
        headers = self.request.headers
        given = headers.get(b"x-session-id") or headers.get(b"x-claude-code-session-id")
        if not given:
            raw = self.envelope.get("prompt_cache_key") or self.envelope.get("metadata") or self.envelope.get("user")
            given = bytes(raw) if raw is not None and (bytes(raw).startswith(b'"') or b'"user_id"' in bytes(raw)) else b""
        if not given:
            raw = self.envelope.get("messages") or self.envelope.get("input")
            text = bytes(raw)[:65536] if raw is not None else b""
            at = text.find(b'"assistant"')
            text = text[: min(at, 4096)] if at >= 0 else text[:4096]
            end = text.rfind(b"}")  # the first turn alone, whatever follows it
            given = text[: end + 1] if end > 0 else text
            if at < 0:
                self.worker.note_first_turn(self, crc32(given, crc32(self.key.id.encode())) or 1)
                return 0
        return crc32(given, crc32(self.key.id.encode())) or 1

    # --- attempts

    def _attempt(self, *, hedge: bool = False) -> None:
        live = self.live
        now_s = time.monotonic()
        choice = live.router.choose(self.route, self.mask, live.health, now_s, session=self.session, tried=self.tried)
        if choice.variant < 0:
            if not hedge and not self.attempts:
                self._nowhere(choice.why)
            return
        variant = live.wiring.variants[choice.variant]
        target = variant.target
        door = live.doors[target]
        ask = self._ask(door.dialect)
        assert ask is not None  # `_able` has masked the doors it cannot be said to
        self.asked += 1
        self.tried.append(choice.variant)
        self.why[choice.variant] = "hedge" if hedge else choice.why
        attempt = Attempt(self, variant, door, live.pools[target], live.wiring.reliability)
        self.attempts.append(attempt)
        live.router.load[target] += 1.0
        live.health.asked(choice.variant)
        live.rows[choice.variant][_REQUESTS] += 1
        bucket = live.router.buckets[target]
        if bucket is not None:
            bucket.add(self.body_tokens + 100)
        want = "count" if self.operation == "count" else self.dialect
        try:
            attempt.start(ask, want, now_s, include_usage=self._include_usage)
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
        self._drop_others(attempt)
        index = attempt.variant.index
        ttft_s = (attempt.content_s or time.monotonic()) - attempt.began_s
        self.live.health.good(index, ttft_s)
        row = self.live.rows[index]
        row[_OK] += 1
        row[_TTFT_SUM] += int(ttft_s * 1e6)
        row[_SECONDS_SUM] += int((time.monotonic() - attempt.began_s) * 1e6)
        cost = self._book(attempt, "request", "ok", 200)
        if self.stream:
            self.request.end()
        else:
            self.request.respond(200, body, self._headers(attempt) + b"x-polysilicon-cost-nano-usd: %d\r\n" % cost)
        self._finish()
        self.worker.answered(self, attempt, body)

    def attempt_failed(self, attempt: Attempt, refusal: Refusal) -> None:
        """Try elsewhere while the client has seen nothing; afterwards say what happened, in its own dialect."""
        if self.done:
            return
        self._leave(attempt)
        live = self.live
        index = attempt.variant.index
        now_s = time.monotonic()
        row = live.rows[index]
        row[_ERRORS] += 1
        if refusal.kind in ("rate", "overloaded", "spend"):
            row[_RATE] += 1
        if refusal.kind in ("request", "missing"):
            live.health.left(index)
        else:
            live.health.bad(index, now_s, f"{refusal.kind}: {refusal.message}"[:200], shut_s=refusal.shut_s)
        self.last = refusal
        if attempt.status not in (0, 200) and attempt.door.dialect == self.dialect:
            self.refused_body = b"".join(attempt._body)
        paid = attempt.used.fresh_tokens or attempt.used.output_tokens
        if self._began_out:
            if attempt.begun:
                self._book(attempt, "request", "cut", refusal.status)
                self._say_error(refusal)
                self._finish()
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
            self.tried.clear()
            pause_s = 0.1 * 2**self._backoffs
            self.timer = self.worker.loop.call_later(pause_s, self._attempt)
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
        variant = attempt.variant
        directive = self.live.router.directive
        price = self.live.tariffs[variant.index].version
        out = (
            f"x-polysilicon-request: {self.id}\r\nx-polysilicon-target: {self.live.wiring.targets[variant.target].id}\r\n"
            f"x-polysilicon-why: {self.why[variant.index]}\r\nx-polysilicon-price: {price}\r\n"
            f"x-polysilicon-plan: {self.live.wiring.plan_version}/{directive.number}\r\nx-polysilicon-attempts: {self.asked}\r\n"
        )
        if variant.chip:
            out += f"x-polysilicon-chip: {variant.chip}\r\n"
        if attempt.stripped:
            out += f"x-polysilicon-stripped: {','.join(attempt.stripped)}\r\n"
        upstream = attempt.headers.get(b"request-id") or attempt.headers.get(b"x-request-id") or b""
        if upstream:
            out += f"request-id: {upstream.decode('latin-1')}\r\n"
        return out.encode("latin-1", "replace")

    def _refuse(self, status: int, kind: str, message: str) -> None:
        """Answer a request that no target was asked."""
        self._settle()
        self.worker.refused[kind] = self.worker.refused.get(kind, 0) + 1
        self.request.respond(
            status,
            error_body(kind, message, openai=self.dialect != "messages"),
            b"x-should-retry: false\r\n" if status == 403 else b"",
        )

    def _refuse_late(self, status: int, kind: str, message: str, *, retry: bool = False, body: bytes = b"") -> None:
        if not self._began_out:
            lines = b"x-polysilicon-request: %b\r\n" % self.id.encode()
            if retry:
                lines += b"retry-after: 1\r\n"
            self.request.respond(status, body or error_body(kind, message, openai=self.dialect != "messages"), lines)
        self._book_rejected(status, message)
        self._finish()

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

    def tick(self, now_s: float) -> None:
        """Check the deadlines; start a hedge where one is due."""
        settings = self.live.wiring.reliability
        if now_s - self.now_s > settings.total_timeout_s:
            for attempt in list(self.attempts):
                attempt.expire()
            return
        for attempt in list(self.attempts):
            if now_s > attempt.deadline_s:
                attempt.expire()
        if settings.hedge_after_s and not self.hedged and not self._began_out and len(self.attempts) == 1 and (
            now_s - self.attempts[0].began_s > settings.hedge_after_s and self.worker.may_hedge(settings.hedge_share_max_frac)
        ):  # fmt: skip
            self.hedged = True
            if self._reserve():
                self.worker.hedges += 1
                self._attempt(hedge=True)

    def _finish(self) -> None:
        self.done = True
        self.worker.exchanges.discard(self)
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
        live = self.live
        variant = attempt.variant
        used = attempt.used
        if self.operation == "count":
            return 0
        entry = self._entry(kind, outcome, status, attempt)
        try:
            tariff = live.tariffs[variant.index]
            entry.meters = meter_nano_usd(tariff, used)
            entry.list_nano_usd = sum(entry.meters) if not tariff.factors else list_nano_usd(tariff, used)
            entry.cost_nano_usd = discounted(tariff, entry.list_nano_usd)
        except MissingFact:
            entry.unpriced = True
        if kind == "request":
            others = {}
            for j, v in enumerate(live.router.routes[self.route].variants):
                if self.mask[j] and v != variant.index:
                    try:
                        others[live.wiring.variants[v].id] = cost_nano_usd(live.tariffs[v], used)
                    except MissingFact:
                        continue  # what is not known is not stated
            entry.others = others
        bucket = live.router.buckets[variant.target]
        if bucket is not None:
            bucket.add(entry.tokens - self.body_tokens - 100)
        self._spent += entry.cost_nano_usd
        row = live.rows[variant.index]
        row[_IN] += entry.tokens - used.output_tokens
        row[_OUT] += used.output_tokens
        row[_COST] += entry.cost_nano_usd
        self.worker.ledger.append(entry)
        return entry.cost_nano_usd

    def ask_for(self, dialect: str) -> Ask | None:
        """Return the request in a door's dialect, None where it cannot be said in it."""
        return self._ask(dialect)

    def book_shadow(self, attempt: Attempt, outcome: str, status: int) -> None:
        """Write a shadow's line: it is paid for, but by nobody's budget."""
        self._book(attempt, "shadow", outcome, status)
        self._spent = 0

    def _entry(self, kind: str, outcome: str, status: int, attempt: Attempt) -> Entry:
        live, key, used = self.live, self.key, attempt.used
        variant = attempt.variant
        target = live.wiring.targets[variant.target]
        directive = live.router.directive
        now_s = time.monotonic()
        return Entry(
            id=self.id, at_s=self.wall_s, kind=kind, outcome=outcome, status=status, model=variant.model,
            route=live.wiring.routes[self.route].id, target=target.id, variant=variant.id, chip=variant.chip, cloud=target.cloud,
            region=target.region, stage=directive.stages[variant.index], team=key.team, application=key.application, key=key.id,
            engine=variant.engine, contract=variant.contract, why=self.why.get(variant.index, ""), attempts=self.asked, stream=self.stream,
            fresh_tokens=used.fresh_tokens, cached_tokens=used.cached_tokens, write_5m_tokens=used.write_5m_tokens,
            write_1h_tokens=used.write_1h_tokens, output_tokens=used.output_tokens, tier=used.tier, speed=used.speed, geo=used.geo,
            estimated=used.estimated, price_version=live.tariffs[variant.index].version, plan_version=live.wiring.plan_version,
            directive=directive.number, ttft_s=round(attempt.content_s - attempt.began_s, 6) if attempt.content_s else 0.0,
            seconds=round(now_s - self.now_s, 6), shadow_usd=directive.shadow_usd.get(variant.contract, 0.0),
            spilled=b"x-ms-is-spilled-over" in attempt.headers,
            upstream_id=(attempt.headers.get(b"request-id") or attempt.headers.get(b"x-request-id") or b"").decode("latin-1")[:100],
        )  # fmt: skip

    def _book_rejected(self, status: int, message: str) -> None:
        if self.operation == "count":
            return
        self.worker.ledger.append(Entry(
            id=self.id, at_s=self.wall_s, kind="request", outcome="rejected", status=status, model=self.model,
            route=self.live.wiring.routes[self.route].id, target="", variant="", chip="", cloud="", region="", stage="", team=self.key.team,
            application=self.key.application, key=self.key.id, why=message[:200], attempts=self.asked, stream=self.stream,
            plan_version=self.live.wiring.plan_version, directive=self.live.router.directive.number, seconds=time.monotonic() - self.now_s,
        ))  # fmt: skip


def _translate(body: bytes, have: str, want: str) -> dict[str, Any]:
    """Return a request in another dialect."""
    given = msgspec.json.decode(body, type=dict[str, Any])
    to_messages: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {"chat": chat_in.request, "responses": responses.request}
    message = to_messages[have](given) if have in to_messages else given
    return chat_out.request(message) if want == "chat" else message


def worker_id(worker: Worker) -> str:
    """Return a request's id: the worker's random start and a counter."""
    worker.counter += 1
    return f"{worker.prefix}{worker.counter:08x}"


def new_prefix() -> str:
    """Return the random start of a worker's request ids."""
    return "ps-" + os.urandom(5).hex() + "-"
