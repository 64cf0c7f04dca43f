"""The controller: reads feeds and the ledger, ticks the broker, writes the table; keeps workers alive. If it dies, traffic goes on."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from polysilicon.cloud.contract import Contract
from polysilicon.errors import InputError
from polysilicon.gateway import breakers
from polysilicon.gateway.broker.memory import Memory
from polysilicon.gateway.broker.quotes import Feed, Quote, engine_load, fetch
from polysilicon.gateway.broker.tick import Broker, Logged, View
from polysilicon.gateway.config import BrokerPart, ContractTerms, GatewayConfig, PromotionPart, TelemetryPart
from polysilicon.gateway.journal import log
from polysilicon.gateway.ledger import Entry, Tail
from polysilicon.gateway.live import budget_digest
from polysilicon.gateway.promotion import Promotions
from polysilicon.gateway.rollup import Rollup, prometheus
from polysilicon.gateway.samples import Sample, SampleTail
from polysilicon.gateway.shared.leases import open_budgets
from polysilicon.gateway.shared.peers import Peers
from polysilicon.gateway.table import Table
from polysilicon.gateway.telemetry import Telemetry
from polysilicon.gateway.wiring import Directive, Wiring

_DECISIONS_KEPT = 200
_ENGINE_FULL_WAITING = 32.0  # an engine with so many requests waiting takes no more for now


def contract_of(terms: ContractTerms) -> Contract:
    """Return the cloud contract of a section of the gateway's file."""
    return Contract(
        terms.id, terms.cloud, "committed_spend", terms.start.isoformat(), terms.end.isoformat(), commit_usd=terms.commit_usd,
        take_or_pay_frac=terms.take_or_pay_frac, drawn_before_usd=terms.drawn_before_usd,
        draw_schedule=tuple((day.isoformat(), usd) for day, usd in terms.draw_schedule),
    )  # fmt: skip


class Controller:
    """The one writer of the table."""

    def __init__(
        self,
        wiring: Wiring,
        *,
        broker: BrokerPart | None = None,
        contracts: Sequence[Contract] = (),
        promotion: PromotionPart | None = None,
        engines: Mapping[int, str] | None = None,
        custom_chips: Sequence[str] = (),
        telemetry: TelemetryPart | None = None,
    ) -> None:
        self.wiring = wiring
        self.settings = broker or BrokerPart()
        self.contracts = tuple(contracts)
        self.custom_chips = tuple(custom_chips)
        state = Path(wiring.state)
        state.mkdir(parents=True, exist_ok=True)
        self.state = state
        self.table = Table(state / f"table-{wiring.digest}.bin", len(wiring.variants), wiring.workers)
        self.budgets = open_budgets(state, budget_digest(wiring), wiring.budgets, 63, wiring.shared)
        self.peers = Peers(wiring, self.budgets)
        self.broker = Broker(wiring, self.settings, self.contracts)
        self.memory = Memory(wiring, self.settings)
        self.memory.load(state / "prices.json")
        self.feeds = [Feed(part, []) for part in self.settings.quotes]
        self.engines = dict(engines or {})
        self.engine_state: dict[int, dict[str, float]] = {}
        self.telemetry = Telemetry(telemetry, wiring) if telemetry is not None else None
        self.rollup = Rollup(wiring)
        self.promotions = Promotions(promotion or PromotionPart(), {v.id: (v.stage, v.gate) for v in wiring.variants}, state / "promotions.json")
        self.down: dict[str, str] = {}  # by the operator
        self.decisions: deque[Logged] = deque(maxlen=_DECISIONS_KEPT)
        self.recent: deque[Entry] = deque(maxlen=500)
        self.past: deque[list[int]] = deque(maxlen=120)  # requests of each variant in each second that had any
        self._counted: tuple[float, list[int]] = (float("-inf"), [])
        self._tail = Tail(state / "ledger")
        self._samples = SampleTail(state / "samples")
        self._quotes: dict[str, tuple[float, float]] = {}
        self._averages: dict[str, tuple[float, float]] = {}  # model -> output tokens, ttft of what is in production
        self._view: View | None = None
        self._period = ""
        self._log = os.open(state / "decisions.jsonl", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self.catch_up()
        self.table.write(self.broker.directive)

    def catch_up(self) -> None:
        """Read the ledger as it stands and set the budgets to what it says was spent."""
        self.rollup.add(self._tail.read())
        self.budgets.set_spent(self.rollup.spent(self.wiring.budgets, time.time()))
        self._period = time.strftime("%Y-%m-%d", time.gmtime())

    def close(self) -> None:
        """Let go of files."""
        os.close(self._log)
        if self.telemetry is not None:
            self.telemetry.close()
        self.peers.close()
        self.budgets.close()
        self.table.close()

    # --- one tick

    def tick(self, now_s: float | None = None) -> Directive:
        """Look, decide, publish. Does not wait for anything."""
        now_s = time.time() if now_s is None else now_s
        entries = self.rollup.add(self._tail.read())
        self.recent.extend(entries)
        if self.telemetry is not None:
            self.telemetry.add(entries)
        self._learn(entries)
        self.rollup.settle_demand(now_s)
        self._roll_budgets(now_s)
        view = self._look(now_s)
        before = self.broker.directive
        directive = self.broker.tick(view)
        if directive is not before or self._view is None:
            self.table.write(directive)
            self._record(view, directive)
        self._view = view
        self._count(now_s)
        return directive

    def _count(self, now_s: float) -> None:
        """Note once a second what each variant was asked since the last time."""
        if now_s - self._counted[0] < 0.95:
            return
        now = [self.table.total(v.index, "requests") for v in self.wiring.variants]
        since = [max(0, a - b) for a, b in zip(now, self._counted[1], strict=False)]
        if any(since):
            self.past.append(since)
        self._counted = (now_s, now)

    def _record(self, view: View, directive: Directive) -> None:
        logged = Logged(view, directive)
        self.decisions.append(logged)
        os.write(self._log, msgspec.json.encode(logged) + b"\n")

    def _look(self, now_s: float) -> View:
        quotes, down = dict(self._quotes), dict(self.down)
        for feed in self.feeds:
            if feed.stale(now_s):
                continue
            for quote in feed.quotes:
                self._take_quote(quote, quotes, down)
        self._quotes = quotes
        for target, load in list(self.engine_state.items()):
            if load["waiting"] >= _ENGINE_FULL_WAITING:
                words = f"{load['waiting']:.0f} requests waiting at the engine"
                down.update({v.id: words for v in self.wiring.variants if v.target == target})
        elsewhere = self.peers.elsewhere
        demand = [d + elsewhere.demand_mtok_per_s.get(r.id, 0.0) for d, r in zip(self.rollup.demand_mtok_per_s, self.wiring.routes, strict=True)]
        if self.memory.note(now_s, quotes, demand):
            self.memory.save(self.state / "prices.json")
        return View(
            now_s=round(now_s, 3), demand_mtok_per_s=demand, mix_in_frac=list(self.rollup.mix_in_frac), quotes=quotes, down=down,
            drawn_usd=self._drawn_by_all(), stages=dict(self.promotions.stages), settled=self.memory.calm(quotes),
            ahead=self.memory.ahead() if self.contracts else [],
        )  # fmt: skip

    def _drawn_by_all(self) -> dict[str, float]:
        drawn = self.rollup.drawn_usd()
        for contract, nano in self.peers.elsewhere.drawn_nano_usd.items():
            drawn[contract] = drawn.get(contract, 0.0) + nano / 1e9
        return drawn

    def _take_quote(self, quote: Quote, quotes: dict[str, tuple[float, float]], down: dict[str, str]) -> None:
        for v in self.wiring.variants:
            if self.wiring.targets[v.target].id != quote.target or quote.model not in ("", v.model, v.name):
                continue
            fresh, out = v.tariff.rates[0] / 1e6, v.tariff.rates[4] / 1e6
            if quote.factor is not None:
                quotes[v.id] = (fresh * quote.factor, out * quote.factor)
            elif quote.usd_per_mtok_in is not None or quote.usd_per_mtok_out is not None:
                quotes[v.id] = (
                    fresh if quote.usd_per_mtok_in is None else quote.usd_per_mtok_in,
                    out if quote.usd_per_mtok_out is None else quote.usd_per_mtok_out,
                )
            if not quote.available:
                down[v.id] = quote.why or "quoted as not available"

    def _learn(self, entries: Sequence[Entry]) -> None:
        """Turn ledger lines and shadow samples into evidence about variants on trial."""
        for sample in self._samples.read():
            self.promotions.add(sample)
        for e in entries:
            if e.kind != "request" or e.outcome not in ("ok", "error", "cut"):
                continue
            length, ttft = self._averages.get(e.model, (0.0, 0.0))
            if e.stage in ("pilot", "canary"):
                error = e.outcome != "ok"
                self.promotions.add(Sample(e.variant, not error, True, e.output_tokens, length, error, e.ttft_s, ttft))
            elif e.outcome == "ok":
                length = e.output_tokens if not length else length + 0.02 * (e.output_tokens - length)
                ttft = e.ttft_s if not ttft else ttft + 0.02 * (e.ttft_s - ttft)
                self._averages[e.model] = (length, ttft)

    def _roll_budgets(self, now_s: float) -> None:
        today = time.strftime("%Y-%m-%d", time.gmtime(now_s))
        if today != self._period:  # a day or month begins: periodic budgets start anew
            self._period = today
            self.budgets.set_spent(self.rollup.spent(self.wiring.budgets, now_s))
        elif self.wiring.budgets:
            self.budgets.raise_spent(self.rollup.spent(self.wiring.budgets, now_s))

    def read_feeds(self, now_s: float | None = None) -> None:
        """Read the feeds that are due and the engines' metrics; waits for the network, so it runs beside the event loop."""
        now_s = time.time() if now_s is None else now_s
        for read in self.reads(now_s).values():
            read()

    def reads(self, now_s: float) -> dict[str, Callable[[], None]]:
        """Return what is due to be read, by name; each may wait for a network, and none for another."""
        due: dict[str, Callable[[], None]] = {}
        for i, feed in enumerate(self.feeds):
            if feed.due(now_s):
                due[f"feed {i}"] = partial(feed.read, now_s)
        for target, url in self.engines.items():
            due[f"engine {target}"] = partial(self._read_engine, target, url)
        return due

    def _read_engine(self, target: int, url: str) -> None:
        try:
            self.engine_state[target] = engine_load(fetch(url))
        except (OSError, InputError):
            self.engine_state.pop(target, None)

    # --- what the operator sees

    def metrics(self) -> str:
        """Return the Prometheus page."""
        gauges: dict[str, dict[str, float]] = {"polysilicon_in_flight": {}, "polysilicon_breaker": {}, "polysilicon_weight": {}}
        for v in self.wiring.variants:
            labels = f'variant="{v.id}",chip="{v.chip}",cloud="{self.wiring.targets[v.target].cloud}",model="{v.model}"'
            gauges["polysilicon_breaker"][labels] = max(self.table.get(w, v.index, "breaker") for w in range(self.wiring.workers))
            gauges["polysilicon_in_flight"][labels] = self.in_flight(v.index)
        for route, weights in zip(self.wiring.routes, self.broker.directive.weights, strict=True):
            for i, weight in zip(route.variants, weights, strict=True):
                gauges["polysilicon_weight"][f'route="{route.id}",variant="{self.wiring.variants[i].id}"'] = weight
        gauges["polysilicon_contract_drawn_usd"] = {f'contract="{c.id}"': self.drawn_usd(c) for c in self.contracts}
        gauges["polysilicon_contract_dollar_worth"] = {f'contract="{k}"': usd for k, usd in self.broker.directive.shadow_usd.items()}
        gauges["polysilicon_budget_spent_usd"] = {f'budget="{b.id}"': self.budgets.spent(b.index) / 1e9 for b in self.wiring.budgets}
        return prometheus(self.rollup, self.custom_chips, gauges)

    def in_flight(self, variant: int) -> int:
        """Return how many requests a variant is answering, over all workers."""
        done = ("ok", "errors")
        return max(0, self.table.total(variant, "requests") - sum(self.table.total(variant, c) for c in done))

    def drawn_usd(self, contract: Contract) -> float:
        """Return what a contract has drawn, with what was drawn before this ledger and on other hosts."""
        return (contract.drawn_before_usd or 0.0) + self._drawn_by_all().get(contract.id, 0.0)

    def demand(self) -> dict[str, float]:
        """Return this host's demand by route, millions of tokens a second."""
        return {r.id: d for r, d in zip(self.wiring.routes, self.rollup.demand_mtok_per_s, strict=True)}

    def status(self) -> dict[str, Any]:
        """Return everything the live page shows."""
        directive = self.broker.directive
        wiring = self.wiring
        variants = []
        shut = breakers.read(self.state, wiring)
        for v in wiring.variants:
            sums = self.rollup.by_variant.get(v.id)
            target = wiring.targets[v.target]
            tariff = directive.tariffs.get(v.index, v.tariff)
            stage, gate = self.promotions.stages[v.id]
            trial = self.promotions.trials.get(v.id)
            variants.append({
                "id": v.id, "model": v.model, "target": target.id, "chip": v.chip, "cloud": target.cloud, "region": target.region,
                "stage": stage, "gate": gate, "open": directive.open[v.index], "cap": directive.caps[v.index],
                "usd_in": tariff.rates[0] / 1e6, "usd_out": tariff.rates[4] / 1e6, "price_version": tariff.version,
                "marginal_usd": directive.price_nano_usd[v.index] / 1e9, "in_flight": self.in_flight(v.index),
                "breaker": ("closed", "half-open", "open")[max(self.table.get(w, v.index, "breaker") for w in range(wiring.workers))],
                "breakers": [msgspec.to_builtins(b) for b in shut.get(v.id, ())], "down": self._view.down.get(v.id, "") if self._view else "",
                "requests": self.table.total(v.index, "requests"), "errors": self.table.total(v.index, "errors"),
                "ttft_ms": max(self.table.get(w, v.index, "ttft_us") for w in range(wiring.workers)) / 1e3,
                "usd": (sums.cost_nano_usd if sums else 0) / 1e9, "tokens": sum(sums.tokens) if sums else 0,
                "samples": trial.samples if trial else 0,
            })  # fmt: skip
        groups = {name: self._grouped(i) for i, name in enumerate(("chip", "cloud", "model", "application", "contract", "stage"))}
        return {
            "plan": wiring.plan_version, "workers": wiring.workers, "directive": directive.number, "reason": directive.reason,
            "written_s": directive.written_s,
            "routes": [{"id": r.id, "why": r.why, "weights": dict(zip([wiring.variants[v].id for v in r.variants], w, strict=True))}
                       for r, w in zip(wiring.routes, directive.weights, strict=True)],
            "variants": variants, "by": groups, "past": list(self.past),
            "contracts": [self._contract_row(c) for c in self.contracts],
            "budgets": [{"id": b.id, "limit_usd": b.limit_nano_usd / 1e9, "spent_usd": self.budgets.spent(b.index) / 1e9,
                         "reserved_usd": self.budgets.reserved(b.index) / 1e9} for b in wiring.budgets],
            "switches": switches(list(self.decisions), wiring),
            "promotions": self.promotions.log[-20:], "feeds": [{"source": f.settings.file or f.settings.url, "read_s": f.read_s, "problem": f.problem}
                                                               for f in self.feeds],
            "entries": self.rollup.entries, "telemetry": self.telemetry.status() if self.telemetry is not None else {},
            "fleet": self.peers.status([b.id for b in wiring.budgets]),
        }  # fmt: skip

    def _grouped(self, position: int) -> dict[str, dict[str, float]]:
        out: dict[str, dict[str, float]] = {}
        for labels, sums in self.rollup.by.items():
            row = out.setdefault(labels[position] or "-", {"requests": 0, "tokens": 0, "usd": 0.0, "saved_usd": 0.0})
            row["requests"] += sums.requests
            row["tokens"] += sum(sums.tokens)
            row["usd"] += sums.cost_nano_usd / 1e9
            row["saved_usd"] += sums.saved_nano_usd / 1e9
        return out

    def _contract_row(self, contract: Contract) -> dict[str, Any]:
        today = time.strftime("%Y-%m-%d", time.gmtime())
        return {
            "id": contract.id, "cloud": contract.cloud, "commit_usd": contract.commit_usd, "drawn_usd": self.drawn_usd(contract),
            "due_usd": contract.due_usd(max(contract.start, min(today, contract.end))), "end": contract.end,
            "days_left": max(0, (date.fromisoformat(contract.end) - date.fromisoformat(today)).days),
            "dollar_worth": max(0.0, self.broker.directive.shadow_usd.get(contract.id, 0.0)),
        }  # fmt: skip


def switches(decisions: Sequence[Logged], wiring: Wiring, most: int = 20) -> list[dict[str, Any]]:
    """Return the latest switches: decisions in a row with one reason are one, with what moved from where to where."""
    out: list[dict[str, Any]] = []
    for k, d in enumerate(decisions):
        before = decisions[k - 1].directive.weights if k else d.directive.weights
        if not out or out[-1]["reason"] != d.directive.reason:
            out.append({"at_s": d.view.now_s, "number": d.directive.number, "reason": d.directive.reason, "before": before})
        row = out[-1]
        row["seconds"] = round(d.view.now_s - row["at_s"], 1)
        row["moved"] = _moved(row["before"], d.directive.weights, wiring)
    return [{k: v for k, v in row.items() if k != "before"} for row in out[-most:]]


def _moved(before: Sequence[Sequence[float]], after: Sequence[Sequence[float]], wiring: Wiring) -> str:
    parts = []
    for route, old, new in zip(wiring.routes, before, after, strict=True):
        names = [wiring.targets[wiring.variants[v].target].id for v in route.variants]
        steps = [f"{name} {a:.0%} to {b:.0%}" for name, a, b in zip(names, old, new, strict=True) if abs(a - b) >= 0.005]
        if steps:
            parts.append(f"{route.id}: " * (len(wiring.routes) > 1) + ", ".join(steps))
    return "; ".join(parts)


# --- processes


class Supervisor:
    """Start workers, restart those that die, tell them to reload or to drain."""

    def __init__(self, controller: Controller, wiring_path: Path) -> None:
        self.controller = controller
        self.wiring_path = wiring_path
        self.processes: dict[int, asyncio.subprocess.Process] = {}
        self.stopping = False
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Write the wiring and start every worker."""
        write_wiring(self.wiring_path, self.controller.wiring)
        for index in range(self.controller.wiring.workers):
            task = asyncio.create_task(self._keep(index))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _keep(self, index: int) -> None:
        pause_s = 0.1
        while not self.stopping:
            began = time.monotonic()
            command = (sys.executable, "-m", "polysilicon.gateway.worker", str(self.wiring_path), str(index))
            process = await asyncio.create_subprocess_exec(*command)
            self.processes[index] = process
            code = await process.wait()
            if self.stopping:
                return
            self.controller.table.clear_worker(index)
            breakers.clear(self.controller.state, index)
            lost = self.controller.budgets.clear_worker(index)
            log("warning", "worker died", worker=index, code=code, reserved_nano_usd_booked=sum(lost))
            pause_s = 0.1 if time.monotonic() - began > 10.0 else min(5.0, pause_s * 2)
            await asyncio.sleep(pause_s)

    def reload(self, wiring: Wiring) -> None:
        """Hand a new wiring to the workers."""
        write_wiring(self.wiring_path, wiring)
        self._signal("SIGHUP")

    def _signal(self, name: str) -> None:
        import signal

        for process in self.processes.values():
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.send_signal(getattr(signal, name))

    async def stop(self) -> None:
        """Let the workers drain, then end them."""
        self.stopping = True
        self._signal("SIGTERM")
        waits = [asyncio.create_task(p.wait()) for p in self.processes.values() if p.returncode is None]
        if waits:
            _, pending = await asyncio.wait(waits, timeout=self.controller.wiring.drain_s + 5.0)
            if pending:
                self._signal("SIGKILL")
                await asyncio.wait(pending, timeout=5.0)
        for task in list(self._tasks):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


def write_wiring(path: Path, wiring: Wiring) -> None:
    """Write the wiring whole or not at all, readable by its owner alone."""
    scratch = path.with_suffix(".part")
    scratch.write_bytes(msgspec.msgpack.encode(wiring))
    scratch.chmod(0o600)
    scratch.replace(path)


def engines_of(config: GatewayConfig) -> dict[int, str]:
    """Return the metrics addresses of the engines whose load is read."""
    return {i: t.url.rstrip("/") + "/metrics" for i, t in enumerate(config.targets) if t.metrics}


def new_key() -> tuple[str, str]:
    """Return a new virtual key and its hash."""
    from hashlib import sha256

    key = "sk-ps-" + secrets.token_urlsafe(32)
    return key, sha256(key.encode()).hexdigest()
