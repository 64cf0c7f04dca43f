"""How old what we know is: the age of every price, port and figure, and a warning when it is too old to plan with."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import date
from importlib.resources import files

from polysilicon.catalogue import Catalogue
from polysilicon.catalogue.rows import Row, read_csv, read_text
from polysilicon.catalogue.schema import parse_date
from polysilicon.errors import InputError

STALE_DAYS = 180  # list prices moved by a fifth within a quarter in 2026


@dataclass(frozen=True, slots=True)
class Age:
    """One thing that was read at some time."""

    kind: str  # offer, token price, port, chip, ...
    subject: str
    as_of: str  # empty: the source is undated
    age_days: int | None  # None where undated
    source: str


def ages(catalogue: Catalogue, *, today: date | None = None) -> Iterator[Age]:
    """Give the age of every offer, port, figure of a chip or system, and calibrated efficiency."""
    now = today or date.today()
    for offer in catalogue.offers.values():
        yield _age("offer", offer.id, offer.quoted_on, offer.source, now)
    for port in catalogue.ports:
        yield _age("port", f"{port.model_family} on {port.chip_family} through {port.engine}", port.as_of, port.source, now)
    for (kind, subject, parameter), (fact, _) in catalogue.content.facts.items():
        if kind in ("chip", "system"):
            yield _age("figure", f"{subject} {parameter}", fact.as_of, fact.source, now)
    for row in _efficiencies():
        subject = f"{row.get('subject')} {row.get('precision')} {row.get('parameter')}"
        yield _age("calibration", subject, row.get("as_of"), row.get("source"), now)


def _efficiencies() -> list[Row]:
    problems: list[InputError] = []
    name = "data/efficiency.csv"
    return read_csv(read_text(files("polysilicon") / name, name, problems), name, problems)[1]


def price_ages(catalogue: Catalogue, *, today: date | None = None) -> Iterator[Age]:
    """Give the age of the newest record of every token price."""
    now = today or date.today()
    newest: dict[str, Age] = {}
    for price in catalogue.token_prices:
        age = _age("token price", f"{price.provider}/{price.model}", price.as_of, price.source, now)
        held = newest.get(age.subject)
        if held is None or (age.age_days or 0) < (held.age_days or 0):
            newest[age.subject] = age
    yield from newest.values()


def _age(kind: str, subject: str, as_of: str, source: str, now: date) -> Age:
    return Age(kind, subject, as_of, (now - parse_date(as_of)).days if as_of else None, source)


def stale(catalogue: Catalogue, *, days: int = STALE_DAYS, today: date | None = None, kind: str = "offer") -> list[Age]:
    """Return what is older than so many days, oldest first; undated quotes count as the oldest."""
    known = price_ages(catalogue, today=today) if kind == "token price" else ages(catalogue, today=today)
    found = [a for a in known if a.kind == kind and (a.age_days is None or a.age_days > days)]
    return sorted(found, key=lambda a: -(a.age_days if a.age_days is not None else 10**6))


def warning(
    catalogue: Catalogue, *, days: int = STALE_DAYS, today: date | None = None, among: Collection[str] | None = None
) -> str:
    """Return one line that warns of stale offers, of those with an id in `among`, or the empty string where all are fresh."""
    asked = catalogue.offers.keys() if among is None else catalogue.offers.keys() & among
    old = [age for age in stale(catalogue, days=days, today=today) if age.subject in asked]
    return _warning(old, len(asked), f"offers were quoted more than {days} days ago")


def benchmark_warning(catalogue: Catalogue, *, days: int = STALE_DAYS, today: date | None = None) -> str:
    """Return one line that warns of efficiencies fitted to old measurements, or the empty string."""
    old = stale(catalogue, days=days, today=today, kind="calibration")
    return _warning(old, len(_efficiencies()), f"efficiencies were fitted to measurements more than {days} days old")


def _warning(old: list[Age], known: int, words: str) -> str:
    if not old:
        return ""
    undated = sum(1 for a in old if a.age_days is None)
    oldest = next((a for a in old if a.age_days is not None), None)
    tail = f"; the oldest dated one is {oldest.subject} of {oldest.as_of}" if oldest else ""
    return f"warning: {len(old)} of {known} {words}{f', {undated} of them undated' if undated else ''}{tail}"


@dataclass(frozen=True, slots=True)
class SourceAge:
    """What one source contributes and how old that is."""

    kind: str
    source: str
    things: int
    stale: int
    undated: int
    oldest: str
    newest: str


def report(catalogue: Catalogue, *, days: int = STALE_DAYS, today: date | None = None) -> list[SourceAge]:
    """Return the age of everything by kind and source, the stalest first."""
    groups: dict[tuple[str, str], list[Age]] = {}
    for age in (*ages(catalogue, today=today), *price_ages(catalogue, today=today)):
        groups.setdefault((age.kind, age.source), []).append(age)
    found = []
    for (kind, source), group in groups.items():
        dated = sorted(a.as_of for a in group if a.as_of)
        old = sum(1 for a in group if a.age_days is None or a.age_days > days)
        span = (dated[0], dated[-1]) if dated else ("", "")
        found.append(SourceAge(kind, source, len(group), old, len(group) - len(dated), *span))
    return sorted(found, key=lambda r: (-r.stale, r.kind, r.source))
