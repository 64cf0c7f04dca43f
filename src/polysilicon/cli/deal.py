"""Commands on deals: deal, deals."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from polysilicon.cli.output import number, print_json, print_table, say, write_atomically

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]


def deal(
    file: Annotated[Path, typer.Argument(help="A deal file (YAML).")],
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="Write the page (.html), the workbook (.xlsx), FOCUS rows (.csv) or, for a folder, all.")
    ] = None,
    scenario: Annotated[str, typer.Option(help="One of the file's scenarios instead of its base.")] = "",
    draws: Annotated[int | None, typer.Option(help="Monte-Carlo draws; 0: none.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed; the same seed gives the same numbers.")] = None,
    commitments: Annotated[Path | None, typer.Option(help="Write the contracts as FOCUS contract commitments, .csv.")] = None,
    as_scenario: Annotated[
        Path | None, typer.Option(help="Write contracts, options, exclusivity and priority as sections of a scenario, .yaml.")
    ] = None,
    buyer: Annotated[str, typer.Option(help="With --as-scenario: whose scenario it is.")] = "",
    recast: Annotated[list[str] | None, typer.Option(help="The same deal for another party: OLD=NEW, repeatable; a what-if, no forecast.")] = None,
    sobol: Annotated[bool, typer.Option(help="Add Sobol's total-effect indices (slower).")] = False,
    json: Json = False,
) -> None:
    """Show a deal from every side: flows, margins, return, circularity, break-even, uncertainty."""
    from polysilicon.economics.deal import read_deal
    from polysilicon.economics.deal_report import whole

    terms = _recast(read_deal(file), recast or [])
    if commitments is not None or as_scenario is not None:
        _write_terms(terms, commitments, as_scenario, buyer)
    answer = whole(terms, scenario=scenario, draws=draws, seed=seed, sobol=sobol)
    if out is not None:
        for path in _write(out, answer):
            say(f"wrote {path}")
    if json:
        print_json(answer.as_json())
        return
    _print_deal(answer)


def _recast(terms: Any, texts: list[str]) -> Any:
    """Return the deal with other parties in the same roles."""
    from polysilicon.economics.rights import recast
    from polysilicon.errors import InputError

    names = dict(text.split("=", 1) for text in texts if "=" in text)
    if len(names) != len(texts) or not all(new for new in names.values()):
        raise InputError(f'"{" ".join(texts)}" is not OLD=NEW', where="--recast", hint="anthropic=mistral; each party once")
    return recast(terms, names) if names else terms


def _write_terms(terms: Any, commitments: Path | None, as_scenario: Path | None, buyer: str) -> None:
    """Write the binding contracts for another tool, or for a scenario of the buyer's."""
    from polysilicon import catalogue
    from polysilicon.economics.deal import contract_of
    from polysilicon.economics.sections import sections
    from polysilicon.errors import InputError
    from polysilicon.exchange import focus

    if commitments is not None:
        binding = [contract_of(leg.contract) for leg in terms.binding_commitments()]
        if not binding:
            raise InputError("holds no contract that binds; nothing is written", where=str(commitments))
        write_atomically(commitments, focus.csv_bytes(focus.commitment_rows(binding)))
        say(f"wrote {commitments}: {len(binding)} contracts")
    if as_scenario is not None:
        known = catalogue.load()
        watts = {chip.id: chip.all_in_w for chip in known.chips.values()}
        found = sections(terms, known.offers.values(), buyer=buyer, all_in_w=watts)
        write_atomically(as_scenario, found.yaml(f"From the deal file: {terms.name} ({terms.as_of}).").encode())
        for words in found.left_out:
            say(f"  {words}")
        say(f"wrote {as_scenario}: {len(found.contracts)} contracts, {len(found.own)} offers; merge it into a scenario")


def _write(out: Path, answer: Any) -> list[Path]:
    from polysilicon.exchange import focus, xlsx

    folder = out if out.suffix == "" else None
    wanted = [out] if folder is None else [folder / f"deal.{kind}" for kind in ("html", "xlsx", "csv")]
    for path in wanted:
        if path.suffix == ".html":
            from polysilicon.report.deal import page

            write_atomically(path, page(answer).encode())
        elif path.suffix == ".xlsx":
            write_atomically(path, xlsx.deal_workbook(answer))
        elif path.suffix == ".csv":
            write_atomically(path, focus.csv_bytes(focus.deal_rows(answer.deal, answer.projection)))
        else:
            from polysilicon.errors import InputError

            raise InputError(f'"{path.suffix}" cannot be written', where=str(path), hint=".html, .xlsx, .csv or a folder")
    return wanted


def _bn(usd: float) -> str:
    return number(usd / 1e9) if usd >= 0 else f"-{number(-usd / 1e9)}"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"


def _print_deal(answer: Any) -> None:
    from polysilicon.economics.uncertainty import scaled

    circle = answer.circularity
    print(f"{answer.deal.name}  ({answer.deal.as_of}; {answer.scenario or 'base'})")
    print_table(
        ["party", "in B$", "out B$", "net B$", "NPV B$", "owning", "IRR cash", "owning", "payback, years", "coverage", "verdict"],
        [
            [
                v.party,
                _bn(sum(v.in_usd.values())),
                _bn(sum(v.out_usd.values())),
                _bn(v.net_usd),
                _bn(v.npv_usd),
                _bn(v.npv_with_values_usd),
                _percent(v.irr_frac),
                _percent(v.irr_with_values_frac),
                v.payback_years,
                v.coverage_ratio,
                v.verdict,
            ]
            for v in answer.parties
        ],
    )
    if circle.kappa_ratio is not None:
        print(
            f"gross {_bn(circle.gross_usd)} B$, net {_bn(circle.net_usd)} B$ out of the buyer; equity from suppliers / spend with them = "
            f"{_bn(circle.equity_usd)}/{_bn(circle.committed_usd)} = {circle.kappa_ratio:.0%}; outside money needed {_bn(circle.outside_need_usd)} B$"
        )
    for found in circle.circles:
        print(f"  circle: {' -> '.join([*found.parties, found.parties[0]])}, at most {_bn(found.usd)} B$")
    for party, ratio in circle.round_trip_ratio.items():
        print(f"  {party} gets back {ratio:.2f} times what it invested")
    _print_sides(answer)
    if answer.uncertainty:
        rows = [
            [*scaled(name, s), f"{s.negative_frac:.0%}", answer.uncertainty.tornado[name][0].driver]
            for name, s in answer.uncertainty.outcomes.items()
        ]
        print_table(
            ["outcome", "p10", "p50", "p90", "below 0", "what matters most"],
            rows,
            title=f"{answer.uncertainty.draws} draws, seed {answer.uncertainty.seed}",
        )
    if answer.scenarios:
        keys = list(next(iter(answer.scenarios.values())))
        print_table(
            ["scenario", *keys],
            [[name, *[_bn(row[k]) if "margin" not in k else _percent(row[k]) for k in keys]] for name, row in answer.scenarios.items()],
            title="scenarios, B$ of net present value with what each owns",
        )
    for words in answer.entanglements:
        print(f"  note: {words}")


def _print_sides(answer: Any) -> None:
    lab, provider, supplier = answer.lab, answer.provider, answer.supplier
    if lab:
        low, high = (x / 1e12 for x in lab.break_even_tokens_per_month)
        print(
            f"break-even: {_bn(lab.revenue_needed_usd)} B$ of revenue, {number(low)} to {number(high)} T tokens a month; "
            f"today {number(lab.volume_now_tokens_per_month[0] / 1e12)} to {number(lab.volume_now_tokens_per_month[1] / 1e12)}: "
            f"{number(lab.growth_ratio[0])}x to {number(lab.growth_ratio[1])}x"
        )
        if lab.runway_months is not None:
            print(f"runway on the equity alone: {number(lab.runway_months)} months")
        for investor, (share, post) in lab.stakes.items():
            print(f"{investor} gets {share:.2%} at a post-money value of {_bn(post)} B$")
    if provider:
        print(
            f"provider: {number(provider.chips)} chips, {number(provider.it_gw)} GW of IT, capital cost {_bn(provider.capex_usd)} B$; gross margin "
            f"{provider.gross_margin_frac:.0%} (accounts), {provider.margin_after_capital_frac:.0%} after cost of capital"
        )
        if provider.facilities:
            print(
                f"  60 to 70 % of the revenue pays for {number(provider.facilities[0])} to {number(provider.facilities[1])} "
                f"facilities of the stated price ({provider.facility_words}); a gigawatt is "
                f"{number(provider.gigawatt_facilities[0])} to {number(provider.gigawatt_facilities[1])}"
            )
    if supplier and supplier.returned_ratio:
        low, base, high = supplier.returned_ratio
        print(f"supplier: {_bn(supplier.hardware_usd)} B$ of chips, {low:.2f} / {base:.2f} / {high:.2f} times its investment")
    if answer.ramp:
        print_table(
            ["quarter from", "IT MW", "facility MW", "racks", "chips"], [[s.day, s.it_mw, s.facility_mw, s.racks, s.chips] for s in answer.ramp]
        )
    for name, usd in answer.rights.items():
        print(f"right {name}: worth {_bn(usd)} B$ today")
    for used in answer.options:
        where = ", ".join(name for name, yes in used.by_scenario.items() if yes) or "none"
        print(f"  {used.option} is used in {used.exercised_frac:.0%} of price paths; of low, middle and high price: {where}")


def deals(
    rank: Annotated[str, typer.Option(help="date, amount, gw, usd-per-gw-year or usd-per-chip-year.")] = "date",
    group: Annotated[str, typer.Option(help="commitment, equity, supply, build, letter.")] = "",
    party: Annotated[str, typer.Option(help="Only deals of a buyer or supplier.")] = "",
    compare: Annotated[str, typer.Option(help="Ids of deals to set side by side, with commas.")] = "",
    json: Json = False,
) -> None:
    """List public compute deals, ranked by comparable units; letters of intent are never summed with contracts."""
    from dataclasses import asdict

    from polysilicon import catalogue
    from polysilicon.economics.library import GROUPS, library, select, totals

    watts = {chip.id: chip.all_in_w for chip in catalogue.load().chips.values()}
    chosen = select(library(), party=party, group=group, rank=rank, all_in_w=watts)
    if compare:
        chosen = _named(chosen, compare)
    units = {d.id: d.chip_year(watts) for d in chosen}
    if json:
        rows = [{**asdict(d), "usd_per_gw_year": d.usd_per_gw_year, "chip_year": None if (u := units[d.id]) is None else asdict(u)} for d in chosen]
        print_json({"deals": rows, "totals_usd": totals(chosen)})
        return
    if compare:
        _print_side_by_side(chosen, units)
        return
    print_table(
        ["deal", "date", "buyer", "supplier", "group", "status", "B$", "GW", "years", "B$/GW-year", "$/chip-year", "of chips", "uncertain"],
        [
            [
                d.id,
                d.date,
                d.buyer,
                d.supplier,
                d.group,
                d.status,
                None if d.amount_usd is None else d.amount_usd / 1e9,
                d.gw,
                d.years,
                None if (x := d.usd_per_gw_year) is None else x / 1e9,
                None if (u := units[d.id]) is None else u.usd,
                "-" if u is None else u.kind,
                d.uncertain,
            ]
            for d in chosen
        ],
    )
    for d in chosen:
        if (u := units[d.id]) is not None:
            print(f"{d.id}: {u.chips:,.0f} chips: {u.words}")
    for name, usd in totals(chosen).items():
        print(f"{GROUPS.get(name, name)}: {usd / 1e9:,.0f} B$ where an amount is known")
    print("GW of press reports is often facility power; letters of intent, goals and restated rows are in no sum")


def _named(chosen: Any, text: str) -> Any:
    """Return the deals of these ids, in the order given."""
    from polysilicon.errors import InputError, did_you_mean

    by_id = {d.id: d for d in chosen}
    names = [name.strip() for name in text.split(",")]
    for name in names:
        if name not in by_id:
            raise InputError(f'deal "{name}" is not in the library', where="--compare", hint=did_you_mean(name, by_id))
    return [by_id[name] for name in names]


def _print_side_by_side(chosen: Any, units: Any) -> None:
    """Print one column a deal: terms, comparable units, and what makes them comparable."""
    fields = ("date", "buyer", "supplier", "kind", "group", "status", "amount_usd", "gw", "years", "usd_per_gw_year", "chips", "uncertain", "source")
    rows: list[list[Any]] = [[name, *[getattr(d, name) or "-" for d in chosen]] for name in fields]
    found = [units[d.id] for d in chosen]
    rows += [
        ["usd_per_chip_year", *["-" if u is None else u.usd for u in found]],
        ["chips priced", *["-" if u is None else u.chips for u in found]],
        ["on the assumption", *["-" if u is None else f"{u.kind}: {u.words}" for u in found]],
    ]
    print_table(["", *[d.id for d in chosen]], rows)
    standing = {d.status in ("announced", "signed", "changed") and d.group != "letter" for d in chosen}
    if len(standing) > 1:
        print("not all of these bind: a letter, a goal or a report is no contract")
