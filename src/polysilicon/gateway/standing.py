"""What a gateway has for itself alone: its state folder, its ports, its workers. Taken before anything is started, or not at all."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import socket
import time
from pathlib import Path

from polysilicon.errors import InputError


class Standing:
    """The lock on a state folder; the kernel frees it when its process ends, however it ends."""

    def __init__(self, state: Path) -> None:
        """Take the folder.

        Raises: InputError when another gateway has it, or it cannot be written.
        """
        self.state = state.resolve()
        try:
            self.state.mkdir(parents=True, exist_ok=True)
            self._file = os.open(self.state / "gateway.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise InputError(f"cannot be written: {error.strerror}", where=str(state)) from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            owner = os.pread(self._file, 20, 0).decode("ascii", "replace").strip()
            os.close(self._file)
            hint = "stop it, or give this one another `state`"
            raise InputError(f"another gateway (process {owner or 'unknown'}) works in this state folder", where=str(state), hint=hint) from None
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, b"%d\n" % os.getpid(), 0)

    def leave(self) -> None:
        """Let the folder go."""
        os.close(self._file)

    def end_orphans(self, wait_s: float) -> list[int]:
        """End workers whose controller has died: they drain while we wait; return whose they were. Needs /proc, else finds none."""
        mine = b"polysilicon.gateway.worker\0" + os.fsencode(self.state / "wiring.bin") + b"\0"
        found = []
        for entry in Path("/proc").glob("[0-9]*/cmdline"):
            with contextlib.suppress(OSError):
                if mine in entry.read_bytes():
                    found.append(int(entry.parent.name))
        for pid in found:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
        until = time.monotonic() + wait_s
        while any(Path(f"/proc/{pid}").exists() for pid in found) and time.monotonic() < until:
            time.sleep(0.05)
        return found


def listening(host: str, port: int, where: str) -> socket.socket:
    """Return a socket that listens there.

    Raises: InputError when the address is in use or none of ours.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((host, port))
        made.listen(128)
    except OSError as error:
        made.close()
        raise InputError(f"cannot listen on {host}:{port}: {error.strerror or error}", where=where, hint="is another gateway running?") from error
    made.setblocking(False)
    return made


def check_free(host: str, port: int, where: str) -> None:
    """Check that nobody listens there yet: workers share their port, so they would not notice.

    Raises: InputError when the address is in use or none of ours.
    """
    if port:
        listening(host, port, where).close()
