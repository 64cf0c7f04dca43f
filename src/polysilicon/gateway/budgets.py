"""Budgets in shared memory: reserve before a request is sent, settle with what it cost, release if it cost nothing.

A reservation is the most a request can cost; it is granted only if what is spent and what is granted already stay within the limit
with it, so no number of concurrent requests overspends. All workers share one file. Each has three words of its own per budget:

- granted: what it may still spend without asking anybody; raised under a kernel lock, after a look at everybody's words
- held: the part of it that its requests under way have reserved
- spent: what its finished requests cost

While a budget is far from its limit a worker is granted a little ahead (never more than 1/256 of what is left), so that most
reservations touch its own words alone and need no lock; near the limit each is granted exactly, and what is unused goes back at once.
Settling moves an amount from granted to spent, in that order of safety (spent first), so a reader sees too much rather than too
little. The kernel lets go of the lock when a process dies; the words of a dead worker can be told and are booked as spent.
"""

from __future__ import annotations

import fcntl
import mmap
import os
from collections.abc import Sequence
from pathlib import Path

from polysilicon.gateway.wiring import Budget

_MAX_WORKERS = 64
_GRANTED, _HELD, _SPENT = 1, 1 + _MAX_WORKERS, 1 + 2 * _MAX_WORKERS  # columns; column 0: spent before, as the ledger says
_STRIDE = 1 + 3 * _MAX_WORKERS
_AHEAD_REQUESTS = 63
_AHEAD_PART = 256


class Budgets:
    """One worker's handle on the shared budgets."""

    def __init__(self, path: Path, budgets: Sequence[Budget], worker: int) -> None:
        self.limits: Sequence[int] = [b.limit_nano_usd for b in budgets]
        self.ids = [b.id for b in budgets]
        self.worker = worker
        size = max(1, len(self.limits)) * _STRIDE * 8
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        if os.fstat(self._file).st_size < size:
            os.ftruncate(self._file, size)
        self._map = mmap.mmap(self._file, size)
        self._cells = memoryview(self._map).cast("q")
        self._exact = [True] * len(self.limits)  # near the limit: nothing is granted ahead
        self._places: dict[Sequence[int], list[tuple[int, int, int, int]]] = {}

    def _lock(self) -> None:
        fcntl.lockf(self._file, fcntl.LOCK_EX)

    def _unlock(self) -> None:
        fcntl.lockf(self._file, fcntl.LOCK_UN)

    def reserve(self, which: Sequence[int], nano_usd: int) -> str:
        """Reserve an amount on all of the budgets or on none; return the id of the one that is exhausted, or the empty string."""
        cells = self._cells
        places = self._places.get(which) or self._place(which)
        for i, (budget, granted, held, _) in enumerate(places):
            after = cells[held] + nano_usd
            if after > cells[granted] and not self._ask(budget, nano_usd):
                for _, _, taken, _ in places[:i]:
                    cells[taken] -= nano_usd
                self._give_back(which)
                return self.ids[budget]
            cells[held] = after
        return ""

    def _place(self, which: Sequence[int]) -> list[tuple[int, int, int, int]]:
        """Return each budget with the places of this worker's three words."""
        own = [(b, b * _STRIDE + self.worker) for b in which]
        found = [(b, at + _GRANTED, at + _HELD, at + _SPENT) for b, at in own]
        self._places[tuple(which)] = found
        return found

    def _ask(self, budget: int, nano_usd: int) -> bool:
        """Have the grant raised to what is held and the amount, and a little ahead where the limit is far."""
        at = budget * _STRIDE
        cells = self._cells
        self._lock()
        try:
            left = self.limits[budget] - self.taken(budget)
            missing = cells[at + _HELD + self.worker] + nano_usd - cells[at + _GRANTED + self.worker]
            if missing > left:
                return False
            ahead = min(_AHEAD_REQUESTS * nano_usd, (left - missing) // _AHEAD_PART)
            self._exact[budget] = ahead < nano_usd
            cells[at + _GRANTED + self.worker] += missing + (0 if ahead < nano_usd else ahead)
        finally:
            self._unlock()
        return True

    def settle(self, which: Sequence[int], reserved_nano_usd: int, cost_nano_usd: int) -> None:
        """Turn a reservation into what the request cost; a cost of nothing releases it."""
        cells = self._cells
        for budget, granted, held, spent in self._places.get(which) or self._place(which):
            if cost_nano_usd:
                cells[spent] += cost_nano_usd
                cells[granted] -= cost_nano_usd
            cells[held] -= reserved_nano_usd
            if self._exact[budget] and cells[granted] > cells[held]:
                cells[granted] = cells[held]

    def _give_back(self, which: Sequence[int]) -> None:
        for budget in which:
            at = budget * _STRIDE + self.worker
            self._cells[at + _GRANTED] = self._cells[at + _HELD]

    def give_back(self) -> None:
        """Give back what was granted and is not needed now; called once a second, so that an idle worker keeps nothing."""
        self._give_back(range(len(self.limits)))

    def set_spent(self, spent_nano_usd: Sequence[int]) -> None:
        """Start from what the ledger says was spent in the budgets' current periods."""
        self._lock()
        try:
            for budget, spent in enumerate(spent_nano_usd):
                at = budget * _STRIDE
                self._cells[at] = spent - sum(self._cells[at + _SPENT : at + _STRIDE])
        finally:
            self._unlock()

    def raise_spent(self, spent_nano_usd: Sequence[int]) -> None:
        """Take up what the ledger knows and these words do not: the last requests of a list of budgets that a reload has replaced.

        Never lowers: a line reaches the ledger after its cost has been settled here, so what is read late is no news.
        """
        self._lock()
        try:
            for budget, spent in enumerate(spent_nano_usd):
                at = budget * _STRIDE
                self._cells[at] = max(self._cells[at], spent - sum(self._cells[at + _SPENT : at + _STRIDE]))
        finally:
            self._unlock()

    def clear_worker(self, worker: int) -> list[int]:
        """Clear a dead worker's reservations and book them as spent: its requests may have been served. Return the amounts."""
        lost = []
        self._lock()
        try:
            for budget in range(len(self.limits)):
                at = budget * _STRIDE
                amount = self._cells[at + _HELD + worker]
                self._cells[at] += amount
                self._cells[at + _HELD + worker] = 0
                self._cells[at + _GRANTED + worker] = 0
                lost.append(amount)
        finally:
            self._unlock()
        return lost

    def spent(self, budget: int) -> int:
        """Return what is settled."""
        at = budget * _STRIDE
        return self._cells[at] + sum(self._cells[at + _SPENT : at + _STRIDE])

    def taken(self, budget: int) -> int:
        """Return what no further request may have: spent, reserved, and granted ahead to a worker."""
        at = budget * _STRIDE
        return sum(self._cells[at : at + _HELD]) + sum(self._cells[at + _SPENT : at + _STRIDE])

    def reserved(self, budget: int) -> int:
        """Return what the requests under way have reserved, over all workers."""
        at = budget * _STRIDE
        return sum(self._cells[at + _HELD : at + _SPENT])

    def close(self) -> None:
        """Let go of the file."""
        self._cells.release()
        self._map.close()
        os.close(self._file)
