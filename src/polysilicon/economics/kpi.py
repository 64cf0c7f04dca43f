"""Figures to follow over time, in words a monitoring system understands."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from polysilicon.cloud.site import Site
from polysilicon.economics.references import number_of
from polysilicon.errors import InputError, MissingFact
from polysilicon.portfolio import Plan, concentration


def custom_silicon(amounts: Mapping[str, float], vendor_of: Mapping[str, str], *, merchants: Sequence[str] = ("Nvidia", "AMD", "Intel")) -> float:
    """Return the share of custom silicon in amounts by chip: chips whose vendor sells none to others.

    >>> custom_silicon({"gb200": 60.0, "tpu-v7": 40.0}, {"gb200": "Nvidia", "tpu-v7": "Google"})
    0.4
    """
    total = sum(amounts.values())
    if total <= 0:
        raise InputError("a share needs amounts above 0")
    return sum(value for chip, value in amounts.items() if vendor_of[chip] not in merchants) / total


def of_plan(plan: Plan, vendor_of: Mapping[str, str]) -> dict[str, float]:
    """Return the figures of a plan: share of custom silicon in tokens and dollars, concentration by vendor and cloud, of dollars."""
    tokens: dict[str, float] = {}
    dollars: dict[str, float] = {}
    for p in plan.placements:
        if p.chip:
            tokens[p.chip] = tokens.get(p.chip, 0.0) + p.mtok
            dollars[p.chip] = dollars.get(p.chip, 0.0) + p.usd
    out = {}
    if sum(tokens.values()) > 0 and sum(dollars.values()) > 0:
        out["custom_silicon_tokens_frac"] = custom_silicon(tokens, vendor_of)
        out["custom_silicon_usd_frac"] = custom_silicon(dollars, vendor_of)
    for found in concentration(plan, vendor_of):
        if found.of == "dollars" and found.by != "region":
            out[f"{found.by}_concentration_hhi"] = found.hhi
            out[f"{found.by}_largest_frac"] = found.top_frac
    return out


def carbon_by_region(plan: Plan, sites: Mapping[str, Site]) -> dict[str, dict[str, float]]:
    """Return, by cloud/region, energy and CO2 of a plan's busy chips, location-based, and grams per million tokens.

    kWh = busy chips x hours x watts x PUE / 1000; chips whose power is not known make a region's figures absent, not 0.

    Raises: MissingFact when a region that serves has no site with a carbon figure.
    """
    out: dict[str, dict[str, float]] = {}
    for p in plan.placements:
        if not p.chip:
            continue
        for i, (_, where, chips, watts) in enumerate(plan.watts(p)):
            if where not in sites:
                raise MissingFact(where, "g_co2_per_kwh", needed_for="the carbon of its tokens")
            site = sites[where]
            kwh = chips * plan.periods[p.period].hours * watts * site.pue / 1000
            row = out.setdefault(where, {"kwh": 0.0, "mtok": 0.0, "kg": 0.0})
            row["kwh"] += kwh
            row["mtok"] += p.mtok if i == 0 else 0.0  # counted where they are prefilled
            row["kg"] += kwh * site.power_on(plan.periods[p.period].start)[1] / 1000
    for row in out.values():
        row["g_per_mtok"] = row["kg"] * 1000 / row["mtok"] if row["mtok"] > 0 else 0.0
    return out


def prometheus(figures: Mapping[str, float], *, prefix: str = "polysilicon_") -> str:
    """Return figures in the text format that Prometheus reads.

    >>> print(prometheus({"custom_silicon_usd_frac": 0.4}), end="")
    # TYPE polysilicon_custom_silicon_usd_frac gauge
    polysilicon_custom_silicon_usd_frac 0.4
    """
    return "".join(f"# TYPE {prefix}{name} gauge\n{prefix}{name} {value!r}\n" for name, value in figures.items())


def cost_variance(shares: Sequence[float], volatilities: Sequence[float], correlation_frac: float, *, draws: int = 4096, seed: int = 7) -> float:
    """Return the variance of a bill's relative change when it is spread over suppliers whose prices move apart.

    Equal correlation between all pairs. Over n equal suppliers it is s^2 (1/n + rho (1 - 1/n)); drawn, not assumed.
    """
    rng = np.random.default_rng(seed)
    common = rng.standard_normal((draws, 1))
    own = rng.standard_normal((draws, len(shares)))
    moves = np.sqrt(correlation_frac) * common + np.sqrt(1 - correlation_frac) * own
    weights = np.asarray(shares, float) / sum(shares)
    return float(np.var((moves * np.asarray(volatilities)) @ weights, ddof=1))


def margin_fan(
    *,
    years: float,
    price_fall: tuple[float, float, float],
    cost_falls: Iterable[tuple[float, float, float]],
    margin_frac: float,
    correlation_frac: float = 0.5,
    draws: int = 4096,
    seed: int = 7,
) -> list[tuple[float, float, float, float]]:
    """Return (year, p10, p50, p90) of gross margin by quarter when token prices fall and cost falls with the best of some silicons.

    Falls are (low, base, high) a year, triangular; a lab that can move pays the cheapest of its silicons, one that cannot its only.
    """
    rng = np.random.default_rng(seed)
    falls = [np.asarray(f, float) for f in cost_falls]
    shared = rng.random((draws, 1))
    mixed = [np.where(rng.random((draws, 1)) < correlation_frac, shared, rng.random((draws, 1))) for _ in falls]
    price = _triangular(rng.random((draws, 1)), price_fall)
    costs = [_triangular(u, (float(f[0]), float(f[1]), float(f[2]))) for u, f in zip(mixed, falls, strict=True)]
    out = []
    for quarter in range(int(years * 4) + 1):
        t = quarter / 4
        cost = np.min([(1 - c) ** t for c in costs], axis=0) * (1 - margin_frac)
        margin = 1 - cost / (1 - price) ** t
        p10, p50, p90 = (float(x) for x in np.percentile(margin, [10, 50, 90]))
        out.append((t, p10, p50, p90))
    return out


@dataclass(frozen=True, slots=True)
class MarginOutlook:
    """Gross margin by quarter with one silicon and with two to choose from: (year, p10, p50, p90)."""

    one: tuple[tuple[float, float, float, float], ...]
    two: tuple[tuple[float, float, float, float], ...]
    price_fall_frac: tuple[float, float, float]  # a year: low, base, high
    cost_fall_frac: tuple[float, float, float]


def margin_outlook(*, years: float, margin_frac: float = 0.5) -> MarginOutlook:
    """Return the outlook on the assumed falls of data/economics.csv (subject `margin-outlook`), the same for both silicons."""
    price, cost = (
        tuple(number_of("margin-outlook", f"{what}_fall_per_year_frac.{end}") for end in ("low", "base", "high")) for what in ("price", "cost")
    )
    price_fall, cost_fall = (price[0], price[1], price[2]), (cost[0], cost[1], cost[2])
    one, two = (tuple(margin_fan(years=years, price_fall=price_fall, cost_falls=[cost_fall] * count, margin_frac=margin_frac)) for count in (1, 2))
    return MarginOutlook(one, two, price_fall, cost_fall)


def _triangular(u: np.ndarray, band: tuple[float, float, float]) -> np.ndarray:
    low, base, high = band
    if high == low:
        return np.full_like(u, base)
    mode = (base - low) / (high - low)
    return np.where(u < mode, low + np.sqrt(u * (high - low) * (base - low)), high - np.sqrt((1 - u) * (high - low) * (high - base)))
