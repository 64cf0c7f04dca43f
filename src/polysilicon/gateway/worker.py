"""One worker: a process (or a test's event loop) that serves clients by the wiring and the latest directive."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import msgspec

from polysilicon.errors import InputError, PolysiliconError
from polysilicon.gateway.attempt import Attempt
from polysilicon.gateway.envelope import dialect_of
from polysilicon.gateway.exchange import Exchange
from polysilicon.gateway.express import Express, Flight
from polysilicon.gateway.http import Limits, Request, Server, error_body
from polysilicon.gateway.journal import log
from polysilicon.gateway.ledger import Writer
from polysilicon.gateway.live import Live
from polysilicon.gateway.samples import Samples
from polysilicon.gateway.shadow import Shadow, ending
from polysilicon.gateway.wiring import Wiring

_TICK_S = 0.05


class Worker:
    """Clients in front, targets behind."""

    def __init__(self, wiring: Wiring, index: int = 0) -> None:
        self.loop = asyncio.get_running_loop()
        self.index = index
        self.prefix = "ps-" + os.urandom(5).hex() + "-"  # of request ids: a random start, so that workers' ids differ
        self.live = Live(wiring, index, self.prefix)
        self.ledger = Writer(Path(wiring.state) / "ledger", index, later=self.loop.call_soon, beside=self._beside)
        self.server = Server(self.handle, _limits(wiring))
        self.exchanges: set[Exchange | Flight] = set()
        self.express = Express(self)
        self.ledger.before = self.express.book
        self.server.short = self.express.take
        self.counter = 0
        self.hedges = 0
        self.stuck = ""  # why the ledger cannot be written
        self.failing: dict[str, str] = {}  # parts of the tick, and why each failed when last run
        self.refused: dict[str, int] = {}
        self.ready = False
        self.samples = Samples(Path(wiring.state) / "samples", index)
        self.shadows: set[Shadow] = set()
        self._ticker: asyncio.Task[None] | None = None

    async def start(self, *, reuse_port: bool = False) -> int:
        """Begin to serve; return the port."""
        wiring = self.live.wiring
        await self.server.listen(wiring.host, wiring.port, reuse_port=reuse_port)
        self._ticker = self.loop.create_task(self._tick())
        self.ready = True
        return self.server.port

    async def stop(self, *, drain_s: float | None = None) -> bool:
        """Stop accepting, finish what is under way, write and close; return whether nothing had to be cut."""
        self.ready = False
        clean = await self.server.drain(self.live.wiring.drain_s if drain_s is None else drain_s)
        if self._ticker is not None:
            self._ticker.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._ticker
        self.express.work()
        for exchange in list(self.exchanges):
            exchange.client_gone()
        self.ledger.close()
        self.samples.close()
        self.live.close()
        return clean

    def _beside(self, function: Callable[[], None]) -> None:
        self.loop.run_in_executor(None, function)

    def reload(self, wiring: Wiring) -> None:
        """Serve new requests by a new wiring; those under way keep theirs.

        Raises: InputError when the wiring cannot be used; the old one stays.
        """
        old, self.live = self.live, Live(wiring, self.index, self.prefix)
        self.server.limit(_limits(wiring))
        self.loop.call_later(wiring.reliability.total_timeout_s, old.close)

    # --- requests

    def handle(self, request: Request) -> None:
        """Answer one request; those that came before it and are held go first."""
        self.express.work()
        found = dialect_of(request.path)
        if found is not None and request.method == b"POST":
            Exchange(self, request, *found).start()
            return
        if request.method == b"GET":
            if request.path in (b"/health", b"/healthz", b"/livez"):
                request.respond(200, b'{"status":"ok"}')
                return
            if request.path in (b"/ready", b"/readyz"):
                self._readiness(request)
                return
            if request.path.startswith((b"/v1/models", b"/openai/v1/models", b"/anthropic/v1/models")):
                self._models(request)
                return
        status, kind = (405, "invalid_request_error") if found is not None else (404, "not_found_error")
        request.respond(status, error_body(kind, "there is nothing at this path"))

    def _readiness(self, request: Request) -> None:
        live = self.live
        now_s = time.monotonic()
        fit = any(live.health.admits(v.index, now_s) for v in live.wiring.variants)
        ready = self.ready and not self.server.draining and fit and not self.stuck
        request.respond(200 if ready else 503, msgspec.json.encode({"ready": ready, "directive": live.router.directive.number}))

    def _models(self, request: Request) -> None:
        anthropic = b"anthropic-version" in request.headers
        caller = self.live.caller(request.headers)
        key = caller.key if caller is not None else None
        if key is None:
            request.respond(401, error_body("authentication_error", "a valid key is needed", openai=not anthropic))
            return
        models = sorted({r.model for r in self.live.wiring.routes if not key.models or r.model in key.models})
        name = request.path.partition(b"models")[2].strip(b"/").decode("latin-1")
        rows = [_model_row(m, anthropic=anthropic) for m in models if not name or m == name]
        if name:
            if rows:
                request.respond(200, msgspec.json.encode(rows[0]))
            else:
                request.respond(404, error_body("not_found_error", f'model "{name[:100]}" is not offered', openai=not anthropic))
        elif anthropic:
            ends = {"first_id": models[0] if models else None, "last_id": models[-1] if models else None, "has_more": False}
            request.respond(200, msgspec.json.encode({"data": rows, **ends}))
        else:
            request.respond(200, msgspec.json.encode({"object": "list", "data": rows}))

    # --- what exchanges tell

    def answered(self, exchange: Exchange, attempt: Attempt, body: bytes) -> None:
        """Bind a conversation that has begun to the variant that holds its prompt."""
        live = self.live
        if exchange.live is not live:
            return
        if exchange.first_turn:
            live.router.bind(exchange.lane.route, exchange.first_turn, exchange.lane.legs[attempt.variant.index].place, exchange.now_s)
        if live.wiring.shadow_frac and exchange.operation == "create":
            self._shadow(exchange, attempt, body)

    def _shadow(self, exchange: Exchange, attempt: Attempt, body: bytes) -> None:
        """Copy the request to variants on trial, each at its share; which ones depends on the count alone."""
        live = self.live
        for v in live.router.routes[exchange.lane.route].variants:
            name = live.wiring.variants[v].id
            frac = live.wiring.shadow_frac.get(name, 0.0)
            if not frac or v == attempt.variant.index or live.router.directive.stages[v] not in ("shadow", "pilot", "canary"):
                continue
            live.shadow_due[name] += frac
            if live.shadow_due[name] < 1.0:
                continue
            live.shadow_due[name] -= 1.0
            if body and not attempt.stop:
                dialect = {"messages": "messages", "chat": "chat"}.get(exchange.dialect, "")
                attempt.stop, attempt.tools = ending(body, dialect) if dialect else ("", ())
            shadow = Shadow(exchange, v, attempt, keep=self.samples.append, leave=self.shadows.discard)
            if shadow.start(time.monotonic()):
                self.shadows.add(shadow)

    def may_hedge(self, share_max_frac: float, patience: float) -> bool:
        """Return whether one more hedge keeps them within their share of all requests.

        The more of that share is used, the longer a request must have waited (twice the least wait at the end): a busy machine that
        makes many requests a little late would else leave nothing for those that are really slow.
        """
        most = max(1.0, share_max_frac * self.counter)
        return self.hedges + 1 <= most and patience >= 2.0 * self.hedges / most

    def forgive(self, late_s: float) -> None:
        """Put deadlines off by the time that this process did not run: what came meanwhile is still to be read, and is nobody's delay."""
        if late_s < 0.2 * _TICK_S:
            return
        for exchange in self.exchanges:
            exchange.forgive(late_s)
        for shadow in self.shadows:
            shadow.forgive(late_s)
        self.server.forgive(late_s)

    async def _tick(self) -> None:
        """Check deadlines often, everything else once a second."""
        due_s = 0.0
        looked_s = time.monotonic()
        while True:
            await asyncio.sleep(_TICK_S)
            now_s = time.monotonic()
            self.forgive(now_s - looked_s - _TICK_S)
            looked_s = now_s
            for part in (self._deadlines, self.server.sweep, self.live.publish):
                self._guarded(part)
            if now_s >= due_s:
                due_s = now_s + 1.0
                for part in (self.live.refresh, self.live.sweep, self._sync):
                    self._guarded(part)

    def _guarded(self, part: Callable[[], object]) -> None:
        """Run one part of a tick; where it fails that is told, once a reason, and the others go on: nothing else does their work."""
        name, why = part.__qualname__, ""
        try:
            part()
        except Exception as error:  # ours, whatever it is: the next tick may do better
            *_, (frame, line) = traceback.walk_tb(error.__traceback__)
            why = f"{type(error).__name__} in {frame.f_code.co_qualname}, line {line}"  # its own words might hold a client's
        if why != self.failing.get(name, ""):
            if why:
                log("error", "a part of the tick fails; the others go on", worker=self.index, part=name, why=why)
            else:
                log("info", "a part of the tick goes on again", worker=self.index, part=name)
            self.failing[name] = why

    def _deadlines(self) -> None:
        now_s = time.monotonic()
        for exchange in [e for e in self.exchanges if e.due_s < now_s]:
            exchange.tick(now_s)
        for shadow in list(self.shadows):
            shadow.tick(now_s)

    def _sync(self) -> None:
        """Write the ledger; where that fails the lines wait in memory, the operator is told, and we are not ready until it is over."""
        try:
            self.ledger.sync()
            problem = ""
        except OSError as error:
            problem = error.strerror or type(error).__name__
        if problem != self.stuck:
            self.stuck = problem
            if problem:
                log("error", "the ledger cannot be written; its lines wait in memory", worker=self.index, why=problem)
            else:
                log("info", "the ledger is written again", worker=self.index)


def _limits(wiring: Wiring) -> Limits:
    return Limits(head_bytes=wiring.head_bytes, body_bytes=wiring.body_bytes)


def _model_row(model: str, *, anthropic: bool) -> dict[str, object]:
    if anthropic:
        return {"type": "model", "id": model, "display_name": model, "created_at": "1970-01-01T00:00:00Z"}
    return {"id": model, "object": "model", "created": 0, "owned_by": "polysilicon"}


# --- as a process of its own


def read_wiring(path: Path) -> Wiring:
    """Read what the controller wrote.

    Raises: InputError when it is missing or damaged.
    """
    try:
        return msgspec.msgpack.decode(path.read_bytes(), type=Wiring)
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", where=str(path)) from error
    except msgspec.MsgspecError as error:
        raise InputError(f"is not a wiring: {error}", where=str(path)) from error


def run(coroutine: Coroutine[Any, Any, Any]) -> None:
    """Run the coroutine on uvloop, or on the standard loop where uvloop is not installed."""
    try:
        import uvloop
    except ImportError:
        asyncio.run(coroutine)
        return
    uvloop.run(coroutine)


async def serve_process(path: Path, index: int) -> None:
    """Serve until told to stop: SIGTERM drains, SIGHUP reads the wiring anew."""
    worker = Worker(read_wiring(path), index)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def reload() -> None:
        try:
            worker.reload(read_wiring(path))
        except PolysiliconError as error:
            log("error", "reload refused", worker=index, why=str(error))

    loop.add_signal_handler(signal.SIGTERM, stop.set)
    loop.add_signal_handler(signal.SIGINT, stop.set)
    loop.add_signal_handler(signal.SIGHUP, reload)
    port = await worker.start(reuse_port=True)
    log("info", "serving", worker=index, port=port)
    await stop.wait()
    await worker.stop()


def main() -> None:
    """Run as `python -m polysilicon.gateway.worker WIRING INDEX`."""
    import gc

    gc.freeze()
    gc.set_threshold(50_000, 20, 20)  # per-request objects have no cycles; the default walks them every 700
    try:
        run(serve_process(Path(sys.argv[1]), int(sys.argv[2])))
    except PolysiliconError as error:
        print(str(error), file=sys.stderr)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
