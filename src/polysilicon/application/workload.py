"""A workload: which model answers which traffic, under which promises, at which price."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from polysilicon.cloud.region import lies_in


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
class Pins:
    """Where a workload may be served: residency, channel, compliance, chips (patterns); what is empty allows anything."""

    regions: tuple[str, ...] = ()
    clouds: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    chips: tuple[str, ...] = ()

    def refuses(self, *, region: str, cloud: str, tags: Collection[str], chip: str) -> str:
        """Return why a place is out, the empty string where it is not; `chip` is empty where tokens are bought.

        >>> Pins(regions=("eu",)).refuses(region="eastus2", cloud="azure", tags=(), chip="gb200")
        'outside the regions where its data may go (eu)'
        """
        if self.clouds and cloud not in self.clouds:
            return f"not in the clouds it is pinned to ({', '.join(self.clouds)})"
        if self.regions and not any(lies_in(region, wanted) for wanted in self.regions):
            return f"outside the regions where its data may go ({', '.join(self.regions)})"
        if chip and self.chips and not any(fnmatchcase(chip.casefold(), pattern.casefold()) for pattern in self.chips):
            return f"not on the chips it allows ({', '.join(self.chips)})"
        missing = [tag for tag in self.tags if tag not in tags]
        return f"without the tag {', '.join(sorted(missing))}" if missing else ""


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

    @property
    def pins(self) -> Pins:
        """Return where it may be served."""
        return Pins(self.regions, self.clouds, self.tags, self.chips)
