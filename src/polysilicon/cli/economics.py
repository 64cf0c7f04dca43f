"""Commands of the deal side: audit, lockin, watch, diligence."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from polysilicon.cli.output import number, print_json, print_table, say, write_atomically

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
Overlay = Annotated[Path | None, typer.Option(help="A file of facts that override the catalogue.")]


def audit(
    claims: Annotated[Path | None, typer.Argument(help="A claims file (YAML), or a CSV table; without one, the embedded audit.")] = None,
    only: Annotated[str, typer.Option(help="One claim by its id, or all of one verdict.")] = "",
    out: Annotated[Path | None, typer.Option("-o", "--out", help="Write a page with every claim, HTML.")] = None,
    against: Annotated[
        Path | None, typer.Option(help="Another audit of the same claims, a table with verdicts: where it differs is told, and why.")
    ] = None,
    overlay: Overlay = None,
    json: Json = False,
) -> None:
    """Check claims: whether each holds, against what, and which premise would have to change."""
    from importlib.resources import files

    from polysilicon import catalogue
    from polysilicon.economics.audit import VERDICTS
    from polysilicon.economics.audit import audit as run
    from polysilicon.economics.claims import read_claims
    from polysilicon.economics.references import citer
    from polysilicon.economics.wording import show_range
    from polysilicon.errors import InputError

    if out is not None and out.suffix.lower() not in (".html", ".htm"):
        raise InputError(f'"{out.suffix}" cannot be written', where=str(out), hint="the audit is a page: .html")
    path = claims or Path(str(files("polysilicon") / "data" / "claims.yaml"))
    chosen = read_claims(path)
    if against is not None:
        chosen = chosen.model_copy(update={"expected": dict(read_claims(against).expected)})
    everything = findings = run(chosen, citer(catalogue.load(overlay)))
    if only:
        findings = tuple(f for f in everything if only in (f.id, f.verdict) or only in f.covers)
        if not findings:
            raise InputError(f'no claim has the id or verdict "{only}"', where=str(path), hint=f"verdicts: {', '.join(VERDICTS)}")
    if out is not None:
        from polysilicon.report.audit import page

        write_atomically(out, page(chosen.title or path.name, everything).encode())
        say(f"wrote {out}")
    if json:
        print_json({"claims": [f.as_json() for f in findings]})
        return
    _print_findings(findings, detailed=len(findings) <= 12)
    print("  ".join(f"{VERDICTS[name]}: {count}" for name, count in _counts(findings).items()))
    for f in findings:
        if f.differs:
            values = f"{show_range(f.recomputed, f.unit)} against a stated {show_range(f.stated, f.unit, above=f.bound)}"
            print(f'{f.id}: {against or path} says "{f.expected}", here {VERDICTS[f.verdict]}: {f.why}; {values}')


def _counts(findings: Any) -> dict[str, int]:
    from polysilicon.economics.audit import VERDICTS

    return {name: count for name in VERDICTS if (count := sum(f.verdict == name for f in findings))}


def _print_findings(findings: Any, *, detailed: bool) -> None:
    from polysilicon.economics.audit import VERDICTS
    from polysilicon.economics.wording import show_range

    print_table(
        ["claim", "quantity", "stated", "recomputed", "ratio", "verdict"],
        [
            [
                f.id,
                f.quantity,
                show_range(f.stated, f.unit, above=f.bound),
                show_range(f.recomputed, f.unit) if f.recomputed else "-",
                "-" if f.ratio is None else number(f.ratio),
                VERDICTS[f.verdict],
            ]
            for f in findings
        ],
    )
    for f in findings if detailed else ():
        print(f'{f.id}  "{f.quote}"\n  {VERDICTS[f.verdict]}: {f.why}')
        for line in f.arithmetic:
            print(f"  {line}")
        for repair in f.to_hold:
            end = "" if repair.end == "both" else f" (for its {repair.end} end)"
            needed = show_range((repair.low, repair.high), repair.unit)
            print(f"  holds if {repair.premise} were {needed}, not {number(repair.value)} {repair.unit}{end}")
        for words in (f.correction, f.note):
            if words:
                print(f"  {words}")
        if f.expected:
            print(f"  the file's own verdict: {f.expected}")
        print()


def lockin(
    spend: Annotated[float, typer.Option(help="Spend on the model a year, dollars.")] = 1e9,
    gain: Annotated[float, typer.Option(help="Gain in performance per dollar of the other chip, 0.3 is 30 %.")] = 0.30,
    horizon: Annotated[float, typer.Option(help="Years over which the port must pay.")] = 3.0,
    port_cost: Annotated[float, typer.Option(help="One-off cost of the port, dollars.")] = 25e6,
    movable: Annotated[float, typer.Option(help="Share of the spend that can move.")] = 0.3,
    commitment_left: Annotated[float, typer.Option(help="Dollars still committed to the present supplier.")] = 0.0,
    egress: Annotated[str, typer.Option(help="Data to move out, TB@$/GB: 1000@0.05.")] = "",
    volatility: Annotated[float, typer.Option(help="Price volatility a year of each source, for the worth of a second one.")] = 0.3,
    out: Annotated[Path | None, typer.Option("-o", "--out", help="Write the page with heat map and margins, HTML.")] = None,
    json: Json = False,
) -> None:
    """Tell how bound a buyer is: cost of leaving, break-even gain of a port, worth of a second source."""
    from dataclasses import asdict

    from polysilicon.economics.kpi import margin_outlook
    from polysilicon.economics.lockin import lock_in, surface
    from polysilicon.economics.options import SecondSource, second_source_draws_usd, second_source_usd
    from polysilicon.model.port_value import PortTerms, break_even_gain_frac, npv_usd

    terms = PortTerms(cost_usd=port_cost, movable_frac=movable)
    moved_tb, usd_per_gb = _egress(egress)
    bound = lock_in(spend, terms=terms, commitment_left_usd=commitment_left, egress_tb=moved_tb, egress_usd_per_gb=usd_per_gb)
    even, worth = break_even_gain_frac(spend, horizon_years=horizon, terms=terms), npv_usd(gain, spend, horizon_years=horizon, terms=terms)
    moved = spend * movable
    case = SecondSource(moved, moved / (1 + gain), 0.0, volatility, volatility, 0.3, horizon, 0.10)
    level = SecondSource(moved, moved, 0.0, volatility, volatility, 0.3, horizon, 0.10)
    tree, (drawn, error) = second_source_usd(case), second_source_draws_usd(case)
    points = surface([0.1e9, 0.2e9, 0.5e9, 1e9, 3e9, 10e9], (10e6, 25e6, 50e6), (3.0, 5.0), PortTerms(movable_frac=movable))
    outlook = margin_outlook(years=horizon)
    if out is not None:
        from polysilicon.report.cost import lockin_page

        write_atomically(out, lockin_page(bound, points, outlook).encode())
        say(f"wrote {out}")
    answer = {
        "lock_in": asdict(bound) | {"total_usd": bound.total_usd, "index_frac": bound.index_frac},
        "break_even_gain_frac": even,
        "npv_usd": worth,
        "second_source_usd": tree,
        "second_source_draws_usd": drawn,
        "second_source_error_usd": error,
        "second_source_at_equal_prices_usd": second_source_usd(level),
        "surface": [asdict(p) for p in points],
        "margin_outlook": asdict(outlook),
    }
    if json:
        print_json(answer)
        return
    _print_lockin(bound, terms, answer | {"points": points}, gain=gain, horizon=horizon)


_SILICONS = (("one", "one silicon"), ("two", "the better of two"))


def _print_lockin(bound: Any, terms: Any, answer: dict[str, Any], *, gain: float, horizon: float) -> None:
    even, worth = answer["break_even_gain_frac"], answer["npv_usd"]
    tree, drawn, error = (answer[f"second_source_{name}usd"] for name in ("", "draws_", "error_"))
    parts = [
        ("porting and double running", bound.porting_usd),
        ("efficiency until mature", bound.efficiency_usd),
        ("stranded commitment", bound.stranded_usd),
        ("moving data", bound.egress_usd),
        ("total", bound.total_usd),
    ]
    print_table(["cost of leaving", "M$"], [[words, usd / 1e6] for words, usd in parts])
    print(
        f"lock-in index {bound.index_frac:.1%} of a year's spend; assumptions: drop {terms.drop_frac:.0%} fading over "
        f"{terms.ramp_years:g} year, lead {terms.lead_years:g} years"
    )
    print(
        f"a port pays from a gain of {'nothing that exists' if even is None else f'{even:.0%}'}; "
        f"at {gain:.0%} it is worth {worth / 1e6:,.1f} M$ over {horizon:g} years"
    )
    print(
        f"a qualified second source is worth {tree / 1e6:,.0f} M$ (tree; {drawn / 1e6:,.0f} ± {error / 1e6:.1f} by draws), "
        f"{answer['second_source_at_equal_prices_usd'] / 1e6:,.0f} M$ even at equal prices"
    )
    ends = {name: answer["margin_outlook"][name][-1] for name in ("one", "two")}
    print(
        "gross margin then, from 50 % now, p10/p50/p90: "
        + "; ".join(f"{words} {ends[name][1]:.0%}/{ends[name][2]:.0%}/{ends[name][3]:.0%}" for name, words in _SILICONS)
        + " (falls of prices and costs assumed)"
    )
    print_table(
        ["porting cost M$", "years", "spend B$/yr", "break-even gain"],
        [
            [p.cost_usd / 1e6, p.horizon_years, p.spend_usd_per_year / 1e9, "never" if p.gain_frac is None else f"{p.gain_frac:.0%}"]
            for p in answer["points"]
            if p.cost_usd == 25e6
        ],
    )


def _egress(text: str) -> tuple[float, float]:
    """Return terabytes and dollars per gigabyte of `TB@$/GB`; nothing said is nothing moved."""
    import math

    from polysilicon.errors import InputError

    if not text:
        return 0.0, 0.0
    try:
        volume, price = (float(part) for part in text.split("@"))
    except ValueError as error:
        raise InputError(f'"{text}" is not TB@$/GB', where="--egress", hint="1000@0.05 is 1000 TB at 0.05 $ per GB") from error
    if not all(math.isfinite(x) and x >= 0 for x in (volume, price)):
        raise InputError(f'"{text}": volume and price must be 0 or more', where="--egress")
    return volume, price


def watch(
    file: Annotated[Path | None, typer.Argument(help="A watch file (YAML); without one, the embedded list.")] = None,
    metrics: Annotated[Path | None, typer.Option(help="Figures as JSON: name to number, as `polysilicon watch --prometheus` names them.")] = None,
    scenario: Annotated[Path | None, typer.Option(help="A scenario to change by what has been triggered.")] = None,
    out: Annotated[Path | None, typer.Option("-o", "--out", help="Where to write the changed scenario.")] = None,
    plan: Annotated[Path | None, typer.Option(help="A plan file: its figures join the metrics.")] = None,
    prometheus: Annotated[Path | None, typer.Option(help="Write the plan's figures as Prometheus text.")] = None,
    today: Annotated[str, typer.Option(help="The day to look from, YYYY-MM-DD; default today.")] = "",
    toggles: Annotated[bool, typer.Option(help="Plan the scenario again under each answer of the dominant chip maker.")] = False,
    json: Json = False,
) -> None:
    """Show what to watch: due dates, triggers on figures and facts, stale data, and what each would change."""
    from dataclasses import asdict
    from datetime import date

    from polysilicon import catalogue
    from polysilicon.economics import kpi
    from polysilicon.economics.watch import freshness, look, read_watch
    from polysilicon.errors import InputError, UsageError

    known = catalogue.load()
    figures = _figures(metrics) if metrics else {}
    if plan is not None:
        from polysilicon.portfolio import read_plan

        figures = kpi.of_plan(read_plan(plan), {chip.id: chip.vendor for chip in known.chips.values()}) | figures
    if prometheus is not None:
        write_atomically(prometheus, kpi.prometheus(figures).encode())
        say(f"wrote {prometheus}")
    try:
        day = date.fromisoformat(today) if today else date.today()
    except ValueError as error:
        raise InputError(f'"{today}" is not a date', where="--today", hint="YYYY-MM-DD") from error
    statuses = look(read_watch(file), known, figures, day)
    if scenario is not None and out is None and not toggles:
        raise UsageError("say with -o where to write the changed scenario, or --toggles to plan it")
    if scenario is not None and out is not None:
        _change(scenario, out, statuses)
    deltas = _toggle_deltas(scenario, known) if toggles else {}
    ages = freshness(known, day)
    if json:
        rows = [{**asdict(s), "changes": [c.model_dump() for c in s.changes]} for s in statuses]
        print_json({"items": rows, "freshness": [asdict(a) for a in ages], "toggles_usd": deltas})
        return
    print_table(
        ["item", "state", "due", "days left", "title", "why", "effect"],
        [[s.id, s.state, s.due, s.days_left, s.title, s.why, s.effect] for s in statuses],
    )
    print_table(
        ["data", "rows", "newest", "oldest", "stale", "older than, days"],
        [[a.what, a.rows, a.newest, a.oldest, a.stale_rows, a.older_than_days] for a in ages],
    )
    if deltas:
        print_table(
            ["toggle", "plan's cost, M$", "change, M$"], [[name, usd / 1e6, (usd - deltas["as it is"]) / 1e6] for name, usd in deltas.items()]
        )


def _toggle_deltas(scenario: Path | None, known: Any) -> dict[str, float]:
    """Return the plan's discounted cost as things are and under each toggle."""
    from dataclasses import replace

    from polysilicon import planner
    from polysilicon.economics.rights import TOGGLES, toggled
    from polysilicon.errors import UsageError
    from polysilicon.scenario import catalogue_for, load, resolve
    from polysilicon.study.serving import serving_table

    if scenario is None:
        raise UsageError("--toggles needs a --scenario to plan")
    asked = load(scenario)
    resolved = resolve(asked, catalogue_for(asked))
    points = serving_table(resolved, margin_quantile=0.5).points
    vendors = {chip.id: chip.vendor for chip in known.chips.values()}
    out = {"as it is": planner.plan(resolved, points, seconds=30.0).objective_usd}
    for name in TOGGLES:
        say(f"planning with {name}")
        changed = replace(resolved, offers=toggled(resolved.offers, vendors, name))
        out[name] = planner.plan(changed, points, seconds=30.0).objective_usd
    return out


def _figures(path: Path) -> dict[str, float]:
    import msgspec

    from polysilicon.errors import InputError

    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, float])
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", where=str(path)) from error
    except msgspec.DecodeError as error:
        raise InputError(f"is not a JSON object of numbers: {error}", where=str(path)) from error


def _change(scenario: Path, out: Path, statuses: Any) -> None:
    import io

    from ruamel.yaml import YAML

    from polysilicon.economics.watch import apply
    from polysilicon.scenario.document import read_document

    document = read_document(scenario)
    changes = [change for s in statuses if s.state == "triggered" for change in s.changes]
    for words in apply(document.value, changes, where=str(scenario)):
        say(words)
    text = io.StringIO()
    YAML().dump(document.value, text)
    write_atomically(out, text.getvalue().encode())
    say(f"wrote {out}: {len(changes)} changes")


def diligence(
    file: Annotated[Path, typer.Argument(help="A deal file (YAML).")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for diligence.html and diligence.xlsx.")] = Path("diligence"),
    json: Json = False,
) -> None:
    """Write a pack for reviewers: concentration, related parties, commitments schedule, as a page and a workbook."""
    from polysilicon.economics.deal import read_deal
    from polysilicon.economics.deal_report import whole
    from polysilicon.economics.diligence import tables
    from polysilicon.exchange.xlsx import diligence_workbook
    from polysilicon.report.deal import diligence as page

    answer = whole(read_deal(file), draws=0)
    pack = tables(answer)
    write_atomically(out / "diligence.html", page(answer).encode())
    write_atomically(out / "diligence.xlsx", diligence_workbook(pack))
    say(f"wrote {out / 'diligence.html'} and {out / 'diligence.xlsx'}")
    if json:
        print_json({title: [dict(zip(heads, row, strict=True)) for row in rows] for title, (heads, rows) in pack.items()})
        return
    for title, (heads, rows) in pack.items():
        print_table(list(heads), [list(row) for row in rows], title=title)
