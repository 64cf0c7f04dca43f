"""Commands of the deal side: audit, deal, deals, tco, prices, lockin, watch, workbook."""

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
    from polysilicon.errors import InputError

    if out is not None and out.suffix.lower() not in (".html", ".htm"):
        raise InputError(f'"{out.suffix}" cannot be written', where=str(out), hint="the audit is a page: .html")
    path = claims or Path(str(files("polysilicon") / "data" / "claims.yaml"))
    chosen = read_claims(path)
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
        print_json({"claims": [f.as_json() for f in findings], "counts": _counts(findings)})
        return
    _print_findings(findings, detailed=len(findings) <= 12)
    print("  ".join(f"{VERDICTS[name]}: {count}" for name, count in _counts(findings).items()))
    for f in findings:
        if f.differs:
            print(f'{f.id}: the file says "{f.expected}", here {VERDICTS[f.verdict]}: {f.why}')


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


def tco(
    set_: Annotated[list[str] | None, typer.Option("--set", help="Change a number of the base rack: NAME=VALUE, repeatable.")] = None,
    price: Annotated[list[float] | None, typer.Option(help="Prices per chip-hour to show margins for, repeatable.")] = None,
    speed: Annotated[str, typer.Option("--tok-per-s", help="Tokens per second per chip: adds $/Mtok. OUT, or IN:OUT by kind.")] = "",
    gw: Annotated[float, typer.Option(help="Facility gigawatts to turn into racks, chips and homes.")] = 1.0,
    api: Annotated[float | None, typer.Option(help="With --tok-per-s: a price of tokens, $/Mtok. Who keeps what of it; buy or make?")] = None,
    mtok: Annotated[float, typer.Option(help="Million tokens a month to buy or make.")] = 1000.0,
    draws: Annotated[int, typer.Option(help="Draws for the range.")] = 4096,
    seed: Annotated[int, typer.Option(help="Seed of the draws.")] = 7,
    out: Annotated[Path | None, typer.Option("-o", "--out", help="Write a workbook with live formulas, .xlsx.")] = None,
    json: Json = False,
) -> None:
    """Cost of ownership: $ per chip-hour by layer, margins by price, ranges, gigawatts to chips."""
    from dataclasses import asdict

    from polysilicon.economics import energy
    from polysilicon.economics.cost import Rack, book_value_usd, chip_hour, floor_usd_per_chip_hour, price_for_margin_usd, price_table, vary
    from polysilicon.economics.cost_spread import cost_spread
    from polysilicon.economics.references import number_of
    from polysilicon.economics.tokens import token_cost, usd_per_mtok

    fresh, tok_per_s = _speeds(speed)
    rack = vary(Rack(), dict(_assignment(text) for text in set_ or ()))
    cost, table = chip_hour(rack), price_table(rack, price or [2.0, 2.5, 3.0, 4.0, 5.0, 6.0])
    ranges = cost_spread(rack, draws=draws, seed=seed)
    power = energy.capacity(gw, rack_kw=rack.rack_kw, rack_chips=rack.chips, pue=rack.pue, tok_per_s_per_chip=tok_per_s)
    kw = energy.home_kw(number_of("us-home", "kwh_per_year"))
    answer = {
        "chip_hour": asdict(cost) | {"total_usd": cost.total_usd},
        "prices": [asdict(row) for row in table],
        "price_for_margin_usd": {f"{m:.0%}": price_for_margin_usd(rack, m) for m in (0.6, 0.7)},
        "range": asdict(ranges),
        "floor_usd_per_chip_hour": floor_usd_per_chip_hour(rack, age_years=rack.it_years),
        "power": asdict(power),
        "homes": {
            "count": energy.homes(gw * 1000, kw_per_home=kw),
            "kw_per_home": kw,
            "source": "US Energy Information Administration, 2020: 10,715 kWh a year",
        },
        "usd_per_mtok": None if tok_per_s is None else usd_per_mtok(cost.total_usd, tok_per_s),
        "rack": asdict(rack),
        "book_value_usd_by_year": {how: book_value_usd(rack, how) for how in ("straight_line", "double_declining", "sum_of_years")},
    }
    if fresh is not None and tok_per_s is not None:
        answer["token_cost"] = asdict(token_cost(cost.total_usd, prefill_tok_per_s=fresh, decode_tok_per_s=tok_per_s))
    if api is not None:
        answer |= _make_or_buy(rack, cost.total_usd, api, mtok, tok_per_s)
    if out is not None:
        from polysilicon.exchange.xlsx import cost_workbook

        write_atomically(out, cost_workbook(rack, [row.usd_per_chip_hour for row in table]))
        say(f"wrote {out}")
    if json:
        print_json(answer)
        return
    _print_cost(answer, cost, table, ranges)


def _make_or_buy(rack: Any, usd_per_chip_hour: float, api: float, mtok: float, tok_per_s: float | None) -> dict[str, Any]:
    """Return who keeps what of a token's price, and whether to buy tokens or serve them on chips at their cost."""
    from dataclasses import asdict

    from polysilicon.economics.tokens import make_or_buy, margin_stack
    from polysilicon.errors import UsageError

    if tok_per_s is None:
        raise UsageError("--api needs --tok-per-s: a price per token without a speed says nothing")
    stack = margin_stack(api, mtok_per_chip_hour=3.6e-3 * tok_per_s, rent_usd_per_chip_hour=usd_per_chip_hour, rack=rack)
    choice = make_or_buy(mtok, api_usd_per_mtok=api, usd_per_chip_hour=usd_per_chip_hour, tok_per_s_per_chip=tok_per_s)
    return {"margin_stack_usd_per_mtok": stack, "make_or_buy": asdict(choice)}


def _speeds(text: str) -> tuple[float | None, float | None]:
    """Return the speeds of input, where given, and of output of `OUT` or `IN:OUT`."""
    from polysilicon.errors import InputError

    if not text:
        return None, None
    try:
        speeds = [float(part) for part in text.split(":")]
    except ValueError:
        speeds = []
    if len(speeds) not in (1, 2) or not all(0 < speed < float("inf") for speed in speeds):
        raise InputError(f'"{text}" is not a speed', where="--tok-per-s", hint="800, or 10000:800 for input and output")
    return (speeds[0] if len(speeds) == 2 else None), speeds[-1]


def _assignment(text: str) -> tuple[str, float]:
    from polysilicon.errors import InputError

    name, _, value = text.partition("=")
    try:
        return name.strip(), float(value)
    except ValueError as error:
        raise InputError(f'"{text}" is not NAME=NUMBER', where="--set") from error


def _print_cost(answer: dict[str, Any], cost: Any, table: Any, ranges: Any) -> None:
    layers = [(name.removesuffix("_usd"), getattr(cost, name)) for name in ("it_usd", "site_usd", "power_usd", "carbon_usd", "opex_usd", "staff_usd")]
    print_table(["layer", "$ per sold chip-hour"], [*layers, ("total", cost.total_usd)])
    spread = ranges.usd_per_chip_hour
    print(f"every hour taken: {cost.full_usd:.2f} with cost of capital, {cost.accounting_usd:.2f} by accounts (of it cash {cost.cash_usd:.2f})")
    print(
        f"range over {ranges.draws} draws: p10 {spread.p10:.2f}, p50 {spread.p50:.2f}, p90 {spread.p90:.2f}; what matters: "
        + ", ".join(f"{b.driver} {b.rank_correlation_ratio:+.2f}" for b in ranges.bars)
    )
    print_table(
        ["$/chip-hour", "accounting gross margin", "after cost of capital", "chips that 30 B$ rents for 5 years"],
        [[row.usd_per_chip_hour, f"{row.accounting_margin_frac:.0%}", f"{row.economic_margin_frac:.0%}", row.chips] for row in table],
    )
    needs = answer["price_for_margin_usd"]
    print(
        f"a gross margin of 60 to 70 % needs {needs['60%']:.2f} to {needs['70%']:.2f} $ per chip-hour; written off, a chip is worth running above "
        f"{answer['floor_usd_per_chip_hour']:.2f}"
    )
    power, homes = answer["power"], answer["homes"]
    print(
        f"{power['facility_gw']:g} GW facility = {power['it_gw']:.3g} GW IT = {power['racks']:,.0f} racks = {power['chips']:,.0f} chips; as much as "
        f"{homes['count']:,.0f} homes at {homes['kw_per_home']:.2f} kW each ({homes['source']}; "
        f"1.5 kW would give {power['facility_gw'] * 1e6 / 1.5:,.0f})"
    )
    if "margin_stack_usd_per_mtok" in answer:
        print_table(["who keeps what of the price", "$/Mtok"], list(answer["margin_stack_usd_per_mtok"].items()))
        choice = answer["make_or_buy"]
        even = "never" if choice["break_even_mtok"] == float("inf") else f"from {choice['break_even_mtok']:,.0f} Mtok a month"
        print(
            f"tokens cost {choice['api_usd_per_month']:,.0f} $ a month to buy, {choice['own_usd_per_month']:,.0f} to make on blocks of 8 chips "
            f"at 40 % of peak, people apart: {choice['answer']}; own chips are cheaper {even}"
        )
    if "token_cost" in answer:
        kinds = answer["token_cost"]
        print(
            f"$ per million tokens by kind: input {kinds['input_usd_per_mtok']:.3g}, output {kinds['output_usd_per_mtok']:.3g}; "
            "cached input takes no chip time, what holds the cache is not priced"
        )
    if answer["usd_per_mtok"] is not None:
        print(f"{answer['usd_per_mtok']:.3g} $ per million tokens; {power['tokens_per_month'] / 1e12:,.3g} T tokens a month")


def prices(
    name: Annotated[str, typer.Argument(metavar="CLASS", help="A class of models; without one, all.")] = "",
    months: Annotated[float, typer.Option(help="How far to project, as a scenario.")] = 12.0,
    json: Json = False,
) -> None:
    """Token prices over time: half-life of each class with its band, rises included; projections are scenarios."""
    from dataclasses import asdict

    from polysilicon import catalogue
    from polysilicon.economics.price_history import CLASSES, projected_usd_per_mtok, trend
    from polysilicon.errors import MissingFact

    known = catalogue.load().token_prices
    trends, silent = [], []
    for each in [name] if name else list(CLASSES):
        try:
            trends.append(trend(known, each))
        except MissingFact as error:
            if name:
                raise
            silent.append(str(error.message))
    if json:
        print_json({"classes": [asdict(t) for t in trends], "unknown": silent})
        return
    rows = []
    for t in trends:
        last = t.observations[-1]
        ends = [projected_usd_per_mtok(last.usd_per_mtok, months, h) for h in (t.half_life_low_months, t.half_life_months, t.half_life_high_months)]
        rows.append(
            [
                t.name,
                len(t.observations),
                last.day,
                last.usd_per_mtok,
                f"{t.per_year_frac:+.0%}",
                f"{t.low_per_year_frac:+.0%} to {t.high_per_year_frac:+.0%}",
                t.half_life_months,
                t.rises,
                t.falls,
                f"{ends[0]:.3g} / {ends[1]:.3g} / {ends[2]:.3g}",
            ]
        )
    print_table(
        ["class", "prices", "latest", "$/Mtok 3:1", "a year", "95 % band", "half-life, months", "rises", "falls", f"if so in {months:g} months"], rows
    )
    print("a class without a half-life did not fall; projections are scenarios, never facts")
    if name:
        print_table(["day", "model", "$/Mtok 3:1", "source"], [[o.day, o.model, o.usd_per_mtok, o.source] for o in trends[0].observations])


def lockin(
    spend: Annotated[float, typer.Option(help="Spend on the model a year, dollars.")] = 1e9,
    gain: Annotated[float, typer.Option(help="Gain in performance per dollar of the other chip, 0.3 is 30 %.")] = 0.30,
    horizon: Annotated[float, typer.Option(help="Years over which the port must pay.")] = 3.0,
    port_cost: Annotated[float, typer.Option(help="One-off cost of the port, dollars.")] = 25e6,
    movable: Annotated[float, typer.Option(help="Share of the spend that can move.")] = 0.3,
    commitment_left: Annotated[float, typer.Option(help="Dollars still committed to the present supplier.")] = 0.0,
    egress: Annotated[str, typer.Option(help="Data to move out, TB@$/GB: 1000@0.05.")] = "",
    volatility: Annotated[float, typer.Option(help="Price volatility a year of each source, for the worth of a second one.")] = 0.3,
    out: Annotated[Path | None, typer.Option("-o", "--out", help="Write the break-even heat map, HTML.")] = None,
    json: Json = False,
) -> None:
    """Tell how bound a buyer is: cost of leaving, break-even gain of a port, worth of a second source."""
    from dataclasses import asdict

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
    if out is not None:
        from polysilicon.report import money_charts
        from polysilicon.report.sheet import Section, drawing, sheet

        figure = ("Gain in performance per dollar at which a port pays", drawing(money_charts.heat_map(points)))
        write_atomically(
            out, sheet("When does leaving an engine pay?", over="Port break-even", sections=[Section("Break-even gain", figures=(figure,))]).encode()
        )
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
    }
    if json:
        print_json(answer)
        return
    _print_lockin(bound, terms, answer | {"points": points}, gain=gain, horizon=horizon)


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
