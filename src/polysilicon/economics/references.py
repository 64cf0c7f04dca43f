"""What `catalogue.SUBJECT.PARAMETER` in a formula means: a fact of the catalogue, with its unit, source and date.

Facts of deals, companies and costs (data/economics.csv, data/deals.csv) are read the same way. Nothing else can be reached.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from fractions import Fraction
from functools import lru_cache
from importlib.resources import files
from typing import Protocol

from polysilicon.economics.audit import Cite, Cited
from polysilicon.economics.quantity import SOFT, Quantity, quantity
from polysilicon.errors import InputError, MissingFact, did_you_mean
from polysilicon.facts import BASES, Fact

_NOUN_OF_CHIP, _NOUN_OF_SYSTEM = f"{SOFT}chip", f"{SOFT}rack"

_COUNTS_OF_CHIPS = ("chips", "scale_up_chips")


class Known(Protocol):
    """The part of a catalogue that is used here."""

    @property
    def facts(self) -> tuple[Fact, ...]:
        """All facts."""

    @property
    def chips(self) -> Mapping[str, object]:
        """Chips by id."""

    @property
    def systems(self) -> Mapping[str, object]:
        """Systems by id."""

    @property
    def sources(self) -> Mapping[str, str]:
        """Full references by key."""


@lru_cache(maxsize=8)
def own_facts(name: str = "economics.csv") -> tuple[Fact, ...]:
    """Return the facts of one of this package's data files."""
    text = (files("polysilicon") / "data" / name).read_text(encoding="utf-8")
    return tuple(
        Fact(row["subject"], row["parameter"], _value(row["value"]), row["unit"], row["source"], row["as_of"], row["basis"], row["note"])  # type: ignore[arg-type]
        for row in csv.DictReader(text.splitlines())
    )


@lru_cache(maxsize=1)
def deal_rows() -> tuple[dict[str, str], ...]:
    """Return the rows of data/deals.csv."""
    return tuple(csv.DictReader((files("polysilicon") / "data" / "deals.csv").read_text(encoding="utf-8").splitlines()))


def deal_facts() -> tuple[Fact, ...]:
    """Return amounts, gigawatts and years of the deal library as facts."""
    units = {"amount_usd": "$", "gw": "GW", "years": "yr"}
    return tuple(
        Fact(row["id"], name, float(row[name]), unit, row["source"], row["date"], row["basis"], row["uncertain"])  # type: ignore[arg-type]
        for row in deal_rows()
        for name, unit in units.items()
        if row[name]
    )


def _value(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


def number_of(subject: str, parameter: str, facts: Iterable[Fact] | None = None) -> float:
    """Return a number of data/economics.csv in the unit it stands in.

    Raises: MissingFact when there is none.
    """
    for fact in own_facts() if facts is None else facts:
        if fact.subject == subject and fact.parameter == parameter and isinstance(fact.value, float):
            return fact.value
    raise MissingFact(subject, parameter, where="data/economics.csv")


def citer(catalogue: Known) -> Cite:
    """Return the lookup of a catalogue: subject and parameter to a quantity with its source."""
    index: dict[str, dict[str, Fact]] = {}
    for fact in (*catalogue.facts, *own_facts(), *deal_facts()):
        held = index.setdefault(fact.subject, {}).get(fact.parameter)
        if held is None or BASES.index(fact.basis) < BASES.index(held.basis):  # several sources: the most trusted speaks
            index[fact.subject][fact.parameter] = fact
    for things in (catalogue.chips, catalogue.systems):
        for subject, thing in things.items():  # what the catalogue itself uses, a user's overlay included
            index.setdefault(subject, {}).update(getattr(thing, "facts", {}))
    aliases = {
        alias.strip().casefold(): subject
        for subject, facts in index.items()
        for alias in (str(facts["aliases"].value).split(";") if "aliases" in facts else ())
    }
    aliases |= {subject.casefold(): subject for subject in index}

    def cite(subject: str, parameter: str) -> Cited:
        if "/" in subject:
            return _token_price(catalogue, subject, parameter)
        name = aliases.get(subject.casefold())
        if name is None:
            raise InputError(f'"{subject}" is not in the catalogue', hint=did_you_mean(subject, [*index, *aliases]))
        fact = index[name].get(parameter)
        if fact is None:
            hint = did_you_mean(parameter, index[name])
            raise MissingFact(name, parameter) if not hint else InputError(f'"{name}" has no "{parameter}" in the catalogue', hint=hint)
        if not isinstance(fact.value, (int, float)):
            raise InputError(f'"{parameter}" of "{name}" is the word "{fact.value}", not a number')
        noun = _NOUN_OF_CHIP if name in catalogue.chips else _NOUN_OF_SYSTEM if name in catalogue.systems else ""
        return _cited(fact, float(fact.value), noun, catalogue.sources)

    return cite


def _cited(fact: Fact, value: float, noun: str, sources: Mapping[str, str]) -> Cited:
    unit = fact.unit or "1"
    found = quantity(value, unit, where=f"catalogue fact {fact.subject} {fact.parameter}")
    if noun:
        found = found.times(Quantity(1.0, ((noun, Fraction(-1)),)))
    if fact.parameter in _COUNTS_OF_CHIPS:
        found = found.times(Quantity(1.0, ((_NOUN_OF_CHIP, Fraction(1)),)))
    return Cited(found, unit, sources.get(fact.source, fact.source), fact.as_of, fact.basis)


def _token_price(catalogue: Known, subject: str, parameter: str) -> Cited:
    """Return a rate of `provider/model` or `provider/model@2025-11`: the latest row dated by then."""
    key, _, by = subject.partition("@")
    provider, _, model = key.partition("/")
    rows = [p for p in getattr(catalogue, "token_prices", ()) if p.provider == provider and p.model == model and (not by or p.as_of[:7] <= by)]
    if not rows:
        known = {f"{p.provider}/{p.model}" for p in getattr(catalogue, "token_prices", ())}
        raise InputError(f'no token price of "{key}"{f" by {by}" if by else ""} is in the catalogue', hint=did_you_mean(key, known))
    row = max(rows, key=lambda p: p.valid_from or p.as_of)
    value = getattr(row, parameter, None)
    if not isinstance(value, (int, float)):
        raise MissingFact(subject, parameter)
    source = catalogue.sources.get(row.source, row.source)
    return Cited(quantity(float(value), "$/Mtok"), "$/Mtok", source, row.valid_from or row.as_of, row.basis)
