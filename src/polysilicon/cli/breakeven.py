"""`polysilicon breakeven`: short closed forms a finance partner redoes by hand, each with its formula and its numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from polysilicon.cli.output import number, print_json, say, write_atomically
from polysilicon.errors import InputError

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
Page = Annotated[Path | None, typer.Option("-o", "--out", help="Write a page with the curve, .html.")]


@app.command("app")
def application(
    value: Annotated[float, typer.Option(help="What a task is worth to who pays for it, $.")],
    tokens: Annotated[float, typer.Option(help="Tokens a task takes, prompt and output.")],
    other: Annotated[float, typer.Option(help="What a task costs beside tokens, $.")] = 0.0,
    out: Page = None,
    json: Json = False,
) -> None:
    """Say at which price of tokens an application breaks even."""
    from polysilicon.economics.finance import viable_price_usd_per_mtok

    _positive(value=value, tokens=tokens)
    _positive(0.0, other=other)
    usd = viable_price_usd_per_mtok(value, tokens, other)
    words = f"({number(value)} $ - {number(other)} $) / {number(tokens)} tokens = {number(usd)} $/Mtok: viable at or below that price"
    curve = [(tokens * f, viable_price_usd_per_mtok(value, tokens * f, other), "price that breaks even") for f in (0.25, 0.5, 1, 2, 4, 8)]
    _tell(words, {"viable_usd_per_mtok": usd}, json, out, "Which price of tokens an application bears", "$/Mtok over tokens a task", curve)


@app.command()
def chip(
    programme: Annotated[float, typer.Option(help="One-off cost of the chip programme: design, masks, software, $.")],
    bought: Annotated[float, typer.Option(help="What a bought chip of the same work costs, $.")],
    own: Annotated[float, typer.Option(help="What a chip of one's own costs to make, $.")],
    out: Page = None,
    json: Json = False,
) -> None:
    """Say from how many chips on a chip of one's own pays."""
    from polysilicon.economics.finance import anchor_volume_chips

    _positive(programme=programme, bought=bought)
    _positive(0.0, own=own)
    chips = anchor_volume_chips(programme, bought, own)
    if math.isinf(chips):
        words = f"a chip of one's own at {number(own)} $ saves nothing over {number(bought)} $: no volume pays for the programme"
    else:
        words = f"{number(programme)} $ / ({number(bought)} $ - {number(own)} $) = {number(chips)} chips"
    steps = [] if math.isinf(chips) else [chips * f for f in (0.0, 0.5, 1.0, 1.5, 2.0)]
    curve = [(n, (n * (bought - own) - programme) / 1e6, "saved less programme") for n in steps]
    told = {"anchor_volume_chips": None if math.isinf(chips) else chips}
    _tell(words, told, json, out, "How many chips pay for a chip programme", "M$ over chips", curve)


@app.command()
def delay(
    revenue: Annotated[float, typer.Option(help="Revenue in the month of the launch as planned, $.")],
    months: Annotated[float, typer.Option(help="How late compute comes, months.")],
    growth: Annotated[float, typer.Option(help="Growth of revenue a month, as a share.")] = 0.0,
    margin: Annotated[float, typer.Option(help="Share of revenue that is margin; 1 counts revenue.")] = 1.0,
    out: Page = None,
    json: Json = False,
) -> None:
    """Say what compute that comes late costs in revenue."""
    from polysilicon.economics.finance import delay_cost_usd

    _positive(revenue=revenue, months=months)
    if growth <= -1.0:
        raise InputError(f"is {growth:g}; more than -1 is allowed", where="--growth")
    _positive(0.0, margin=margin)
    usd = delay_cost_usd(revenue, months, growth, margin)
    grown = f"((1 + {growth:g})^{months:g} - 1) / {growth:g}" if growth else f"{months:g}"
    words = f"{margin:g} x {number(revenue)} $ x {grown} = {number(usd)} $ lost"
    curve = [(m, delay_cost_usd(revenue, m, growth, margin) / 1e6, "lost") for m in (months * k / 6 for k in range(7))]
    _tell(words, {"delay_cost_usd": usd}, json, out, "What a delay costs", "M$ over months", curve)


@app.command()
def port(
    budget: Annotated[Path, typer.Argument(help="A CSV of months in order, with the columns spent_usd and saved_usd.")],
    out: Page = None,
    json: Json = False,
) -> None:
    """Say when a port has paid for itself, from what was spent and saved so far or is planned."""
    from polysilicon.economics.lockin import port_budget

    months = _months(budget)
    found = port_budget([m["spent_usd"] for m in months], [m["saved_usd"] for m in months])
    last = found.cumulative_usd[-1]
    if found.crosses_after_months is None:
        words = f"not paid for after {len(months)} months: {number(-last)} $ are still to be saved"
    else:
        words = f"paid for at the end of month {found.crosses_after_months}; {number(last)} $ ahead after {len(months)} months"
    curve = [(i + 1, usd / 1e6, "saved less spent") for i, usd in enumerate(found.cumulative_usd)]
    told = {"crosses_after_months": found.crosses_after_months, "cumulative_usd": found.cumulative_usd}
    _tell(words, told, json, out, "When a port has paid for itself", "M$ over months", curve)


def _positive(least: float | None = None, **values: float) -> None:
    """Refuse a value that is no amount: zero and below, or below `least` where that is given."""
    for name, value in values.items():
        if not math.isfinite(value) or (value <= 0.0 if least is None else value < least):
            raise InputError(f"is {value:g}; {'more than 0' if least is None else f'{least:g} or more'} is allowed", where=f"--{name}")


def _months(path: Path) -> list[dict[str, float]]:
    """Return the rows of a port's budget.

    Raises: InputError with line and column for what is no amount.
    """
    import csv

    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot be read: {getattr(error, 'strerror', None) or 'no UTF-8 text'}", where=str(path)) from error
    names = ("spent_usd", "saved_usd")
    if not rows or any(name not in rows[0] for name in names):
        raise InputError("has no rows with the columns spent_usd and saved_usd", where=str(path), hint="one row a month, in order")
    found = []
    for line, row in enumerate(rows, start=2):
        month = {}
        for name in names:
            try:
                month[name] = float(row[name] or "")
            except ValueError:
                month[name] = math.nan
            if not (math.isfinite(month[name]) and month[name] >= 0.0):
                raise InputError(f'{name} is "{row[name]}"; an amount of 0 or more is allowed', where=f"{path}:{line}")
        found.append(month)
    return found


def _tell(
    words: str, told: Mapping[str, Any], json: bool, out: Path | None, title: str, axis: str, curve: Sequence[tuple[float, float, str]]
) -> None:
    """Print the sentence or the document; write the page with the curve where one was asked for."""
    if out is not None:
        from polysilicon.report.evidence import Section
        from polysilicon.report.money_charts import lines
        from polysilicon.report.sheet import drawing, sheet

        if out.suffix.lower() not in (".html", ".htm"):
            raise InputError(f'"{out.suffix}" cannot be written', where=str(out), hint="this is a page: .html")
        rows = [{"when": x, "value": y, "what": what} for x, y, what in curve]
        figures = ((axis, drawing(lines(rows, title=axis.split(" over ")[0], when="quantitative"))),) if rows else ()
        write_atomically(out, sheet(title, over="Break-even", lead=words, sections=[Section(axis, figures=figures)]).encode())
        say(f"wrote {out}")
    if json:
        print_json({**told, "words": words})
    else:
        print(words)
