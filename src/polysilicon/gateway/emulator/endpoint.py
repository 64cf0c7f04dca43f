"""One emulated door on one port, and all of them together."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable
from random import Random
from typing import Any
from urllib.parse import unquote

import msgspec

from polysilicon.cloud.token_price import TokenPrice, TokenUse, nano_usd
from polysilicon.gateway.emulator import answers
from polysilicon.gateway.emulator.fleet import Billed, Fault, Fleet, FleetEndpoint, FleetModel, Seen
from polysilicon.gateway.eventstream import encode_event, encode_exception
from polysilicon.gateway.http import Limits, Request, Server, error_body
from polysilicon.gateway.sigv4 import AwsKey, Signer
from polysilicon.gateway.sse import event
from polysilicon.gateway.wiring import NEW, OLD

_ENCODE = msgspec.json.encode
_BEDROCK = re.compile(r"/model/([^/]+)/(invoke|invoke-with-response-stream)$")
_VERTEX = re.compile(r"/v1/projects/[^/]+/locations/[^/]+/publishers/anthropic/models/([^/:]+):(rawPredict|streamRawPredict)$")
_GOOGLE = re.compile(r"/v1/projects/[^/]+/locations/[^/]+/workspaces/[^/]+/invoke(/v1/messages(?:/count_tokens)?)$")
_SIGV4 = re.compile(r"AWS4-HMAC-SHA256 Credential=([^/]+)/(\d{8})/([^/]+)/([^/]+)/aws4_request, SignedHeaders=([^,]+), Signature=([0-9a-f]{64})")
_IN_BODY_OLD = {"bedrock": "bedrock-2023-05-31", "vertex": "vertex-2023-10-16"}
_ERRORS = {
    "401": (401, "authentication_error", "invalid key"),
    "403": (403, "permission_error", "forbidden"),
    "429": (429, "rate_limit_error", "slow down"),
    "429-spend": (429, "rate_limit_error", "enforced_spend_limit_reached: spend limit"),
    "500": (500, "api_error", "internal"),
    "503": (503, "api_error", "unavailable"),
    "529": (529, "overloaded_error", "Overloaded"),
}


class _Refused(Exception):
    def __init__(self, status: int, kind: str, message: str, retry_after_s: float = 0.0) -> None:
        super().__init__(message)
        self.status, self.kind, self.message, self.retry_after_s = status, kind, message, retry_after_s


class Endpoint:
    """One door."""

    def __init__(self, spec: FleetEndpoint, fleet: Fleet, clock: Callable[[], float]) -> None:
        self.spec = spec
        self.fleet = fleet
        self.faults: list[Fault] = list(spec.faults)
        self.seen = Seen()
        self.port = 0
        self.clock = clock
        self.server: Server | None = None
        self._random = Random(f"{fleet.seed}/{spec.id}")
        self._cache: set[int] = set()
        self._level = [0.0, 0.0]  # requests, tokens in the last minute, leaking
        self._level_s = 0.0
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self, host: str) -> int:
        """Listen; return the port."""
        self.server = Server(self._handle, Limits(connections=100_000, idle_timeout_s=3600.0))
        await self.server.listen(host, self.spec.port or self.port)
        self.port = self.server.port
        return self.port

    async def stop(self) -> None:
        """Refuse connections from now on and cut those that are open."""
        for task in list(self._tasks):
            task.cancel()
        if self.server is not None:
            await self.server.drain(0.0)
            self.server = None

    def outage(self, *, over: bool = False) -> None:
        """Cut every connection and every new request from now on, or end that."""
        self.faults = [fault for fault in self.faults if fault.kind != "refuse"]
        if over or self.server is None:
            return
        self.faults.append(Fault("refuse"))
        for connection in list(self.server.connections):
            connection.abort()

    def price(self, model: str) -> TokenPrice:
        """Return the price of a model now."""
        spec = self.spec.models[model]
        fresh, out = spec.usd_per_mtok_in, spec.usd_per_mtok_out
        for step in self.spec.tape:
            if step.model == model and step.at_s <= self.clock():
                fresh, out = step.usd_per_mtok_in, step.usd_per_mtok_out
        return TokenPrice(
            model,
            self.spec.id,
            fresh,
            out,
            usd_per_mtok_cached=spec.usd_per_mtok_cached,
            usd_per_mtok_write_5m=spec.usd_per_mtok_write_5m,
        )

    def quotes(self) -> list[dict[str, Any]]:
        """Return what a price feed would say now."""
        out = []
        for name in self.spec.models:
            price = self.price(name)
            out.append({"target": self.spec.id, "model": name, "usd_per_mtok_in": price.usd_per_mtok_in,
                        "usd_per_mtok_out": price.usd_per_mtok_out, "available": not self._fault("refuse", name, roll=False)})  # fmt: skip
        return out

    # --- one request

    def _handle(self, request: Request) -> None:
        if request.method == b"GET":
            self._get(request)
            return
        self.seen.requests += 1
        self.seen.bodies = [*self.seen.bodies[-9:], request.body]
        task = asyncio.get_running_loop().create_task(self._answer(request))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _get(self, request: Request) -> None:
        if request.path == b"/_quotes":
            request.respond(200, _ENCODE(self.quotes()))
        elif request.path == b"/metrics":
            request.respond(200, self._metrics(), content_type=b"text/plain; version=0.0.4")
        elif request.path == b"/v1/models":
            rows = [{"id": name, "object": "model", "type": "model"} for name in self.spec.models]
            request.respond(200, _ENCODE({"object": "list", "data": rows}))
        else:
            request.respond(200, b'{"status":"ok"}')

    def _metrics(self) -> bytes:
        """Return the gauges that vLLM shows."""
        name = next(iter(self.spec.models), "")
        waiting = max(0, self.seen.open_now - self.spec.concurrent)
        return (
            f'vllm:num_requests_running{{model_name="{name}"}} {self.seen.open_now - waiting}\n'
            f'vllm:num_requests_waiting{{model_name="{name}"}} {waiting}\n'
            f'vllm:kv_cache_usage_perc{{model_name="{name}"}} {min(1.0, self.seen.open_now / self.spec.concurrent)}\n'
        ).encode()

    async def _answer(self, request: Request) -> None:
        seen = self.seen
        seen.open_now += 1
        seen.most_open = max(seen.most_open, seen.open_now)
        try:
            await self._serve(request)
        except _Refused as refused:
            seen.refused += 1
            lines = f"retry-after: {refused.retry_after_s:g}\r\n".encode() if refused.retry_after_s else b""
            openai = self.spec.door == "openai"
            request.respond(refused.status, error_body(refused.kind, refused.message, openai=openai), lines)
        except (msgspec.MsgspecError, RecursionError, KeyError, TypeError, AttributeError):
            request.respond(400, error_body("invalid_request_error", "the request cannot be read"))
        finally:
            seen.open_now -= 1

    async def _serve(self, request: Request) -> None:
        path = unquote(request.path.decode("latin-1"))
        body = msgspec.json.decode(request.body, type=dict[str, Any])
        self._authorise(request)
        model, stream, count = self._parse(path, body, request)
        if model not in self.spec.models:
            raise _Refused(404, "not_found_error", f"model: {model}")
        if count:
            request.respond(200, _ENCODE({"input_tokens": answers.count_tokens(body)}))
            return
        if self._fault("refuse", model):
            request.cut()
            return
        self._admit()
        for kind, (status, error, message) in _ERRORS.items():
            fault = self._fault(kind, model)
            if fault is not None:
                raise _Refused(status, error, message, fault.retry_after_s)
        spec = self.spec.models[model]
        made = answers.answer(model, spec, body, self._cache, seen_number(self.seen))
        if await self._break_early(request, model, spec):
            return
        if stream:
            await self._stream(request, made, spec, body)
        else:
            await self._whole(request, made, spec)

    def _bill(self, a: answers.Answer) -> None:
        use = TokenUse(a.fresh_tokens, a.cached_tokens, a.write_tokens, 0, a.output_tokens)
        cost = nano_usd(self.price(a.model), use)
        self.seen.answered += 1
        self._level[1] += use.prompt_tokens + a.output_tokens
        self.seen.bill.append(Billed(a.model, a.fresh_tokens, a.cached_tokens, a.write_tokens, a.output_tokens, cost))

    # --- asking rightly

    def _authorise(self, request: Request) -> None:
        if not self.spec.keys:
            return
        authorization = request.header(b"authorization")
        given = {request.header(b"x-api-key"), request.header(b"api-key"), authorization.removeprefix("Bearer ")} - {""}
        if given & set(self.spec.keys):
            return
        signed = _SIGV4.fullmatch(authorization)
        pairs = dict(key.split(":", 1) for key in self.spec.keys if ":" in key)
        if signed and signed[1] in pairs and self._signature(request, signed, pairs[signed[1]]) == signed[6]:
            return
        raise _Refused(401, "authentication_error", "invalid key or signature")

    @staticmethod
    def _signature(request: Request, signed: re.Match[str], secret: str) -> str:
        stamp = request.header(b"x-amz-date")
        at_s = time.mktime(time.strptime(stamp, "%Y%m%dT%H%M%SZ")) - time.timezone
        drop = ("x-amz-date", "x-amz-security-token")
        headers = {name: request.header(name.encode()) for name in signed[5].split(";") if name not in drop}
        token = request.header(b"x-amz-security-token")
        signer = Signer(AwsKey(signed[1], secret, token), signed[3], signed[4])
        added = signer.sign("POST", request.path.decode(), headers, request.body, query=request.query.decode(), at_s=at_s)
        return added["authorization"].rsplit("=", 1)[1]

    def _parse(self, path: str, body: dict[str, Any], request: Request) -> tuple[str, bool, bool]:
        """Return model, whether streamed, whether tokens are to be counted; refuse what the real door refuses."""
        door = self.spec.door
        stream = bool(body.get("stream"))
        version = request.header(b"anthropic-version")
        count = path.endswith(("/count_tokens", "/count-tokens:rawPredict"))
        if door == "openai":
            if path != "/v1/chat/completions":
                raise _Refused(404, "not_found_error", path)
            return body["model"], stream, False
        if door in ("bedrock", "vertex"):
            found = None if count else (_BEDROCK if door == "bedrock" else _VERTEX).search(path)
            if found is None and not count:
                raise _Refused(404, "not_found_error", path)
            version = body.get("anthropic_version", "")
            if "model" in body and not count:
                raise _Refused(400, "invalid_request_error", "model: Extra inputs are not permitted")
            if door == "bedrock" and "stream" in body:
                raise _Refused(400, "invalid_request_error", "stream: Extra inputs are not permitted")
            version = OLD if version == _IN_BODY_OLD[door] else version
            model = found[1] if found else body["model"]
            stream = bool(found) and "tream" in (found[2] if found else "")
        else:
            google = _GOOGLE.search(path)
            rest = google[1] if google else path.removeprefix("/anthropic")
            if rest not in ("/v1/messages", "/v1/messages/count_tokens") or (door == "google-cloud") != bool(google):
                raise _Refused(404, "not_found_error", path)
            model = body["model"]
        self._check_version(version, body, count)
        return model, stream, count

    def _check_version(self, version: str, body: dict[str, Any], count: bool) -> None:
        if version not in self.spec.versions:
            raise _Refused(400, "invalid_request_error", f"anthropic-version: {version!r} is not offered here")
        if version == NEW:
            for name in ("temperature", "top_p", "top_k"):
                if name in body:
                    raise _Refused(400, "invalid_request_error", f"{name}: not allowed in this version")
        if not count and not isinstance(body.get("max_tokens"), int):
            raise _Refused(400, "invalid_request_error", "max_tokens: Field required")

    def _admit(self) -> None:
        now = self.clock()
        leak = (now - self._level_s) / 60.0
        self._level_s = now
        spec = self.spec
        self._level[0] = max(0.0, self._level[0] - leak * spec.requests_per_minute)
        self._level[1] = max(0.0, self._level[1] - leak * spec.tokens_per_minute)
        over_requests = spec.requests_per_minute and self._level[0] + 1 > spec.requests_per_minute / 60.0 + 1
        if over_requests or (spec.tokens_per_minute and self._level[1] > spec.tokens_per_minute / 60.0):
            raise _Refused(429, "rate_limit_error", "the limit of this endpoint is reached", 1.0)
        if self.seen.open_now > spec.concurrent:
            raise _Refused(529, "overloaded_error", "Overloaded")
        self._level[0] += 1.0

    # --- going wrong

    def _fault(self, kind: str, model: str, *, roll: bool = True) -> Fault | None:
        now = self.clock()
        for fault in self.faults:
            if fault.kind == kind and fault.from_s <= now < fault.to_s and fault.model in ("", model):
                return fault if fault.frac >= 1.0 or (roll and self._random.random() < fault.frac) else None
        return None

    async def _break_early(self, request: Request, model: str, spec: FleetModel) -> bool:
        """Go wrong before content, where a fault says so."""
        if self._fault("stall", model):
            await asyncio.sleep(3600.0)
        if self._fault("garbage", model):
            request.connection.transport.write(b"\x16\x03\x01 this is not HTTP\r\n\r\n")
            request.cut()
            return True
        if self._fault("lie-length", model):
            request.started = True
            request.connection.transport.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 9999\r\n\r\n{}")
            request.connection.close()
            return True
        slow = self._fault("slow", model)
        jitter = 1.0 + self.fleet.jitter_frac * (2.0 * self._random.random() - 1.0)
        await asyncio.sleep(spec.ttft_s * jitter * (slow.slow_factor if slow else 1.0))
        return False

    async def _whole(self, request: Request, a: answers.Answer, spec: FleetModel) -> None:
        body = _ENCODE(answers.completion(a) if self.spec.door == "openai" else answers.message(a))
        await asyncio.sleep(spec.tpot_s * len(a.words))
        if self._fault("cut-before", a.model) or self._fault("cut-after", a.model):
            request.started = True
            request.connection.transport.write(
                b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body[: len(body) // 2])
            )
            request.connection.close()
            return
        if self._fault("bad-json", a.model):
            body = body[:-7]
        if self._fault("error-event", a.model):
            body = error_body("overloaded_error", "Overloaded")
        self._bill(a)
        request.respond(200, body, f"request-id: req_{a.id}\r\n".encode())

    async def _stream(self, request: Request, a: answers.Answer, spec: FleetModel, body: dict[str, Any]) -> None:
        door = self.spec.door
        pieces = self._pieces(a, body)
        kind = b"application/vnd.amazon.eventstream" if door == "bedrock" else b"text/event-stream; charset=utf-8"
        request.begin(200, f"request-id: req_{a.id}\r\n".encode(), content_type=kind)
        cut_before, cut_after = self._fault("cut-before", a.model), self._fault("cut-after", a.model)
        error, bad = self._fault("error-event", a.model), self._fault("bad-json", a.model)
        content = 0
        for is_content, piece in pieces:
            if is_content:
                content += 1
                if cut_before or (cut_after and content == 4):
                    request.cut()
                    return
                if error and content == 1:
                    request.write(self._error_piece())
                    request.end()
                    return
                if bad and content == 1:
                    request.write(b'event: message_delta\ndata: {"type":"message_delta","usage":{{{\n\n' if door != "openai" else b"data: {{{\n\n")
                    request.end()
                    return
                if spec.tpot_s:
                    await asyncio.sleep(spec.tpot_s)
            request.write(piece)
            if request.connection.closed:
                return
        self._bill(a)
        request.end()

    def _error_piece(self) -> bytes:
        if self.spec.door == "bedrock":
            return encode_exception("serviceUnavailableException", "Overloaded")
        if self.spec.door == "openai":
            return b"data: " + error_body("overloaded_error", "Overloaded", openai=True) + b"\n\n"
        return event("error", error_body("overloaded_error", "Overloaded"))

    def _pieces(self, a: answers.Answer, body: dict[str, Any]) -> list[tuple[bool, bytes]]:
        if self.spec.door == "openai":
            wanted = bool((body.get("stream_options") or {}).get("include_usage"))
            chunks = answers.completion_chunks(a, include_usage=wanted)
            out = [(i > 0 and bool(c["choices"]), b"data: " + _ENCODE(c) + b"\n\n") for i, c in enumerate(chunks)]
            return [*out, (False, b"data: [DONE]\n\n")]
        events = answers.message_events(a)
        if self.spec.door == "bedrock":
            return [(e["type"] == "content_block_delta", encode_event(_ENCODE(e))) for e in events]
        return [(e["type"] == "content_block_delta", event(e["type"], _ENCODE(e))) for e in events]


def seen_number(seen: Seen) -> int:
    """Return the number of a request, for its answer's id."""
    return seen.requests


class Emulator:
    """All endpoints of a fleet."""

    def __init__(self, fleet: Fleet, *, clock: Callable[[], float] | None = None) -> None:
        began = time.monotonic()
        self.fleet = fleet
        self.clock = clock or (lambda: time.monotonic() - began)
        self.endpoints = {spec.id: Endpoint(spec, fleet, self.clock) for spec in fleet.endpoints}

    async def start(self) -> dict[str, int]:
        """Listen on every port; return them by endpoint."""
        return {name: await endpoint.start(self.fleet.host) for name, endpoint in self.endpoints.items()}

    async def stop(self) -> None:
        """Close everything."""
        for endpoint in self.endpoints.values():
            await endpoint.stop()

    def __getitem__(self, name: str) -> Endpoint:
        return self.endpoints[name]
