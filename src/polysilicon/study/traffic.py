"""The traffic of a workload's busiest hour, long enough to measure, with caches as warm as they would be."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polysilicon.application import generate
from polysilicon.application.trace import Trace
from polysilicon.application.workload import Workload
from polysilicon.errors import InputError

F8 = NDArray[np.float64]
_NOTHING = Trace(np.empty(0), np.empty(0, np.int32), np.empty(0, np.int32))
WARM_UP = "warm-up"  # a workload of its own, so that nothing of it is measured
WARM_BUSY_FRAC = 0.5  # of the time before the traffic: replicas get prompts of unequal length


@dataclass(frozen=True, slots=True)
class Window:
    """A trace and from when on it counts."""

    trace: Trace
    measured_from_s: float
    measured_until_s: float
    source: str


def peak_window(work: Workload, *, rps: float, seconds: float, prefill_s: Callable[[F8], F8], seed: int) -> Window:
    """Return traffic at a steady rate, preceded by what fills the prefix caches.

    Sessions under way when the window opens have prompts that a running fleet would hold. They are put in first, as
    prompts with one token of output, all at once so that replicas share them evenly; when they are worked off the traffic
    starts, and its first fifth is not measured. `prefill_s` says how long prompts of so many tokens keep the fleet busy.

    Raises: InputError when a trace file is too short to make a window of.
    """
    body = body_of(work, rps, seconds, seed)
    warm = _warm_up(body)
    lead = float(prefill_s(warm.isl_tokens.astype(np.float64)).sum()) / WARM_BUSY_FRAC
    trace = _after(warm, body, lead) if len(warm) else body
    return Window(trace, lead + 0.2 * seconds, lead + seconds, body.source or str(work.traffic.get("profile", "")))


def body_of(work: Workload, rps: float, seconds: float, seed: int) -> Trace:
    """Return traffic of a workload at a steady rate: generated, read from its trace file, or drawn from its lengths."""
    spec = dict(work.traffic)
    if spec.get("path"):
        return _from_file(work, rps, seconds)
    if spec.get("profile"):
        asked = {k: spec[k] for k in ("profile", "arrival_cv", "lengths") if spec.get(k) is not None}
        return generate.generate({**asked, "peak_to_mean_ratio": 1.0}, seconds=seconds, mean_rps=rps, seed=seed, workload=work.id)
    return _from_lengths(work, rps, seconds, seed)


def _from_file(work: Workload, rps: float, seconds: float) -> Trace:
    """Return the first requests of the user's trace, pressed or drawn to the rate."""
    from pathlib import Path

    from polysilicon.application.read import read

    path = Path(str(work.traffic["path"]))
    trace = read(path, format=str(work.traffic.get("format", "auto")), limit=max(1, round(rps * seconds)))
    if len(trace) < 100 or trace.span_s <= 0:
        raise InputError(f"holds {len(trace)} requests; the proof needs 100 at least", where=str(path))
    names = dict.fromkeys(trace.workload_names)
    single = replace(trace, workload=np.empty(0, np.int32), workload_names=(work.id,)) if names else trace
    return generate.scale(single, mean_rps=rps)


def _from_lengths(work: Workload, rps: float, seconds: float, seed: int) -> Trace:
    """Return Gamma arrivals with lognormal lengths of the stated means and spreads."""
    rng = np.random.default_rng([seed, zlib.crc32(work.id.encode())])
    count = max(1, round(rps * seconds))
    cv = float(str(work.traffic.get("arrival_cv") or 1.0))
    gaps = rng.gamma(1.0 / cv**2, cv**2, count + 1)
    arrival = np.cumsum(gaps)[:count] * (seconds / gaps.sum())
    lengths = work.lengths
    isl = _lognormal(rng, lengths.isl_tokens, lengths.isl_cv, count)
    osl = _lognormal(rng, lengths.osl_tokens, lengths.osl_cv, count)
    cached = (isl * lengths.cached_frac).astype(np.int32)
    return Trace(arrival, isl, osl, workload_names=(work.id,), reuse_tokens=cached, source="lognormal lengths of the scenario")


def _lognormal(rng: np.random.Generator, mean: float, cv: float, count: int) -> np.ndarray[tuple[int], np.dtype[np.int32]]:
    spread = math.sqrt(math.log1p(cv**2))
    values = np.exp(rng.normal(math.log(mean) - spread**2 / 2, spread, count))
    return np.maximum(1, np.round(values)).astype(np.int32)


def _warm_up(body: Trace) -> Trace:
    """Return the prompts that sessions under way and shared system prompts would have left in the caches."""
    if not len(body.reuse_tokens) or not body.has_blocks:
        return _NOTHING
    first = np.ones(len(body), bool)
    if len(body.session):
        inside = body.session >= 0
        index = np.flatnonzero(inside)
        _, at = np.unique(body.session[index], return_index=True)
        first = ~inside
        first[index[at]] = True
    chosen = np.flatnonzero(first & (body.reuse_tokens > 0))[::-1]  # what is wanted first was used last: a full cache still holds it
    if not len(chosen):
        return _NOTHING
    kept = generate.take(body, chosen)
    offset, hashes = _leading_blocks(kept)
    return replace(
        kept,
        arrival_s=np.zeros(len(kept)),
        isl_tokens=np.maximum(1, kept.reuse_tokens),
        osl_tokens=np.ones(len(kept), np.int32),
        think_s=np.zeros(len(kept) if len(kept.think_s) else 0),
        block_offset=offset,
        block_hash=hashes,
    )


def _after(warm: Trace, body: Trace, lead_s: float) -> Trace:
    """Return the warm-up and then the traffic; a session's warm-up is its first turn, so the router knows where it is."""

    def both(name: str) -> Any:
        return np.concatenate([getattr(warm, name), getattr(body, name)])

    return replace(
        body,
        arrival_s=np.concatenate([warm.arrival_s, body.arrival_s + lead_s]),
        workload=np.repeat(np.array([1, 0], np.int32), [len(warm), len(body)]),
        workload_names=(body.workload_names[0], WARM_UP),
        block_offset=np.concatenate([warm.block_offset, body.block_offset[1:] + warm.block_offset[-1]]),
        **{name: both(name) for name in ("isl_tokens", "osl_tokens", "session", "think_s", "priority", "reuse_tokens", "block_hash")},
    )


def _leading_blocks(kept: Trace) -> tuple[np.ndarray[tuple[int], np.dtype[np.int64]], np.ndarray[tuple[int], np.dtype[np.int64]]]:
    """Return the blocks that the reused part of each prompt fills."""
    counts = np.minimum(kept.reuse_tokens // kept.block_tokens, np.diff(kept.block_offset))
    offset = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    rows = np.repeat(np.arange(len(kept)), counts)
    within = np.arange(int(offset[-1])) - offset[rows]
    return offset, kept.block_hash[kept.block_offset[rows] + within].astype(np.int64)
