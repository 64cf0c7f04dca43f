"""The table that all workers read and one controller writes: the directive, under a sequence lock; and each worker's own counters.

Layout: 8 bytes sequence, 8 bytes length, 8 bytes checksum, then the directive; from `_STATS` on one block a worker, written by that
worker alone. A reader that meets an odd sequence, a changed one or a wrong checksum keeps what it has and looks again at its next
request, so nobody ever waits for anybody.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from zlib import crc32

import msgspec

from polysilicon.errors import InputError
from polysilicon.gateway.wiring import Directive

_HEAD = struct.Struct("<QQQ")
_DIRECTIVE_BYTES = 4 * 1024 * 1024
_STATS = _HEAD.size + _DIRECTIVE_BYTES
COLUMNS = (
    "requests", "ok", "errors", "rate_limited", "in_flight", "input_tokens", "output_tokens", "cost_nano_usd", "ttft_us", "breaker", "switches",
    "ttft_sum_us", "seconds_sum_us", "weighted", "shadow", "reserved_level", "reserved_at_us",
)  # fmt: skip
_COLUMN = {name: i for i, name in enumerate(COLUMNS)}
REQUESTS, OK, ERRORS, RATE, IN, OUT, COST, TTFT_SUM, SECONDS_SUM = (
    _COLUMN[name]
    for name in ("requests", "ok", "errors", "rate_limited", "input_tokens", "output_tokens", "cost_nano_usd", "ttft_sum_us", "seconds_sum_us")
)
_DECODE = msgspec.msgpack.Decoder(Directive).decode


class Table:
    """A handle on the shared table."""

    def __init__(self, path: Path, variants: int, workers: int) -> None:
        self.variants = variants
        self.workers = workers
        size = _STATS + max(1, workers) * max(1, variants) * len(COLUMNS) * 8
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        if os.fstat(self._file).st_size < size:
            os.ftruncate(self._file, size)
        self._map = mmap.mmap(self._file, size)
        self._sequence = memoryview(self._map)[:8].cast("Q")
        self._cells = memoryview(self._map)[_STATS:size].cast("q")
        self._seen = 0

    def close(self) -> None:
        """Let go of the file; memory that somebody still looks at goes with the last look."""
        os.close(self._file)
        self._sequence.release()
        self._cells.release()
        with suppress(BufferError):
            self._map.close()

    def write(self, directive: Directive) -> None:
        """Publish a directive; there is one writer."""
        data = msgspec.msgpack.encode(directive)
        if len(data) > _DIRECTIVE_BYTES:
            raise InputError(f"a directive of {len(data)} bytes does not fit the table ({_DIRECTIVE_BYTES})")
        sequence = self._sequence[0] | 1
        self._sequence[0] = sequence
        self._map[8 : _HEAD.size] = struct.pack("<QQ", len(data), crc32(data))
        self._map[_HEAD.size : _HEAD.size + len(data)] = data
        self._sequence[0] = sequence + 1

    def changed(self) -> bool:
        """Return whether there is a directive this handle has not read."""
        return self._sequence[0] != self._seen

    def read(self) -> Directive | None:
        """Return the directive if it is new and whole, else None."""
        sequence, length, checksum = _HEAD.unpack_from(self._map)
        if sequence & 1 or sequence == self._seen or length > _DIRECTIVE_BYTES:
            return None
        data = self._map[_HEAD.size : _HEAD.size + length]
        if self._sequence[0] != sequence or crc32(data) != checksum:
            return None
        self._seen = sequence
        return _DECODE(data)

    def add(self, worker: int, variant: int, column: str, amount: int = 1) -> None:
        """Add to one of a worker's own counters."""
        self._cells[(worker * self.variants + variant) * len(COLUMNS) + _COLUMN[column]] += amount

    def put(self, worker: int, variant: int, column: str, value: int) -> None:
        """Set one of a worker's own gauges."""
        self._cells[(worker * self.variants + variant) * len(COLUMNS) + _COLUMN[column]] = value

    def row(self, worker: int, variant: int) -> memoryview:
        """Return one worker's cells for a variant, in the order of `COLUMNS`, for writing on the data path."""
        at = (worker * self.variants + variant) * len(COLUMNS)
        return self._cells[at : at + len(COLUMNS)]

    def cell(self, worker: int, variant: int, column: str) -> memoryview:
        """Return one worker's cell, for writing on the data path."""
        return self.row(worker, variant)[_COLUMN[column] : _COLUMN[column] + 1]

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other workers from the cells that all of them write."""
        fcntl.lockf(self._file, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.lockf(self._file, fcntl.LOCK_UN)

    def total(self, variant: int, column: str) -> int:
        """Return a counter's sum over the workers."""
        return sum(self.get(worker, variant, column) for worker in range(self.workers))

    def get(self, worker: int, variant: int, column: str) -> int:
        """Return one worker's counter or gauge."""
        return self._cells[(worker * self.variants + variant) * len(COLUMNS) + _COLUMN[column]]

    def clear_worker(self, worker: int) -> None:
        """Set a dead worker's gauges to nothing; its counters stand."""
        for variant in range(self.variants):
            self.put(worker, variant, "in_flight", 0)
            self.put(worker, variant, "breaker", 0)
