"""Futures drawn from a seed: demand that wanders, hourly prices that move, chips that come late. The same seed, the same futures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date

import numpy as np

from polysilicon.parallel import run_all
from polysilicon.planner.arcs import months
from polysilicon.planner.engine import Progress
from polysilicon.planner.problem import F8, Problem
from polysilicon.planner.program import contracted
from polysilicon.planner.resolve import Asker
from polysilicon.planner.uncertainty import Future, cost_alone, costs_of, cvar_usd, first_stage, option_value_usd, two_stage
from polysilicon.scenario.calendar import add_months

ROUNDING_FRAC = 1e-9  # of the cost: a smaller regret is none
TAIL_FRAC = 0.9  # the tail is the worst tenth


@dataclass(frozen=True, slots=True)
class Doubt:
    """How far the world may stray from the scenario. All assumed: nobody publishes them; state your own."""

    demand_volatility_frac: float = 0.3  # a year, of demand's logarithm
    price_volatility_frac: float = 0.2  # over the horizon, of a vendor's hourly prices
    slip_probability_frac: float = 0.25  # that a chip not yet shipping is late
    slip_months: int = 6


def draw(tables: Problem, *, count: int, seed: int, doubt: Doubt | None = None) -> list[Future]:
    """Return so many equally likely futures, in pairs that mirror each other.

    Demand of period y is times exp(v sqrt(t) z - v^2 t / 2), t in years from today, one z a future: uncertainty widens and
    the mean stays. Hourly prices of each chip vendor are times exp(w z - w^2 / 2); terms signed keep their price. A chip that
    is not shipping yet is late with a probability, everywhere at once.
    """
    doubt = doubt or Doubt()
    rng = np.random.default_rng(seed)
    vendors = sorted({p.chip.vendor for p in tables.pools})
    futures = []
    for i in range(count):
        if i % 2 == 0:
            z, w = float(rng.standard_normal()), rng.standard_normal(len(vendors))
        else:
            z, w = -z, -w
        moved = _grown(tables, doubt.demand_volatility_frac, z).repriced(hourly_factors(tables, vendors, w, doubt))
        futures.append(Future(f"future {i + 1}", 1.0 / count, slipped(moved, rng, doubt)))
    return futures


def _ships(day: date | None) -> str:
    return "" if day is None else day.isoformat()


def _grown(tables: Problem, volatility: float, z: float) -> Problem:
    years = np.array([months(tables.periods[0].start, p.start) / 12.0 for p in tables.periods])
    factor: F8 = np.exp(volatility * np.sqrt(years) * z - volatility**2 * years / 2)[tables.slot_period]
    return replace(tables, demand_rps=tables.demand_rps * factor, peak_rps=tables.peak_rps * factor)


def hourly_factors(tables: Problem, vendors: Sequence[str], w: F8, doubt: Doubt) -> dict[str, float]:
    """Return by how much each hourly offer's price is multiplied, w being standard normal, one a vendor."""
    factors = np.exp(doubt.price_volatility_frac * w - doubt.price_volatility_frac**2 / 2)
    factor = dict(zip(vendors, factors.tolist(), strict=True))
    return {
        offer.id: factor[tables.pools[pool].chip.vendor]
        for offer, pool in zip(tables.offers, tables.pool_of, strict=True)
        if not contracted(offer.kind, offer.min_term_months)
    }


def slipped(tables: Problem, rng: np.random.Generator, doubt: Doubt) -> Problem:
    """Return the question with each chip that is not shipping yet late, everywhere at once, or on time, as drawn."""
    shipping = {p.chip.id: _ships(p.chip.available_from) for p in tables.pools}
    coming = sorted(chip for chip, day in shipping.items() if day > tables.periods[0].start)
    late = [c for c in coming if rng.random() < doubt.slip_probability_frac]

    def day(chip: str, had: str) -> str:
        return max(had, add_months(date.fromisoformat(shipping[chip]), doubt.slip_months).isoformat())

    offers = tuple(replace(o, available_from=day(o.chip, o.available_from)) if o.chip in late else o for o in tables.offers)
    return replace(tables, offers=offers)


@dataclass(frozen=True, slots=True)
class Decision:
    """A first year, and what it costs over the futures; discounted dollars."""

    name: str
    expected_usd: float
    cvar_usd: float  # mean of the worst tenth
    most_regret_usd: float  # over what would have been best in a future


@dataclass(frozen=True, slots=True)
class Spread:
    """How far cost strays as hourly prices move, with all vendors or one."""

    name: str
    mean_usd: float | None  # None where demand goes unserved whose loss the scenario does not price
    sd_usd: float | None
    unserved_frac: float


@dataclass(frozen=True, slots=True)
class Hedge:
    """What a buyer who does not know the future can know: discounted dollars."""

    futures: int
    seed: int
    decisions: tuple[Decision, ...]  # the hedge, and today's plan
    objective_usd: float  # (1 - w) mean + w tail of the hedge, which it minimises
    bound_usd: float
    knowing_usd: float
    first_year: tuple[tuple[str, float, float], ...]  # what, in the hedge, in today's plan
    spreads: tuple[Spread, ...]
    options: tuple[tuple[str, float | None], ...]  # vendor, worth of engines off its chips; None as of a spread


def hedged(
    tables: Problem, *, count: int, seed: int, doubt: Doubt | None = None, tail_weight: float = 0.5, workers: int = 1,
    backend: str = "processes", address: str | None = None, progress: Progress | None = None,
) -> Hedge:  # fmt: skip
    """Return the hedge over drawn futures beside today's plan, and what options and knowledge are worth.

    `workers`, `backend` and `address` are those of `polysilicon.parallel.run_all`; where it runs cannot change the result.
    """
    doubt, tell = doubt or Doubt(), progress or (lambda _done, _words: None)
    futures = draw(tables, count=count, seed=seed, doubt=doubt)
    share = np.array([f.probability_frac for f in futures])
    where = {"workers": workers, "backend": backend, "address": address}
    alone = np.array(run_all(cost_alone, [f.tables for f in futures], **where))  # type: ignore[arg-type]
    tell(0.2, "each future by itself")
    found = two_stage(futures, cvar_weight=tail_weight, workers=workers, backend=backend, address=address)
    tell(0.5, "the hedge")
    today = first_stage(tables)
    costs = np.array([row[0] for row in run_all(costs_of, [(f.tables, [today]) for f in futures], **where)])  # type: ignore[arg-type]
    tell(0.7, "today's plan in every future")
    mine = np.array(found.by_future_usd)

    def regret_usd(paid: F8) -> float:
        most = float((paid - alone).max())
        return most if most > ROUNDING_FRAC * float(np.abs(alone).max()) else 0.0

    decisions = (
        Decision("the hedge", found.expected_usd, found.cvar_usd, regret_usd(mine)),
        Decision("today's plan", float(share @ costs), cvar_usd(costs, share, TAIL_FRAC), regret_usd(costs)),
    )
    first = [(key, found.first_count.get(key, 0.0), today.get(key, 0.0)) for key in dict.fromkeys([*found.first_count, *today])]
    year = tuple((f"{what}, period {y}", a, b) for (what, _, y), a, b in first if max(a, b) > 1e-6)
    spreads = spread(tables, count=count, seed=seed, volatility=doubt.price_volatility_frac, workers=workers, backend=backend, address=address)
    tell(0.9, "each vendor alone")
    vendors = sorted({p.chip.vendor for p in tables.pools})
    options = tuple((v, option_value_usd(tables, vendor=v, volatility=doubt.price_volatility_frac)) for v in vendors) if len(vendors) > 1 else ()
    return Hedge(count, seed, decisions, found.objective_usd, found.bound_usd, float(share @ alone), year, spreads, options)


def spread(
    tables: Problem, *, count: int, seed: int, volatility: float, workers: int = 1, backend: str = "processes", address: str | None = None
) -> tuple[Spread, ...]:
    """Return mean and standard deviation of the best cost as vendors' hourly prices move alone: with all, and with each alone."""
    still = Doubt(demand_volatility_frac=0.0, price_volatility_frac=volatility, slip_probability_frac=0.0)
    worlds = [f.tables for f in draw(tables, count=count, seed=seed, doubt=still)]
    vendors = sorted({p.chip.vendor for p in tables.pools})
    cases = [("all vendors", worlds)]
    if len(vendors) > 1:
        cases += [(f"{v} alone", [_only(w, v) for w in worlds]) for v in vendors]
    jobs = [w for _, some in cases for w in some]
    found = iter(run_all(cost_and_unserved, jobs, workers=workers, backend=backend, address=address))
    rows = []
    for name, some in cases:
        answers = [next(found) for _ in some]
        usd = [a for a, _ in answers if a is not None]
        mean, sd = (float(np.mean(usd)), float(np.std(usd))) if len(usd) == len(answers) else (None, None)
        rows.append(Spread(name, mean, sd, float(np.mean([u for _, u in answers]))))
    return tuple(rows)


def _only(tables: Problem, vendor: str) -> Problem:
    for other in sorted({p.chip.vendor for p in tables.pools} - {vendor}):
        tables = tables.without(vendor=other)
    return tables


def cost_and_unserved(tables: Problem) -> tuple[float | None, float]:
    """Return the best cost of one world, None where nobody priced what goes unserved, and the share of requests that does."""
    answer = Asker(tables, divisible=True).ask()
    return answer.told_usd, answer.unserved_frac
