"""Measured operating points: one row of a CSV each, checked whole, with what was run and how it was measured."""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from polysilicon.errors import InputError, InputErrors

NEEDED = ("model", "chip", "metric", "value", "unit")
MAX_ROWS = 2_000_000
KINDS: dict[str, str] = {"tpot": "tpot", "itl": "tpot", "decode_step": "tpot", "ttft": "ttft", "prefill_batch": "ttft"}
_SECONDS = {"ms": 1e-3, "s": 1.0, "us": 1e-6}
_ENGINES = (("trtllm", "trtllm"), ("tensorrt", "trtllm"), ("vllm", "vllm"), ("sglang", "sglang"))
# releases without a run date: when the version came out
_RELEASED = {
    "trtllm 1.0.0rc3": "2025-07", "vllm 0.12.0": "2025-12", "sglang 0.5.1.post1": "2025-08", "sglang 0.5.6.post2": "2025-12",
    "sglang 0.5.8.post1": "2026-01",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Point:
    """One measured number and everything known of the run it comes from."""

    row: int  # line of the file
    source: str
    model: str
    total_params: float  # 0 where not stated
    active_params: float
    quant: str
    chip: str
    n_chips: int
    parallelism: str
    isl: str
    osl: str
    load: str  # a concurrency or batch, or words: "offline max load", "Server", "256 per GPU"
    metric: str
    value: float
    unit: str
    run: str  # what distinguishes the run in its source
    backend: str
    date: str
    note: str
    cached_frac: float = 0.0  # of prompt tokens found in the prefix cache

    @property
    def kind(self) -> str:
        """Return tpot, ttft or throughput."""
        return next((kind for start, kind in KINDS.items() if self.metric.startswith(start)), "throughput")

    @property
    def seconds(self) -> float:
        """Return a latency in seconds."""
        return self.value * _SECONDS.get(self.unit, 1.0)

    @property
    def engine(self) -> str:
        """Return the engine's family, or * where it is none of those the efficiencies tell apart."""
        plain = self.backend.casefold().replace("-", "").replace(" ", "")
        return next((name for start, name in _ENGINES if plain.startswith(start)), "*")

    @property
    def years(self) -> float:
        """Return the years between the run and 2026-01-01, negative before."""
        text = self.date or _RELEASED.get(self.backend, "")
        parts = [int(p) for p in re.findall(r"\d+", text)[:3]]
        if not parts or not 2015 <= parts[0] <= 2100:
            return 0.0
        month = min(max(parts[1], 1), 12) if len(parts) > 1 else 6
        day = min(max(parts[2], 1), 28) if len(parts) > 2 else 15
        return (date(parts[0], month, day) - date(2026, 1, 1)).days / 365.25


def read(path: Path) -> list[Point]:
    """Return the points of a CSV file.

    Raises: InputErrors with every row that cannot be read, InputError where the file is no such table.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot be read: {error}", where=str(path)) from error
    reader = csv.DictReader(text.splitlines())
    missing = [name for name in NEEDED if name not in (reader.fieldnames or ())]
    if missing:
        raise InputError(f"columns {', '.join(missing)} are missing; a table of measured points has {', '.join(NEEDED)}", where=str(path))
    points: list[Point] = []
    problems: list[InputError] = []
    for number, row in enumerate(reader, start=2):
        try:
            points.append(_point(row, number))
        except ValueError as error:
            problems.append(InputError(str(error), where=f"{path}:{number}"))
        if number > MAX_ROWS:
            raise InputError(f"more than {MAX_ROWS:,} rows", where=str(path))
    if problems:
        raise InputErrors(problems[:100])
    if not points:
        raise InputError("holds no row", where=str(path))
    return points


def _point(row: dict[str, str | None], number: int) -> Point:
    words = {k: (v or "").strip() for k, v in row.items() if isinstance(k, str) and not isinstance(v, list)}
    value = _positive(words.get("value", ""), "value")
    if words["metric"].startswith(tuple(KINDS)) and words.get("unit", "") not in _SECONDS:
        raise ValueError(f"unit of {words['metric']} is {words.get('unit', '')[:20]!r}; ms, s or us is expected")
    return Point(
        row=number, source=words.get("source", ""), model=words["model"], total_params=_billions(words.get("params_total", "")),
        active_params=_billions(words.get("params_active", "")), quant=words.get("quant", ""), chip=words["chip"],
        n_chips=int(_number(words.get("n_chips", ""), 1.0)), parallelism=words.get("parallelism", ""), isl=words.get("isl", ""),
        osl=words.get("osl", ""), load=words.get("concurrency_or_batch", ""), metric=words["metric"], value=value,
        unit=words.get("unit", ""), run=words.get("where_in_source", ""), backend=words.get("backend", ""),
        date=words.get("date", ""), note=words.get("note", ""), cached_frac=_share(words.get("cached_frac", "")),
    )  # fmt: skip


def _positive(text: str, name: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value > 0):
        raise ValueError(f"{name} is {text[:40]!r}; a positive number is expected")
    return value


def _share(text: str) -> float:
    try:
        value = float(text or 0.0)
    except ValueError:
        value = math.nan
    if not 0.0 <= value < 1.0:
        raise ValueError(f"cached_frac is {text[:40]!r}; a share from 0 up to, not including, 1 is expected")
    return value


def _number(text: str, default: float) -> float:
    try:
        value = float(text)
    except ValueError:
        return default
    return value if math.isfinite(value) and 0 < value < 1e7 else default


def _billions(text: str) -> float:
    return _number(text, 0.0) * 1e9


def newest_day(found: Iterable[Point], otherwise: str = "") -> str:
    """Return the day of the newest dated measurement; another, or today, where none tells its day."""
    days = (p.date for p in found if re.fullmatch(r"\d{4}-\d\d-\d\d", p.date))
    return max(days, default=otherwise or date.today().isoformat())


def first_number(text: str, default: float = 0.0) -> float:
    """Return the first number in a phrase: 274.4 of "mean 274.4 (tokens/s over samples/s)".

    >>> first_number("16384 tokens per GPU"), first_number("MLPerf dataset")
    (16384.0, 0.0)
    """
    found = re.search(r"\d+(?:\.\d+)?", text.replace(",", ""))
    return float(found.group()) if found else default


def degree(text: str, name: str) -> int:
    """Return a degree of parallelism in a phrase, 1 where it is not told.

    >>> degree("TP2 attnDP2 EP4", "EP"), degree("TP8", "EP"), degree("attention-DP+EP 8", "EP")
    (4, 1, 8)
    """
    found = re.search(rf"(?<![A-Za-z]){name}\s?(\d+)", text)
    return int(found.group(1)) if found else 1
