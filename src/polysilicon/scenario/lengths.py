"""The shape of a workload's requests, from what the scenario says about its traffic."""

from __future__ import annotations

from functools import lru_cache
from math import exp, log, sqrt
from pathlib import Path

from polysilicon.application.workload import Lengths
from polysilicon.scenario.schema import LengthsPart, Scenario, TrafficPart

_Z99 = 2.3263478740408408  # the standard normal's 99th percentile


def lengths_of(traffic: TrafficPart, scenario: Scenario) -> Lengths:
    """Return means and spreads of prompt and output lengths: the profile's or the trace's, under the file's own words.

    A median and a 99th percentile make a lognormal: mean = p50 exp(s^2/2), cv = sqrt(exp(s^2) - 1), s = ln(p99/p50)/2.326.

    Raises: InputError when the trace cannot be read.
    """
    own = traffic.lengths
    if traffic.profile is not None:
        from polysilicon.application.generate import lengths

        return lengths({"profile": traffic.profile, "lengths": own.model_dump(exclude_none=True)})
    base = _of_trace(scenario.file_beside(traffic.trace), traffic.format) if traffic.trace is not None else Lengths(0.0, 0.0)
    isl, isl_cv = _side(own, "isl", base.isl_tokens, base.isl_cv)
    osl, osl_cv = _side(own, "osl", base.osl_tokens, base.osl_cv)
    return Lengths(isl, osl, base.cached_frac if own.cached_frac is None else own.cached_frac, isl_cv, osl_cv)


def lognormal(p50_tokens: float, p99_tokens: float) -> tuple[float, float]:
    """Return mean and coefficient of variation of the lognormal through two quantiles.

    >>> mean, cv = lognormal(1000.0, 1000.0)
    >>> mean, cv
    (1000.0, 0.0)
    """
    spread = log(p99_tokens / p50_tokens) / _Z99
    return p50_tokens * exp(spread**2 / 2), sqrt(exp(spread**2) - 1)


def _side(own: LengthsPart, side: str, mean: float, cv: float) -> tuple[float, float]:
    given, p50, p99 = (getattr(own, f"{side}_{q}_tokens") for q in ("mean", "p50", "p99"))
    if p50 is not None and p99 is not None:
        mean, cv = lognormal(p50, p99)
    return (given if given is not None else mean), cv


@lru_cache(maxsize=16)
def _of_trace(path: Path, kind: str) -> Lengths:
    from polysilicon.application.read import read

    trace = read(path, format=kind)
    isl, osl = trace.isl_tokens, trace.osl_tokens
    return Lengths(
        float(isl.mean()),
        float(osl.mean()),
        0.0,
        float(isl.std() / max(isl.mean(), 1e-9)),
        float(osl.std() / max(osl.mean(), 1e-9)),
    )
