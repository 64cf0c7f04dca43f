"""Deciding before one knows: the first year's decision over drawn futures, its tail, its regret, what options are worth."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from polysilicon.cli.output import print_json, print_table, progress, say
from polysilicon.cli.plan_answers import File, Json, Margin, tables_of

if TYPE_CHECKING:
    from polysilicon.planner.futures import Hedge, Spread


DemandVolatility = Annotated[float, typer.Option(help="Of demand's logarithm, a year; assumed.", min=0.0, max=3.0)]
PriceVolatility = Annotated[float, typer.Option(help="Of a vendor's hourly prices, over the horizon; assumed.", min=0.0, max=3.0)]
Seed = Annotated[int | None, typer.Option(help="Of the draw; left out, the scenario's.")]
Workers = Annotated[int | None, typer.Option(help="Processes; left out, what the size is worth.", min=1)]


def hedge(
    file: File,
    futures: Annotated[int, typer.Option(help="How many futures to draw.", min=2, max=64)] = 8,
    tail_weight: Annotated[float, typer.Option(help="Weight of the worst tenth (CVaR) against the mean.", min=0.0, max=1.0)] = 0.5,
    demand_volatility: DemandVolatility = 0.3,
    price_volatility: PriceVolatility = 0.2,
    seed: Seed = None,
    workers: Workers = None,
    json: Json = False,
    margin: Margin = 0.5,
) -> None:
    """Decide the first year before knowing: expected cost and its tail over drawn futures, regret of today's plan, worth of options."""
    from polysilicon.planner.futures import Doubt, hedged
    from polysilicon.planner.resolve import worth_workers

    resolved, tables = tables_of(file, margin)
    doubt = Doubt(demand_volatility_frac=demand_volatility, price_volatility_frac=price_volatility)
    first = resolved.scenario.seed if seed is None else seed
    with progress("hedging", quiet=json) as bar:
        found = hedged(
            tables, count=futures, seed=first, doubt=doubt, tail_weight=tail_weight, workers=workers or worth_workers(tables), progress=bar
        )
    if json:
        print_json(asdict(found))
        return
    _print(found)


def _spread(s: Spread) -> tuple[float | None, float | None, float | None]:
    if s.mean_usd is None or s.sd_usd is None:
        return None, None, None
    return s.mean_usd / 1e6, s.sd_usd / 1e6, 100 * s.sd_usd / max(s.mean_usd, 1e-9)


def _print(found: Hedge) -> None:
    say(f"{found.futures} futures, seed {found.seed}; discounted M$; every figure is an optimum of a program that was solved")
    print_table(
        ["what is decided in the first year", "expected", "worst tenth", "most regret"],
        [[d.name, d.expected_usd / 1e6, d.cvar_usd / 1e6, d.most_regret_usd / 1e6] for d in found.decisions],
        title="One first year for all futures; later years adapt",
    )
    gap = (found.objective_usd - found.bound_usd) / max(abs(found.objective_usd), 1e-9)
    say(f"the hedge minimises a mix of mean and tail: {found.objective_usd / 1e6:,.2f} M$, within {gap:.2%} of the least possible")
    say(f"knowing the future first would cost {found.knowing_usd / 1e6:,.2f} M$ on average: no forecast is worth more than the difference")
    if found.first_year:
        print_table(
            ["the hedge's first year", "how many", "today's plan"],
            [[name, hedged, today] for name, hedged, today in found.first_year],
            title="Terms in blocks (parts of blocks count here), ports and contracts",
        )
    else:
        say("nothing is signed, ported or taken in the first year, in the hedge or in today's plan: all is rented by the hour")
    print_table(
        ["chips of", "mean", "standard deviation", "% of mean", "% unserved"],
        [[s.name, *_spread(s), 100 * s.unserved_frac] for s in found.spreads],
        title="Cost when hourly prices alone move: all vendors, and each alone",
    )
    print_table(
        ["vendor", "worth M$"],
        [[vendor, None if usd is None else usd / 1e6] for vendor, usd in found.options],
        title="Engines off a vendor's chips",
    )
    if any(usd is None for _, usd in found.options) or any(s.mean_usd is None for s in found.spreads):
        say("'-' for dollars: demand goes unserved whose loss the scenario does not price (unserved_usd_per_mtok)")
    say("that is what qualified engines on other chips save while the vendor's prices are uncertain")
