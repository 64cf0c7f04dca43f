"""One proof that expires: fetched beside the data path, renewed ahead of its end, told when that fails."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import NamedTuple

from polysilicon.errors import InputError, PolysiliconError
from polysilicon.gateway.journal import log

_AHEAD_S = 300.0  # renew so long before the end, or at four fifths of the life where that is earlier
_PAUSE_S = (1.0, 2.0, 5.0, 10.0, 30.0)  # between tries that fail
_HURRY_S = 10.0  # refused by the target: fetch anew, but not more often than this


class Fetched(NamedTuple):
    """What was issued: one token, or a key's three parts; and how long it holds."""

    values: tuple[str, ...]
    life_s: float


def pause_s(life_s: float) -> float:
    """Return how long to wait before a proof that holds so long is renewed.

    >>> pause_s(3600.0), pause_s(900.0), pause_s(2.5)
    (2880.0, 600.0, 2.0)
    """
    return max(0.05, min(life_s - _AHEAD_S, 0.8 * life_s) if life_s > 2 * _AHEAD_S else 0.8 * life_s)


class Renewed:
    """A proof kept fresh by a thread of its own; the data path reads it and never waits."""

    def __init__(self, fetch: Callable[[], Fetched], where: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._fetch = fetch
        self._clock = clock
        self._failures = 0
        self.where = where
        self.problem = ""
        self.fetches = 0
        self._values: tuple[str, ...] = ()
        self._until_s = float("-inf")
        self._fetched_s = float("-inf")
        self._wake = threading.Event()
        self._first = threading.Event()
        self._thread: threading.Thread | None = None

    def get(self) -> tuple[str, ...]:
        """Return what holds now.

        Raises: InputError when nothing does, with the reason.
        """
        if self._clock() < self._until_s:
            return self._values
        if self._thread is None:
            self.start()
        why = self.problem or ("the last ones have ended" if self._values else "none were issued yet")
        raise InputError(f"no valid credentials: {why}", where=self.where)

    def start(self, wait_s: float = 0.0) -> None:
        """Begin to renew; wait so long for the first answer, good or bad."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name=f"renew {self.where}", daemon=True)
            self._thread.start()
        if wait_s:
            self._first.wait(wait_s)

    def hurry(self) -> None:
        """Fetch anew, soon: the target has refused what we showed."""
        if self._clock() - self._fetched_s > _HURRY_S:
            self._wake.set()

    def _run(self) -> None:
        while True:
            pause_s = self.turn()
            self._first.set()
            self._wake.wait(pause_s)
            self._wake.clear()

    def turn(self) -> float:
        """Fetch once; return how long to wait until the next time."""
        asked_s = self._clock()
        try:
            fetched = self._fetch()
        except Exception as error:  # whatever goes wrong, the next try may do better
            words = error.message if isinstance(error, PolysiliconError) else f"{type(error).__name__}"
            if words != self.problem:
                log("warning", "credentials not renewed", where=self.where, why=words)
            self.problem = words
            self._failures += 1
            return _PAUSE_S[min(self._failures, len(_PAUSE_S)) - 1]
        if self.problem:
            log("info", "credentials renewed again", where=self.where)
        self._values, self._until_s, self._fetched_s = fetched.values, asked_s + fetched.life_s, asked_s
        self.problem = ""
        self.fetches += 1
        self._failures = 0
        return pause_s(fetched.life_s)
