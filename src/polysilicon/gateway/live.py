"""Everything a worker derives from its wiring: doors, pools, health, routes. Replaced whole on reload; old requests keep the old one."""

from __future__ import annotations

import ssl
import time
from hashlib import sha256
from pathlib import Path

from polysilicon.gateway.breakers import Board
from polysilicon.gateway.doors import Door
from polysilicon.gateway.health import Health
from polysilicon.gateway.lane import Caller
from polysilicon.gateway.router import Router
from polysilicon.gateway.shared.leases import open_budgets
from polysilicon.gateway.table import COLUMNS, Table
from polysilicon.gateway.tariff import Meter
from polysilicon.gateway.upstream import Pool
from polysilicon.gateway.wiring import Key, Target, Wiring, first_directive

OPEN_KEY = Key(id="open", sha256="")


class Live:
    """One wiring, at work in one worker."""

    def __init__(self, wiring: Wiring, worker: int, prefix: str = "") -> None:
        self.wiring = wiring
        self.worker = worker
        state = Path(wiring.state)
        state.mkdir(parents=True, exist_ok=True)
        self.doors = [Door(target) for target in wiring.targets]
        for door in self.doors:
            door.check(patient=True)
        self.pools = [self._pool(target) for target in wiring.targets]
        self.health = Health(len(wiring.variants), wiring.reliability)
        self.table = Table(state / f"table-{wiring.digest}.bin", len(wiring.variants), wiring.workers)
        self.rows = [self.table.row(worker, v.index) for v in wiring.variants]
        self.tally = [[0] * len(COLUMNS) for _ in wiring.variants]  # what is still to be added to the rows
        self.budgets = open_budgets(state, budget_digest(wiring), wiring.budgets, worker, wiring.shared)
        directive = self.table.read() or first_directive(wiring)
        self.router = Router(wiring, directive)
        self.router.share(self.table)
        self.board = Board(state, wiring, worker)
        self.prefix = prefix  # of request ids
        self.prefix_bytes = prefix.encode()
        limits = wiring.reliability
        self.shortest_s = min(limits.first_byte_timeout_s, limits.stall_timeout_s, limits.hedge_after_s or limits.total_timeout_s)
        self._callers = {key.sha256: Caller(key) for key in wiring.keys}
        self._known: dict[bytes, Caller] = {}  # by what clients say; in memory alone, and forgotten with the wiring
        self._open = Caller(OPEN_KEY)
        self.shadow_due = {v.id: 0.0 for v in wiring.variants}
        self.meters = [Meter(v.tariff) for v in wiring.variants]
        self._follow()

    def _pool(self, target: Target) -> Pool:
        tls = None
        if target.scheme == "https":
            tls = ssl.create_default_context(cafile=target.ca_file or None)
            tls.options |= ssl.OP_NO_RENEGOTIATION  # a write is then never held up by a read
        return Pool(target.host, target.port, tls=tls, connect_timeout_s=self.wiring.reliability.connect_timeout_s)

    def refresh(self) -> None:
        """Take a new directive where there is one: one comparison of a word otherwise."""
        if self.table.changed():
            directive = self.table.read()
            if directive is not None:
                self.router.follow(directive)
                self._follow()

    def _follow(self) -> None:
        for index, tariff in self.router.directive.tariffs.items():
            self.meters[index] = Meter(tariff)

    def caller(self, headers: dict[bytes, bytes]) -> Caller | None:
        """Return whose request it is, None where no valid key is given and one is needed."""
        given = headers.get(b"x-api-key") or headers.get(b"authorization", b"").removeprefix(b"Bearer ") or headers.get(b"api-key", b"")
        caller = self._known.get(given)
        if caller is None:
            caller = self._callers.get(sha256(given).hexdigest()) if given else None
            if caller is None:
                return self._open if self.wiring.open_access else None
            if len(self._known) > len(self._callers):  # cannot be: each key has one hash
                self._known.clear()
            self._known[given] = caller
        return caller

    def publish(self) -> None:
        """Add what was counted to the shared table."""
        for row, tally in zip(self.rows, self.tally, strict=True):
            if any(tally):
                for i, n in enumerate(tally):
                    if n:
                        row[i] += n
                        tally[i] = 0

    def sweep(self) -> None:
        """Do what is due every second: old samples, outliers, idle connections, gauges."""
        now_s = time.monotonic()
        self.health.decay(0.9)
        self.budgets.give_back()
        for route in self.wiring.routes:
            self.health.eject(route.variants, now_s)
        for pool in self.pools:
            pool.sweep()
        self.board.post(self.health, now_s)
        breaker = COLUMNS.index("breaker")
        ttft = COLUMNS.index("ttft_us")
        for i, row in enumerate(self.rows):
            row[breaker] = {"closed": 0, "half-open": 1, "open": 2}[self.health.state(i, now_s)]
            row[ttft] = int(self.health.ttft_s[i] * 1e6)

    def close(self) -> None:
        """Let go of connections and shared files."""
        self.publish()
        for pool in self.pools:
            pool.close()
        self.budgets.close()
        for row in self.rows:
            row.release()
        self.router.buckets.clear()  # they look at the table's cells
        self.table.close()


def budget_digest(wiring: Wiring) -> str:
    """Return a name for the budgets' file: it stays the same over reloads that leave the list of budgets as it is."""
    from zlib import crc32

    return f"{crc32(repr([b.id for b in wiring.budgets]).encode()):08x}"
