"""What changed between two catalogues: prices, facts, ports, models that came, went or moved."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from polysilicon.catalogue import Catalogue


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that differs."""

    kind: str  # chip, system, model, profile, site, press, offer, port, price
    subject: str
    parameter: str
    old: float | str | None  # None: it is new
    new: float | str | None  # None: it is gone
    ratio: float | None  # new over old, where both are numbers
    source: str


def diff(old: Catalogue, new: Catalogue) -> list[Change]:
    """Return every difference, facts first, then offers, ports and token prices.

    Provenance alone (a new date under an unchanged value) is not a change.
    """
    changes = list(_facts(old, new))
    changes += _compare("offer", _offers(old), _offers(new))
    changes += _compare("port", _ports(old), _ports(new))
    changes += _compare("price", _prices(old), _prices(new))
    return changes


Table = Mapping[tuple[str, str], tuple[float | str | None, str]]  # (subject, parameter) -> value and source


def _facts(old: Catalogue, new: Catalogue) -> Iterable[Change]:
    kinds = dict.fromkeys(kind for kind, _, _ in (*old.content.facts, *new.content.facts) if kind != "offer")
    for kind in kinds:
        before = {(s, p): (f.value, f.source) for (k, s, p), (f, _) in old.content.facts.items() if k == kind}
        after = {(s, p): (f.value, f.source) for (k, s, p), (f, _) in new.content.facts.items() if k == kind}
        yield from _compare(kind, before, after)


def _offers(catalogue: Catalogue) -> Table:
    fields = (
        "usd_per_chip_hour",
        "kind",
        "block_chips",
        "min_term_months",
        "max_chips",
        "available_from",
        "availability_frac",
        "usd_per_mtok_in",
        "usd_per_mtok_out",
    )
    return {(o.id, f): (getattr(o, f), o.source) for o in catalogue.offers.values() for f in fields if getattr(o, f) not in (None, "")}


def _ports(catalogue: Catalogue) -> Table:
    return {(f"{p.model_family} on {p.chip_family}", p.engine): (p.status, p.source) for p in catalogue.ports}


def _prices(catalogue: Catalogue) -> Table:
    table: dict[tuple[str, str], tuple[float | str | None, str]] = {}
    for p in catalogue.token_prices:
        for side in ("usd_per_mtok_in", "usd_per_mtok_out", "usd_per_mtok_cached"):
            since = f" from {p.valid_from}" if p.valid_from else ""
            table[f"{p.provider}/{p.model}{since} ({p.source})", side] = (getattr(p, side), p.source)
    return {key: value for key, value in table.items() if value[0] is not None}


def _compare(kind: str, before: Table, after: Table) -> list[Change]:
    changes = []
    for key in {**before, **after}:
        was, source = before.get(key, (None, ""))
        now, source = after.get(key, (None, source))
        if was == now:
            continue
        numeric = isinstance(was, (int, float)) and isinstance(now, (int, float)) and was != 0
        changes.append(Change(kind, *key, was, now, float(now) / float(was) if numeric else None, source))  # type: ignore[arg-type]
    return changes


def feed(changes: Iterable[Change], *, old: str, new: str, day: str) -> dict[str, object]:
    """Return the changes as a JSON Feed (version 1.1), one item each, for whoever subscribes to the file.

    `old` and `new` are the digests of the two catalogues; with the subject they make each item's id.
    """
    items = [
        {
            "id": f"{old}-{new}-{c.kind}-{c.subject}-{c.parameter}",
            "title": f"{c.kind} {c.subject}",
            "content_text": _words(c),
            "date_published": f"{day}T00:00:00Z",
            "tags": [c.kind],
        }
        for c in changes
    ]
    return {"version": "https://jsonfeed.org/version/1.1", "title": "polysilicon catalogue", "items": items}


def _words(change: Change) -> str:
    if change.old is None:
        return f"{change.parameter} is new: {change.new} ({change.source})"
    if change.new is None:
        return f"{change.parameter} is gone; it was {change.old}"
    moved = f", {change.ratio - 1:+.1%}" if change.ratio is not None else ""
    return f"{change.parameter}: {change.old} -> {change.new}{moved} ({change.source})"
