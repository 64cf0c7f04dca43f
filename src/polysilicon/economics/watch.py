"""A list of what to watch: due dates, triggers on facts and figures, and what each would change in a scenario.

An item is `open`, `due` (its day has come), `triggered` (its condition holds), or `closed` (what it waited for is there). A figure
that nobody supplied leaves an item open and says so; it is never taken as fine.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, model_validator

from polysilicon.cloud.offer import Offer
from polysilicon.cloud.token_price import TokenPrice
from polysilicon.economics.reading import check
from polysilicon.errors import InputError, InputErrors
from polysilicon.facts import Fact
from polysilicon.model.port import Port
from polysilicon.scenario.document import Document, parse_document, read_document

State = Literal["open", "due", "triggered", "closed"]


class Known(Protocol):
    """The part of a catalogue that is watched."""

    @property
    def facts(self) -> tuple[Fact, ...]:
        """All facts."""

    @property
    def offers(self) -> Mapping[str, Offer]:
        """Offers by id."""

    @property
    def ports(self) -> tuple[Port, ...]:
        """Ports."""

    @property
    def token_prices(self) -> tuple[TokenPrice, ...]:
        """Token prices."""


class Part(BaseModel):
    """A section of the file: unknown keys are errors, nothing is coerced silently."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Trigger(Part):
    """When an item fires: one of a figure beyond a bound, a fact measured, a fact beyond a bound, or stale data."""

    metric: str = ""
    fact: Annotated[list[str], Field(min_length=2, max_length=2)] | None = None  # [subject, parameter]
    measured_chip: str = ""
    stale: Literal["", "offers", "token_prices", "chip_facts"] = ""
    above: FiniteFloat | None = None
    below: FiniteFloat | None = None
    older_than_days: Annotated[int, Field(ge=1)] = 180

    @model_validator(mode="after")
    def _one(self) -> Trigger:
        kinds = [bool(self.metric), self.fact is not None, bool(self.measured_chip), bool(self.stale)]
        if sum(kinds) != 1:
            raise ValueError("a trigger is one of `metric`, `fact`, `measured_chip`, `stale`")
        if (self.metric or self.fact) and self.above is None and self.below is None:
            raise ValueError("say `above` or `below` which value it fires")
        return self


class Change(Part):
    """One value of a scenario to set: keys joined by dots, list items by their id: `ports[qwen3-moe@maia].status`."""

    path: Annotated[str, Field(min_length=1, max_length=200)]
    value: str | FiniteFloat | bool


class Item(Part):
    """One thing to watch."""

    id: Annotated[str, Field(min_length=1, max_length=60)]
    title: Annotated[str, Field(min_length=1, max_length=300)]
    due: date | None = None
    probability_frac: Annotated[FiniteFloat, Field(ge=0, le=1)] | None = None
    trigger: Trigger | None = None
    closes: bool = False  # the trigger closes the item instead of firing it: what was waited for is there
    effect: str = ""
    changes: tuple[Change, ...] = ()
    source: str = ""


class WatchFile(Part):
    """A file of items."""

    polysilicon_watch: Literal[1]
    title: str = ""
    items: Annotated[tuple[Item, ...], Field(min_length=1)]


@dataclass(frozen=True, slots=True)
class Status:
    """Where one item stands."""

    id: str
    title: str
    state: State
    why: str
    due: str
    days_left: int | None
    probability_frac: float | None
    effect: str
    changes: tuple[Change, ...]


@dataclass(frozen=True, slots=True)
class Stale:
    """How old the newest of a kind of data is, and how much of it is older than allowed."""

    what: str
    rows: int
    newest: str
    oldest: str
    stale_rows: int
    older_than_days: int


def read_watch(path: Path | None = None) -> WatchFile:
    """Read a watch file, or the embedded one.

    Raises: InputErrors with the place of everything that is wrong.
    """
    if path is None:
        document = parse_document((files("polysilicon") / "data" / "watch.yaml").read_text(encoding="utf-8"), "watch.yaml")
    else:
        document = read_document(path)
    return _checked(document)


def _checked(document: Document) -> WatchFile:
    file = check(document, WatchFile)
    ids = [item.id for item in file.items]
    twice = [InputError(f'item "{x}" is given twice', where=document.where(("items", i, "id"))) for i, x in enumerate(ids) if x in ids[:i]]
    if twice:
        raise InputErrors(twice)
    return file


def look(file: WatchFile, catalogue: Known, metrics: Mapping[str, float], today: date) -> tuple[Status, ...]:
    """Return where every item stands on a day; triggered first, then by due date."""
    rank = {"triggered": 0, "due": 1, "open": 2, "closed": 3}
    found = [_status(item, catalogue, metrics, today) for item in file.items]
    return tuple(sorted(found, key=lambda s: (rank[s.state], s.due or "9999")))


def _status(item: Item, catalogue: Known, metrics: Mapping[str, float], today: date) -> Status:
    fired, why = _fired(item.trigger, catalogue, metrics, today) if item.trigger else (False, "")
    left = None if item.due is None else (item.due - today).days
    state: State = "open"
    if fired:
        state = "closed" if item.closes else "triggered"
    elif left is not None and left <= 0:
        state, why = "due", "; ".join(part for part in ("its day has come", why) if part)
    due = item.due.isoformat() if item.due else ""
    return Status(item.id, item.title, state, why, due, left, item.probability_frac, item.effect, item.changes)


def _fired(trigger: Trigger, catalogue: Known, metrics: Mapping[str, float], today: date) -> tuple[bool, str]:
    if trigger.metric:
        if trigger.metric not in metrics:
            return False, f'the figure "{trigger.metric}" was not supplied'
        return _beyond(trigger, trigger.metric, metrics[trigger.metric])
    if trigger.fact:
        subject, parameter = trigger.fact
        fact = next((f for f in catalogue.facts if f.subject == subject and f.parameter == parameter), None)
        if fact is None or not isinstance(fact.value, (int, float)):
            return False, f"{subject} {parameter} is not known yet"
        return _beyond(trigger, f"{subject} {parameter}", float(fact.value))
    if trigger.measured_chip:
        rows = [f for f in catalogue.facts if f.subject == trigger.measured_chip and f.basis == "measured"]
        found = len(rows) + sum(p.basis == "measured" and p.chip_family == trigger.measured_chip for p in catalogue.ports)
        return found > 0, f"{found} measured rows of {trigger.measured_chip}"
    stale = freshness(catalogue, today, older_than_days=trigger.older_than_days, only=trigger.stale)[0]
    return stale.stale_rows > 0, f"{stale.stale_rows} of {stale.rows} {stale.what} are older than {stale.older_than_days} days"


def _beyond(trigger: Trigger, name: str, value: float) -> tuple[bool, str]:
    if trigger.above is not None and value > trigger.above:
        return True, f"{name} is {value:g}, above {trigger.above:g}"
    if trigger.below is not None and value < trigger.below:
        return True, f"{name} is {value:g}, below {trigger.below:g}"
    return False, f"{name} is {value:g}"


def freshness(catalogue: Known, today: date, *, older_than_days: int = 180, only: str = "") -> tuple[Stale, ...]:
    """Return how old offers, token prices and chip facts are."""
    dates = {
        "offers": [offer.quoted_on for offer in catalogue.offers.values()],
        "token_prices": [price.as_of for price in catalogue.token_prices],
        "chip_facts": [fact.as_of for fact in catalogue.facts],
    }
    return tuple(_stale(name, days, today, older_than_days) for name, days in dates.items() if only in ("", name))


def _stale(name: str, days: Sequence[str], today: date, older_than_days: int) -> Stale:
    known = sorted(day for day in days if day)
    limit = (today - timedelta(days=older_than_days)).isoformat()
    old = sum(day < limit[: len(day)] for day in known)
    return Stale(name, len(days), known[-1] if known else "", known[0] if known else "", old, older_than_days)


def apply(scenario: Any, changes: Sequence[Change], *, where: str = "scenario") -> list[str]:
    """Set values in a parsed scenario, in place; return what was changed, in words.

    A path is keys joined by dots; `name[id]` picks the entry of a list by its id, or of ports by model@chip.

    Raises: InputError when a path leads nowhere.
    """
    said = []
    for change in changes:
        *parents, last = change.path.split(".")
        at = scenario
        for step in parents:
            at = _step(at, step, change.path, where)
        if not isinstance(at, dict):
            raise InputError(f'the path "{change.path}" ends in no section', where=where)
        said.append(f"{change.path}: {at.get(last, 'unset')} -> {change.value}")
        at[last] = change.value
    return said


def _step(at: Any, step: str, path: str, where: str) -> Any:
    name, _, wanted = step.partition("[")
    if not isinstance(at, dict) or name not in at:
        raise InputError(f'the path "{path}" leads nowhere at "{step}"', where=where)
    value = at[name]
    if not wanted:
        return value
    key = wanted.rstrip("]")
    for entry in value if isinstance(value, list) else ():
        names = {str(entry.get("id", "")), f"{entry.get('model_family', '')}@{entry.get('chip_family', '')}"}
        if key in names:
            return entry
    raise InputError(f'the path "{path}": no entry "{key}" in {name}', where=where)
