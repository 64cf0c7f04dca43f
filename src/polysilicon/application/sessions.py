"""Sessions: who speaks when, how a prompt grows from turn to turn, and what of it was there before."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from polysilicon.application.profiles import Growth, Profile, Quantiles
from polysilicon.application.trace import F8, I4, I8

WARM_LIMIT_S = 4 * 3600.0  # sessions older than this at the trace's start are not made: 6 % of an agent's requests
REFERENCE_REQUESTS = 60_000
REFERENCE_WINDOW_S = 4 * 3600.0


@dataclass(frozen=True, slots=True)
class Sessions:
    """Requests in order of time. `prior_tokens` is the prompt of the predecessor that this prompt begins with."""

    time_s: F8  # [n]
    session: I4  # [n]
    lineage: I8  # [n] requests of one lineage begin with each other's prompts
    isl_tokens: F8  # [n]
    prior_tokens: F8  # [n] 0 where the prompt shares nothing but the application's prefix


def draw(profile: Profile, requests: int, window_s: float, rng: np.random.Generator) -> Sessions:
    """Return so many requests of sessions that are under way, begin or end within a window.

    Sessions begin at a steady rate, up to four hours before the window, so that its first minute looks like its last.
    """
    if profile.turns is None or profile.gap is None:
        return _alone(profile, requests, rng)
    turns_of, gap_of = profile.turns, profile.gap
    probe = np.random.default_rng(0)
    mean_turns = float(_turns(turns_of, 20_000, probe).mean())
    mean_gap = float(gap_of.at_score(probe.standard_normal(20_000)).mean())
    warm_s = min(WARM_LIMIT_S, 3.0 * mean_turns * mean_gap)
    count = int(requests / mean_turns * (window_s + warm_s) / window_s * 1.25) + 20
    while True:
        turns = _turns(turns_of, count, rng)
        begin = rng.uniform(-warm_s, window_s, count)
        first = np.r_[0, np.cumsum(turns)[:-1]]
        owner = np.repeat(np.arange(count), turns)
        gap = gap_of.at_score(rng.standard_normal(len(owner)))
        gap[first] = 0.0
        since = np.cumsum(gap)
        time = begin[owner] + since - since[first][owner]
        kept = np.flatnonzero((time >= 0.0) & (time < window_s))
        if len(kept) >= requests:
            break
        count = int(count * 1.6) + 20
    kept = kept[:requests]
    flat = int(kept[-1]) + 1 if requests else 0
    owner, first_turn = owner[:flat], np.zeros(flat, bool)
    first_turn[first[first < flat]] = True
    lineage, isl, prior = _prompts(profile, owner, first_turn, rng)
    order = kept[np.argsort(time[kept], kind="stable")]
    _, session = np.unique(owner[order], return_inverse=True)
    return Sessions(time[order], session.astype(np.int32), lineage[order], isl[order], prior[order])


def _alone(profile: Profile, requests: int, rng: np.random.Generator) -> Sessions:
    isl = profile.isl.at_score(rng.standard_normal(requests))
    return Sessions(np.arange(requests, dtype=np.float64), np.full(requests, -1, np.int32), np.arange(requests), isl, np.zeros(requests))


def _turns(turns: Quantiles, count: int, rng: np.random.Generator) -> I8:
    drawn: I8 = np.maximum(1, np.rint(turns.at_score(rng.standard_normal(count)))).astype(np.int64)
    return drawn


def _prompts(profile: Profile, owner: I8, first_turn: np.ndarray, rng: np.random.Generator) -> tuple[I8, F8, F8]:
    if profile.growth is not None:
        lineage, context = _grown(profile.growth, owner, first_turn, rng)
        known, probability = _reference(profile.id, profile.growth)
        isl = profile.isl.at(np.interp(context, known, probability))
    else:
        score = rng.standard_normal(len(owner))
        order = np.lexsort((score, owner))  # a conversation's prompts only grow
        isl = profile.isl.at_score(score[order])
        lineage = owner
    prior = np.r_[0.0, isl[:-1]]
    begins = np.r_[True, lineage[1:] != lineage[:-1]] if len(owner) else np.zeros(0, bool)
    prior[begins] = 0.0
    return lineage, isl, prior


def _grown(growth: Growth, owner: I8, first_turn: np.ndarray, rng: np.random.Generator) -> tuple[I8, F8]:
    """Return the lineage and the context of each turn: new tokens add up, a restart or the context's limit cuts back."""
    n = len(owner)
    sessions = int(owner[-1]) + 1 if n else 0
    first = growth.first_tokens.at_score(rng.standard_normal(sessions))
    wide = (rng.random(sessions) < growth.wide_frac) | (first > growth.limit_tokens)
    factor = np.where(wide, growth.wide_factor, 1.0)[owner]
    restart = (rng.random(n) < growth.restart_frac) & ~first_turn
    step = growth.new_tokens.at_score(rng.standard_normal(n)) * np.sqrt(factor)
    step[first_turn] = first[owner[first_turn]]
    step[restart] = growth.restart_tokens.at_score(rng.standard_normal(int(restart.sum()))) * np.sqrt(factor[restart])
    starts = first_turn | restart
    total = np.cumsum(step)
    segment = np.cumsum(starts) - 1
    context = total - (total - step)[starts][segment]
    limit = growth.limit_tokens * factor
    low = 0.45 * limit
    cuts = np.where(context > limit, np.floor((context - low) / (limit - low)), 0.0)
    context = context - cuts * (limit - low)
    changed = starts | np.r_[True, cuts[1:] != cuts[:-1]] if n else starts
    return np.cumsum(changed), context


@lru_cache(maxsize=8)
def _reference(profile_id: str, growth: Growth) -> tuple[F8, F8]:
    """Return the distribution of grown contexts, which is then mapped onto the published one, quantile by quantile."""
    from polysilicon.application.profiles import PROFILES

    base = PROFILES[profile_id]
    assert base.turns is not None and base.gap is not None
    rng = np.random.default_rng(20_240_501)
    sessions = int(REFERENCE_REQUESTS / 25)
    turns = _turns(base.turns, sessions, rng)
    first = np.r_[0, np.cumsum(turns)[:-1]]
    owner = np.repeat(np.arange(sessions), turns)
    first_turn = np.zeros(len(owner), bool)
    first_turn[first] = True
    _, context = _grown(growth, owner, first_turn, rng)
    probability = np.linspace(0.0005, 0.9995, 400)
    return np.asarray(np.quantile(context, probability), np.float64), probability
