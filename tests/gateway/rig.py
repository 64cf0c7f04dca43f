"""A gateway and emulated doors on loopback, in a thread of their own, so that any client can talk to them."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from socketserver import BaseServer
from typing import Any

import uvloop

from polysilicon.cloud.token_price import TokenPrice
from polysilicon.gateway.emulator import Emulator, Fleet, FleetEndpoint, FleetModel
from polysilicon.gateway.ledger import Entry, Tail
from polysilicon.gateway.tariff import compile_price
from polysilicon.gateway.wiring import Budget, Key, Reliability, Route, Secret, Target, Variant, Wiring
from polysilicon.gateway.worker import Worker

MODEL = "opus"
CLOUDS = {
    "claude": "anthropic", "aws-platform": "aws", "bedrock": "aws", "bedrock-messages": "aws", "vertex": "gcp", "google-cloud": "gcp",
    "foundry": "azure", "anthropic": "coreweave", "openai": "coreweave",
}  # fmt: skip
REGIONS = {"aws": "us-east-1", "gcp": "europe-west4", "azure": "eastus2", "anthropic": "us", "coreweave": "us-east-04"}
SIGNED = ("bedrock", "bedrock-messages", "aws-platform")
SEVEN = ("claude", "aws-platform", "bedrock", "bedrock-messages", "vertex", "google-cloud", "foundry")
FAST = Reliability(
    connect_timeout_s=1.0, first_byte_timeout_s=0.8, stall_timeout_s=0.8, total_timeout_s=8.0, breaker_failures=3, breaker_open_s=0.4,
    rate_limit_open_s=0.3,
)  # fmt: skip
os.environ.setdefault("RIG_TOKEN", "upstream-secret-token")
os.environ.setdefault("RIG_ACCESS", "AKIDEXAMPLE")
os.environ.setdefault("RIG_SECRET", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")


def endpoint(name: str, door: str, **changes: Any) -> FleetEndpoint:
    """An emulated door that serves MODEL under the name the door would use."""
    keys = (f"{os.environ['RIG_ACCESS']}:{os.environ['RIG_SECRET']}",) if door in SIGNED else (os.environ["RIG_TOKEN"],)
    model = changes.pop("model", FleetModel(ttft_s=0.0, tpot_s=0.0))
    return FleetEndpoint(name, door, cloud=CLOUDS[door], keys=keys, models={upstream_name(door): model}, **changes)


def upstream_name(door: str) -> str:
    return {"bedrock": "us.anthropic.opus-v1:0", "vertex": "opus@20251001"}.get(door, MODEL)


def target(index: int, spec: FleetEndpoint, port: int, /, **changes: Any) -> Target:
    """The gateway's view of an emulated door."""
    secret = Secret(access_key="env:RIG_ACCESS", secret_key="env:RIG_SECRET") if spec.door in SIGNED else Secret(token="env:RIG_TOKEN")
    given: dict[str, Any] = {
        "index": index, "id": spec.id, "door": spec.door, "scheme": "http", "host": "127.0.0.1", "port": port, "prefix": "",
        "cloud": CLOUDS[spec.door], "region": spec.region or REGIONS[CLOUDS[spec.door]], "versions": spec.versions, "secret": secret,
        "options": {"project": "p", "workspace": "w"},
    }  # fmt: skip
    return Target(**{**given, **changes})


def variant(index: int, at: Target, name: str, price: TokenPrice, **changes: Any) -> Variant:
    """MODEL through a target."""
    given: dict[str, Any] = {
        "index": index, "id": f"{MODEL}@{at.id}", "model": MODEL, "target": at.index, "name": name, "chip": "", "engine": "", "contract": "",
        "stage": "production", "share_max_frac": 1.0, "gate": "passed", "tariff": compile_price(price),
    }  # fmt: skip
    return Variant(**{**given, **changes})


def key(name: str = "k1", **changes: Any) -> Key:
    return Key(**{"id": name, "sha256": sha256(f"sk-{name}".encode()).hexdigest(), "team": "core", "application": "demo", **changes})


class Rig:
    """Everything on, until closed."""

    def __init__(
        self,
        state: Path,
        endpoints: list[FleetEndpoint],
        *,
        weights: list[float] | None = None,
        keys: tuple[Key, ...] = (),
        budgets: tuple[Budget, ...] = (),
        standard_loop: bool = False,
        targets: dict[str, dict[str, Any]] | None = None,
        variants: dict[str, dict[str, Any]] | None = None,
        **wiring: Any,
    ) -> None:
        self.loop: asyncio.AbstractEventLoop = asyncio.new_event_loop() if standard_loop else uvloop.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()
        self.fleet = Fleet(tuple(endpoints))
        self.emulator = self.run(self._emulate())
        ports = self.run(self.emulator.start())
        all_targets = [target(i, e, ports[e.id], **(targets or {}).get(e.id, {})) for i, e in enumerate(endpoints)]
        all_variants = [
            variant(i, t, upstream_name(t.door), self.emulator[t.id].price(upstream_name(t.door)), **(variants or {}).get(t.id, {}))
            for i, t in enumerate(all_targets)
        ]
        n = len(all_variants)
        route = Route(MODEL, MODEL, "", "interactive", tuple(range(n)), tuple(weights or [1.0 / n] * n), "test")
        settings: dict[str, Any] = {
            "digest": "d1", "plan_version": "p1", "state": str(state), "host": "127.0.0.1", "port": 0, "workers": 1,
            "targets": tuple(all_targets), "variants": tuple(all_variants), "routes": (route,), "keys": keys or (key(),), "budgets": budgets,
            "reliability": FAST, "drain_s": 2.0,
        }  # fmt: skip
        self.wiring = Wiring(**{**settings, **wiring})
        self.worker = self.run(self._serve())
        self.port = self.run(self.worker.start())
        self.url = f"http://127.0.0.1:{self.port}"
        self._tail = Tail(state / "ledger")
        self._entries: list[Entry] = []

    async def _emulate(self) -> Emulator:
        return Emulator(self.fleet)

    async def _serve(self) -> Worker:
        return Worker(self.wiring)

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(20)

    def call(self, function: Callable[[], Any]) -> Any:
        async def do() -> Any:
            return function()

        return self.run(do())

    def ledger(self, at_least: int = 0) -> list[Entry]:
        """All entries so far, once there are so many."""
        until = time.monotonic() + 5.0
        while True:
            self.call(self.worker.ledger.flush)
            self._entries += list(self._tail.read())
            if len(self._entries) >= at_least or time.monotonic() > until:
                return self._entries
            time.sleep(0.01)

    def close(self) -> None:
        self.run(self.worker.stop(drain_s=0.2))
        self.run(self.emulator.stop())

        async def settle() -> None:
            tasks = [t for t in asyncio.all_tasks() if t is not asyncio.current_task()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await asyncio.sleep(0.02)

        self.run(settle())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(5)
        self.loop.close()


def post(
    r: Rig, body: Any, *, path: str = "/v1/messages", key: str = "sk-k1", headers: dict[str, str] | None = None
) -> tuple[int, dict[str, str], bytes]:
    """One request, the answer read to its end."""
    import http.client
    import json

    connection = http.client.HTTPConnection("127.0.0.1", r.port, timeout=10)
    try:
        lines = {"content-type": "application/json", "x-api-key": key, **(headers or {})}
        connection.request("POST", path, body if isinstance(body, bytes) else json.dumps(body).encode(), lines)
        answer = connection.getresponse()
        return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()
    finally:
        connection.close()


def ask(*, stream: bool = False, text: str = "hello there", **more: Any) -> dict[str, Any]:
    """A Messages request."""
    return {"model": MODEL, "max_tokens": 50, "stream": stream, "messages": [{"role": "user", "content": text}], **more}


@contextmanager
def served(server: BaseServer) -> Iterator[None]:
    """Serve in a thread, until the end."""
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield
    server.shutdown()
    thread.join(5)
