"""`polysilicon chips | offers | ports | catalogue-diff`: what is known, from where, since when."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from polysilicon.catalogue import Catalogue
    from polysilicon.catalogue.compare import Line
    from polysilicon.catalogue.diff import Change
    from polysilicon.cloud.offer import Offer
    from polysilicon.silicon.chip import Chip, System

Overlay = Annotated[Path | None, typer.Option(help="Your own facts, over the catalogue's: a CSV or YAML file, or a folder.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
StaleDays = Annotated[int, typer.Option(help="Warn of quotes older than this.", min=1)]


def chips(
    names: Annotated[list[str] | None, typer.Argument(help="Chips or systems; all by default. With --equivalent: 4000xH100.")] = None,
    compare: Annotated[bool, typer.Option("--compare", help="Put two chips side by side, as the trade press does.")] = False,
    equivalent: Annotated[bool, typer.Option("--equivalent", help="Say how much of the second fleet replaces the first.")] = False,
    model: Annotated[str, typer.Option(help="With --equivalent: the model whose tokens/s are compared.")] = "llama-3.3-70b",
    vendor: Annotated[str, typer.Option(help="Only this vendor.")] = "",
    facts: Annotated[bool, typer.Option("--facts", help="Show every fact with its source.")] = False,
    overlay: Overlay = None,
    json: Json = False,
) -> None:
    """Show chips and systems: dense math, memory, links, power, with basis, date and source.

    A dash means that nothing public was found; nothing is guessed in its place. `chips --compare H100 GB200` holds the
    figures of the trade press against the sourced ones; `chips --equivalent 4000xH100 gb200-nvl72` replaces a fleet.
    """
    from polysilicon.catalogue import load
    from polysilicon.errors import UsageError

    known = load(overlay)
    wanted = names or []
    if compare or equivalent:
        if len(wanted) != 2:
            flag = "--compare" if compare else "--equivalent"
            raise UsageError(f"{flag} needs two names, {len(wanted)} given", hint=f"polysilicon chips {flag} H100 GB200")
        if compare:
            _compare(known, wanted, json=json)
        else:
            _equivalent(known, wanted, model, json=json)
        return
    subjects = _subjects(known, wanted, vendor)
    if facts or (len(wanted) == 1 and not json):
        _show_facts(known, subjects, json=json)
    else:
        _show_chips(known, subjects, json=json)


def _subjects(known: Catalogue, wanted: list[str], vendor: str) -> list[Chip | System]:
    from polysilicon.errors import InputError, unknown_name

    if not wanted:
        vendors = {c.vendor.casefold(): c.vendor for c in known.chips.values()}
        if vendor and vendor.casefold() not in vendors:
            raise unknown_name(vendor, vendors.values(), where="", what="--vendor", plural="vendors")
        chips = [c for c in known.chips.values() if not vendor or c.vendor.casefold() == vendor.casefold()]
        return [*chips, *(s for s in known.systems.values() if s.chip in {c.id for c in chips})]
    found: list[Chip | System] = []
    for name in wanted:
        try:
            found.append(known.chip(name))
        except InputError as error:
            try:
                found.append(known.system(name))
            except InputError:
                raise error from None
    return found


def _show_chips(known: Catalogue, subjects: list[Chip | System], *, json: bool) -> None:
    from polysilicon.cli.output import print_json, print_table
    from polysilicon.silicon.chip import Chip, System

    if json:
        print_json([_plain(s) for s in subjects])
        return
    rows = []
    for c in (s for s in subjects if isinstance(s, Chip)):
        math = c.dense_tflop_per_s
        since = c.available_from.isoformat() if c.available_from else None
        weakest = _weakest(c, ("hbm_gb", "hbm_gb_per_s", *(f"dense_tflop_per_s.{p}" for p in math)))
        rows.append(
            (
                c.id,
                c.vendor,
                *(math.get(p) for p in ("fp4", "fp8", "int8", "bf16")),
                c.hbm_gb,
                _scaled(c.hbm_gb_per_s),
                c.scale_up_gb_per_s,
                c.scale_up_chips,
                c.tdp_w,
                since,
                weakest,
            )
        )
    columns = ("chip", "vendor", "FP4", "FP8", "INT8", "BF16", "HBM GB", "TB/s", "link GB/s", "domain", "W", "since", "basis")
    print_table(columns, rows, title="Chips: dense TFLOP/s; links one way")
    systems = [s for s in subjects if isinstance(s, System)]
    if systems:
        lines = [(s.id, s.chip, s.chips, s.domains, s.hbm_gb, _scaled(s.scale_up_aggregate_gb_per_s), s.rack_kw, s.cooling or None) for s in systems]
        print_table(("system", "chip", "chips", "domains", "HBM GB", "fabric TB/s", "kW a rack", "cooling"), lines, title="Systems")
    print("basis: the least trusted among memory and math; `polysilicon chips NAME` shows every fact with its source")


def _weakest(chip: Chip, parameters: tuple[str, ...]) -> str:
    from polysilicon.facts import BASES

    found = [chip.facts[p].basis for p in parameters if p in chip.facts]
    return max(found, key=BASES.index, default="-")


def _scaled(value: float | None, scale: float = 1e3) -> float | None:
    return value / scale if value is not None else None


def _plain(subject: Chip | System) -> dict[str, Any]:
    """Return a chip or a system as plain values, each fact with its provenance."""
    from dataclasses import asdict

    from polysilicon.silicon.chip import Chip

    kind = "chip" if isinstance(subject, Chip) else "system"
    return {
        "kind": kind,
        **{k: v for k, v in asdict(subject).items() if k != "facts"},
        "facts": [asdict(f) for f in subject.facts.values()],
    }


def _show_facts(known: Catalogue, subjects: list[Chip | System], *, json: bool) -> None:
    from polysilicon.cli.output import print_json, print_table

    if json:
        print_json([_plain(s) for s in subjects])
        return
    used: dict[str, None] = {}
    for subject in subjects:
        rows = [
            (f.parameter, f.value, f.unit, f.basis, f.as_of, f.source, f.note)
            for f in subject.facts.values()
            if f.parameter not in ("name", "aliases")
        ]
        print_table(("parameter", "value", "unit", "basis", "as of", "source", "note"), rows, title=f"{subject.id}: {subject.name}")
        used |= dict.fromkeys(f.source for f in subject.facts.values())
    print_table(("source", "where it was read"), [(key, known.sources.get(key, key)) for key in used])


# -- two chips side by side ---------------------------------------------------------------------------------------


def _compare(known: Catalogue, names: list[str], *, json: bool) -> None:
    from dataclasses import asdict

    from polysilicon.catalogue.compare import compare
    from polysilicon.cli.output import print_json, print_table

    left, right = known.chip(names[0]), known.chip(names[1])
    lines = compare(known, left, right)
    if json:
        print_json({"left": left.id, "right": right.id, "lines": [asdict(line) for line in lines]})
        return
    sides = [column for c in (left, right) for column in (f"{c.id}\npress", "is", "dense", "sparse")]
    title = f"{left.name} against {right.name}: the trade press beside sourced figures"
    print_table(("", *sides, "press\nratio", "ratio"), [_compare_row(line) for line in lines], title=title)
    chips = (left.id, right.id)
    cells = [(line.quantity, chip, cell) for line in lines for chip, cell in zip(chips, (line.left, line.right), strict=True)]
    words = [(q, chip, c.verdict or None, c.basis or None, c.as_of or None, c.source or None) for q, chip, c in cells if c.verdict or c.basis]
    print_table(("", "chip", "verdict on the press", "basis", "as of", "source"), words)
    keys = dict.fromkeys(c.source for _, _, c in cells if c.source)
    print_table(("source", "where it was read"), [(key, known.sources.get(key, key)) for key in keys])


def _compare_row(line: Line) -> tuple[object, ...]:
    cells = [v for c in (line.left, line.right) for v in (c.press, c.mark or None, c.dense, c.sparse)]
    return f"{line.quantity}, {line.unit}", *cells, line.press_ratio, line.ratio


# -- one fleet for another ----------------------------------------------------------------------------------------

_FLEET = re.compile(r"(?:([\d_,.]+)\s*[xX×*]\s*)?(.+)")


def _equivalent(known: Catalogue, names: list[str], model: str, *, json: bool) -> None:
    from dataclasses import asdict

    from polysilicon.catalogue.compare import equivalents, press_equivalent
    from polysilicon.cli.output import print_json, print_table

    left, left_chips, _ = _fleet(known, names[0])
    right, right_chips, system = _fleet(known, names[1])
    rows = equivalents(left, left_chips, right, right_chips, system_chips=system.chips if system else 0)
    press = press_equivalent(known, left, left_chips, right, right_chips)
    rows += [press] if press else []
    rows.append(_speed(known, model, (left, left_chips), (right, right_chips), system))
    if json:
        print_json(
            {
                "left": {"chip": left.id, "chips": left_chips},
                "right": {"chip": right.id, "chips": right_chips},
                "model": model,
                "rows": [asdict(r) for r in rows],
            }
        )
        return
    unit = f"{system.id} needed" if system else "-"
    columns = (
        "measure",
        "unit",
        f"{left_chips:,} x {left.id}",
        f"{right_chips:,} x {right.id}",
        "ratio",
        f"{right.id} needed",
        unit,
        "note",
    )
    table = [(r.measure, r.unit, r.left, r.right, r.ratio, r.needed_chips, r.needed_systems, r.note) for r in rows]
    print_table(columns, table, title="What the second fleet is of the first")


def _fleet(known: Catalogue, text: str) -> tuple[Chip, int, System | None]:
    """Return chip, chips and system of `4000xH100`, `8xgb200-nvl72` or a bare name."""
    from polysilicon.errors import InputError

    match = _FLEET.fullmatch(text.strip())
    number, name = (None, text) if text in known.systems or match is None else match.groups()
    try:
        count = int((number or "1").replace(",", "").replace("_", ""))
    except ValueError:
        raise InputError(f'"{text}" is not a fleet', hint="write 4000xH100 or 8xgb200-nvl72") from None
    if not 1 <= count <= 10**9:
        raise InputError(f"{count:,} chips or systems; 1 to 1,000,000,000 is allowed", where=text)
    try:
        return known.chip(name), count, None
    except InputError as error:
        try:
            system = known.system(name)
        except InputError:
            raise error from None
    return known.chips[system.chip], count * system.chips, system


def _speed(known: Catalogue, model: str, left: tuple[Chip, int], right: tuple[Chip, int], system: System | None) -> Any:
    """Return the fourth measure: output tokens per second of one model under one promise."""
    from polysilicon.application.workload import Lengths, Slo
    from polysilicon.catalogue.compare import equivalent
    from polysilicon.errors import DoesNotFit, MissingFact
    from polysilicon.performance import best

    subject, lengths, slo = known.model(model), Lengths(1024, 512), Slo(2.0, 0.05)
    rates: list[float | None] = []
    notes = []
    for chip, _ in (left, right):
        try:
            point = best(subject, chip, lengths, slo)
        except (MissingFact, DoesNotFit) as error:
            point = None
            notes.append(error.message)
        rates.append(point.tok_per_s_per_chip if point else None)
        if point:
            low, high = point.band_tok_per_s_per_chip
            notes.append(f"{chip.id}: {point.tok_per_s_per_chip:,.0f} tok/s a chip ({point.basis}, 80 % band {low:,.0f} to {high:,.0f})")
    note = f"{subject.id}, 1,024 in and 512 out, TTFT 2 s and TPOT 50 ms at P95; " + "; ".join(notes)
    chips = left[1], right[1]
    return equivalent("output tokens", "tok/s", (rates[0], rates[1]), chips, system_chips=system.chips if system else 0, note=note)


# -- offers, ports, differences -----------------------------------------------------------------------------------


def offers(
    chip: Annotated[str, typer.Option(help="Only this chip.")] = "",
    cloud: Annotated[str, typer.Option(help="Only this cloud.")] = "",
    region: Annotated[str, typer.Option(help="Only this region, a pattern such as us-*, or a geography: us, eu, asia.")] = "",
    kind: Annotated[str, typer.Option(help="on_demand, reserved, spot, quote_only or per_token.")] = "",
    history: Annotated[bool, typer.Option("--history", help="Show superseded quotes too.")] = False,
    stale_days: StaleDays = 180,
    overlay: Overlay = None,
    json: Json = False,
) -> None:
    """Show what clouds offer: price per chip-hour, smallest purchasable block, quoted when, by whom.

    An offer without a price is quote-only: the product exists, its price is negotiated.
    """
    from dataclasses import asdict

    from polysilicon.catalogue import load
    from polysilicon.catalogue.build import OFFER_KINDS
    from polysilicon.catalogue.freshness import warning
    from polysilicon.cli.output import print_json, say
    from polysilicon.cloud.region import lies_in
    from polysilicon.errors import unknown_name

    known = load(overlay)
    for word, allowed, what in ((cloud, {o.cloud for o in known.offers.values()}, "--cloud"), (kind, set(OFFER_KINDS), "--kind")):
        if word and word not in allowed:
            raise unknown_name(word, allowed, where="", what=what, plural=f"{what[2:]}s")
    pool = [o for quotes in known.offer_history.values() for o in quotes] if history else list(known.offers.values())
    wanted = {"chip": known.chip(chip).id if chip else "", "cloud": cloud, "kind": kind}
    found = [o for o in pool if all(not v or getattr(o, k) == v for k, v in wanted.items()) and (not region or lies_in(o.region, region))]
    found.sort(key=lambda o: (o.chip, o.usd_per_chip_hour if o.usd_per_chip_hour is not None else 1e9, o.id))
    old = warning(known, days=stale_days)
    if old:
        say(old)
    if json:
        print_json([asdict(o) for o in found])
    else:
        _print_offers(found)


def _print_offers(found: list[Offer]) -> None:
    from shutil import get_terminal_size

    from polysilicon.cli.output import print_table

    wide = get_terminal_size((160, 24)).columns >= 150
    rows = []
    for o in found:
        spread = f"{o.low_usd_per_chip_hour:g}-{o.high_usd_per_chip_hour:g}" if o.low_usd_per_chip_hour is not None else None
        price = o.usd_per_chip_hour if o.usd_per_chip_hour is not None else "quote"
        since = o.valid_from or o.quoted_on or "undated"
        term = f"{o.min_term_months} mo" if o.min_term_months else None
        more = (o.instance, o.basis) if wide else ()
        rows.append((o.chip or o.model, o.cloud, o.region, o.kind, price, spread, term, o.block_chips, since, o.source, *more))
    columns = ("chip", "cloud", "region", "kind", "$/chip-h", "over zones", "term", "block", "since", "source")
    print_table((*columns, "instance", "basis") if wide else columns, rows, title=f"{len(found)} offers")


def ports(
    model: Annotated[str, typer.Option(help="Only this model or model family.")] = "",
    chip: Annotated[str, typer.Option(help="Only this chip or chip family.")] = "",
    records: Annotated[bool, typer.Option("--records", help="Show every record behind the summary, untested ones too.")] = False,
    matrix: Annotated[bool, typer.Option("--matrix", help="Show engines against chip families.")] = False,
    overlay: Overlay = None,
    json: Json = False,
) -> None:
    """Show which model families run on which chip families, through which engine, on whose word.

    A pair that is not listed is unknown, not impossible.
    """
    from dataclasses import asdict

    from polysilicon.catalogue import load
    from polysilicon.cli.output import print_json, print_table

    known = load(overlay)
    families = _families(known, model), _chip_family(known, chip)
    if matrix:
        _matrix(known, json=json)
        return
    if records:
        kept = [r.cells for r in known.port_records if _fits(r.get("model_family"), families[0]) and _fits(r.get("chip_family"), families[1])]
        if json:
            print_json(kept)
            return
        columns = ("model", "chip", "engine", "evidence", "detail", "source", "as_of", "basis")
        print_table(columns, [tuple(cells.get(c, "") for c in columns) for cells in kept], title=f"{len(kept)} records")
        return
    found = [p for p in known.ports if _fits(p.model_family, families[0]) and _fits(p.chip_family, families[1])]
    if json:
        print_json([asdict(p) for p in found])
        return
    rows = [
        (p.model_family, p.chip_family, p.engine, p.status, p.basis, p.as_of, p.source, p.note)
        for p in sorted(found, key=lambda p: (p.model_family, p.chip_family, p.engine))
    ]
    print_table(
        ("model family", "chip family", "engine", "status", "basis", "as of", "source", "what was seen"),
        rows,
        title=f"{len(found)} ports",
    )
    print("a pair that is not listed is unknown, not impossible")


def _fits(value: str, wanted: str) -> bool:
    return not wanted or value == wanted


def _families(known: Catalogue, name: str) -> str:
    from polysilicon.errors import InputError

    families = {p.model_family for p in known.ports}
    if not name or name in families:
        return name
    try:
        return known.model(name).family
    except InputError as error:
        error.hint = error.hint or f"families: {', '.join(sorted(families))}"
        raise


def _chip_family(known: Catalogue, name: str) -> str:
    families = {c.family for c in known.chips.values()}
    return name if not name or name in families else known.chip(name).family


def _matrix(known: Catalogue, *, json: bool) -> None:
    from polysilicon.catalogue.frameworks import matrix
    from polysilicon.cli.output import print_json, print_table

    cells = matrix(known)
    if json:
        print_json(
            [
                {"engine": e, "chip_family": f, "status": c.status, "model_families": c.model_families, "sources": c.sources}
                for (e, f), c in cells.items()
            ]
        )
        return
    families = list(dict.fromkeys(c.family for c in known.chips.values()))
    engines = list(dict.fromkeys(e for e, _ in cells))
    rows = [(e, *(f"{cells[e, f].status} ({len(cells[e, f].model_families)})" if (e, f) in cells else "unknown" for f in families)) for e in engines]
    print_table(("engine", *families), rows, title="Engines on chip families (model families seen)")


def catalogue_diff(
    old: Annotated[str, typer.Argument(help='An overlay file or folder, or "embedded".')],
    new: Annotated[str, typer.Argument(help='An overlay file or folder, or "embedded".')] = "embedded",
    feed: Annotated[Path | None, typer.Option(help="Also write the changes as a JSON Feed to subscribe to.")] = None,
    json: Json = False,
) -> None:
    """Say what changed between two snapshots of the catalogue: prices, facts, ports, token prices.

    Each snapshot is the embedded data under an overlay; two imports of a price list a week apart show what moved.
    """
    from dataclasses import asdict

    from polysilicon.catalogue import load
    from polysilicon.catalogue.diff import diff
    from polysilicon.cli.output import print_json, print_table

    before, after = (load(None if name == "embedded" else Path(name)) for name in (old, new))
    changes = diff(before, after)
    if feed is not None:
        _write_feed(feed, changes, before.digest, after.digest)
    if json:
        print_json({"old": before.digest, "new": after.digest, "changes": [asdict(c) for c in changes]})
        return
    rows = [
        (
            c.kind,
            c.subject,
            c.parameter,
            c.old,
            c.new,
            f"{c.ratio - 1:+.1%}" if c.ratio is not None else ("new" if c.old is None else "gone" if c.new is None else "changed"),
            c.source,
        )
        for c in changes
    ]
    print_table(("what", "subject", "parameter", "old", "new", "change", "source"), rows, title=f"{len(changes)} changes")


def _write_feed(path: Path, changes: list[Change], old: str, new: str) -> None:
    from datetime import date

    import msgspec

    from polysilicon.catalogue.diff import feed
    from polysilicon.cli.output import write_atomically

    document = feed(changes, old=old, new=new, day=date.today().isoformat())
    write_atomically(path, msgspec.json.format(msgspec.json.encode(document), indent=1) + b"\n")


def freshness(stale_days: StaleDays = 180, overlay: Overlay = None, json: Json = False) -> None:
    """Say how old everything is that a plan rests on: offers, token prices, ports, figures, by source."""
    from dataclasses import asdict

    from polysilicon.catalogue import load
    from polysilicon.catalogue.freshness import report
    from polysilicon.cli.output import print_json, print_table

    rows = report(load(overlay), days=stale_days)
    if json:
        print_json([asdict(r) for r in rows])
        return
    lines = [(r.kind, r.source, r.things, r.stale, r.undated, r.oldest or None, r.newest or None) for r in rows]
    title = f"Age of what is known; stale is older than {stale_days} days, or undated"
    print_table(("what", "source", "known", "stale", "undated", "oldest", "newest"), lines, title=title)
