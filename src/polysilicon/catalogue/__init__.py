"""The catalogue: data files plus the user's overlay, as chips, models, offers, ports, with provenance."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from functools import cached_property
from pathlib import Path

from polysilicon.catalogue import build
from polysilicon.catalogue.configs import looks_like_path, read_config
from polysilicon.catalogue.prices import conflicts_on, token_prices
from polysilicon.catalogue.profiles import Profile, profiles
from polysilicon.catalogue.rows import Row
from polysilicon.catalogue.sources import Content, check_table, read_all
from polysilicon.catalogue.spot import SpotRecord, spot_records
from polysilicon.cloud.offer import Offer
from polysilicon.cloud.site import Site
from polysilicon.cloud.token_price import TokenPrice, price_on
from polysilicon.errors import InputError, InputErrors, unknown_name
from polysilicon.facts import Fact
from polysilicon.model.architecture import Model, from_config
from polysilicon.model.port import Port
from polysilicon.silicon.chip import Chip, System

__all__ = ["Catalogue", "Profile", "SpotRecord", "TokenPrice", "load"]


@dataclass(frozen=True)
class Catalogue:
    """Everything known, by id. What is not known is absent."""

    chips: Mapping[str, Chip]
    systems: Mapping[str, System]
    offers: Mapping[str, Offer]  # what holds now
    ports: tuple[Port, ...]
    sources: Mapping[str, str] = field(default_factory=dict)  # key -> full reference
    facts: tuple[Fact, ...] = ()
    digest: str = ""
    offer_history: Mapping[str, tuple[Offer, ...]] = field(default_factory=dict)  # every quote of each offer, oldest first
    sites: Mapping[str, Site] = field(default_factory=dict)  # "cloud/region"
    content: Content = field(default_factory=Content, repr=False, compare=False)  # rows as they were read, for what is built on first use

    @cached_property
    def models(self) -> Mapping[str, Model]:
        """Open models by id, built from their configurations on first use."""
        problems: list[InputError] = []
        found: dict[str, Model] = {}
        for subject, entries in build.by_subject(self.content, "model").items():
            if "unreadable" in entries:
                continue
            config = {p: f.value for p, (f, _) in entries.items()}
            try:
                found[subject] = from_config(subject, config, where=next(iter(entries.values()))[1].where("subject"))
            except InputErrors as error:
                problems.extend(error.problems)
            except InputError as error:
                problems.append(error)
        if problems:
            raise InputErrors(problems)
        return found

    @cached_property
    def profiles(self) -> Mapping[str, Profile]:
        """Closed models by id: third-party estimates with a band, never facts."""
        return profiles(build.by_subject(self.content, "profile"))

    @cached_property
    def token_prices(self) -> tuple[TokenPrice, ...]:
        """Every recorded token price, read on first use."""
        rows = self.content.tables["prices"]
        problems: list[InputError] = []
        good = check_table("prices", rows[0].cells if rows else (), rows, problems)
        if problems:
            raise InputErrors(problems)
        return token_prices(good)

    @cached_property
    def port_records(self) -> tuple[Row, ...]:
        """Every record of a model on a chip, untested ones included; `ports` is their summary by family."""
        return tuple(self.content.tables["ports"])

    @cached_property
    def spot_history(self) -> tuple[SpotRecord, ...]:
        """Measured spot availability by zone."""
        return spot_records(self.content.tables["spot"])

    @cached_property
    def _aliases(self) -> Mapping[str, Mapping[str, str]]:
        known: dict[str, dict[str, str]] = {}
        for kind in ("chip", "system", "model", "profile"):
            names = known.setdefault(kind, {})
            subjects = build.by_subject(self.content, kind)
            for subject, entries in subjects.items():
                listed = build.words(str(entries["aliases"][0].value)) if "aliases" in entries else ()
                for alias in (*listed, str(entries["name"][0].value) if "name" in entries else subject):
                    names.setdefault(_folded(alias), subject)
            names.update({_folded(subject): subject for subject in subjects})
        return known

    def chip(self, name: str, *, where: str = "") -> Chip:
        """Return a chip by id or by a name people write.

        >>> load().chip("H100").id
        'h100-sxm'

        Raises: InputError that names the nearest known ones.
        """
        found = self._aliases["chip"].get(_folded(name))
        if found is not None:
            return self.chips[found]
        error = unknown_name(name, self._written("chip"), where=where, what="chip", plural="chips and their names")
        system = self._aliases["system"].get(_folded(name))
        if system is not None:
            error.hint = f'"{name}" is a system of {self.systems[system].chips} {self.systems[system].chip}; name the chip'
        raise error

    def system(self, name: str, *, where: str = "") -> System:
        """Return a system by id or by a name people write.

        Raises: InputError that names the nearest known ones.
        """
        found = self._aliases["system"].get(_folded(name))
        if found is None:
            raise unknown_name(name, self._written("system"), where=where, what="system", plural="systems and their names")
        return self.systems[found]

    def model(self, name: str, *, where: str = "") -> Model:
        """Return an open model by id or by its name on a model hub, the stand-in of a closed one, or a config.json by path.

        Raises: InputError that names the nearest known ones, or says why this one cannot be computed with.
        """
        if looks_like_path(name):
            return read_config(Path(name))
        found = self._aliases["model"].get(_folded(name))
        if found is not None and found in self.models:
            return self.models[found]
        if found is not None:
            reason = self.content.facts["model", found, "unreadable"][0].value
            raise InputError(
                f'model "{found}" is known but cannot be computed with: {reason}',
                where=where,
                hint="give a config.json whose keys describe it",
            )
        profile = self.profile(name)
        if profile is not None:
            if not profile.stand_in:
                raise InputError(
                    f'model "{profile.id}" is closed and no open stand-in is set',
                    where=where,
                    hint=f"set profile:{profile.id} stand_in in an overlay",
                )
            return self.models[profile.stand_in]
        raise unknown_name(name, self._written("model"), where=where, what="model", plural="models and their names")

    def profile(self, name: str) -> Profile | None:
        """Return the profile of a closed model, or None."""
        found = self._aliases["profile"].get(_folded(name))
        return self.profiles[found] if found is not None else None

    def offer(self, name: str, *, where: str = "") -> Offer:
        """Return an offer by id.

        Raises: InputError that names the nearest known ones.
        """
        if name not in self.offers:
            raise unknown_name(name, self.offers, where=where, what="offer", plural="offers")
        return self.offers[name]

    def offers_on(self, day: date) -> dict[str, Offer]:
        """Return the offers whose latest quote up to a day still held on it."""
        found: dict[str, Offer] = {}
        for name, quotes in self.offer_history.items():
            held = [q for q in quotes if build.start_of(q) <= day.isoformat() and not "" < q.valid_to <= day.isoformat()]
            if held:
                found[name] = held[-1]
        return found

    def port(self, model_family: str, chip_family: str) -> Port | None:
        """Return the furthest port of a model family to a chip family over all engines; None means unknown, not impossible."""
        found = [p for p in self.ports if p.model_family == model_family and p.chip_family == chip_family]
        return max(found, key=lambda p: build.PORT_STATUSES.index(p.status)) if found else None

    def prices_of(self, model: str) -> tuple[TokenPrice, ...]:
        """Return every recorded price of a model at the provider that makes it, else at any."""
        profile = self.profile(model)
        names = {_folded(model), *([_folded(profile.price_model), _folded(profile.id)] if profile else [])}
        found = [p for p in self.token_prices if _folded(p.model) in names]
        own = [p for p in found if p.provider in _MAKERS]
        return tuple(own or found)

    def price(self, model: str, *, on: date | None = None) -> TokenPrice | None:
        """Return what a model's tokens cost on a day (today by default), or None where no source says."""
        return price_on(self.prices_of(model), on or date.today())

    def price_conflicts(self, model: str, *, on: date | None = None) -> tuple[TokenPrice, ...]:
        """Return what sources say of a day where they do not agree."""
        return conflicts_on(self.prices_of(model), on or date.today())

    def _written(self, kind: str) -> list[str]:
        subjects = build.by_subject(self.content, kind)
        listed = [w for e in subjects.values() if "aliases" in e for w in build.words(str(e["aliases"][0].value))]
        return [*subjects, *listed]


_MAKERS = frozenset(
    {
        "anthropic",
        "openai",
        "google",
        "gemini",
        "deepseek",
        "mistral",
        "xai",
        "x-ai",
        "moonshotai",
        "moonshot-ai",
        "zhipuai",
        "minimax",
        "qwen",
    }
)


def load(overlay: Path | None = None) -> Catalogue:
    """Read the embedded data and, over it, the user's overlay: a CSV or YAML file, or a folder of them.

    Raises: InputErrors with every problem of every file, each with its place.
    """
    content = read_all(overlay)
    problems = content.problems
    chips = build.chips(build.by_subject(content, "chip"), problems)
    systems = build.systems(build.by_subject(content, "system"), chips, problems)
    history = build.offers(content, chips)
    ports = build.ports(content.tables["ports"], problems)
    if problems:
        raise InputErrors(problems)
    now = {name: offer for name, quotes in history.items() if (offer := build.current(quotes)) is not None}
    catalogue = Catalogue(
        chips=chips,
        systems=systems,
        offers=now,
        ports=ports,
        sources={r.get("key"): r.get("reference") for r in content.tables["sources"]},
        facts=tuple(f for f, _ in content.facts.values()),
        digest=content.digest,
        offer_history={n: tuple(q) for n, q in history.items()},
        sites=build.sites(build.by_subject(content, "site"), now.values()),
        content=content,
    )
    _check_overlaid(catalogue)
    return catalogue


def _check_overlaid(catalogue: Catalogue) -> None:
    """Build what the overlay touched and is otherwise built on first use: it must not fail later, far from the file that is wrong."""
    content = catalogue.content
    if any(kind == "model" for kind, _ in content.overlaid):
        _ = catalogue.models
    problems = []
    for kind, subject in content.overlaid:
        entry = content.facts.get((kind, subject, "stand_in")) if kind == "profile" else None
        if entry is not None and entry[0].value not in catalogue.models:
            fact, row = entry
            what = f"profile {subject} stand_in"
            problems.append(unknown_name(str(fact.value), catalogue.models, where=row.where("value"), what=what, plural="models"))
    if problems:
        raise InputErrors(problems)


def _folded(name: str) -> str:
    return "".join(c for c in name.casefold() if c.isalnum())
