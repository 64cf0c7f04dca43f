"""Historic versions of a price list as a feed: what changed when, replayed in order at any speed.

A folder of SkyPilot lists, each with its day in its name (`2026-03-01-vms.csv`), becomes dated changes: a price appeared,
moved or went away. Replayed, they are the quotes a gateway reads, as factors on the price that it knows.
"""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from datetime import date
from pathlib import Path

from polysilicon.catalogue import Catalogue
from polysilicon.errors import InputError, InputErrors
from polysilicon.exchange.skypilot import read_vms

_DAY = re.compile(r"(20\d{2})-?(\d{2})-?(\d{2})")
SECONDS_PER_DAY = 86_400.0


@dataclass(frozen=True, slots=True)
class PricePoint:
    """One offer's price from a day on; None: it is not offered any more."""

    at: str  # ISO date
    offer: str
    usd_per_chip_hour: float | None


def history(folder: Path, cloud: str, catalogue: Catalogue) -> tuple[PricePoint, ...]:
    """Return the changes between dated versions of one cloud's list, in order of day and offer.

    Raises: InputError when the folder holds no dated list; InputErrors with every row of a list that cannot be read.
    """
    if not folder.is_dir():
        raise InputError("is not a folder of price lists", where=str(folder))
    versions = sorted((_day(path), path) for path in folder.rglob("*.csv") if _DAY.search(str(path.relative_to(folder))))
    if not versions:
        raise InputError("holds no list with a day in its name, such as 2026-03-01-vms.csv", where=str(folder))
    points: list[PricePoint] = []
    known: dict[str, float] = {}
    for day, path in versions:
        now = {
            row["id"]: float(row["usd_per_chip_hour"])
            for row in read_vms(path, cloud, catalogue, quoted_on=day).offers
            if row.get("usd_per_chip_hour")
        }
        points += [PricePoint(day, offer, price) for offer, price in sorted(now.items()) if known.get(offer) != price]
        points += [PricePoint(day, offer, None) for offer in sorted(known.keys() - now.keys())]
        known = now
    return tuple(points)


def _day(path: Path) -> str:
    """Return the last day in a path's words: a folder's or the file's own."""
    found = _DAY.findall(str(path))[-1]
    try:
        return date(*map(int, found)).isoformat()
    except ValueError as error:
        raise InputError(f"{'-'.join(found)} is not a day", where=str(path)) from error


def write_feed(points: Iterable[PricePoint]) -> bytes:
    """Return a feed as CSV with the columns at, offer, usd_per_chip_hour; an empty price: not offered any more."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, [f.name for f in fields(PricePoint)], lineterminator="\n")
    writer.writeheader()
    for point in points:
        writer.writerow({k: "" if v is None else v for k, v in asdict(point).items()})
    return buffer.getvalue().encode()


def read_feed(path: Path) -> tuple[PricePoint, ...]:
    """Read a feed that `write_feed` wrote, or anyone else's with its columns.

    Raises: InputError or InputErrors with the line of every row that cannot be right, a day going backwards included.
    """
    try:
        rows = list(csv.DictReader(io.StringIO(path.read_text("utf-8-sig"))))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"cannot be read as a price feed: {error}", where=str(path)) from error
    if not rows or not {"at", "offer", "usd_per_chip_hour"} <= rows[0].keys():
        raise InputError("is not a price feed: it needs the columns at, offer, usd_per_chip_hour and a row", where=f"{path}:1")
    problems: list[InputError] = []
    points: list[PricePoint] = []
    for line, row in enumerate(rows, start=2):
        try:
            points.append(_point(row, points[-1].at if points else ""))
        except ValueError as error:
            problems.append(InputError(str(error), where=f"{path}:{line}"))
    if problems:
        raise InputErrors(problems[:20])
    return tuple(points)


def _point(row: Mapping[str, str | None], before: str) -> PricePoint:
    at, offer, words = (row.get(k) or "" for k in ("at", "offer", "usd_per_chip_hour"))
    day = date.fromisoformat(at).isoformat()
    if day < before:
        raise ValueError(f"the day goes back from {before} to {day}")
    if not offer:
        raise ValueError("names no offer")
    price = float(words) if words else None
    if price is not None and not (math.isfinite(price) and price >= 0):
        raise ValueError(f"the price is {words}; a price is finite and 0 or more")
    return PricePoint(day, offer, price)


def replay(points: Iterable[PricePoint], *, seconds_per_day: float = SECONDS_PER_DAY) -> Iterator[tuple[float, PricePoint]]:
    """Yield each change with its time in seconds since the first, a day lasting `seconds_per_day`.

    >>> feed = (PricePoint("2026-01-01", "a", 2.0), PricePoint("2026-01-03", "a", 3.0))
    >>> [(t, p.usd_per_chip_hour) for t, p in replay(feed, seconds_per_day=10.0)]
    [(0.0, 2.0), (20.0, 3.0)]
    """
    first: date | None = None
    for point in points:
        day = date.fromisoformat(point.at)
        first = first or day
        yield (day - first).days * seconds_per_day, point


def quotes(points: Iterable[PricePoint], targets: Mapping[str, str]) -> Iterator[dict[str, str | float | bool]]:
    """Yield what a gateway's quote feed holds: per target, its price as a factor on the first one known, and whether it is there.

    `targets` maps offers to the gateway's targets; other offers are passed over.
    """
    base: dict[str, float] = {}
    for point in points:
        target = targets.get(point.offer)
        if target is None:
            continue
        if point.usd_per_chip_hour is None:
            yield {"target": target, "available": False, "why": f"{point.offer} is not offered", "at": point.at}
            continue
        first = base.setdefault(point.offer, point.usd_per_chip_hour)
        factor = point.usd_per_chip_hour / first if first > 0 else 1.0
        yield {"target": target, "factor": factor, "available": True, "at": point.at}
