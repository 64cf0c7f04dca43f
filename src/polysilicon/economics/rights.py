"""Rights and answers beyond cash: places in the queue as offers, options used or left, deals recast for others, a chip maker's moves.

What a deal grants becomes something the planner can hold: an offer with a date and a size.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Any

import numpy as np

from polysilicon.cloud.offer import Offer
from polysilicon.economics.deal import Deal, OptionPart
from polysilicon.economics.options import option_usd
from polysilicon.errors import InputError, did_you_mean


def priority_offers(deal: Deal, public: Offer, *, usd_per_chip_hour: float | None = None) -> tuple[Offer, ...]:
    """Return the offers that a holder of priority rights can plan with: its own share early, everyone's later.

    The public offer becomes available on the right's public date; the holder's, with the right's size, on its own date.
    Rights that are only talked about grant nothing.
    """
    out: list[Offer] = []
    later = public
    for right in deal.priority:
        if right.chip != public.chip or right.status not in ("announced", "signed", "changed"):
            continue
        later = replace(later, available_from=max(later.available_from, right.public_from.isoformat()))
        price = public.usd_per_chip_hour if usd_per_chip_hour is None else usd_per_chip_hour
        out.append(
            replace(
                public,
                id=f"{public.id}-priority",
                available_from=right.available_from.isoformat(),
                max_chips=right.chips,
                usd_per_chip_hour=price,
                source=right.source or "deal file",
            )
        )
    return (*out, later)


@dataclass(frozen=True, slots=True)
class Exercise:
    """What becomes of an option."""

    option: str
    worth_usd: float
    exercised_frac: float  # of drawn price paths in which it is used at the end of its window
    by_scenario: Mapping[str, bool]  # price scenario -> used


def exercise(option: OptionPart, as_of: date, *, rate_frac: float = 0.10, draws: int = 20_000, seed: int = 7) -> Exercise:
    """Return how often an option is used: only where the price at the end of its window is above the strike.

    Scenarios are the 10, 50 and 90 % points of the price then.
    """
    years = max(0.0, (option.window_end - as_of).days / 365.25)
    spread = option.volatility_frac * years**0.5
    shocks = np.random.default_rng(seed).standard_normal(draws)
    ends = option.forward_usd_per_gw_year * np.exp(spread * shocks - spread**2 / 2)
    worth = option_usd(
        option.forward_usd_per_gw_year, option.strike_usd_per_gw_year, volatility_frac=option.volatility_frac, years=years, rate_frac=rate_frac
    )
    points = dict(zip(("low", "middle", "high"), np.percentile(ends, [10, 50, 90]), strict=True))
    used = {name: bool(price > option.strike_usd_per_gw_year) for name, price in points.items()}
    return Exercise(option.id, worth * option.gw * option.years, float(np.mean(ends > option.strike_usd_per_gw_year)), used)


def recast(deal: Deal, names: Mapping[str, str]) -> Deal:
    """Return a deal with other parties in the same roles: a template for what-if, not a forecast.

    Raises: InputError for a party that the deal does not have, or a new name that it already has.
    """
    known = [party.id for party in deal.parties]
    for old, new in names.items():
        if old not in known:
            raise InputError(f'party "{old}" is not in the deal', hint=did_you_mean(old, known))
        if new in known:
            raise InputError(f'party "{new}" is in the deal already')
    return Deal.model_validate(_renamed(deal.model_dump(mode="python"), names) | {"name": f"{deal.name}, recast"})


_PARTY_KEYS = ("id", "payer", "payee", "buyer", "seller", "holder", "writer", "grantor", "bound", "to", "party", "supplier")


def _renamed(value: Any, names: Mapping[str, str], key: str = "") -> Any:
    if isinstance(value, dict):
        if key in ("owns_frac",):
            return {names.get(k, k): v for k, v in value.items()}
        return {k: _renamed(v, names, k) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return tuple(_renamed(v, names, key) for v in value)
    return names.get(value, value) if key in (*_PARTY_KEYS, "rivals") and isinstance(value, str) else value


def toggled(offers: Sequence[Offer], vendor_of: Mapping[str, str], toggle: str) -> tuple[Offer, ...]:
    """Return offers as they would be after one of a dominant chip maker's answers.

    - price-cut: every offer of Nvidia's chips at 80 %
    - next-generation: chips not on sale yet can be bought now
    - tooling: 10 % more work from every Nvidia chip, which to a buyer is its price over 1.1

    Raises: InputError for another name.
    """
    if toggle not in TOGGLES:
        raise InputError(f'toggle "{toggle}" is not known', hint=f"toggles: {', '.join(TOGGLES)}")
    out = []
    for offer in offers:
        theirs = vendor_of.get(offer.chip, "").casefold() == "nvidia"
        if theirs and toggle in ("price-cut", "tooling") and offer.usd_per_chip_hour is not None:
            factor = 0.8 if toggle == "price-cut" else 1 / 1.1
            out.append(replace(offer, usd_per_chip_hour=offer.usd_per_chip_hour * factor))
        elif theirs and toggle == "next-generation":
            out.append(replace(offer, available_from=""))
        else:
            out.append(offer)
    return tuple(out)


TOGGLES = ("price-cut", "next-generation", "tooling")
