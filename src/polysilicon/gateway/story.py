"""`polysilicon live`: four emulated clouds, a minute of trouble, and what the gateway makes of it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from polysilicon.cloud.contract import Contract
from polysilicon.cloud.token_price import TokenPrice
from polysilicon.errors import PromiseNotKept
from polysilicon.gateway.broker.quotes import Quote
from polysilicon.gateway.config import BrokerPart, PromotionPart, QuotePart
from polysilicon.gateway.controller import Controller, new_key
from polysilicon.gateway.emulator import Emulator, Fault, Fleet, FleetEndpoint, FleetModel
from polysilicon.gateway.serving import admin_server, tick_forever
from polysilicon.gateway.tariff import compile_price
from polysilicon.gateway.upstream import Pool
from polysilicon.gateway.wiring import Key, Reliability, Route, Secret, Target, Variant, Wiring
from polysilicon.gateway.worker import Worker
from polysilicon.gateway.worker import run as run_loop

MODEL = "claude-sonnet"
Say = Callable[[str], None]
# cloud, door, chip, region, $/Mtok in, $/Mtok out
_CLOUDS = (
    ("aws", "bedrock", "Trainium2", "us-east-1", 3.0, 15.0),
    ("gcp", "vertex", "TPU v7", "us-east5", 3.0, 15.0),
    ("azure", "foundry", "GB300", "eastus2", 3.1, 15.5),
    ("coreweave", "openai", "H200", "us-east-04", 3.2, 16.0),
)
_NEW = ("azure-maia", "anthropic", "Maia 200", "eastus2", 2.0, 10.0)
_SHARES = (0.35, 0.30, 0.20, 0.15, 0.0)
_PATIENCE = 4.0  # times an act's length, where traffic has not yet followed


def _names(door: str) -> str:
    return {"bedrock": "us.anthropic.claude-sonnet-v1:0", "vertex": "claude-sonnet@1"}.get(door, MODEL)


def _fleet() -> Fleet:
    endpoints = []
    for cloud, door, _, _, fresh, out in (*_CLOUDS, _NEW):
        model = FleetModel(ttft_s=0.015, tpot_s=0.001, output_tokens=12, usd_per_mtok_in=fresh, usd_per_mtok_out=out)
        endpoints.append(FleetEndpoint(cloud, door, cloud=cloud.split("-")[0], models={_names(door): model}))
    return Fleet(tuple(endpoints), jitter_frac=0.2)


def _wiring(ports: dict[str, int], state: str, key_hash: str) -> Wiring:
    targets, variants = [], []
    for i, (cloud, door, chip, region, fresh, out) in enumerate((*_CLOUDS, _NEW)):
        targets.append(Target(
            i, cloud, door, "http", "127.0.0.1", ports[cloud], "", cloud.split("-")[0], region,
            secret=Secret(token="env:POLYSILICON_LIVE"), options={"project": "p"}, auth="bearer" if door != "foundry" else "",
        ))  # fmt: skip
        price = TokenPrice(MODEL, cloud, fresh, out, usd_per_mtok_cached=fresh / 10, usd_per_mtok_write_5m=fresh * 1.25)
        new = cloud == _NEW[0]
        variants.append(Variant(
            i, f"{MODEL}@{cloud}", MODEL, i, _names(door), chip, "", "azure-macc" if cloud.startswith("azure") else "",
            "shadow" if new else "production", 1.0, "" if new else "passed", compile_price(price),
        ))  # fmt: skip
    applications = ("m365-copilot", "github-copilot", "api")
    keys = tuple(Key(name, key_hash if name == "api" else f"{i:064x}", team="demo", application=name) for i, name in enumerate(applications))
    route = Route(MODEL, MODEL, "", "interactive", tuple(range(5)), _SHARES, "the story's plan")
    return Wiring("live", "story", state, "127.0.0.1", 0, 1, tuple(targets), tuple(variants), (route,), keys, (),
                  Reliability(breaker_open_s=1.0, breaker_failures=3, rate_limit_open_s=0.5),
                  shadow_frac={variants[4].id: 0.5}, drain_s=1.0, log_level="error")  # fmt: skip


class Story:
    """The parts, the load, the acts."""

    def __init__(self, folder: Path, say: Say) -> None:
        self.folder = folder
        self.say = say
        self.acts: list[dict[str, Any]] = []
        self.sent = self.failed = 0
        self.quotes_path = folder / "quotes.json"
        self.quotes: dict[str, Quote] = {}

    async def run(self, create: Callable[..., Any], seconds: float, port: int) -> dict[str, Any]:
        """Tell the whole story in so many seconds; return what was seen."""
        os.environ["POLYSILICON_LIVE"] = new_key()[0]
        client_key, digest = new_key()
        self.emulator = Emulator(_fleet())
        wiring = _wiring(await self.emulator.start(), str(self.folder / "state"), digest)
        self._write_quotes()
        broker = BrokerPart(
            mode="plan", tick_s=0.25, quotes=(QuotePart(file=str(self.quotes_path), every_s=0.25),), ramp_per_minute_frac=60.0,
            dwell_s=seconds / 6, dwell_large_gain_s=0.0,
        )  # fmt: skip
        year = time.gmtime().tm_year
        macc = Contract(
            "azure-macc",
            "azure",
            "committed_spend",
            f"{year}-01-01",
            f"{year + 1}-01-01",
            commit_usd=12.0,
            drawn_before_usd=10.0,
        )
        trial = PromotionPart(automatic=True, samples_min=40, samples_max=4000, quality_drop_max_frac=0.2, length_drift_max_frac=0.5,
                              error_max_frac=0.2, latency_factor_max=3.0)  # fmt: skip
        self.worker = Worker(wiring)
        self.controller = Controller(wiring, broker=broker, contracts=[macc], promotion=trial, custom_chips=("Trainium2", "TPU v7", "Maia 200"))
        url_port = await self.worker.start()
        admin_key = new_key()[0]
        admin = admin_server(create(self.controller, admin_key), "127.0.0.1", port)
        tasks = [asyncio.create_task(admin.serve()), asyncio.create_task(tick_forever(lambda: self.controller)),
                 asyncio.create_task(self._load(url_port, client_key))]  # fmt: skip
        while not admin.started:
            await asyncio.sleep(0.02)
        bound = admin.servers[0].sockets[0].getsockname()[1]
        self.say(f"live page: http://127.0.0.1:{bound}/#key={admin_key}")
        try:
            await self._tell(seconds / 6.0)
        finally:
            admin.should_exit = True
            for task in tasks[1:]:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self.controller.tick()
            status = self.controller.status()
            await self.worker.stop(drain_s=1.0)
            await self.emulator.stop()
            self.controller.close()
            os.environ.pop("POLYSILICON_LIVE", None)
        return self._outcome(status)

    async def _tell(self, act_s: float) -> None:
        await self._act("the plan's shares", "aws", 0.35, act_s, lambda: None)
        await self._act("price shock: aws dearer by 60 %", "aws", 0.0, act_s, lambda: self._quote("aws", factor=1.6))
        await self._act("price back to the list", "aws", 0.35, act_s, lambda: self._quote("aws", factor=1.0))
        await self._act("provisioned throughput of gcp exhausted", "gcp", 0.30, act_s, self._exhaust, less=True)
        await self._act("outage of azure", "azure", 0.0, act_s, self._outage)
        await self._promoted(act_s)
        await self._act("new chip: from shadow to production", "azure-maia", 0.0, act_s, self._open_maia, more=True)

    async def _promoted(self, act_s: float) -> None:
        """Wait until the new chip's trials are over, where a slow machine has not yet had enough samples."""
        until = time.monotonic() + _PATIENCE * act_s
        while self.controller.promotions.stages[f"{MODEL}@{_NEW[0]}"][0] != "production" and time.monotonic() < until:
            await asyncio.sleep(0.05)

    def _exhaust(self) -> None:
        self.emulator["gcp"].faults.append(Fault("429", frac=1.0, retry_after_s=0.5))

    def _outage(self) -> None:
        self.emulator["gcp"].faults.clear()
        self.emulator["azure"].outage()

    def _open_maia(self) -> None:
        """Its trials have run in the shadow since the start; now its price counts: cheaper than all others."""
        self.emulator["azure"].outage(over=True)
        self._quote("azure-maia", factor=0.9)

    async def _act(
        self,
        name: str,
        target: str,
        expected: float,
        act_s: float,
        begin: Callable[[], None],
        *,
        less: bool = False,
        more: bool = False,
    ) -> None:
        """Begin an act, wait, and note how soon the target's share of requests went where it should.

        A machine with other things to do gets up to four times as long; what it took is told all the same.
        """
        begin()
        began = time.monotonic()
        within_s = None
        share = 0.0
        while (past_s := time.monotonic() - began) < act_s or (within_s is None and past_s < _PATIENCE * act_s):
            before = self._counts()
            await asyncio.sleep(min(1.0, act_s / 5))
            delta = {k: v - before[k] for k, v in self._counts().items()}
            share = delta[target] / max(1, sum(delta.values()))
            met = share > expected + 0.02 if more else share < expected - 0.1 if less else abs(share - expected) <= 0.05
            if met and within_s is None:
                within_s = round(time.monotonic() - began, 1)
        self.acts.append({"act": name, "seen": target, "share_percent": round(100 * share, 1), "within_s": within_s})
        self.say(f"{name}: {target} carries {share:.0%}" + (f", {within_s} s after it began" if within_s else ", not yet where it should be"))

    def _counts(self) -> dict[str, int]:
        """Return how many client requests each target has answered; copies to the shadow do not count."""
        return {cloud[0]: self.controller.table.total(i, "ok") for i, cloud in enumerate((*_CLOUDS, _NEW))}

    def _quote(self, target: str, **quote: Any) -> None:
        self.quotes[target] = Quote(target, **quote)
        self._write_quotes()

    def _write_quotes(self) -> None:
        scratch = self.quotes_path.with_suffix(".part")
        scratch.write_bytes(msgspec.json.encode(list(self.quotes.values())))
        scratch.replace(self.quotes_path)

    async def _load(self, port: int, key: str) -> None:
        """Send some hundred requests a second over keep-alive connections."""
        pool = Pool("127.0.0.1", port)
        said = {"model": MODEL, "max_tokens": 20, "messages": [{"role": "user", "content": "Say some words. " * 20}]}
        body = json.dumps(said).encode()
        raw = b"POST /v1/messages HTTP/1.1\r\nhost: x\r\nx-api-key: %b\r\ncontent-length: %d\r\n\r\n%b" % (
            key.encode(),
            len(body),
            body,
        )

        async def one() -> None:
            while True:
                done: asyncio.Future[int] = asyncio.get_running_loop().create_future()
                _Client(pool, raw, done)
                self.sent += 1
                if await done != 200:
                    self.failed += 1
                await asyncio.sleep(0.04)

        await asyncio.gather(*[one() for _ in range(10)])

    def _outcome(self, status: dict[str, Any]) -> dict[str, Any]:
        by_chip = status["by"]["chip"]
        return {
            "acts": self.acts, "by_chip": by_chip, "requests": self.sent, "errors": self.failed, "promotions": status["promotions"],
            "switches": status["switches"], "usd": sum(v["usd"] for v in by_chip.values()),
            "saved_usd": sum(v["saved_usd"] for v in by_chip.values()), "ledger_lines": status["entries"],
        }  # fmt: skip


class _Client:
    """One request of the story's own load, over a keep-alive pool."""

    def __init__(self, pool: Pool, raw: bytes, done: asyncio.Future[int]) -> None:
        self.status = 0
        self.done = done
        self.raw = raw
        connection = pool.idle()
        if connection is not None:
            connection.send(self, raw)
        else:
            pool.connect(self._connected)

    def _connected(self, connection: Any, error: Any) -> None:
        if connection is None:
            self._finish(0)
        else:
            connection.send(self, self.raw)

    def _finish(self, status: int) -> None:
        if not self.done.done():
            self.done.set_result(status)

    def upstream_head(self, status: int, headers: dict[bytes, bytes]) -> None:
        self.status = status

    def upstream_data(self, data: bytes) -> None:
        pass

    def upstream_end(self) -> None:
        self._finish(self.status)

    def upstream_lost(self, error: Any) -> None:
        self._finish(0)


def tell(create: Callable[..., Any], *, seconds: float, port: int, say: Say) -> dict[str, Any]:
    """Tell the story; return what was seen.

    Raises: PromiseNotKept when an act's traffic did not go where it should within the act.
    """
    result: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="polysilicon-live-") as folder:

        async def go() -> None:
            me = asyncio.current_task()
            assert me is not None
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, me.cancel)  # an end in order: the folder goes too
            result.update(await Story(Path(folder), say).run(create, seconds, port))

        try:
            run_loop(go())
        except asyncio.CancelledError:
            raise SystemExit(128 + signal.SIGTERM) from None
    late = [a["act"] for a in result["acts"] if a["within_s"] is None]
    if late:
        raise PromiseNotKept(f"traffic did not follow in time: {'; '.join(late)}", where="live")
    return result
