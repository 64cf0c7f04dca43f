"""From checked facts and rows to chips, systems, offers, ports and sites."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, cast, get_args

from polysilicon.catalogue import schema
from polysilicon.catalogue.rows import Row
from polysilicon.catalogue.sources import Content
from polysilicon.cloud.offer import Offer, OfferKind
from polysilicon.cloud.site import Site
from polysilicon.errors import InputError, did_you_mean, unknown_name
from polysilicon.facts import Basis, Fact
from polysilicon.model.port import Port, PortStatus
from polysilicon.silicon.chip import Chip, System

OFFER_KINDS: tuple[str, ...] = get_args(OfferKind)
PORT_STATUSES: tuple[str, ...] = get_args(PortStatus)  # from nothing to production

_SITE_FIELDS = ("it_mw", "pue", "usd_per_kwh", "g_co2_per_kwh", "usd_per_tonne_co2", "lead_time_months", "cooling")

Subjects = Mapping[str, Mapping[str, tuple[Fact, Row]]]  # subject -> parameter -> fact and where it stands


def by_subject(content: Content, kind: str) -> dict[str, dict[str, tuple[Fact, Row]]]:
    """Return the facts of one kind, grouped by what they are about."""
    subjects: dict[str, dict[str, tuple[Fact, Row]]] = {}
    for (k, subject, parameter), entry in content.facts.items():
        if k == kind:
            subjects.setdefault(subject, {})[parameter] = entry
    return subjects


def chips(subjects: Subjects, problems: list[InputError]) -> dict[str, Chip]:
    """Return chips by id; a fact that is absent stays None."""
    return {subject: chip for subject, entries in subjects.items() if (chip := _chip(subject, entries, problems)) is not None}


def _chip(subject: str, entries: Mapping[str, tuple[Fact, Row]], problems: list[InputError]) -> Chip | None:
    facts = {p: f for p, (f, _) in entries.items()}
    row = next(iter(entries.values()))[1]
    lacking = [p for p in ("vendor", "family") if p not in facts]
    if lacking:
        problems.append(row.problem("subject", f"chip {subject} lacks {' and '.join(lacking)}", "a new chip needs at least vendor and family"))
        return None
    _check_bands(entries, problems)
    scale_up_chips = facts.get("scale_up_chips")
    since = facts.get("available_from")
    return Chip(
        id=subject,
        name=_text(facts, "name") or subject,
        vendor=_text(facts, "vendor"),
        family=_text(facts, "family"),
        dense_tflop_per_s=_by_precision(facts, "dense_tflop_per_s."),
        sparse_tflop_per_s=_by_precision(facts, "sparse_tflop_per_s."),
        scale_up_chips=int(float(scale_up_chips.value)) if scale_up_chips else None,
        available_from=schema.parse_date(str(since.value)) if since else None,
        process=_text(facts, "process"),
        status=_text(facts, "status"),
        facts=facts,
        **{p: _value(facts, p) for p in ("hbm_gb", "hbm_gb_per_s", "scale_up_gb_per_s", "scale_out_gb_per_s", "sram_mb", "tdp_w", "all_in_w")},
    )


def systems(subjects: Subjects, known_chips: Mapping[str, Chip], problems: list[InputError]) -> dict[str, System]:
    """Return systems by id."""
    found: dict[str, System] = {}
    for subject, entries in subjects.items():
        facts = {p: f for p, (f, _) in entries.items()}
        row = next(iter(entries.values()))[1]
        lacking = [p for p in ("chip", "chips") if p not in facts]
        if lacking:
            problems.append(row.problem("subject", f"system {subject} lacks {' and '.join(lacking)}"))
            continue
        chip = _text(facts, "chip")
        if chip not in known_chips:
            problems.append(unknown_name(chip, known_chips, where=entries["chip"][1].where("value"), what=f"system {subject} chip", plural="chips"))
        _check_bands(entries, problems)
        cpus = _value(facts, "cpus")
        found[subject] = System(
            id=subject,
            name=_text(facts, "name") or subject,
            chip=chip,
            chips=int(float(facts["chips"].value)),
            domains=int(_value(facts, "domains") or 1),
            cpus=int(cpus) if cpus is not None else None,
            hbm_gb=_value(facts, "hbm_gb"),
            scale_up_aggregate_gb_per_s=_value(facts, "scale_up_aggregate_gb_per_s"),
            rack_kw=_value(facts, "rack_kw"),
            racks=_value(facts, "racks"),
            cooling=_text(facts, "cooling"),
            facts=facts,
        )
    return found


def _check_bands(entries: Mapping[str, tuple[Fact, Row]], problems: list[InputError]) -> None:
    for parameter, (fact, row) in entries.items():
        stem, _, leaf = parameter.rpartition(".")
        if leaf not in ("low", "high") or stem not in entries or isinstance(fact.value, str):
            continue
        value = float(entries[stem][0].value)
        if (leaf == "low" and fact.value > value) or (leaf == "high" and fact.value < value):
            problems.append(row.problem("value", f"{fact.subject} {parameter} is {fact.value:g}, but {stem} is {value:g} {fact.unit}"))


def offers(content: Content, known_chips: Mapping[str, Chip]) -> dict[str, list[Offer]]:
    """Return the quotes of each offer, oldest first; the last one without an end is what holds now."""
    series: dict[str, dict[str, tuple[Offer, Row]]] = {}
    problems = content.problems
    for row in _offer_rows(content):
        offer = _offer(row, known_chips, problems)
        if offer is None:
            continue
        quotes = series.setdefault(offer.id, {})
        start = start_of(offer)
        earlier = quotes.get(start)
        if earlier is not None and earlier[1].file == row.file:
            problems.append(
                row.problem("id", f"offer {offer.id} quoted from {start or 'no date'} stands here again; it stood at {earlier[1].where()}")
            )
            continue
        if quotes and next(iter(quotes.values()))[1].file != row.file:
            quotes.clear()  # the overlay replaces an offer whole, its history included
        quotes[start] = (offer, row)
    return {name: [quotes[start][0] for start in sorted(quotes)] for name, quotes in series.items()}


def start_of(offer: Offer) -> str:
    """Return from when a quote is known to hold, as an ISO date; empty where that is not known.

    A price that had ended when it was quoted held before the quote, since an unknown day.
    """
    if offer.valid_from or not offer.valid_to or offer.valid_to > offer.quoted_on:
        return offer.valid_from or offer.quoted_on
    return ""


def current(quotes: Iterable[Offer]) -> Offer | None:
    """Return the quote that holds now: the latest one without an end."""
    open_ended = [q for q in quotes if not q.valid_to]
    return open_ended[-1] if open_ended else None


def _offer_rows(content: Content) -> list[Row]:
    """Return the offers' rows, with overlay facts on single offers written into them."""
    patches = by_subject(content, "offer")
    rows = list(content.tables["offers"])
    for subject, entries in patches.items():
        facts = {p: f for p, (f, _) in entries.items()}
        row = next(iter(entries.values()))[1]
        base = [r for r in rows if r.get("id") == subject and not r.get("valid_to")]
        cells = dict(max(base, key=lambda r: r.get("valid_from") or r.get("quoted_on")).cells) if base else {"id": subject, "basis": row.get("basis")}
        cells |= {p: (f"{f.value:.12g}" if isinstance(f.value, float) else str(f.value)) for p, f in facts.items()}
        cells |= {
            "source": row.get("source"),
            "basis": row.get("basis"),
            "quoted_on": cells.get("quoted_on", "") if "quoted_on" in facts else row.get("as_of"),
        }
        if "usd_per_chip_hour" in facts:
            for band in ("low_usd_per_chip_hour", "high_usd_per_chip_hour"):
                if band not in facts:
                    cells.pop(band, None)
            if cells.get("kind") == "quote_only" and "kind" not in facts:
                cells["kind"] = "on_demand"  # a quote that now has a price
        places = {p: (r.line, int(r.where("value").rsplit(":", 1)[1])) for p, (_, r) in entries.items()}
        rows = [r for r in rows if r.get("id") != subject]
        rows.append(Row(row.file, row.line, cells, row.text, row.header, places))
    return rows


_OFFER_NUMBERS = (
    "usd_per_chip_hour",
    "low_usd_per_chip_hour",
    "high_usd_per_chip_hour",
    "max_chips",
    "usd_per_mtok_in",
    "usd_per_mtok_cached",
    "usd_per_mtok_out",
)


def _offer(row: Row, known_chips: Mapping[str, Chip], problems: list[InputError]) -> Offer | None:
    before = len(problems)
    _check_offer(row, known_chips, problems)
    if len(problems) > before:
        return None
    optional = ("availability_frac", "interruptions_per_hour", "lead_time_months")
    return Offer(
        id=row.get("id"),
        cloud=row.get("cloud"),
        region=row.get("region"),
        chip=row.get("chip"),
        kind=cast(OfferKind, row.get("kind")),
        block_chips=int(_cell(row, "block_chips") or 1),
        instance=row.get("instance"),
        min_term_months=int(_cell(row, "min_term_months") or 0),
        quoted_on=row.get("quoted_on"),
        valid_from=row.get("valid_from"),
        valid_to=row.get("valid_to"),
        available_from=row.get("available_from"),
        source=row.get("source"),
        basis=cast(Basis, row.get("basis")),
        model=row.get("model"),
        tags=words(row.get("tags")),
        note=row.get("note"),
        **cast(Any, {c: _cell(row, c) for c in _OFFER_NUMBERS}),
        **cast(Any, {c: v for c in optional if (v := _cell(row, c)) is not None}),
    )


def _check_offer(row: Row, known_chips: Mapping[str, Chip], problems: list[InputError]) -> None:
    """Note what is wrong with an offer as a whole; its cells have been checked one by one."""
    name, kind, priced = row.get("id"), row.get("kind"), bool(row.get("usd_per_chip_hour"))
    if not row.get("cloud") or not row.get("region"):
        problems.append(row.problem("id", f"offer {name} needs a cloud and a region"))
    if kind not in OFFER_KINDS:
        message = f'offer {name} kind "{kind}" is not known; allowed: {", ".join(OFFER_KINDS)}'
        problems.append(row.problem("kind", message, did_you_mean(kind, OFFER_KINDS)))
    elif kind == "per_token":
        if not row.get("model") or not row.get("usd_per_mtok_in") or not row.get("usd_per_mtok_out"):
            problems.append(row.problem("id", f"per-token offer {name} needs model, usd_per_mtok_in and usd_per_mtok_out"))
        return
    else:
        _check_seller(row, known_chips, problems)
    if kind != "quote_only" and not priced:
        hint = 'a product without a price per hour is kind "quote_only"'
        problems.append(row.problem("usd_per_chip_hour", f"offer {name} has no price", hint))
    if kind == "quote_only" and priced:
        problems.append(row.problem("usd_per_chip_hour", f'offer {name} is "quote_only" and yet has a price'))


def _check_seller(row: Row, known_chips: Mapping[str, Chip], problems: list[InputError]) -> None:
    chip, name = row.get("chip"), row.get("id")
    if chip not in known_chips:
        problems.append(unknown_name(chip, known_chips, where=row.where("chip"), what=f"offer {name} chip", plural="chips"))
        return
    only = known_chips[chip].facts.get("only_cloud")
    if only is not None and row.get("cloud") != only.value:
        message = f"offer {name}: {chip} is sold only by {only.value} ({only.source}), not by {row.get('cloud')}"
        problems.append(row.problem("cloud", message, f"if that has changed, say so in the overlay: {chip},only_cloud"))


def ports(rows: Iterable[Row], problems: list[InputError]) -> tuple[Port, ...]:
    """Return one port for each model family, chip family and engine: the best status any of its models has reached.

    A row without a status (untested, or a model that did not fit one chip) says nothing about the family and makes no
    port: what is missing is unknown, never zero.
    """
    groups: dict[tuple[str, str, str], list[Row]] = {}
    for row in rows:
        status = row.get("status")
        if status and status not in PORT_STATUSES:
            problems.append(
                row.problem(
                    "status",
                    f'port status "{status}" is not known; allowed: {", ".join(PORT_STATUSES)}',
                    did_you_mean(status, PORT_STATUSES),
                )
            )
        elif status:
            groups.setdefault((row.get("model_family"), row.get("chip_family"), row.get("engine")), []).append(row)
    return tuple(_port(key, group) for key, group in groups.items())


def _port(key: tuple[str, str, str], group: list[Row]) -> Port:
    last = group[-1].file
    own = [r for r in group if r.file == last]  # the overlay's word on a port stands against all embedded rows
    best = max(own, key=lambda r: (PORT_STATUSES.index(r.get("status")), r.get("as_of")))
    names = sorted({r.get("model") for r in own if r.get("status") == best.get("status") and r.get("model")})
    optional = ("engineer_months", "lead_months", "cost_usd", "upkeep_usd_per_year", "initial_efficiency_frac")
    given = {c: v for c in ("efficiency_frac", "ramp_months", "max_share_frac") if (v := _cell(best, c)) is not None}
    note = best.get("note") or (
        f"{best.get('evidence')}: {', '.join(names[:4])}" + (f" and {len(names) - 4} more" if len(names) > 4 else "") if names else best.get("detail")
    )
    return Port(
        model_family=key[0],
        chip_family=key[1],
        engine=key[2],
        status=cast(PortStatus, best.get("status")),
        quality_gate=best.get("quality_gate"),
        source=best.get("source"),
        as_of=best.get("as_of"),
        basis=best.get("basis"),
        note=note,
        **cast(Any, {c: _cell(best, c) for c in optional}),
        **cast(Any, given),
    )


def sites(subjects: Subjects, all_offers: Iterable[Offer]) -> dict[str, Site]:
    """Return one site for each cloud and region that offers chips; facts of a whole cloud hold in all its regions."""
    found: dict[str, Site] = {}
    places = {(o.cloud, o.region) for o in all_offers if o.chip}
    for subject in subjects:
        cloud, slash, region = subject.partition("/")
        if slash:
            places.add((cloud, region))
    for cloud, region in sorted(places):
        facts = {p: f for s in (cloud, f"{cloud}/{region}") for p, (f, _) in subjects.get(s, {}).items()}
        given: dict[str, Any] = {p: facts[p].value for p in _SITE_FIELDS if p in facts}
        name = f"{cloud}/{region}"
        found[name] = Site(name, cloud, region, source=facts["pue"].source if "pue" in facts else "", **given)
    return found


def words(text: str) -> tuple[str, ...]:
    """Return the parts of a cell that lists several words.

    >>> words("H100; H100 SXM")
    ('H100', 'H100 SXM')
    """
    return tuple(w.strip() for w in text.split(";") if w.strip())


def _cell(row: Row, column: str) -> float | None:
    text = row.get(column)
    return float(text) if text else None


def _text(facts: Mapping[str, Fact], parameter: str) -> str:
    return str(facts[parameter].value) if parameter in facts else ""


def _value(facts: Mapping[str, Fact], parameter: str) -> float | None:
    return float(facts[parameter].value) if parameter in facts else None


def _by_precision(facts: Mapping[str, Fact], prefix: str) -> dict[str, float]:
    return {p.removeprefix(prefix): float(f.value) for p, f in facts.items() if p.startswith(prefix) and not p.endswith((".low", ".high"))}
