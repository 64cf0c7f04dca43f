"""Which offers a scenario may use: the catalogue's, filtered, under the user's own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Any

from polysilicon.catalogue import Catalogue
from polysilicon.cloud.offer import Offer
from polysilicon.cloud.region import GEOGRAPHIES, lies_in
from polysilicon.errors import InputError, did_you_mean
from polysilicon.scenario.document import Loc
from polysilicon.scenario.schema import OfferPart, OffersPart, Scenario

Place = Callable[[Loc], str]
_CHANGES: tuple[str, ...] = (
    "cloud", "region", "kind", "usd_per_chip_hour", "block_chips", "max_chips", "min_term_months", "lead_time_months",
    "availability_frac", "interruptions_per_hour", "ramp_chips_per_hour", "usd_per_mtok_in", "usd_per_mtok_cached", "usd_per_mtok_out", "tags",
    "source", "note",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Selection:
    """The offers to plan with, what was left out and why, and the problems found on the way."""

    offers: tuple[Offer, ...]
    notes: tuple[str, ...]
    problems: tuple[InputError, ...]


def select_offers(scenario: Scenario, catalogue: Catalogue, place: Place) -> Selection:
    """Return the offers a scenario may use: those of the catalogue that pass its filters, then its own, which win by id."""
    problems = [*_unknown_filters(scenario, catalogue, place)]
    part = scenario.offers
    chosen = {o.id: _capped(o, part) for o in catalogue.offers.values() if _passes(o, scenario, catalogue)} if part.catalogue else {}
    for i, own in enumerate(part.own):
        try:
            offer = _own_offer(own, scenario, catalogue, lambda *key, i=i: place(("offers", "own", i, *key)))
        except InputError as error:
            problems.append(error)
            continue
        chosen[offer.id] = offer
    silent = sorted(o.id for o in chosen.values() if not _priced(o))
    ready = tuple(_as_sold(chosen[key]) for key in sorted(chosen) if _priced(chosen[key]))
    notes = (f"{len(silent)} offers are quote only and have no price here, so they are left out: {_few(silent)}",) if silent else ()
    if not ready and not problems:
        problems.append(InputError(
            f"no offer is left after the filters ({len(catalogue.offers)} in the catalogue, {len(silent)} without a price)",
            where=place(("offers",)), hint="loosen clouds, regions, chips, kinds, include or exclude, or add offers under own",
        ))  # fmt: skip
    return Selection(ready, notes, tuple(problems))


def chip_matches(wanted: str, chip_id: str, catalogue: Catalogue) -> bool:
    """Return whether a chip is meant by a name, an alias, a family or a pattern."""
    chip = catalogue.chips.get(chip_id)
    if wanted == chip_id or (any(c in wanted for c in "*?[") and fnmatchcase(chip_id, wanted)):
        return True
    if chip is not None and wanted.casefold() in (chip.family.casefold(), chip.vendor.casefold(), chip.name.casefold()):
        return True
    try:
        return catalogue.chip(wanted).id == chip_id
    except InputError:
        return False


def known_chip_words(catalogue: Catalogue) -> set[str]:
    """Return the names a chip list may hold."""
    return {word for c in catalogue.chips.values() for word in (c.id, c.family, c.vendor)}


def chip_word_problem(wanted: str, catalogue: Catalogue, *, where: str, what: str) -> InputError | None:
    """Return the problem with a chip name, family or pattern, or None."""
    if any(chip_matches(wanted, chip, catalogue) for chip in catalogue.chips):
        return None
    hint = did_you_mean(wanted, known_chip_words(catalogue)) or "see `polysilicon chips`"
    return InputError(
        f'{what}: no chip, family or vendor of the catalogue fits "{wanted}" ({len(catalogue.chips)} chips)',
        where=where,
        hint=hint,
    )


def region_word_problem(wanted: str, regions: Iterable[str], *, where: str, what: str) -> InputError | None:
    """Return the problem with a region, a geography or a pattern, or None."""
    names = sorted(set(regions))
    if wanted in GEOGRAPHIES or any(lies_in(region, wanted) for region in names):
        return None
    hint = did_you_mean(wanted, [*names, *GEOGRAPHIES]) or f"geographies: {', '.join(GEOGRAPHIES)}"
    return InputError(f'{what}: no offer is in a region that fits "{wanted}"', where=where, hint=hint)


def _capped(offer: Offer, part: OffersPart) -> Offer:
    hourly = offer.kind in ("on_demand", "spot") and offer.max_chips is None
    return replace(offer, max_chips=part.hourly_max_chips) if hourly and part.hourly_max_chips is not None else offer


def _passes(offer: Offer, scenario: Scenario, catalogue: Catalogue) -> bool:
    part = scenario.offers
    return (
        (not part.clouds or offer.cloud in part.clouds)
        and (not part.regions or any(lies_in(offer.region, r) for r in part.regions))
        and (not part.chips or offer.kind == "per_token" or any(chip_matches(c, offer.chip, catalogue) for c in part.chips))
        and (not part.kinds or offer.kind in part.kinds)
        and (not part.include or any(fnmatchcase(offer.id, g) for g in part.include))
        and not any(fnmatchcase(offer.id, g) for g in part.exclude)
    )


def _unknown_filters(scenario: Scenario, catalogue: Catalogue, place: Place) -> list[InputError]:
    part, out = scenario.offers, list[InputError | None]()
    own_clouds = {o.cloud for o in part.own if o.cloud}
    clouds = {o.cloud for o in catalogue.offers.values()} | own_clouds
    regions = {o.region for o in catalogue.offers.values()} | {o.region for o in part.own if o.region}
    ids = [*catalogue.offers, *(o.id for o in part.own)]
    for i, cloud in enumerate(part.clouds):
        out.append(unknown_cloud(cloud, clouds, where=place(("offers", "clouds", i)), what=f"offers.clouds[{i}]"))
    for i, region in enumerate(part.regions):
        out.append(region_word_problem(region, regions, where=place(("offers", "regions", i)), what=f"offers.regions[{i}]"))
    for i, chip in enumerate(part.chips):
        out.append(chip_word_problem(chip, catalogue, where=place(("offers", "chips", i)), what=f"offers.chips[{i}]"))
    for key in ("include", "exclude"):
        for i, pattern in enumerate(getattr(part, key)):
            if not any(fnmatchcase(name, pattern) for name in ids):
                what = f"offers.{key}[{i}]: no offer fits"
                out.append(
                    InputError(
                        f'{what} "{pattern}" ({len(ids)} offers)',
                        where=place(("offers", key, i)),
                        hint=did_you_mean(pattern, ids),
                    )
                )
    return [problem for problem in out if problem is not None]


def unknown_cloud(cloud: str, clouds: Iterable[str], *, where: str, what: str) -> InputError | None:
    """Return the problem with a cloud's name, or None."""
    known = sorted(set(clouds))
    if cloud in known:
        return None
    return InputError(
        f'{what}: no offer of cloud "{cloud}"',
        where=where,
        hint=did_you_mean(cloud, known) or f"known clouds: {', '.join(known)}",
    )


def _own_offer(own: OfferPart, scenario: Scenario, catalogue: Catalogue, at: Callable[..., str]) -> Offer:
    known = catalogue.offers.get(own.id)
    if own.like is not None:
        if own.like not in catalogue.offers:
            hint = did_you_mean(own.like, catalogue.offers)
            raise InputError(f'offer "{own.id}" is like "{own.like}", which is not in the catalogue', where=at("like"), hint=hint)
        known = replace(catalogue.offers[own.like], id=own.id)
    changes: dict[str, Any] = {k: v for k in _CHANGES if (v := getattr(own, k)) is not None}
    if own.available_from is not None:
        changes["available_from"] = own.available_from.isoformat()
    if own.chip is not None:
        changes["chip"] = _named(lambda: catalogue.chip(own.chip or "").id, at("chip"))
    if {"usd_per_chip_hour", "usd_per_mtok_out"} & changes.keys():
        changes["basis"] = "assumed"
        changes.setdefault("source", "scenario")
    if known is not None:
        return replace(known, **changes)
    if own.kind == "per_token":
        return _token_offer(own, scenario, catalogue, changes, at)
    missing = [name for name in ("cloud", "region", "chip", "kind") if getattr(own, name) is None]
    if own.usd_per_chip_hour is None and own.kind != "quote_only":
        missing.append("usd_per_chip_hour")
    if missing:
        hint = did_you_mean(own.id, catalogue.offers)
        raise InputError(f'offer "{own.id}" is not in the catalogue, so it needs {", ".join(missing)}', where=at(), hint=hint)
    if own.kind == "reserved" and not own.min_term_months:
        raise InputError(f'offer "{own.id}" is reserved, so it needs min_term_months', where=at())
    return Offer(**{"id": own.id, "usd_per_chip_hour": None, "source": "scenario", "basis": "assumed", **changes})


def _token_offer(own: OfferPart, scenario: Scenario, catalogue: Catalogue, changes: dict[str, Any], at: Callable[..., str]) -> Offer:
    if own.model is None:
        raise InputError(f'offer "{own.id}" is priced per token, so it needs the workload model it answers for', where=at())
    models = {w.model for w in scenario.workloads}
    if own.model not in models:
        raise InputError(
            f'offer "{own.id}" answers for "{own.model}", which no workload uses',
            where=at(),
            hint=did_you_mean(own.model, models),
        )
    facts: dict[str, Any] = {"cloud": "api", "region": "global", "basis": "assumed", "source": "scenario"}
    if own.token_price is not None:
        facts |= _booked_price(own.token_price, catalogue, at("token_price"))
    offer = Offer(**{"id": own.id, "chip": "", "model": own.model, "usd_per_chip_hour": None, **facts, **changes})
    if offer.usd_per_mtok_in is None or offer.usd_per_mtok_out is None:
        raise InputError(f'offer "{own.id}" needs usd_per_mtok_in and usd_per_mtok_out, or token_price', where=at())
    return offer


def _booked_price(name: str, catalogue: Catalogue, where: str) -> dict[str, Any]:
    """Return the newest price of `provider/model` in the token price book, as an offer's fields."""
    provider, _, model = name.partition("/")
    rows = [p for p in catalogue.token_prices if p.provider == provider and p.model == model]
    if not rows:
        names = {f"{p.provider}/{p.model}" for p in catalogue.token_prices}
        raise InputError(f'token_price "{name}" is not in the price book ({len(names)} entries)', where=where, hint=did_you_mean(name, names))
    plain = [p for p in rows if not p.condition and p.usd_per_mtok_in is not None and p.usd_per_mtok_out is not None] or rows
    price = max(plain, key=lambda p: (p.valid_from or "", p.as_of or ""))
    return {
        "cloud": provider, "usd_per_mtok_in": price.usd_per_mtok_in, "usd_per_mtok_cached": price.usd_per_mtok_cached,
        "usd_per_mtok_out": price.usd_per_mtok_out, "quoted_on": price.as_of, "source": price.source, "basis": price.basis,
    }  # fmt: skip


def _named(find: Callable[[], str], where: str) -> str:
    try:
        return find()
    except InputError as error:
        raise InputError(error.message, where=where, hint=error.hint) from error


def _priced(offer: Offer) -> bool:
    return offer.usd_per_mtok_out is not None if offer.kind == "per_token" else offer.usd_per_chip_hour is not None


def _as_sold(offer: Offer) -> Offer:
    """Return a quote that got a price as what it now is: sold for its term, or by the hour."""
    if offer.kind != "quote_only":
        return offer
    return replace(offer, kind="reserved" if offer.min_term_months else "on_demand", basis="assumed")


def _few(names: list[str]) -> str:
    return ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")


def fits(offer: Offer, pins: Mapping[str, tuple[str, ...]], catalogue: Catalogue) -> dict[str, bool]:
    """Return, pin by pin, whether an offer may serve a workload with these pins (regions, clouds, chips, tags)."""
    return {
        "regions": not pins["regions"] or any(lies_in(offer.region, r) for r in pins["regions"]),
        "clouds": not pins["clouds"] or offer.cloud in pins["clouds"],
        "chips": not pins["chips"] or any(chip_matches(c, offer.chip, catalogue) for c in pins["chips"]),
        "tags": set(pins["tags"]) <= set(offer.tags),
    }
