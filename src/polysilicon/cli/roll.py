"""Planning again every period: what it is worth over drawn walks, and what strays from today's plan."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from polysilicon.cli.hedge import DemandVolatility, PriceVolatility, Seed, Workers
from polysilicon.cli.output import print_json, print_table, progress, say
from polysilicon.cli.plan_answers import File, Json, Margin, tables_of

if TYPE_CHECKING:
    from polysilicon.planner.rolling import Rolling

SHOWN = 20  # decisions printed; a document has them all


def roll(
    file: File,
    walks: Annotated[int, typer.Option(help="How many walks to draw.", min=1, max=64)] = 4,
    demand_volatility: DemandVolatility = 0.3,
    price_volatility: PriceVolatility = 0.2,
    seed: Seed = None,
    workers: Workers = None,
    json: Json = False,
    margin: Margin = 0.5,
) -> None:
    """Plan again every period as demand walks, what was signed staying: what that saves over one plan kept, what it regrets."""
    from polysilicon.planner.futures import Doubt
    from polysilicon.planner.resolve import worth_workers
    from polysilicon.planner.rolling import rolling

    resolved, tables = tables_of(file, margin)
    doubt = Doubt(demand_volatility_frac=demand_volatility, price_volatility_frac=price_volatility)
    first = resolved.scenario.seed if seed is None else seed
    with progress("rolling", quiet=json) as bar:
        found = rolling(tables, count=walks, seed=first, doubt=doubt, workers=workers or worth_workers(tables), progress=bar)
    if json:
        print_json({**asdict(found), "again_saves_usd": found.again_saves_usd, "regret_usd": found.regret_usd})
        return
    _print(found)


def _millions(usd: float | None) -> float | None:
    return None if usd is None else usd / 1e6


def _print(found: Rolling) -> None:
    from polysilicon.report.words import money

    say(f"{found.walks} walks of {found.periods} periods, seed {found.seed}; discounted M$; every figure is an optimum of a program that was solved")
    print_table(
        ["how one decides", "expected", "worst tenth", "unserved", "without a plan"],
        [
            [c.name, _millions(c.expected_usd), _millions(c.cvar_usd), f"{c.unserved_frac:.2%}", f"{c.stuck} of {found.walks} walks"]
            for c in found.courses
        ],
        title="Demand walks, prices move, chips may be late; what was signed and started stays",
    )
    saved, regret = found.again_saves_usd, found.regret_usd
    if saved is not None:
        told = f"saves {money(saved)}" if saved >= 0 else f"costs {money(-saved)} more (it chased what did not last)"
        say(f"planning again {told} on average")
    if regret is not None:
        say(f"not to have known costs {money(regret)} on average")
    if saved is None or regret is None:
        say("no dollars where demand goes unserved whose loss the scenario does not price (unserved_usd_per_mtok)")
    shown = found.decisions[:SHOWN]
    if shown:
        print_table(
            ["what", "in the period from", "today's plan", "least", "mean", "most"],
            [[d.what, d.start, d.once_count, d.least_count, d.mean_count, d.most_count] for d in shown],
            title="Decisions of today, and those that stray as plans are made again (of large programs, parts of blocks count)",
        )
        if len(found.decisions) > SHOWN:
            say(f"{len(found.decisions) - SHOWN} later ones are in --json")
    else:
        say("nothing is signed, ported or taken in any walk: all is rented by the hour")
