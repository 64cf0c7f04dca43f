"""Answers from one solved program or a few re-solves: what binds, what suppliers are worth, what would change the plan."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from polysilicon.cli.output import number, print_json, print_table, progress, say
from polysilicon.errors import UsageError, unknown_name

if TYPE_CHECKING:
    from polysilicon.planner.problem import Problem
    from polysilicon.scenario import Resolved

File = Annotated[Path, typer.Argument(help="Scenario file.")]
UNPRICED = "'-' for dollars: demand goes unserved whose loss the scenario does not price (unserved_usd_per_mtok)"
Json = Annotated[bool, typer.Option("--json", help="Everything as one JSON document.")]
Margin = Annotated[
    float,
    typer.Option(help="Quantile of the prediction error to size for: 0.5 trusts the model, 0.9 is careful.", min=0.01, max=0.99),
]


def explain(
    file: File,
    json: Json = False,
    margin: Margin = 0.5,
    slo: Annotated[str, typer.Option(help="Also price a millisecond of this workload's promises.")] = "",
    seconds: Annotated[float, typer.Option(help="Time for the search.", min=1.0)] = 60.0,
) -> None:
    """Say what binds in the cheapest plan, what one more unit of each limit is worth, and what would change the answer."""
    from polysilicon import planner
    from polysilicon.planner import answer, notes, thresholds
    from polysilicon.planner.blocks import whole_blocks

    resolved, tables = tables_of(file, margin)
    with progress("planning", quiet=json) as bar:
        program, solution, clock = planner.solved(tables, seconds=seconds, progress=bar)
    plan = answer.plan_of(program, solution, seconds=clock, notes=notes.of(program, solution))
    entries = whole_blocks(program, solution, thresholds.entry_prices(program, solution)[:12])
    ports = thresholds.port_worth(program, solution)
    binding = _binding(plan)
    promise = _slo_price(resolved, tables, slo, margin) if slo else None
    if json:
        print_json(
            {
                "scenario": plan.scenario,
                "status": plan.status,
                "gap_frac": plan.gap_frac,
                "bound_usd": plan.bound_usd,
                "objective_usd": plan.objective_usd,
                "shadow_prices": plan.shadow_prices,
                "binding": binding,
                "entry_prices": entries,
                "port_worth": ports,
                "slo": promise,
                "notes": plan.notes,
            }
        )
        return
    _head(plan.objective_usd, plan.bound_usd, plan.gap_frac, plan.status)
    for note in plan.notes:
        say(note)
    print_table(
        ["limit", "worth now", "most", "per", "in periods"],
        [[b["words"], b["mean_usd"], b["most_usd"], b["per"], b["periods"]] for b in binding],
        title="What one more unit is worth (undiscounted $, mean over the periods in which it binds)",
    )
    print_table(
        ["offer not used", "asks $/chip-h", "would be bought at"],
        [[t.what, t.now, t.threshold] for t in entries],
        title="What would enter, and at which price",
    )
    if ports:
        print_table(
            ["port not started", "costs M$", "saves at most M$"],
            [[t.what, t.now / 1e6, t.threshold / 1e6] for t in ports],
            title="Ports",
        )
    if promise:
        say(str(promise["words"]))


def negotiate(
    file: File,
    supplier: Annotated[list[str] | None, typer.Option(help="Only these clouds or chip vendors.")] = None,
    shapley: Annotated[bool, typer.Option(help="Also Shapley values over clouds (at most six: 2^n solves).")] = False,
    term_sheet: Annotated[str, typer.Option(help="Price more chips of this pool (chip@cloud/region).")] = "",
    chips: Annotated[float, typer.Option(help="How many chips the term sheet is about.", min=0.001)] = 1.0,
    json: Json = False,
    margin: Margin = 0.5,
) -> None:
    """Say what each supplier is worth: cost with and without it, walk-away prices, what could move and how fast."""
    from polysilicon.planner import leverage
    from polysilicon.planner.resolve import Asker, suppliers, worth_workers

    _, tables = tables_of(file, margin)
    known = [name for _, name in suppliers(tables)]
    for name in supplier or []:
        if name not in known:
            raise unknown_name(name, known, where=str(file), what="supplier", plural="suppliers")
    if term_sheet and term_sheet not in {p.id for p in tables.pools}:
        raise unknown_name(term_sheet, [p.id for p in tables.pools], where=str(file), what="pool", plural="pools")
    with progress("negotiating", quiet=json) as bar:
        bar(0.05, "base plan")
        asker = Asker(tables)
        found = leverage.negotiate(tables, names=supplier or (), asker=asker, workers=worth_workers(tables))
        bar(0.8, "")
        values = leverage.shapley(tables, asker=asker) if shapley else None
        sheet = leverage.term_sheet(tables, term_sheet, chips=chips) if term_sheet else None
    if json:
        print_json(
            {
                "suppliers": [{**asdict(s), "value_usd": s.value_usd} for s in found],
                "shapley_usd": values,
                "term_sheet": sheet,
                "lock_in": leverage.lock_in(tables, asker=asker),
            }
        )
        return
    rows = [
        [
            s.name,
            s.kind,
            s.token_share_frac * 100,
            s.spend_usd / 1e6,
            s.value_usd / 1e6 if s.is_priced else None,
            (s.without_released_usd - s.with_usd) / 1e6 if s.is_priced else None,
            s.without_unserved_frac * 100,
            s.indifference_factor,
            s.walk_away_factor,
            *[s.movable_frac.get(h, None) for h, _ in leverage.HORIZONS],
        ]
        for s in found
    ]
    print_table(
        [
            "supplier",
            "kind",
            "% of tokens",
            "spend M$",
            "worth M$",
            "if released M$",
            "% unserved without",
            "indifferent at x",
            "walk away at x",
            "movable 1 h",
            "30 d",
            "6 mo",
        ],
        rows,
        title="What each supplier is worth (discounted over the horizon)",
    )
    if not all(s.is_priced for s in found):
        say(UNPRICED)
    if found:
        say(asker.compared_with(found[0].with_usd))
    say("worth = cost without it - cost with it; indifferent at x = times today's price, at today's volume, that equals life without it")
    if values:
        print_table(["cloud", "Shapley M$"], [[k, v / 1e6] for k, v in values.items()], title="Each cloud's fair share of the saving")
    if sheet:
        say(f"{number(chips)} more chips of {term_sheet}: indifferent at {number(float(sheet['indifference_usd_per_chip_hour']))} $/chip-hour")


def compare_offers(
    file: File,
    a: Annotated[str, typer.Argument(help="Offer, contract or pattern.")],
    b: Annotated[str, typer.Argument(help="The other one.")],
    json: Json = False,
    margin: Margin = 0.5,
) -> None:
    """Compare two offers or contracts by what the whole plan costs with each, with both and with neither."""
    from polysilicon.planner import thresholds

    _, tables = tables_of(file, margin)
    with progress("comparing", quiet=json):
        found = thresholds.compare_offers(tables, a, b)
    if json:
        print_json({**asdict(found), "delta_usd": found.delta_usd, "delta_usd_per_mtok": found.delta_usd_per_mtok})
        return
    cases = (
        ("a", f"only {a}", found.a_usd),
        ("b", f"only {b}", found.b_usd),
        ("both", "both", found.both_usd),
        ("neither", "neither", found.neither_usd),
    )
    nothing = "neither" in found.unpriced
    rows = [
        [words, None, None, None, found.unserved_frac[key] * 100]
        if key in found.unpriced
        else [words, usd / 1e6, None if nothing else (usd - found.neither_usd) / 1e6, usd / found.mtok, found.unserved_frac[key] * 100]
        for key, words, usd in cases
    ]
    print_table(["with", "plan costs M$", "against neither M$", "$/Mtok", "unserved %"], rows)
    if found.unpriced:
        say(UNPRICED)
    if {"a", "b"} & found.unpriced:
        return
    better, worse = (a, b) if found.delta_usd >= 0 else (b, a)
    say(f"{better} instead of {worse} saves {number(abs(found.delta_usd) / 1e6)} M$, {number(abs(found.delta_usd_per_mtok))} $/Mtok")


def port(
    file: File,
    model_family: Annotated[str, typer.Argument(help="Model family to move.")] = "",
    chip_family: Annotated[str, typer.Argument(help="Chip family to move it to.")] = "",
    horizon_years: Annotated[float, typer.Option(help="Horizon of the closed form.", min=0.5, max=20)] = 3.0,
    json: Json = False,
    margin: Margin = 0.5,
) -> None:
    """Say from which gain leaving an engine pays: in this scenario by solving again, in general by the closed form."""
    from polysilicon.model import port_value
    from polysilicon.planner import port_surface, thresholds

    _, tables = tables_of(file, margin)
    keys = sorted({c.key for c in tables.candidates})
    if not model_family:
        if json:
            print_json({"ports": keys})
        elif keys:
            print_table(["model family", "chip family"], keys, title="Ports that could be started")
        else:
            lacking = [note for note in tables.notes if note.endswith("no port is considered")]
            say("\n".join(["no port can be started here that would be live within the horizon", *lacking]))
        return
    if not chip_family:
        raise UsageError("name a chip family as well", hint="run `polysilicon port FILE` for the pairs")
    with progress("solving again", quiet=json):
        factor, without = thresholds.port_switch(tables, model_family, chip_family)
    chosen = next(c for c in tables.candidates if c.key == (model_family, chip_family))
    terms = port_surface.terms_of(chosen)
    spends = [0.05e9, 0.1e9, 0.2e9, 0.5e9, 1e9, 3e9, 10e9]
    needed = [port_value.break_even_gain_frac(s, horizon_years=horizon_years, terms=terms) for s in spends]
    gains = [0.05 * i for i in range(1, 21)]
    volumes = [0.05e9 * (200.0 ** (i / 19)) for i in range(20)]
    worth = port_surface.surface(gains, volumes, horizon_years=horizon_years, terms=terms)
    if json:
        print_json(
            {
                "model_family": model_family,
                "chip_family": chip_family,
                "switch_efficiency_factor": factor,
                "without_usd": without.usd,
                "terms": terms,
                "break_even": [{"spend_usd_per_year": s, "gain_frac": g} for s, g in zip(spends, needed, strict=True)],
                "surface": {"gain_frac": gains, "spend_usd_per_year": volumes, "worth_usd": worth},
            }
        )
        return
    if factor is None:
        say(f"{model_family} on {chip_family} does not pay in this scenario, whatever the efficiency up to 8 times the one assumed")
    elif factor <= 0.101:
        say(f"{model_family} on {chip_family} pays even at a tenth of the efficiency assumed")
    else:
        say(f"{model_family} on {chip_family} pays in this scenario from {factor:.2f} times the efficiency assumed")
    print_table(
        ["model spend B$/yr", "gain needed %"],
        [[s / 1e9, None if g is None else g * 100] for s, g in zip(spends, needed, strict=True)],
        title=f"Closed form: {terms.cost_usd / 1e6:.0f} M$ once, {terms.upkeep_usd_per_year / 1e6:.0f} M$/yr, "
        f"{terms.lead_years * 12:.0f} months lead, "
        f"{terms.drop_frac:.0%} drop, {horizon_years:g} years ('-': no gain pays)",
    )


def stress(
    file: File,
    days: Annotated[float, typer.Option(help="Length of an outage.", min=0.1)] = 30.0,
    json: Json = False,
    margin: Margin = 0.5,
) -> None:
    """Say what an outage, an allocation deficit, a slip, a price step and more demand cost and leave unserved."""
    from polysilicon.planner import stress as shocks
    from polysilicon.planner.resolve import Asker

    _, tables = tables_of(file, margin)
    with progress("stressing", quiet=json):
        asker = Asker(tables)
        found = shocks.standard(tables, days=days, asker=asker)
    if json:
        print_json([{**asdict(s), "delta_usd": s.delta_usd} for s in found])
        return
    print_table(
        ["what if", "costs more M$", "unserved Mtok", "unserved %", "planned anew"],
        [[s.name, s.delta_usd / 1e6 if s.is_priced else None, s.unserved_mtok, s.unserved_frac * 100, s.replanned] for s in found],
        title="Stress (discounted; unserved demand at its price)",
    )
    if found:
        say(asker.compared_with(found[0].base_usd))
    if not all(s.is_priced for s in found):
        say(UNPRICED)


def frontier(
    file: File,
    axis: Annotated[Literal["resilience", "concentration", "carbon", "all"], typer.Option(help="Which limit tightens.")] = "all",
    json: Json = False,
    margin: Margin = 0.5,
) -> None:
    """Show cost against resilience, concentration and carbon, a plan at each step."""
    from polysilicon.planner import frontier as steps
    from polysilicon.planner.resolve import worth_workers

    _, tables = tables_of(file, margin)
    found, many = [], worth_workers(tables)
    with progress("solving", quiet=json):
        found += steps.resilience(tables, workers=many) if axis in ("resilience", "all") else []
        found += steps.concentration(tables, workers=many) if axis in ("concentration", "all") else []
        found += steps.carbon(tables, workers=many) if axis in ("carbon", "all") else []
    if json:
        print_json(found)
        return
    base = min((s.usd for s in found if s.usd is not None), default=0.0)
    print_table(
        ["axis", "limit", "costs M$", "above the cheapest %"],
        [
            [
                s.axis,
                s.limit,
                None if s.usd is None else s.usd / 1e6,
                None if s.usd is None or not base else round(100 * (s.usd / base - 1), 6),
            ]
            for s in found
        ],
        title="Frontier ('-': no plan keeps the limit)",
    )


def exit_cost(
    file: File,
    cloud: Annotated[str, typer.Argument(help="The cloud to leave.")],
    data_tb: Annotated[float, typer.Option(help="Data to move out, terabytes.", min=0.0)] = 0.0,
    usd_per_gb: Annotated[float | None, typer.Option(help="What the cloud charges for a gigabyte that leaves.", min=0.0)] = None,
    json: Json = False,
    margin: Margin = 0.5,
) -> None:
    """Say what leaving a cloud for good costs: dearer service, ports, stranded commitments, exit fees, data moved out."""
    from polysilicon.planner import leverage

    _, tables = tables_of(file, margin)
    clouds = sorted({p.cloud for p in tables.pools} | {o.cloud for o in tables.token_offers})
    if cloud not in clouds:
        raise unknown_name(cloud, clouds, where=str(file), what="cloud", plural="clouds")
    if data_tb > 0 and usd_per_gb is None:
        raise UsageError("data to move out has no price", where="--data-tb", hint="state --usd-per-gb; 0 where the cloud waives it")
    with progress("solving", quiet=json):
        parts = leverage.exit_cost(tables, cloud, egress_usd=1000.0 * data_tb * (usd_per_gb or 0.0))
    if json:
        print_json(parts)
        return
    print_table(
        ["part", "M$"],
        [[k.removesuffix("_usd").replace("_", " "), v / 1e6] for k, v in parts.items() if k.endswith("_usd")],
        title=f"Leaving {cloud} (discounted)" + ("" if data_tb > 0 else "; data that must leave is not counted: state --data-tb"),
    )


def tables_of(file: Path, margin: float) -> tuple[Resolved, Problem]:
    """Return what the planner is asked, from a scenario file: before any replay, which is said."""
    from polysilicon import planner
    from polysilicon.scenario import catalogue_for, load, resolve
    from polysilicon.study.serving import serving_table

    scenario = load(file)
    resolved = resolve(scenario, catalogue_for(scenario))
    table = serving_table(resolved, margin_quantile=margin)
    say("asked before any replay; what kept promises take on top is in `plan`, and in its answers with `--with`")
    return resolved, planner.problem(resolved, table.points, phases=table.phases)


def _slo_price(resolved: Resolved, tables: Problem, name: str, margin: float) -> dict[str, Any]:
    """Return what a millisecond less of a workload's promise costs, with a sentence."""
    from polysilicon.study.slo_price import slo_price

    names = [w.id for w in resolved.workloads]
    if name not in names:
        raise unknown_name(name, names, where=resolved.scenario.name, what="workload", plural="workloads")
    found = slo_price(resolved, tables, name, margin_quantile=margin)
    shorter = f"promises of {name} a tenth shorter ({found.shorter_ms:.3g} ms of {found.measure})"
    if found.usd is None or found.usd_per_ms is None:
        words = f"{shorter} cannot be kept for all of the demand"
    else:
        words = f"{shorter} cost {number(found.usd / 1e6)} M$: {number(found.usd_per_ms / 1e6)} M$ a millisecond"
    return {"workload": name, "ms": found.shorter_ms, "usd": found.usd, "usd_per_ms": found.usd_per_ms, "words": words}


def _binding(plan: Any) -> list[dict[str, Any]]:
    held = {f"chip-hour:{h.chip}@{h.cloud}/{h.region}" for h in plan.holdings}
    groups: dict[str, list[Any]] = {}
    for price in plan.shadow_prices:
        if price.limit.startswith("chip-hour:") and price.limit not in held:
            continue  # what an hour of a chip one does not hold is worth stands among the entry prices
        groups.setdefault(price.limit, []).append(price)
    rows = []
    for limit, prices in groups.items():
        usd = [p.usd for p in prices if p.is_priced]
        periods = sorted({p.period for p in prices if p.period is not None})
        rows.append(
            {
                "limit": limit,
                "words": prices[0].words,
                "mean_usd": sum(usd) / len(usd) if usd else None,  # None: it binds only where demand goes unserved that nobody priced
                "most_usd": max(usd) if usd else None,
                "per": prices[0].per,
                "periods": f"{periods[0]}-{periods[-1]}" if periods else "all",
            }
        )
    return rows


def _head(usd: float, bound: float, gap: float, status: str) -> None:
    say(f"plan costs {number(usd / 1e6)} M$ (discounted); no plan costs less than {number(bound / 1e6)} M$: within {gap:.2%} ({status})")
