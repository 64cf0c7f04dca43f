"""The ledger: one line per paid attempt, appended and never changed, whole after any crash.

A worker writes its own segment files. A line is a checksum, a space and one of three things:

- `{...}`: an entry, every field by name
- `@ {...}`: a setting: what many entries have in common (who asks, which variant, which plan and prices); it holds from here to the
  segment's end under its number, so a segment is read without any other
- `[...]`: an entry that states its setting's number and what is its own, in the order of `Own`

A line that was cut by a crash fails its checksum and is left out by every reader (and counted). Lines are handed to the operating
system at the end of the event-loop turn that finished the request, so a killed process loses none it has answered; `fsync` follows
within a second, beside the loop.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
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
    stop: str = ""  # why the answer ended, in its API's words
    session: str = ""  # of a conversation: a hash that ties its turns together, and no text of it
    trace: str = ""  # the client's W3C `traceparent`
    reasoning_tokens: int = 0  # of the output tokens
    answer_id: str = ""  # as the target calls its answer
    answer_model: str = ""  # as the target calls what answered, where that is not the name it was asked for by

    @property
    def tokens(self) -> int:
        """Return all tokens of the attempt."""
        return self.fresh_tokens + self.cached_tokens + self.write_5m_tokens + self.write_1h_tokens + self.output_tokens


class Setting(msgspec.Struct, omit_defaults=True):
    """What the entries of one key at one variant have in common under one directive."""

    prefix: str  # of the requests' ids: a worker's random start
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
    price_version: str = ""
    plan_version: str = ""
    directive: int = 0
    shadow_usd: float = 0.0
    others: tuple[str, ...] = ()  # the other eligible variants, in the order of `Own.others`
    number: int = -1  # within the segment


class Own(msgspec.Struct, array_like=True):
    """What is an entry's own; times in microseconds. Encoded from a plain tuple in this order."""

    setting: int
    id: int  # after the prefix, eight hexadecimal digits
    at_us: int
    kind: str
    outcome: str
    status: int
    why: str
    attempts: int
    stream: bool
    tokens: tuple[int, int, int, int, int]  # fresh, cached, written for 5 m and 1 h, output
    meters: tuple[int, int, int, int, int]
    list_nano_usd: int
    cost_nano_usd: int
    ttft_us: int
    us: int
    others: tuple[int | None, ...]  # None: not known, or not eligible; empty: not asked
    tier: str
    speed: str
    geo: str
    upstream_id: str
    estimated: bool
    spilled: bool
    unpriced: bool
    stop: str = ""
    session: int = 0
    trace: str = ""
    reasoning_tokens: int = 0
    answer_id: str = ""
    answer_model: str = ""


_ENCODE = msgspec.json.Encoder().encode
_DECODE = msgspec.json.Decoder(Entry).decode
_SETTING = msgspec.json.Decoder(Setting).decode
_OWN = msgspec.json.Decoder(Own).decode


def line(entry: Entry) -> bytes:
    """Return an entry as it stands in a segment, every field by name."""
    text = _ENCODE(entry)
    return b"%08x %b\n" % (crc32(text), text)


def _joined(s: Setting, own: Own) -> Entry:
    fresh, cached, w5, w1, out = own.tokens
    return Entry(
        f"{s.prefix}{own.id:08x}", own.at_us / 1e6, own.kind, own.outcome, own.status, s.model, s.route, s.target, s.variant, s.chip, s.cloud,
        s.region, s.stage, s.team, s.application, s.key, s.engine, s.contract, own.why, own.attempts, own.stream, fresh, cached, w5, w1, out,
        own.tier, own.speed, own.geo, own.estimated, own.meters, own.list_nano_usd, own.cost_nano_usd, own.unpriced, s.price_version, s.plan_version,
        s.directive, own.ttft_us / 1e6, own.us / 1e6, s.shadow_usd,
        {name: cost for name, cost in zip(s.others, own.others, strict=True) if cost is not None} if own.others else {}, own.spilled, own.upstream_id,
        own.stop, f"{own.session:08x}" if own.session else "", own.trace, own.reasoning_tokens, own.answer_id, own.answer_model,
    )  # fmt: skip


class Writer:
    """Append entries to segment files of one worker."""

    def __init__(
        self,
        folder: Path,
        worker: int,
        *,
        later: Callable[[Callable[[], None]], object] | None = None,
        beside: Callable[[Callable[[], None]], object] | None = None,
    ) -> None:
        """`later` runs a function at the end of the loop's turn; `beside` in another thread, where a slow disk holds nobody up."""
        self.folder = folder
        self.worker = worker
        self.pending: list[bytes] = []
        self.written = 0
        self.segment = 0  # changes when settings must be stated anew
        self.before: Callable[[], None] | None = None  # brings entries that somebody still holds back; called before each flush
        self.scheduled = False  # `flush` is called at the end of this turn
        self._later = later
        self._beside = beside
        self._settings = 0
        self._dirty = False
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"cannot be made: {error.strerror}", where=str(folder)) from error
        existing = sorted(folder.glob(f"w{worker:02d}-*.log"))
        self._number = int(existing[-1].stem.split("-")[1]) + 1 if existing else 0
        self._file = -1
        self._bytes = 0

    def append(self, entry: Entry) -> None:
        """Take one entry; it is written at the end of this turn of the event loop, or at once where there is none."""
        self._take(line(entry))

    def state(self, setting: Setting) -> None:
        """State a setting in this segment; its number holds while `segment` stays the same."""
        self._settings += 1
        setting.number = self._settings
        text = _ENCODE(setting)
        text = b"@ " + text
        self._take(b"%08x %b\n" % (crc32(text), text))

    def append_own(self, own: tuple[object, ...]) -> None:
        """Take one entry as the fields of `Own`; its setting has been stated in this segment."""
        text = _ENCODE(own)
        self.pending.append(b"%08x %b\n" % (crc32(text), text))
        if not self.scheduled:
            self.schedule()

    def _take(self, data: bytes) -> None:
        self.pending.append(data)
        self.schedule()

    def schedule(self) -> None:
        """Have `flush` called at the end of this turn of the event loop, or at once where there is none."""
        if not self.scheduled:
            self.scheduled = True
            if self._later is None:
                self.flush()
            else:
                self._later(self.flush)

    def flush(self) -> None:
        """Hand what is pending to the operating system."""
        if self.before is not None:
            self.scheduled = True  # what it brings is flushed now
            try:
                self.before()
            except BaseException:  # whatever it still holds comes next
                self.scheduled = False
                self.schedule()
                raise
        self.scheduled = False
        if not self.pending:
            return
        if self._file < 0:
            self._open()  # before anything is taken off what is pending
        data = b"".join(self.pending)
        self.written += len(self.pending)
        self.pending.clear()
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(self._file, view) :]
        except OSError:  # a full disk: the rest is written with the next lines
            self.pending.insert(0, bytes(view))
            self.written -= 1
            raise
        self._bytes += len(data)
        self._dirty = True
        if self._bytes >= SEGMENT_BYTES:  # after what is pending: its settings are in this segment
            self._leave()

    def sync(self) -> None:
        """Make what was written safe from a power cut."""
        self.flush()
        if self._dirty and self._file >= 0:
            self._dirty = False
            if self._beside is None:
                os.fsync(self._file)
            else:
                self._beside(_Sync(os.dup(self._file)))

    def _open(self) -> None:
        path = self.folder / f"w{self.worker:02d}-{self._number:06d}.log"
        self._number += 1
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._bytes = os.fstat(self._file).st_size

    def _leave(self) -> None:
        """End this segment; the next line begins another."""
        self.sync()
        os.close(self._file)
        self._file = -1
        self._settings = 0
        self.segment += 1

    def close(self) -> None:
        """Write, sync and close."""
        self.flush()
        self._beside = None  # whoever closes waits for the disk
        if self._file >= 0:
            self._leave()


class _Sync:
    """Make one file safe from a power cut, then let go of it."""

    def __init__(self, file: int) -> None:
        self.file = file

    def __call__(self) -> None:
        try:
            os.fsync(self.file)
        finally:
            os.close(self.file)


class Tail:
    """Read entries as they are appended, by all workers; remembers how far it has come."""

    def __init__(self, folder: Path, offsets: Mapping[str, int] | None = None) -> None:
        self.folder = folder
        self.torn = 0  # lines that failed their checksum, or whose setting is not known
        self._settings: dict[str, dict[int, Setting]] = {}
        self._offsets: dict[str, int] = dict(offsets or {})

    def read(self, *, whole: bool = False) -> Iterator[Entry]:
        """Yield entries not seen before. With `whole`, an unfinished last line counts as torn instead of as still being written."""
        for _, _, entries in self.batches(whole=whole):
            yield from entries

    def batches(self, *, whole: bool = False) -> Iterator[tuple[str, int, list[Entry]]]:
        """Yield per segment its name, how many of its bytes are read now, and the entries not seen before."""
        before = ""
        for path in sorted(self.folder.glob("w*-*.log")):
            if before.partition("-")[0] == path.name.partition("-")[0]:
                self._settings.pop(before, None)  # a worker that has begun a segment adds nothing to the one before
            before = path.name
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
            settings = self._settings.get(path.name)
            if settings is None:
                settings = self._settings[path.name] = {}
                if offset:
                    self._catch_up(path, offset, settings)
            entries = list(self._parse(data[:complete], settings))
            yield path.name, self._offsets[path.name], entries

    def _catch_up(self, path: Path, offset: int, settings: dict[int, Setting]) -> None:
        """Read the settings stated before the place where reading begins."""
        with path.open("rb") as file:
            before = file.read(offset)
        torn = self.torn
        for row in before.split(_NEWLINE):
            if row[8:11] == b" @ ":
                self._row(row, settings)
        self.torn = torn

    def _parse(self, data: bytes, settings: dict[int, Setting]) -> Iterator[Entry]:
        for row in data.split(_NEWLINE):
            if row:
                entry = self._row(row, settings)
                if entry is not None:
                    yield entry

    def _row(self, row: bytes, settings: dict[int, Setting]) -> Entry | None:
        checksum, _, text = row.partition(b" ")
        try:
            if int(checksum, 16) != crc32(text):
                raise ValueError("torn")
            if text[:1] == b"[":
                own = _OWN(text)
                return _joined(settings[own.setting], own)
            if text[:2] == b"@ ":
                setting = _SETTING(text[2:])
                settings[setting.number] = setting
                return None
            return _DECODE(text)
        except (ValueError, KeyError, msgspec.MsgspecError):
            self.torn += 1
            return None


def read(folder: Path) -> tuple[list[Entry], int]:
    """Return all entries in order of arrival, and how many lines were torn by a crash.

    Raises: InputError where there is no ledger.
    """
    if not any(folder.glob("w*-*.log")):
        raise InputError("holds no ledger", where=str(folder), hint="it is written by `polysilicon serve` under its state folder")
    tail = Tail(folder)
    entries = sorted(tail.read(whole=True), key=lambda e: e.at_s)
    return entries, tail.torn
