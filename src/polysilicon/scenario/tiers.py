"""Long-context classes: one workload told apart by the length of its prompts, so that each tier is sized and placed by itself."""

from __future__ import annotations

from itertools import pairwise
from math import exp, inf, log, sqrt
from statistics import NormalDist

import numpy as np

from polysilicon.application.workload import Lengths
from polysilicon.errors import InputError
from polysilicon.scenario.calendar import local_day
from polysilicon.scenario.lengths import lengths_of
from polysilicon.scenario.schema import LengthsPart, Scenario, TrafficPart, WorkloadPart

_CDF = NormalDist().cdf
_Z99 = NormalDist().inv_cdf(0.99)
LEAST_SHARE_FRAC = 1e-4  # of requests: a tier with fewer is no class of its own


def with_tiers(scenario: Scenario) -> Scenario:
    """Return the scenario with each workload that states `context_tiers` as one workload a tier.

    Each tier has its share of requests and its own prompt lengths; outputs, cached share, the day's curve and promises are
    the workload's. Traffic of a tier is drawn from lengths: sessions do not stay within a tier, so prefixes are by share.

    Raises: InputError where a tier would hold nothing.
    """
    if not any(w.context_tiers for w in scenario.workloads):
        return scenario
    parts = {w.id: _tiers(w, scenario) if w.context_tiers else (w,) for w in scenario.workloads}
    changes: dict[str, object] = {"workloads": tuple(part for group in parts.values() for part in group)}
    apart = scenario.disaggregation
    if apart is not None and apart.workloads:
        names = tuple(part.id for name in apart.workloads for part in parts.get(name, ()))
        changes["disaggregation"] = apart.model_copy(update={"workloads": names})
    return scenario.model_copy(update=changes)


def _tiers(part: WorkloadPart, scenario: Scenario) -> tuple[WorkloadPart, ...]:
    base = lengths_of(part.traffic, scenario)
    prompts = _prompts(part.traffic, scenario)
    edges = (0.0, *map(float, part.context_tiers), inf)
    made = []
    for low, high in pairwise(edges):
        share, mean, cv = _of_sample(prompts, low, high) if prompts is not None else of_lognormal(base.isl_tokens, base.isl_cv, low, high)
        if share < LEAST_SHARE_FRAC:
            words = f"prompts of {low:,.0f} to {high:,.0f} tokens are {share:.3%} of its requests: no tier of its own"
            raise InputError(f'workload "{part.id}": {words}', hint="leave that boundary out of context_tiers")
        given = TrafficPart(
            mean_rps=part.traffic.mean_rps * share,
            hourly=tuple(float(h) for h in local_day(part)),
            timezone_h=part.traffic.timezone_h,
            arrival_cv=part.traffic.arrival_cv,
            lengths=_stated(base, mean, cv),
        )
        name = f"{part.id} to {_short(high)}" if high < inf else f"{part.id} over {_short(low)}"
        made.append(part.model_copy(update={"id": name, "traffic": given, "context_tiers": ()}))
    return tuple(made)


def of_lognormal(mean: float, cv: float, low: float, high: float) -> tuple[float, float, float]:
    """Return the share of a lognormal between two bounds, and mean and coefficient of variation there.

    With s^2 = ln(1 + cv^2), m = ln mean - s^2 / 2: E[x^k; low < x <= high] = exp(k m + k^2 s^2 / 2) (N(b - k s) - N(a - k s)).

    >>> share, mean, cv = of_lognormal(1000.0, 1.0, 0.0, float("inf"))
    >>> round(share, 6), round(mean, 3), round(cv, 6)
    (1.0, 1000.0, 1.0)
    """
    if cv <= 0:
        return (1.0, mean, 0.0) if low < mean <= high else (0.0, mean, 0.0)
    s = sqrt(log(1.0 + cv * cv))
    m = log(mean) - s * s / 2.0

    def moment(k: int) -> float:
        a = _CDF((log(low) - m) / s - k * s) if low > 0 else 0.0
        b = _CDF((log(high) - m) / s - k * s) if high < inf else 1.0
        return exp(k * m + k * k * s * s / 2.0) * (b - a)

    share = moment(0)
    if share <= 0:
        return 0.0, mean, 0.0
    inside = moment(1) / share
    return share, inside, sqrt(max(0.0, moment(2) / share / inside**2 - 1.0))


def _prompts(traffic: TrafficPart, scenario: Scenario) -> np.ndarray | None:
    """Return the prompt lengths of a trace, where that is where the traffic comes from."""
    if traffic.trace is None or traffic.lengths != LengthsPart():
        return None
    from polysilicon.application.read import read

    return np.asarray(read(scenario.file_beside(traffic.trace), format=traffic.format).isl_tokens, float)


def _of_sample(prompts: np.ndarray, low: float, high: float) -> tuple[float, float, float]:
    inside = prompts[(prompts > low) & (prompts <= high)]
    if not len(inside):
        return 0.0, 0.0, 0.0
    return len(inside) / len(prompts), float(inside.mean()), float(inside.std() / inside.mean())


def _stated(base: Lengths, isl_mean: float, isl_cv: float) -> LengthsPart:
    """Return lengths as quantiles of lognormals with these means and spreads."""
    isl, osl = _quantiles(isl_mean, isl_cv), _quantiles(base.osl_tokens, base.osl_cv)
    return LengthsPart(
        isl_p50_tokens=isl[0], isl_p99_tokens=isl[1], osl_p50_tokens=osl[0], osl_p99_tokens=osl[1], cached_frac=base.cached_frac
    )  # fmt: skip


def _quantiles(mean: float, cv: float) -> tuple[float, float]:
    s = sqrt(log(1.0 + cv * cv))
    p50 = mean / exp(s * s / 2.0)
    return p50, p50 * exp(_Z99 * s)


def _short(tokens: float) -> str:
    """Return a length the way people write context windows.

    >>> _short(8192.0), _short(32000.0), _short(500.0)
    ('8k', '32k', '500')
    """
    if tokens >= 1000:
        return f"{tokens / 1024:.0f}k" if tokens % 1024 == 0 else f"{tokens / 1000:g}k"
    return f"{tokens:g}"
