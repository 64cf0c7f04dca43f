"""Traffic made to published statistics: the shape of a day, bursts, lengths, sessions, shared prefixes.

The same seed gives the same bytes. Time of arrival comes from a renewal process (Gamma or Weibull) run through the
day's curve, so the count, the burstiness and the curve are what was asked for; who speaks at each arrival comes from
simulated sessions, in their order.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from polysilicon.application.profiles import Profile, day_curve, profile
from polysilicon.application.sessions import Sessions, draw
from polysilicon.application.trace import F8, I4, I8, Trace
from polysilicon.application.workload import Lengths
from polysilicon.errors import InputError, did_you_mean
from polysilicon.units import SECONDS_PER_HOUR

MAX_REQUESTS = 100_000_000  # in one piece: above it, use `stream`
NOMINAL_TTFT_S = 2.0  # of the service the gaps were observed at; a user's own time is the gap less the answer's
NOMINAL_TPOT_S = 1 / 50
_SAMPLE = 40_000
_MIX_STEP = 1 << 15


@dataclass(frozen=True, slots=True)
class Traffic:
    """A profile and what is different about one's own traffic. Lengths that are None stay as the profile has them."""

    profile: str
    timezone_h: float = 0.0  # local time less UTC
    peak_to_mean_ratio: float | None = None
    arrival_cv: float | None = None
    arrivals: Literal["gamma", "weibull"] = "gamma"
    isl_p50_tokens: float | None = None
    isl_p99_tokens: float | None = None
    isl_mean_tokens: float | None = None
    osl_p50_tokens: float | None = None
    osl_p99_tokens: float | None = None
    osl_mean_tokens: float | None = None
    cached_frac: float | None = None


def traffic(spec: str | Traffic | Mapping[str, object]) -> Traffic:
    """Return the traffic of a profile's name, or of a scenario's `traffic` section (nested `lengths` or flat).

    Raises: InputError on a key that is not known.
    """
    if isinstance(spec, Traffic):
        return spec
    if isinstance(spec, str):
        return Traffic(profile(spec).id)
    flat = {k: v for k, v in spec.items() if k not in ("lengths", "mean_rps", "trace", "format")}
    nested = spec.get("lengths")
    if isinstance(nested, Mapping):
        flat |= nested
    known = {f.name for f in fields(Traffic)}
    for key in flat:
        if key not in known:
            raise InputError(f'traffic has no "{key}"', hint=did_you_mean(key, known))
    name = flat.pop("profile", None)
    if not isinstance(name, str):
        raise InputError("traffic names no profile", hint="chat, coding-agent, batch, long-context or enterprise")
    return Traffic(profile(name).id, **{k: v for k, v in flat.items() if v is not None})  # type: ignore[arg-type]


def generate(
    spec: str | Traffic | Mapping[str, object],
    *,
    seconds: float,
    mean_rps: float,
    seed: int = 7,
    start_hour: float = 0.0,
    workload: str = "",
    blocks: bool = True,
) -> Trace:
    """Return traffic of a profile from `start_hour` UTC on, for so many seconds.

    `mean_rps` is the mean over a day; the window holds mean_rps x the integral of the day's curve over it, to the
    nearest whole request. With `peak_to_mean_ratio=1` the day is flat and the count is mean_rps x seconds.
    Sessions under way when the window opens have grown prompts already; `reuse_tokens` counts what a warm cache holds of
    them. `blocks=False` leaves the prefix blocks out (a coding agent's are some 120 a request).

    >>> trace = generate(Traffic("chat", peak_to_mean_ratio=1.0), seconds=100.0, mean_rps=5.0, seed=1)
    >>> len(trace), trace.arrival_s.max() < 100.0
    (500, np.True_)

    Raises: InputError on a rate or time that is not positive and finite, and where one piece would be too large.
    """
    asked = traffic(spec)
    shape = _shape(asked)
    for name, value in (("seconds", seconds), ("mean_rps", mean_rps)):
        if not (math.isfinite(value) and value > 0):
            raise InputError(f"{name} is {value!r}; it must be a positive finite number")
    clock = _Clock.of(asked, shape, start_hour, seconds)
    requests = round(mean_rps * clock.flat_s)
    if requests > MAX_REQUESTS:
        raise InputError(
            f"{requests:,} requests in one piece; at most {MAX_REQUESTS:,}",
            hint="use generate.stream, or a shorter window",
        )
    rng = np.random.default_rng([seed, zlib.crc32(f"{workload}/{asked.profile}".encode())])
    arrival = clock.at(_renewal(asked, shape, requests, rng))
    who = draw(shape.profile, requests, seconds, rng)
    return _trace(shape, arrival, who, rng, workload=workload or asked.profile, blocks=blocks)


def stream(
    spec: str | Traffic | Mapping[str, object],
    *,
    seconds: float,
    mean_rps: float,
    seed: int = 7,
    start_hour: float = 0.0,
    workload: str = "",
    block_requests: int = 1_000_000,
) -> Iterator[Trace]:
    """Yield the same traffic in consecutive pieces of about `block_requests`, times counted from the first one's start.

    Memory holds one piece. Sessions do not continue across pieces; each piece opens with sessions under way.
    """
    pieces = max(1, math.ceil(mean_rps * seconds / block_requests))
    length = seconds / pieces
    sessions = 0
    for piece in range(pieces):
        part = generate(
            spec, seconds=length, mean_rps=mean_rps, seed=seed * 1_000_003 + piece,
            start_hour=start_hour + piece * length / SECONDS_PER_HOUR, workload=workload, blocks=False,
        )  # fmt: skip
        part.arrival_s += piece * length
        if len(part.session):
            part.session += sessions
            sessions = int(part.session.max()) + 1
        yield part


def lengths(spec: str | Traffic | Mapping[str, object]) -> Lengths:
    """Return the mean shape of a request of this traffic, the way sizing wants it; generated traces agree with it.

    Means by quadrature over the quantiles; the reuse from 40,000 requests of a fixed seed.
    """
    return _lengths(traffic(spec))


def hourly_profile(spec: str | Traffic | Mapping[str, object], timezone_h: float | None = None) -> tuple[float, ...]:
    """Return the demand of the 24 hours of a UTC day relative to their mean.

    >>> round(max(hourly_profile("chat")), 2), round(sum(hourly_profile("chat")) / 24, 6)
    (1.46, 1.0)
    """
    asked = traffic(spec)
    if timezone_h is not None:
        asked = replace(asked, timezone_h=timezone_h)
    hourly = _utc_curve(asked, profile(asked.profile))
    return tuple(float(x) for x in hourly)


def merge(traces: Sequence[Trace]) -> Trace:
    """Return several traces as one in order of arrival; equal workload names become one workload.

    Raises: InputError when prefix blocks of different sizes meet.
    """
    traces = [t for t in traces if len(t)]
    if not traces:
        return Trace(np.empty(0), np.empty(0, np.int32), np.empty(0, np.int32))
    sizes = {t.block_tokens for t in traces if t.has_blocks}
    if len(sizes) > 1:
        raise InputError(f"prefix blocks of {sorted(sizes)} tokens meet in one trace", hint="generate them with blocks=False, or with one size")
    names = tuple(dict.fromkeys(name for t in traces for name in t.workload_names))
    place = {name: i for i, name in enumerate(names)}
    arrival = np.concatenate([t.arrival_s for t in traces])
    order = np.argsort(arrival, kind="stable")
    workload = np.concatenate([np.array([place[n] for n in t.workload_names], np.int32)[t.workload_index()] for t in traces])
    offset, block = _ragged(traces, order) if sizes else (np.empty(0, np.int64), np.empty(0, np.int64))
    return Trace(
        arrival[order],
        np.concatenate([t.isl_tokens for t in traces])[order],
        np.concatenate([t.osl_tokens for t in traces])[order],
        workload=workload[order],
        workload_names=names,
        session=_joined_sessions(traces)[order] if any(len(t.session) for t in traces) else np.empty(0, np.int32),
        think_s=_column(traces, "think_s", 0.0, np.float64, order),
        priority=_column(traces, "priority", 0, np.int32, order),
        block_offset=offset,
        block_hash=block,
        block_tokens=sizes.pop() if sizes else 0,
        reuse_tokens=_column(traces, "reuse_tokens", 0, np.int32, order),
        source="; ".join(dict.fromkeys(t.source for t in traces if t.source)),
    )


def scale(trace: Trace, *, mean_rps: float) -> Trace:
    """Return the same requests with their arrivals pressed together or drawn apart to a mean rate; think times stay.

    Raises: InputError on a rate that is not positive, or a trace whose requests all arrive at once.
    """
    if not (math.isfinite(mean_rps) and mean_rps > 0):
        raise InputError(f"mean_rps is {mean_rps!r}; it must be a positive finite number")
    if trace.span_s <= 0:
        raise InputError("a trace without a span has no rate to scale")
    return replace(trace, arrival_s=trace.arrival_s * (len(trace) / trace.span_s / mean_rps))


def take(trace: Trace, index: NDArray[np.int64]) -> Trace:
    """Return the requests at these positions, in their order, blocks included; arrivals are in order where positions are."""
    offset, block = _ragged([trace], index) if trace.has_blocks else (np.empty(0, np.int64), np.empty(0, np.int64))

    def pick(column: Any) -> Any:
        return column[index] if len(column) else column

    return replace(
        trace,
        arrival_s=trace.arrival_s[index], isl_tokens=trace.isl_tokens[index], osl_tokens=trace.osl_tokens[index],
        workload=pick(trace.workload), session=pick(trace.session), think_s=pick(trace.think_s),
        priority=pick(trace.priority), reuse_tokens=pick(trace.reuse_tokens), block_offset=offset, block_hash=block,
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Shape:
    """A profile bent to what was asked: x' = exp(shift) x^power for both lengths, and how often reuse is lost."""

    profile: Profile
    isl: tuple[float, float]
    osl: tuple[float, float]
    break_frac: float


@dataclass(frozen=True, slots=True)
class _Clock:
    """The day's curve over a window: `at` turns shares of the window's requests into times."""

    edge_s: F8
    sum_s: F8  # integral of the curve up to each edge

    @classmethod
    def of(cls, asked: Traffic, shape: _Shape, start_hour: float, seconds: float) -> _Clock:
        hourly = _utc_curve(asked, shape.profile)
        begin = start_hour * SECONDS_PER_HOUR
        first = math.floor(start_hour) + 1
        inner = np.arange(first, math.ceil((begin + seconds) / SECONDS_PER_HOUR)) * SECONDS_PER_HOUR - begin
        edge = np.r_[0.0, inner[(inner > 0) & (inner < seconds)], seconds]
        middle = (edge[:-1] + edge[1:]) / 2 + begin
        factor = hourly[np.floor(middle / SECONDS_PER_HOUR).astype(int) % 24]
        return cls(edge, np.r_[0.0, np.cumsum(np.diff(edge) * factor)])

    @property
    def flat_s(self) -> float:
        return float(self.sum_s[-1])

    def at(self, share: F8) -> F8:
        time = np.interp(share * self.flat_s, self.sum_s, self.edge_s)
        return np.asarray(np.minimum(time, np.nextafter(self.edge_s[-1], 0.0)), np.float64)


def _utc_curve(asked: Traffic, base: Profile) -> F8:
    """Return the hourly curve of a UTC day; a half-hour zone mixes two local hours."""
    local = day_curve(base.day, asked.peak_to_mean_ratio)
    hours = np.arange(24) + asked.timezone_h
    below = np.floor(hours).astype(int)
    part = hours - below
    curve: F8 = local[below % 24] * (1 - part) + local[(below + 1) % 24] * part
    return curve


def _renewal(asked: Traffic, shape: _Shape, requests: int, rng: np.random.Generator) -> F8:
    """Shares of the window at which requests arrive: normalised gaps of the asked coefficient of variation."""
    cv = asked.arrival_cv if asked.arrival_cv is not None else shape.profile.arrival_cv
    if not (math.isfinite(cv) and 0 < cv <= 50):
        raise InputError(f"arrival_cv is {cv!r}; it lies above 0 and up to 50 (1 is a Poisson process)")
    weibull = asked.arrivals == "weibull"
    gap = rng.weibull(_weibull_shape(cv), requests + 1) if weibull else rng.standard_gamma(1 / cv**2, requests + 1)
    total = np.cumsum(gap)
    return total[:-1] / total[-1] if total[-1] > 0 else np.linspace(0, 1, requests, endpoint=False)


def _weibull_shape(cv: float) -> float:
    """Return the Weibull shape with this coefficient of variation: cv^2 = G(1 + 2/k) / G(1 + 1/k)^2 - 1."""
    low, high = 0.1, 60.0
    for _ in range(80):
        k = math.sqrt(low * high)
        got = math.exp(math.lgamma(1 + 2 / k) - 2 * math.lgamma(1 + 1 / k)) - 1
        low, high = (k, high) if got > cv**2 else (low, k)
    return math.sqrt(low * high)


def _trace(shape: _Shape, arrival: F8, who: Sessions, rng: np.random.Generator, *, workload: str, blocks: bool) -> Trace:
    base, n = shape.profile, len(arrival)
    osl = _bend(base.osl.at_score(rng.standard_normal(n)), shape.osl)
    isl = _bend(who.isl_tokens, shape.isl)
    prior = np.where(who.prior_tokens > 0, np.minimum(_bend(np.maximum(who.prior_tokens, 1.0), shape.isl), isl), 0)
    lineage = who.lineage.astype(np.int64)
    if shape.break_frac > 0:
        lost = rng.random(n) < shape.break_frac
        prior = np.where(lost, 0, prior)
        lineage = lineage + _losses(who, lost) * (int(lineage.max(initial=0)) + 1)
    application = (rng.zipf(1.6, int(who.session.max(initial=-1)) + 2) - 1) % base.applications
    app = application[who.session] if base.turns is not None else (rng.zipf(1.6, n) - 1) % base.applications
    shared = np.minimum(base.shared_tokens, isl)
    reuse = np.maximum(prior, shared).astype(np.int32)
    trace = Trace(
        arrival, isl.astype(np.int32), osl.astype(np.int32), workload_names=(workload,), reuse_tokens=reuse,
        source=f"generated, {base.id}: {base.source}",
    )  # fmt: skip
    if base.turns is not None:
        trace.session = who.session
        trace.think_s = _think(arrival, trace.osl_tokens, who.session)
    if blocks:
        _add_blocks(trace, base, lineage, app.astype(np.int64), workload)
    return trace


def _losses(who: Sessions, lost: NDArray[np.bool_]) -> I8:
    """Count, within each session, the losses up to each request."""
    order = np.argsort(who.session, kind="stable")
    running = np.cumsum(lost[order])
    begins = np.r_[True, np.diff(who.session[order]) != 0] if len(order) else np.zeros(0, bool)
    base = (running - lost[order])[begins][np.cumsum(begins) - 1] if len(order) else running
    count = np.empty(len(order), np.int64)
    count[order] = running - base
    return count


def _think(arrival: F8, osl: I4, session: I4) -> F8:
    """Return the user's own time before each request: the gap less the nominal time of the answer before it."""
    order = np.argsort(session, kind="stable")
    gap = np.diff(arrival[order], prepend=0.0)
    answer = np.r_[0.0, NOMINAL_TTFT_S + osl[order][:-1] * NOMINAL_TPOT_S]
    same = np.r_[False, np.diff(session[order]) == 0] if len(order) else np.zeros(0, bool)
    think = np.zeros(len(order))
    think[order] = np.where(same, np.maximum(0.0, gap - answer), 0.0)
    return think


def _add_blocks(trace: Trace, base: Profile, lineage: I8, app: I8, workload: str) -> None:
    """Block j of a prompt is named by its application while j lies in the shared prefix, by its lineage after it.

    A name is mix(key x 2^16 + j). The keys are laid out once a request, so that only two arrays have a row a block.
    """
    count = trace.isl_tokens // base.block_tokens
    offset = np.r_[0, np.cumsum(count, dtype=np.int64)]
    salt = np.uint64(zlib.crc32(workload.encode())) << np.uint64(32)
    own = ((lineage + base.applications).astype(np.uint64) << np.uint64(16)) + salt
    names = np.repeat(own - offset[:-1].astype(np.uint64), count)  # wraps below zero, and back when the place is added
    names += np.arange(offset[-1], dtype=np.uint64)
    common = (app.astype(np.uint64) << np.uint64(16)) + salt
    for j in range(int(base.shared_tokens // base.block_tokens)):
        has = count > j
        names[offset[:-1][has] + j] = common[has] + np.uint64(j)
    trace.block_offset = offset
    trace.block_hash = mix(names)
    trace.block_tokens = base.block_tokens


def mix(value: NDArray[np.uint64]) -> I8:
    """Return well-spread non-negative 63-bit names for distinct numbers (the finaliser of splitmix64), in place.

    Works a cache's worth at a time.
    """
    for begin in range(0, len(value), _MIX_STEP):
        part = value[begin : begin + _MIX_STEP]
        part ^= part >> np.uint64(30)
        part *= np.uint64(0xBF58476D1CE4E5B9)
        part ^= part >> np.uint64(27)
        part *= np.uint64(0x94D049BB133111EB)
        part ^= part >> np.uint64(31)
        part >>= np.uint64(1)
    return value.view(np.int64)


def _bend(value: F8, law: tuple[float, float]) -> F8:
    shift, power = law
    bent: F8 = np.maximum(1.0, np.rint(np.exp(shift + power * np.log(value))))
    return bent


@lru_cache(maxsize=256)
def _shape(asked: Traffic) -> _Shape:
    base = profile(asked.profile)
    sample = draw(base, _SAMPLE, 4 * SECONDS_PER_HOUR, np.random.default_rng(1))
    isl_law = _law("isl", sample.isl_tokens, asked.isl_p50_tokens, asked.isl_p99_tokens, asked.isl_mean_tokens)
    osl = base.osl.at_score(np.random.default_rng(2).standard_normal(_SAMPLE))
    osl_law = _law("osl", osl, asked.osl_p50_tokens, asked.osl_p99_tokens, asked.osl_mean_tokens)
    shape = _Shape(base, isl_law, osl_law, 0.0)
    return shape if asked.cached_frac is None else _with_reuse(shape, asked.cached_frac, sample)


def _law(name: str, sample: F8, p50: float | None, p99: float | None, mean: float | None) -> tuple[float, float]:
    """Return (shift, power) such that exp(shift) x^power has the asked median, 99th percentile or mean; two at most."""
    given = {"p50": p50, "p99": p99, "mean": mean}
    asked = {k: v for k, v in given.items() if v is not None}
    if not asked:
        return 0.0, 1.0
    for key, value in asked.items():
        if not (math.isfinite(value) and 1 <= value <= 2e7):
            raise InputError(f"{name}_{key}_tokens is {value!r}; it lies in 1..20,000,000 tokens")
    if len(asked) > 2:
        raise InputError(f"{name} is given by p50, p99 and mean; two of them settle the third", hint="leave one out")
    logs = np.log(sample)
    anchor = {"p50": float(np.quantile(logs, 0.5)), "p99": float(np.quantile(logs, 0.99))}
    if mean is None:
        if len(asked) == 1:
            key, value = next(iter(asked.items()))
            return math.log(value) - anchor[key], 1.0
        assert p50 is not None and p99 is not None
        if p99 <= p50:
            raise InputError(f"{name}_p99_tokens {p99:g} is not above {name}_p50_tokens {p50:g}")
        power = math.log(p99 / p50) / (anchor["p99"] - anchor["p50"])
        return math.log(p50) - power * anchor["p50"], power
    if len(asked) == 1:
        return math.log(mean / float(sample.mean())), 1.0
    key = "p50" if p50 is not None else "p99"
    return _law_by_mean(name, logs, mean, key, anchor[key], float(asked[key]))


def _law_by_mean(name: str, logs: F8, mean: float, key: str, anchor: float, value: float) -> tuple[float, float]:
    """Bisect the power so that one quantile stands and the mean is met; the mean grows with the power about a median."""

    def got(power: float) -> float:
        return float(np.exp(math.log(value) + power * (logs - anchor)).mean())

    low, high = (0.0, 3.0) if key == "p50" else (3.0, 0.0)
    if not got(low) <= mean <= got(high):
        raise InputError(
            f"{name}_mean_tokens {mean:g} cannot go with {name}_{key}_tokens {value:g}; "
            f"with this profile's shape the mean lies in {got(low):.0f}..{got(high):.0f}"
        )  # fmt: skip
    for _ in range(60):
        power = (low + high) / 2
        low, high = (power, high) if got(power) < mean else (low, power)
    power = (low + high) / 2
    return math.log(value) - power * anchor, power


def _reuse(shape: _Shape, sample: Sessions) -> tuple[float, float]:
    """Return the share of prompt tokens a warm cache holds, and the share that is the application's prefix."""
    isl = _bend(sample.isl_tokens, shape.isl)
    prior = np.where(sample.prior_tokens > 0, np.minimum(_bend(np.maximum(sample.prior_tokens, 1.0), shape.isl), isl), 0)
    shared = np.minimum(shape.profile.shared_tokens, isl)
    return float(np.maximum(prior, shared).sum() / isl.sum()), float(shared.sum() / isl.sum())


def _with_reuse(shape: _Shape, wanted: float, sample: Sessions) -> _Shape:
    """Lose reuse at random where less is wanted; share a longer prefix, or more turns, where more is."""
    if not 0 <= wanted <= 0.995:
        raise InputError(f"cached_frac is {wanted:g}; it lies in 0..0.995")
    have, shared = _reuse(shape, sample)
    if wanted <= have:
        if wanted >= shared and have > shared:
            return replace(shape, break_frac=(have - wanted) / (have - shared))
        base = replace(shape.profile, shared_tokens=0.0)
        return _with_prefix(replace(shape, profile=base, break_frac=1.0), wanted, replace(sample, prior_tokens=np.zeros_like(sample.isl_tokens)))
    return _with_prefix(shape, wanted, sample)


def _with_prefix(shape: _Shape, wanted: float, sample: Sessions) -> _Shape:
    low, high = 0.0, float(_bend(sample.isl_tokens, shape.isl).max())
    for _ in range(50):
        tokens = (low + high) / 2
        got, _ = _reuse(replace(shape, profile=replace(shape.profile, shared_tokens=tokens)), sample)
        low, high = (tokens, high) if got < wanted else (low, tokens)
    return replace(shape, profile=replace(shape.profile, shared_tokens=(low + high) / 2))


@lru_cache(maxsize=256)
def _lengths(asked: Traffic) -> Lengths:
    """Lengths by quadrature over their quantiles; reuse from a sample, for it hangs on the sessions."""
    shape = _shape(asked)
    probability = (np.arange(20_000) + 0.5) / 20_000
    isl, osl = _bend(shape.profile.isl.at(probability), shape.isl), _bend(shape.profile.osl.at(probability), shape.osl)
    window = 4 * SECONDS_PER_HOUR
    trace = generate(replace(asked, peak_to_mean_ratio=1.0), seconds=window, mean_rps=_SAMPLE / window, seed=11, blocks=False)
    return Lengths(
        isl_tokens=float(isl.mean()), osl_tokens=float(osl.mean()),
        cached_frac=float(trace.reuse_tokens.sum() / trace.isl_tokens.sum(dtype=np.int64)),
        isl_cv=float(isl.std() / isl.mean()), osl_cv=float(osl.std() / osl.mean()),
    )  # fmt: skip


def _joined_sessions(traces: Sequence[Trace]) -> I4:
    """Return session numbers that are apart for each trace; -1 stays: no session."""
    before = 0
    parts = []
    for trace in traces:
        own = trace.session if len(trace.session) else np.full(len(trace), -1, np.int32)
        parts.append(np.where(own >= 0, own + before, -1).astype(np.int32))
        before += int(own.max(initial=-1)) + 1
    return np.concatenate(parts)


def _column(traces: Sequence[Trace], name: str, missing: float, kind: type, order: I8) -> Any:
    if not any(len(getattr(t, name)) for t in traces):
        return np.empty(0, kind)
    return np.concatenate([getattr(t, name) if len(getattr(t, name)) else np.full(len(t), missing, kind) for t in traces])[order]


def _ragged(traces: Sequence[Trace], order: I8) -> tuple[I8, I8]:
    """Reorder prefix blocks of joined traces."""
    counts = np.concatenate([np.diff(t.block_offset) if t.has_blocks else np.zeros(len(t), np.int64) for t in traces])
    block = np.concatenate([t.block_hash for t in traces if t.has_blocks])
    begin = np.r_[0, np.cumsum(counts)][:-1][order]
    picked = counts[order]
    offset = np.r_[0, np.cumsum(picked)]
    position = np.arange(offset[-1]) - np.repeat(offset[:-1], picked) + np.repeat(begin, picked)
    return offset, block[position]
