"""A workload: which model answers which traffic, under which promises, at which price."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Slo:
    """Latency promises at a quantile of requests; batch work promises a deadline instead."""

    ttft_s: float | None = None  # arrival at our door to first output token, queueing included
    tpot_s: float | None = None  # (e2e - ttft) / (osl - 1)
    e2e_s: float | None = None
    quantile: float = 0.95
    deadline_s: float | None = None  # deferrable work: done within so long after arrival

    @property
    def deferrable(self) -> bool:
        """Return whether the work may wait for idle capacity."""
        return self.deadline_s is not None


@dataclass(frozen=True, slots=True)
class Lengths:
    """The shape of a request, as used for sizing: means over requests."""

    isl_tokens: float
    osl_tokens: float
    cached_frac: float = 0.0  # share of prompt tokens found in the prefix cache
    isl_cv: float = 1.0
    osl_cv: float = 1.0


@dataclass(frozen=True, slots=True)
class Workload:
    """One stream of requests with one model, one promise and one price."""

    id: str
    model: str
    slo: Slo
    lengths: Lengths
    mean_rps: float  # requests per second, mean over the first period
    peak_to_mean_ratio: float = 1.0  # busiest hour over mean
    growth_per_year_frac: float = 0.0
    application: str = ""
    usd_per_mtok_in: float | None = None
    usd_per_mtok_cached: float | None = None
    usd_per_mtok_out: float | None = None
    regions: tuple[str, ...] = ()  # where it may be served; empty: anywhere
    clouds: tuple[str, ...] = ()  # channel pin; empty: any
    tags: tuple[str, ...] = ()  # compliance tags an offer must carry
    chips: tuple[str, ...] = ()  # chip allow-list; empty: any
    priority: int = 0
    traffic: dict[str, object] = field(default_factory=dict)  # how to make or read its trace (see application/generate.py)
