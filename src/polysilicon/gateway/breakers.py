"""What breakers are open and why: each worker writes its own when they change, the controller reads all for the operator."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

import msgspec

from polysilicon.gateway.health import Health
from polysilicon.gateway.journal import log
from polysilicon.gateway.wiring import Wiring


class Breaker(msgspec.Struct, frozen=True):
    """One worker's breaker that is not closed. Times are Unix times."""

    variant: str
    worker: int
    reason: str  # the fault, as the target put it
    since_s: float
    again_s: float  # when one request is let through
    failures: int  # in a row


_DECODE = msgspec.json.Decoder(list[Breaker]).decode


class Board:
    """The open breakers of one worker, as a file beside the table; written when they change."""

    def __init__(self, state: Path, wiring: Wiring, worker: int) -> None:
        self._path = state / f"breakers-{worker:02d}.json"
        self._names = [v.id for v in wiring.variants]
        self._worker = worker
        self._logs = wiring.log_level != "error"
        self._said: tuple[tuple[float, float, str], ...] | None = None

    def post(self, health: Health, now_s: float) -> None:
        """Write what is open now, if that is news, and log what opened and what closed. `now_s` is the monotonic time that health counts in."""
        if health.shut == 0 and self._said == ():
            return
        shut = [i for i, until_s in enumerate(health.open_until_s) if until_s]
        news = tuple((health.since_s[i], health.open_until_s[i], self._names[i]) for i in shut)
        if news == self._said:
            return
        before = {name for _, _, name in self._said or ()}
        wall_s = time.time() - now_s
        rows = [
            Breaker(self._names[i], self._worker, health.reason[i], round(wall_s + health.since_s[i], 3), round(wall_s + health.open_until_s[i], 3),
                    health.failures[i]) for i in shut
        ]  # fmt: skip
        self._said = news
        with contextlib.suppress(OSError):  # a full disk: the operator sees less, traffic goes on
            scratch = self._path.with_suffix(".part")
            scratch.write_bytes(msgspec.json.encode(rows))
            scratch.replace(self._path)
        for row in rows if self._logs else ():
            if row.variant not in before:
                log("warning", "breaker open", variant=row.variant, worker=self._worker, why=row.reason, seconds=round(row.again_s - time.time(), 1))
        for name in sorted(before - {row.variant for row in rows}) if self._logs else ():
            log("info", "breaker closed", variant=name, worker=self._worker)


def read(state: Path, wiring: Wiring) -> dict[str, list[Breaker]]:
    """Return the breakers that are not closed, by variant; those of workers that are no more do not count."""
    out: dict[str, list[Breaker]] = {}
    known = {v.id for v in wiring.variants}
    for worker in range(wiring.workers):
        try:
            rows = _DECODE((state / f"breakers-{worker:02d}.json").read_bytes())
        except (OSError, msgspec.MsgspecError):
            continue
        for row in rows:
            if row.variant in known:
                out.setdefault(row.variant, []).append(row)
    return out


def clear(state: Path, worker: int) -> None:
    """Forget a worker that died: its successor starts with all breakers closed."""
    (state / f"breakers-{worker:02d}.json").unlink(missing_ok=True)
