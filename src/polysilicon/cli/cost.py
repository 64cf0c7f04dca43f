"""Commands on what compute costs and tokens fetch: tco, prices."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from polysilicon.cli.output import print_json, print_table, say, write_atomically

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]


def tco(
    set_: Annotated[list[str] | None, typer.Option("--set", help="Change a number of the base rack: NAME=VALUE, repeatable.")] = None,
    price: Annotated[list[float] | None, typer.Option(help="Prices per chip-hour to show margins for, repeatable.")] = None,
    speed: Annotated[str, typer.Option("--tok-per-s", help="Tokens per second per chip: adds $/Mtok. OUT, or IN:OUT by kind.")] = "",
    gw: Annotated[float, typer.Option(help="Facility gigawatts to turn into racks, chips and homes.")] = 1.0,
    api: Annotated[str, typer.Option(help="With --tok-per-s: a price of tokens, $/Mtok@Mtok a month. Who keeps what of it; buy or make?")] = "",
    cache: Annotated[str, typer.Option(help="A model, MODEL@HOURS held per read: prices its cached tokens by memory.")] = "",
    draws: Annotated[int, typer.Option(help="Draws for the range.")] = 4096,
    seed: Annotated[int, typer.Option(help="Seed of the draws.")] = 7,
    out: Annotated[Path | None, typer.Option("-o", "--out", help="Write a workbook with live formulas (.xlsx) or a page (.html).")] = None,
    json: Json = False,
) -> None:
    """Cost of ownership: $ per chip-hour by layer, margins by price, ranges, gigawatts to chips."""
    from polysilicon.economics.cost import Rack, vary
    from polysilicon.economics.cost_report import PRICES, whole
    from polysilicon.errors import UsageError

    speeds = _speeds(speed)
    if api and speeds[1] is None:
        raise UsageError("--api needs --tok-per-s: a price per token without a speed says nothing")
    changes = dict(_assignment(text) for text in set_ or ())
    answer = whole(
        vary(Rack(), changes), stated=tuple(changes), prices=price or PRICES, speeds=speeds, gw=gw,
        market=_market(api), cache=_cache(cache), seeded=(draws, seed),
    )  # fmt: skip
    if out is not None:
        _write(out, answer)
    if json:
        print_json(answer.as_json())
        return
    _print_cost(answer)


def _write(out: Path, answer: Any) -> None:
    from polysilicon.errors import InputError

    if out.suffix == ".xlsx":
        from polysilicon.exchange.xlsx import cost_workbook

        write_atomically(out, cost_workbook(answer.rack, [row.usd_per_chip_hour for row in answer.prices]))
    elif out.suffix == ".html":
        from polysilicon.report.cost import cost_page

        write_atomically(out, cost_page(answer).encode())
    else:
        raise InputError(f'"{out.suffix}" cannot be written', where=str(out), hint=".xlsx or .html")
    say(f"wrote {out}")


def _numbers(text: Sequence[str], least: int, most: int) -> list[float] | None:
    """Return the numbers of a text; None where they are not as many or not all above 0."""
    try:
        found = [float(part) for part in text]
    except ValueError:
        return None
    return found if least <= len(found) <= most and all(0 < x < float("inf") for x in found) else None


def _speeds(text: str) -> tuple[float | None, float | None]:
    """Return the speeds of input, where given, and of output of `OUT` or `IN:OUT`."""
    from polysilicon.errors import InputError

    if not text:
        return None, None
    speeds = _numbers(text.split(":"), 1, 2)
    if speeds is None:
        raise InputError(f'"{text}" is not a speed', where="--tok-per-s", hint="800, or 10000:800 for input and output")
    return (speeds[0] if len(speeds) == 2 else None), speeds[-1]


def _market(text: str) -> Any:
    """Return the price and volume of `PRICE` or `PRICE@MTOK`."""
    from polysilicon.economics.cost_report import Market
    from polysilicon.errors import InputError

    if not text:
        return None
    found = _numbers(text.split("@"), 1, 2)
    if found is None:
        raise InputError(f'"{text}" is not a price of tokens', where="--api", hint="3, or 3@1000 for 3 $/Mtok and 1000 Mtok a month")
    return Market(*found)


def _cache(text: str) -> Any:
    """Return whose cache it is of `MODEL` or `MODEL@HOURS`, on the base rack's chip, KV in the model's own precision or bf16."""
    from polysilicon import catalogue
    from polysilicon.economics.cost_report import Cache
    from polysilicon.errors import InputError, MissingFact

    if not text:
        return None
    name, _, hours = text.partition("@")
    held = _numbers([hours], 1, 1) if hours else [None]
    if held is None:
        raise InputError(f'"{text}" is not a model and hours', where="--cache", hint="llama-3.3-70b@0.5: each read after half an hour in memory")
    known = catalogue.load()
    model, chip = known.model(name), known.chips["gb200"]
    if chip.hbm_gb is None:
        raise MissingFact(chip.id, "hbm_gb", needed_for="the price of memory on the chip")
    return Cache(model.id, model.kv_bytes_per_token("bf16"), chip.hbm_gb, held[0])


def _assignment(text: str) -> tuple[str, float]:
    from polysilicon.errors import InputError

    name, _, value = text.partition("=")
    try:
        return name.strip(), float(value)
    except ValueError as error:
        raise InputError(f'"{text}" is not NAME=NUMBER', where="--set") from error


def _print_cost(answer: Any) -> None:
    cost, spread, told = answer.chip_hour, answer.range.usd_per_chip_hour, answer.published
    layers = [(name.removesuffix("_usd"), getattr(cost, name)) for name in ("it_usd", "site_usd", "power_usd", "carbon_usd", "opex_usd", "staff_usd")]
    print_table(["layer", "$ per sold chip-hour"], [*layers, ("total", cost.total_usd)])
    print(f"every hour taken: {cost.full_usd:.2f} with cost of capital, {cost.accounting_usd:.2f} by accounts (of it cash {cost.cash_usd:.2f})")
    print(f"range over {answer.range.draws} draws: p10 {spread.p10:.2f}, p50 {spread.p50:.2f}, p90 {spread.p90:.2f}")
    print(f"  another study of the same rack: {told.p10:.2f}, {told.p50:.2f}, {told.p90:.2f}; its ranges were not published")
    bars = {bar.driver: bar for bar in answer.range.bars}
    print_table(
        ["what moves it", "low", "base", "high", "rank correlation", "its ends from"],
        [[d.name, d.low, d.base, d.high, f"{bars[d.name].rank_correlation_ratio:+.2f}", d.source]
         for d in sorted(answer.range.ranges, key=lambda d: -abs(bars[d.name].rank_correlation_ratio))],
    )  # fmt: skip
    print_table(
        ["$/chip-hour", "profit over cost", "accounting gross margin", "after cost of capital", "chips that 30 B$ rents for 5 years"],
        [
            [
                row.usd_per_chip_hour, f"{row.profit_over_cost_frac:.0%}", f"{row.accounting_margin_frac:.0%}",
                f"{row.economic_margin_frac:.0%}", row.chips,
            ]
            for row in answer.prices
        ],
    )  # fmt: skip
    day = answer.published_day
    print(
        f"a published day to compare (DeepSeek, 2025-02): cost {day.cost_usd:,.0f} $, revenue {day.revenue_usd:,.0f} $ at list prices "
        f"({answer.published_day_recomputed_usd:,.0f} from its rounded tokens): {day.margins}"
    )
    needs, power, homes = answer.price_for_margin_usd, answer.power, answer.homes
    print(
        f"a gross margin of 60 to 70 % needs {needs['60%']:.2f} to {needs['70%']:.2f} $ per chip-hour; written off, a chip is worth running above "
        f"{answer.floor_usd_per_chip_hour:.2f}"
    )
    print(
        f"{power.facility_gw:g} GW facility = {power.it_gw:.3g} GW IT = {power.racks:,.0f} racks = {power.chips:,.0f} chips; as much as "
        f"{homes.count:,.0f} homes at {homes.kw_per_home:.2f} kW each ({homes.source}; "
        f"1.5 kW would give {power.facility_gw * 1e6 / 1.5:,.0f})"
    )
    _print_tokens(answer)


def _print_tokens(answer: Any) -> None:
    if answer.margin_stack_usd_per_mtok is not None:
        print_table(["who keeps what of the price", "$/Mtok"], list(answer.margin_stack_usd_per_mtok.items()))
        choice = answer.make_or_buy
        even = "never" if choice.break_even_mtok == float("inf") else f"from {choice.break_even_mtok:,.0f} Mtok a month"
        print(
            f"tokens cost {choice.api_usd_per_month:,.0f} $ a month to buy, {choice.own_usd_per_month:,.0f} to make on blocks of 8 chips "
            f"at 40 % of peak, people apart: {choice.answer}; own chips are cheaper {even}"
        )
    if answer.cache:
        print_table(
            [f"cache of {answer.cache_model}", "$/GB-hour", "$/Mtok-hour", "$/Mtok a read", "basis"],
            [[c.memory, c.usd_per_gb_hour, c.usd_per_mtok_hour, c.usd_per_mtok, c.basis] for c in answer.cache],
        )
        sold = ", ".join(f"{usd:.2f} ({name})" for name, usd in answer.storage_on_sale_usd_per_mtok_hour.items())
        print(f"keys and values in bf16; storage of a context cache is on sale at {sold} $/Mtok-hour")
    if answer.token_cost is not None:
        kinds = answer.token_cost
        cached = "unknown, say with --cache whose cache is held" if kinds.cached_usd_per_mtok is None else f"{kinds.cached_usd_per_mtok:.3g}"
        print(f"$ per million tokens by kind: input {kinds.input_usd_per_mtok:.3g}, cached {cached}, output {kinds.output_usd_per_mtok:.3g}")
        if answer.cache:
            even = " or ".join(f"{60 * kinds.input_usd_per_mtok / c.usd_per_mtok_hour:.3g} minutes in {c.memory} memory" for c in answer.cache)
            print(f"  held longer than {even}, a token costs more than computing it again")
    if answer.usd_per_mtok is not None:
        print(
            f"{answer.usd_per_mtok:.3g} $ per million tokens, {answer.floor_usd_per_mtok:.3g} on written-off chips; "
            f"{answer.power.tokens_per_month / 1e12:,.3g} T tokens a month"
        )


def prices(
    name: Annotated[str, typer.Argument(metavar="CLASS", help="A class of models; without one, all.")] = "",
    months: Annotated[float, typer.Option(help="How far to project, as a scenario.")] = 12.0,
    speed: Annotated[str, typer.Option("--tok-per-s", help="Tokens per second per chip: adds the floor that written-off chips set.")] = "",
    out: Annotated[Path | None, typer.Option("-o", "--out", help="Write a page with the history, scenarios and floor, .html.")] = None,
    json: Json = False,
) -> None:
    """Token prices over time: half-life of each class with its band, rises included; projections are scenarios."""
    from dataclasses import asdict

    from polysilicon import catalogue
    from polysilicon.economics.cost import Rack, floor_usd_per_chip_hour
    from polysilicon.economics.price_history import CLASSES, trend
    from polysilicon.economics.tokens import usd_per_mtok
    from polysilicon.errors import InputError, MissingFact

    if out is not None and out.suffix != ".html":
        raise InputError(f'"{out.suffix}" cannot be written', where=str(out), hint="a page: .html")
    known, rack, tok_per_s = catalogue.load().token_prices, Rack(), _speeds(speed)[1]
    floor = None if tok_per_s is None else usd_per_mtok(floor_usd_per_chip_hour(rack, age_years=rack.it_years), tok_per_s)
    trends, silent = [], []
    for each in [name] if name else list(CLASSES):
        try:
            trends.append(trend(known, each))
        except MissingFact as error:
            if name:
                raise
            silent.append(str(error.message))
    if out is not None:
        from polysilicon.report.cost import prices_page

        write_atomically(out, prices_page(trends, months, floor).encode())
        say(f"wrote {out}")
    if json:
        rows = [asdict(t) | {"projected_usd_per_mtok": t.projected(months)} for t in trends]
        print_json({"classes": rows, "unknown": silent, "floor_usd_per_mtok": floor, "months": months})
        return
    _print_trends(trends, months, floor)
    if name:
        print_table(["day", "model", "$/Mtok 3:1", "source"], [[o.day, o.model, o.usd_per_mtok, o.source] for o in trends[0].observations])


def _half_life(t: Any) -> str:
    """Return a half-life with its band; a band that reaches rising prices has no upper end."""
    if t.half_life_months is None:
        return "-" if t.half_life_low_months is None else f"none; band from {t.half_life_low_months:.3g}"
    high = "none" if t.half_life_high_months is None else f"{t.half_life_high_months:.3g}"
    return f"{t.half_life_months:.3g} ({t.half_life_low_months:.3g} to {high})"


def _print_trends(trends: Any, months: float, floor: float | None) -> None:
    heads = [
        "class", "tier", "prices", "latest", "$/Mtok 3:1", "a year", "95 % band", "half-life, months", "last year", "models' own rises/falls",
        "class up/down", f"if so in {months:g} months",
    ]  # fmt: skip
    print_table(heads, [
        [
            t.name, t.tier, len(t.observations), t.observations[-1].day, t.observations[-1].usd_per_mtok, f"{t.per_year_frac:+.0%}",
            f"{t.low_per_year_frac:+.0%} to {t.high_per_year_frac:+.0%}", _half_life(t),
            "-" if t.last_year_frac is None else f"{t.last_year_frac:+.0%}", f"{t.rises}/{t.falls}", f"{t.class_rises}/{t.class_falls}",
            " / ".join(f"{usd:.3g}" for usd in t.projected(months)),
        ]
        for t in trends
    ])  # fmt: skip
    print("a class without a half-life did not fall; projections are scenarios at the band's ends, never facts")
    if floor is not None:
        print(f"written-off chips can serve down to {floor:.3g} $/Mtok: their power, upkeep and people")
