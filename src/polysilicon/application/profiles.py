"""Five kinds of traffic, as published statistics: quantiles of lengths, turns and gaps, bursts, the shape of a day.

Every number is either read from a published data set, and then its source says which, or assumed, and then it says so.
Nobody's requests are stored here: a profile is a few dozen numbers.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from polysilicon.application.trace import F8
from polysilicon.errors import InputError, did_you_mean


@dataclass(frozen=True, slots=True)
class Quantiles:
    """A positive distribution given by its quantiles: log-linear in the normal score between them, cut at the ends.

    Two points make a log-normal; more points bend it to whatever was published.

    >>> q = Quantiles(((0.5, 100.0), (0.9, 400.0)))
    >>> round(float(q.at(0.5))), round(float(q.at(0.9)))
    (100, 400)
    """

    points: tuple[tuple[float, float], ...]  # (probability, value), both increasing

    def at(self, probability: float | F8) -> F8:
        """Return the value at a probability in 0..1; outside the given points the end segments go on to 0.05 % and 99.95 %."""
        score = ndtri(np.clip(probability, 0.0005, 0.9995))
        return self.at_score(score)

    def at_score(self, score: float | F8) -> F8:
        """Return the value at a standard normal score."""
        z = ndtri(np.array([p for p, _ in self.points]))
        y = np.log([v for _, v in self.points])
        low, high = ndtri(0.0005), ndtri(0.9995)
        if z[0] > low:
            y = np.r_[y[0] - (z[0] - low) * _slope(z[:2], y[:2]), y]
            z = np.r_[low, z]
        if z[-1] < high:
            y = np.r_[y, y[-1] + (high - z[-1]) * _slope(z[-2:], y[-2:])]
            z = np.r_[z, high]
        values: F8 = np.exp(np.interp(score, z, y))
        return values


def quantiles(words: str) -> Quantiles:
    """Return the distribution written as `percent:value` pairs.

    >>> quantiles("50:100 90:400").points
    ((0.5, 100.0), (0.9, 400.0))
    """
    pairs = (pair.split(":") for pair in words.split())
    return Quantiles(tuple((float(percent) / 100, float(value)) for percent, value in pairs))


def _slope(z: F8, y: F8) -> float:
    return float((y[1] - y[0]) / (z[1] - z[0])) if len(z) > 1 and z[1] > z[0] else 0.0


@dataclass(frozen=True, slots=True)
class Growth:
    """How the context of an agent's session grows: by new tokens each turn, cut back by compaction."""

    first_tokens: Quantiles  # prompt of a session's first request
    new_tokens: Quantiles  # added each turn, the last answer included
    restart_frac: float  # share of turns that start over from a summary
    restart_tokens: Quantiles  # prompt of such a turn
    limit_tokens: float  # context at which a session compacts, for most sessions
    wide_frac: float  # share of sessions with a wide context window
    wide_factor: float  # how much longer theirs are


@dataclass(frozen=True, slots=True)
class Profile:
    """One kind of traffic."""

    id: str
    isl: Quantiles  # prompt tokens of a request
    osl: Quantiles  # output tokens of a request
    turns: Quantiles | None  # requests of a session; None: no sessions
    gap: Quantiles | None  # seconds from a request of a session to the next
    shared_tokens: float  # prompt tokens that all requests of an application share: system prompt and tools
    applications: int  # distinct shared prompts, of Zipf popularity
    arrival_cv: float  # of the times between arrivals, the shape of the day taken out
    day: tuple[float, ...]  # 24 hours of local time, relative to their mean
    block_tokens: int  # prompt tokens a prefix block stands for
    growth: Growth | None = None  # None: the prompts of a session are its drawn lengths in increasing order
    source: str = ""


FLAT_DAY = (1.0,) * 24
# ServeGen m-small, 14 days averaged by hour of its clock
CONSUMER_DAY = (
    0.84, 0.71, 0.73, 0.68, 0.71, 0.66, 0.68, 0.85, 1.02, 1.05, 1.13, 1.09,
    1.06, 1.07, 1.06, 1.05, 1.09, 1.08, 1.01, 1.23, 1.46, 1.40, 1.27, 1.06,
)  # fmt: skip
# ServeGen m-mid, the same way
PLATFORM_DAY = (
    1.01, 1.04, 1.15, 1.17, 1.02, 0.94, 0.98, 1.06, 0.98, 0.99, 1.11, 1.11,
    0.96, 1.13, 1.06, 0.85, 0.84, 0.93, 0.90, 0.89, 1.01, 0.93, 0.93, 1.02,
)  # fmt: skip
# assumed: office hours with a lunch dip, nights at a seventh of the peak
OFFICE_DAY = (
    0.30, 0.28, 0.28, 0.28, 0.28, 0.30, 0.45, 0.85, 1.55, 2.00, 2.05, 1.95,
    1.50, 1.75, 2.00, 1.95, 1.75, 1.30, 0.80, 0.60, 0.55, 0.50, 0.42, 0.31,
)  # fmt: skip
# assumed: developers, later and longer than the office
DEVELOPER_DAY = (
    0.62, 0.52, 0.45, 0.42, 0.42, 0.45, 0.52, 0.70, 1.00, 1.35, 1.52, 1.50,
    1.32, 1.38, 1.52, 1.55, 1.48, 1.35, 1.18, 1.10, 1.08, 1.02, 0.90, 0.75,
)  # fmt: skip

PROFILES: dict[str, Profile] = {
    "chat": Profile(
        id="chat",
        isl=quantiles("1:29 10:207 25:396 50:1020 75:1189 90:2734 99:4142 99.9:6179"),
        osl=quantiles("1:16 10:54 25:85 50:129 75:395 90:424 99:601 99.9:954"),
        turns=quantiles("40:1 90:4 99:10"),
        gap=quantiles("10:15 50:60 90:300 99:1500"),
        shared_tokens=120.0, applications=40, arrival_cv=1.094, day=CONSUMER_DAY, block_tokens=64,
        source="lengths and burstiness: Azure LLM inference trace 2023, conversation (CC-BY 4.0); day: ServeGen m-small; "
        "turns set for the 40 % reuse of Mooncake's conversation trace (FAST 25, table 2); gaps assumed",
    ),
    "coding-agent": Profile(
        id="coding-agent",
        isl=quantiles("1:16162 5:30544 10:42420 25:66519 50:103659 75:138566 90:233633 95:300666 99:498519 99.9:802029"),
        osl=quantiles("1:58 10:105 25:137 50:216 75:426 90:898 95:1554 99:3686 99.9:7982"),
        turns=quantiles("1:3 10:7 25:18 50:45 75:94 90:155 99:332 99.9:528"),
        gap=quantiles("1:5 10:8 25:11 50:18 75:37 90:130 95:308 99:2190"),
        shared_tokens=14338.0, applications=12, arrival_cv=1.0, day=DEVELOPER_DAY, block_tokens=1024,
        growth=Growth(
            first_tokens=quantiles("1:9130 10:12274 25:18112 50:22401 75:99973 90:244659 99:624646"),
            new_tokens=quantiles("1:108 10:192 25:332 50:660 75:1567 90:3588 95:6226 99:16241"),
            restart_frac=0.0174,
            restart_tokens=quantiles("1:11048 10:28426 25:43053 50:82386 75:126406 90:228941"),
            limit_tokens=158_000.0, wide_frac=0.14, wide_factor=3.4,
        ),
        source="Claude Code sessions published by WEKA (Apache-2.0): 49,334 requests in 710 sessions; "
        "day and burstiness across sessions assumed (the sessions carry no wall clock)",
    ),
    "batch": Profile(
        id="batch",
        isl=quantiles("1:9 10:18 25:42 50:208 75:492 90:2103 95:6790 97.5:14156 99:23080 99.9:34111"),
        osl=quantiles("1:134 10:286 25:426 50:792 75:1500 90:3450 95:5715 97.5:8448 99:12745 99.9:21305"),
        turns=None, gap=None,
        shared_tokens=0.0, applications=1, arrival_cv=2.28, day=FLAT_DAY, block_tokens=64,
        source="ServeGen deepseek-r1 (Apache-2.0): rate-weighted lengths and CV of a reasoning service; the flat day is assumed",
    ),
    "long-context": Profile(
        id="long-context",
        isl=quantiles("1:16 10:30 25:277 50:11587 75:23175 90:38611 99:66456 99.9:191373"),
        osl=quantiles("1:2 10:4 25:11 50:69 75:250 90:389 99:768 99.9:813"),
        turns=quantiles("10:1 50:5 90:16 99:40"),
        gap=quantiles("10:10 50:40 90:200 99:900"),
        shared_tokens=400.0, applications=20, arrival_cv=1.011, day=PLATFORM_DAY, block_tokens=512,
        source="lengths, burstiness and 65.1 % reuse: Mooncake synthetic trace (FAST 25, Apache-2.0); "
        "day: ServeGen m-mid; gaps assumed",
    ),
    "enterprise": Profile(
        id="enterprise",
        isl=quantiles("1:73 10:1242 25:1986 50:2730 75:3370 90:3702 99:3933 99.9:4012"),
        osl=quantiles("1:36 10:78 25:115 50:167 75:242 90:372 99:3271 99.9:3844"),
        turns=quantiles("60:1 90:2.5 99:6"),
        gap=quantiles("10:20 50:90 90:600 99:3000"),
        shared_tokens=500.0, applications=60, arrival_cv=1.5, day=OFFICE_DAY, block_tokens=64,
        source="lengths: Vidur's arXiv summarisation set (MIT), 28,257 pairs; day, burstiness, turns and shared prompt assumed",
    ),
}  # fmt: skip


def profile(name: str) -> Profile:
    """Return the profile of a name.

    Raises: InputError naming the known ones.
    """
    if name not in PROFILES:
        raise InputError(
            f'traffic profile "{name}" is not known',
            hint=did_you_mean(name, PROFILES) or f"known profiles: {', '.join(PROFILES)}",
        )
    return PROFILES[name]


def day_curve(base: tuple[float, ...], peak_to_mean_ratio: float | None) -> NDArray[np.float64]:
    """Return 24 hourly factors of mean 1, bent so that the busiest stands `peak_to_mean_ratio` above the mean.

    The curve is raised to a power, so an hour that was quieter than another stays so. A flat day cannot be bent: its
    busiest hours are then made by one cosine.

    >>> [round(float(x), 2) for x in day_curve((1.0,) * 23 + (2.0,), 1.0)[-2:]]
    [1.0, 1.0]

    Raises: InputError when the ratio is below 1 or above 24.
    """
    curve = np.asarray(base, float)
    curve = curve / curve.mean()
    if peak_to_mean_ratio is None:
        return np.asarray(curve, np.float64)
    if not 1.0 <= peak_to_mean_ratio <= 24.0:
        raise InputError(f"peak_to_mean_ratio is {peak_to_mean_ratio:g}; a busiest hour over the mean of a day lies in 1..24")
    if np.ptp(curve) < 1e-9:
        curve = 1.0 + 0.25 * np.cos((np.arange(24) - 14.0) * 2 * np.pi / 24)
    low, high = 0.0, 400.0
    for _ in range(60):
        power = (low + high) / 2
        bent = (curve / curve.max()) ** power
        low, high = (power, high) if bent.max() / bent.mean() < peak_to_mean_ratio else (low, power)
    bent = (curve / curve.max()) ** ((low + high) / 2)
    return np.asarray(bent / bent.mean(), np.float64)
