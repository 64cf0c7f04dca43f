"""The ledger: one line per paid attempt, appended and never changed, whole after any crash.

A worker writes its own segment files. A line is a checksum, a space and a JSON object; a line that was cut by a crash fails its
checksum and is left out by every reader (and counted). Lines are handed to the operating system at the end of the event-loop turn
that finished the request, so a killed process loses none it has answered; `fsync` follows within a second.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from zlib import crc32

import msgspec

from polysilicon.errors import InputError

SEGMENT_BYTES = 64 * 1024 * 1024
_NEWLINE = b"\n"


class Entry(msgspec.Struct, omit_defaults=True):
    """What one attempt used, what it cost, why it went there, and what the others would have cost. Money in nano-dollars."""

    id: str
    at_s: float  # Unix time of the request's arrival
    kind: str  # request, retry, hedge, shadow, lost
    outcome: str  # ok, error, cut, client_gone, rejected, lost
    status: int
    model: str
    route: str
    target: str
    variant: str
    chip: str
    cloud: str
    region: str
    stage: str
    team: str = ""
    application: str = ""
    key: str = ""
    engine: str = ""
    contract: str = ""
    why: str = ""
    attempts: int = 1
    stream: bool = False
    fresh_tokens: int = 0
    cached_tokens: int = 0
    write_5m_tokens: int = 0
    write_1h_tokens: int = 0
    output_tokens: int = 0
    tier: str = ""
    speed: str = ""
    geo: str = ""
    estimated: bool = False
    meters: tuple[int, int, int, int, int] = (0, 0, 0, 0, 0)  # list cost by kind of tokens, before surcharges
    list_nano_usd: int = 0
    cost_nano_usd: int = 0
    unpriced: bool = False  # tokens of a kind whose rate is not known: cost is not stated, never guessed
    price_version: str = ""
    plan_version: str = ""
    directive: int = 0
    ttft_s: float = 0.0
    seconds: float = 0.0
    shadow_usd: float = 0.0  # worth of one more dollar drawn on the contract, when routed
    others: dict[str, int] = {}  # what the other eligible variants would have cost
    spilled: bool = False  # the target says it served this outside its reserved capacity
    upstream_id: str = ""

    @property
    def tokens(self) -> int:
        """Return all tokens of the attempt."""
        return self.fresh_tokens + self.cached_tokens + self.write_5m_tokens + self.write_1h_tokens + self.output_tokens


_ENCODE = msgspec.json.Encoder().encode
_DECODE = msgspec.json.Decoder(Entry).decode


def line(entry: Entry) -> bytes:
    """Return an entry as it stands in a segment."""
    text = _ENCODE(entry)
    return b"%08x %b\n" % (crc32(text), text)


class Writer:
    """Append entries to segment files of one worker."""

    def __init__(self, folder: Path, worker: int, *, later: Callable[[Callable[[], None]], object] | None = None) -> None:
        self.folder = folder
        self.worker = worker
        self.pending: list[bytes] = []
        self.written = 0
        self._later = later
        self._scheduled = False
        self._dirty = False
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"cannot be made: {error.strerror}", where=str(folder)) from error
        existing = sorted(folder.glob(f"w{worker:02d}-*.log"))
        self._number = int(existing[-1].stem.split("-")[1]) + 1 if existing else 0
        self._file = -1
        self._bytes = SEGMENT_BYTES

    def append(self, entry: Entry) -> None:
        """Take one entry; it is written at the end of this turn of the event loop, or at once where there is none."""
        self.pending.append(line(entry))
        if self._later is None:
            self.flush()
        elif not self._scheduled:
            self._scheduled = True
            self._later(self.flush)

    def flush(self) -> None:
        """Hand what is pending to the operating system."""
        self._scheduled = False
        if not self.pending:
            return
        data = b"".join(self.pending)
        self.written += len(self.pending)
        self.pending.clear()
        if self._bytes + len(data) > SEGMENT_BYTES:
            self._roll()
        view = memoryview(data)
        while view:
            view = view[os.write(self._file, view) :]
        self._bytes += len(data)
        self._dirty = True

    def sync(self) -> None:
        """Make what was written safe from a power cut."""
        self.flush()
        if self._dirty:
            self._dirty = False
            os.fsync(self._file)

    def _roll(self) -> None:
        self.close()
        path = self.folder / f"w{self.worker:02d}-{self._number:06d}.log"
        self._number += 1
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._bytes = os.fstat(self._file).st_size

    def close(self) -> None:
        """Write, sync and close."""
        if self._file >= 0:
            self.sync()
            os.close(self._file)
            self._file = -1
            self._bytes = SEGMENT_BYTES


class Tail:
    """Read entries as they are appended, by all workers; remembers how far it has come."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.torn = 0  # lines that failed their checksum
        self._offsets: dict[str, int] = {}

    def read(self, *, whole: bool = False) -> Iterator[Entry]:
        """Yield entries not seen before. With `whole`, an unfinished last line counts as torn instead of as still being written."""
        for path in sorted(self.folder.glob("w*-*.log")):
            offset = self._offsets.get(path.name, 0)
            if path.stat().st_size <= offset:
                continue
            with path.open("rb") as file:
                file.seek(offset)
                data = file.read()
            complete = data.rfind(_NEWLINE) + 1
            if whole and complete < len(data):
                self.torn += 1
            self._offsets[path.name] = offset + (len(data) if whole else complete)
            yield from self._parse(data[:complete])

    def _parse(self, data: bytes) -> Iterator[Entry]:
        for row in data.split(_NEWLINE):
            if not row:
                continue
            checksum, _, text = row.partition(b" ")
            try:
                entry = _DECODE(text) if int(checksum, 16) == crc32(text) else None
            except (ValueError, msgspec.MsgspecError):
                entry = None
            if entry is None:
                self.torn += 1
            else:
                yield entry


def read(folder: Path) -> tuple[list[Entry], int]:
    """Return all entries in order of arrival, and how many lines were torn by a crash.

    Raises: InputError where there is no ledger.
    """
    if not any(folder.glob("w*-*.log")):
        raise InputError("holds no ledger", where=str(folder), hint="it is written by `polysilicon serve` under its state folder")
    tail = Tail(folder)
    entries = sorted(tail.read(whole=True), key=lambda e: e.at_s)
    return entries, tail.torn
