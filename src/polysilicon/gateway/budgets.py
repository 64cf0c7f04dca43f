"""Budgets in shared memory: reserve before a request is sent, settle with what it cost, release if it cost nothing.

A reservation is the most a request can cost; it is granted only if spent + all reservations + itself stay within the limit, so
no number of concurrent requests overspends. All workers share one file; a kernel lock guards its few words, and the kernel lets
go of it when a process dies. Each worker's reservations stand in its own column, so those of a dead worker can be told and cleared.
"""

from __future__ import annotations

import fcntl
import mmap
import os
from collections.abc import Sequence
from pathlib import Path

from polysilicon.gateway.wiring import Budget

_MAX_WORKERS = 64
_STRIDE = 1 + _MAX_WORKERS  # spent, then one column of reservations per worker


class Budgets:
    """One worker's handle on the shared budgets."""

    def __init__(self, path: Path, budgets: Sequence[Budget], worker: int) -> None:
        self.limits = [b.limit_nano_usd for b in budgets]
        self.ids = [b.id for b in budgets]
        self.worker = worker
        size = max(1, len(self.limits)) * _STRIDE * 8
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        if os.fstat(self._file).st_size < size:
            os.ftruncate(self._file, size)
        self._map = mmap.mmap(self._file, size)
        self._cells = memoryview(self._map).cast("q")

    def _lock(self) -> None:
        fcntl.lockf(self._file, fcntl.LOCK_EX)

    def _unlock(self) -> None:
        fcntl.lockf(self._file, fcntl.LOCK_UN)

    def reserve(self, which: Sequence[int], nano_usd: int) -> str:
        """Reserve an amount on all of the budgets or on none; return the id of the one that is exhausted, or the empty string."""
        if not which:
            return ""
        cells = self._cells
        self._lock()
        try:
            for budget in which:
                at = budget * _STRIDE
                if sum(cells[at : at + _STRIDE]) + nano_usd > self.limits[budget]:
                    return self.ids[budget]
            for budget in which:
                cells[budget * _STRIDE + 1 + self.worker] += nano_usd
        finally:
            self._unlock()
        return ""

    def settle(self, which: Sequence[int], reserved_nano_usd: int, cost_nano_usd: int) -> None:
        """Turn a reservation into what the request cost; a cost of nothing releases it."""
        if not which:
            return
        cells = self._cells
        self._lock()
        try:
            for budget in which:
                cells[budget * _STRIDE + 1 + self.worker] -= reserved_nano_usd
                cells[budget * _STRIDE] += cost_nano_usd
        finally:
            self._unlock()

    def set_spent(self, spent_nano_usd: Sequence[int]) -> None:
        """Start from what the ledger says was spent in the budgets' current periods."""
        self._lock()
        try:
            for budget, spent in enumerate(spent_nano_usd):
                self._cells[budget * _STRIDE] = spent
        finally:
            self._unlock()

    def clear_worker(self, worker: int) -> list[int]:
        """Clear a dead worker's reservations and book them as spent: its requests may have been served. Return the amounts."""
        lost = []
        self._lock()
        try:
            for budget in range(len(self.limits)):
                at = budget * _STRIDE
                amount = self._cells[at + 1 + worker]
                self._cells[at + 1 + worker] = 0
                self._cells[at] += amount
                lost.append(amount)
        finally:
            self._unlock()
        return lost

    def spent(self, budget: int) -> int:
        """Return what is settled."""
        return self._cells[budget * _STRIDE]

    def reserved(self, budget: int) -> int:
        """Return what is reserved by all workers."""
        at = budget * _STRIDE
        return sum(self._cells[at + 1 : at + _STRIDE])

    def close(self) -> None:
        """Let go of the file."""
        self._cells.release()
        self._map.close()
        os.close(self._file)
