"""What one host remembers of itself: its name, and a number that only grows."""

from __future__ import annotations

import fcntl
import os
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from polysilicon.errors import InputError

_LAYOUT = struct.Struct("<16sq")  # name, last number given


class Host:
    """One state folder is one host: a new folder is a new host, so nothing that an old one held is taken for ours."""

    def __init__(self, state: Path) -> None:
        state.mkdir(parents=True, exist_ok=True)
        self._file = os.open(state / "host.bin", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._thread = threading.Lock()
        with self.alone():
            found = os.pread(self._file, _LAYOUT.size, 0)
            if not found:
                found = _LAYOUT.pack(os.urandom(8).hex().encode(), 0)
                os.pwrite(self._file, found, 0)
                os.fsync(self._file)
            if len(found) != _LAYOUT.size:
                raise InputError(f"has {len(found)} bytes instead of {_LAYOUT.size}", where=str(state / "host.bin"), hint="remove it")
            self.name = _LAYOUT.unpack(found)[0].decode()

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep all other processes and threads of this host out."""
        with self._thread:
            fcntl.flock(self._file, fcntl.LOCK_EX)
            try:
                yield
            finally:
                fcntl.flock(self._file, fcntl.LOCK_UN)

    def next_number(self) -> int:
        """Return a number greater than all before, over restarts too; for a caller who is `alone`."""
        last = _LAYOUT.unpack(os.pread(self._file, _LAYOUT.size, 0))[1]
        number = max(int(last) + 1, time.time_ns() // 1000)
        os.pwrite(self._file, _LAYOUT.pack(self.name.encode(), number), 0)
        return number

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._file)
