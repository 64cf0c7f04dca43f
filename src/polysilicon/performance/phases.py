"""Serving points of one phase alone: replicas that only prefill, or only decode, as disaggregated serving has them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Literal

import numpy as np

from polysilicon.application.workload import Lengths, Slo
from polysilicon.errors import DoesNotFit
from polysilicon.model.architecture import Model
from polysilicon.model.layout import Layout
from polysilicon.performance import serving
from polysilicon.performance.serving import Array, Grid
from polysilicon.performance.steps import MAX_STEP_TOKENS, Degrees, Ground, Slopes, degrees, ground, no_fit_words, slopes, tokens_s
from polysilicon.performance.types import ServingPoint
from polysilicon.silicon.chip import Chip

Phase = Literal["prefill", "decode"]
LOADS: Array = np.arange(0.05, 0.96, 0.05)  # share of a prefill replica's time that is busy
Steady = Callable[[Ground, Degrees, Slopes, Lengths, float, float], Grid]


def phase_best(
    model: Model, chip: Chip, lengths: Lengths, slo: Slo, phase: Phase, *, layouts: Sequence[Layout] | None = None,
    margin_quantile: float = 0.5, efficiency_frac: float = 1.0, efficiency_path: str = "",
) -> ServingPoint | None:  # fmt: skip
    """Return the phase's point with most requests per second per chip that keeps its part of the promise, or None.

    Prefill keeps the time to first token, decode the time per output token; what the hand-over takes is for the caller to
    take off the promise. `requests_per_s` counts requests that pass through the replica. Points measured with both phases on
    one replica say nothing of one alone and are not used.

    Raises: DoesNotFit when no layout holds the weights.
    """
    steady: Steady = prefill_state if phase == "prefill" else decode_state
    points: list[ServingPoint] = []
    nearest: tuple[float, str] = (math.inf, f"{model.name} has no layout on {chip.id}")
    groups: dict[tuple[str, str], list[Layout]] = {}
    for layout in layouts if layouts is not None else serving.layouts(model, chip):
        groups.setdefault((layout.precision, layout.kv_precision), []).append(layout)
    for (precision, kv_precision), group in groups.items():
        g = ground(model, chip, precision, kv_precision, efficiency_path=efficiency_path)
        d = degrees(group)
        s = slopes(g, d)
        short = s.missing_gb_per_chip[:, 0] + np.where(s.kv_tokens[:, 0] < lengths.isl_tokens, 1e-3, 0.0)
        row = int(np.argmin(short))
        if short[row] < nearest[0]:
            nearest = (float(short[row]), no_fit_words(model, chip, group[row], s, row))
        slower = efficiency_frac / (1.0 + g.eff.error_frac * serving._z(margin_quantile) / serving._z(0.9))
        points += serving._points(model, g, group, s, steady(g, d, s, lengths, slo.quantile, slower), lengths, ())
    if not points:
        raise DoesNotFit(nearest[1])
    kept = [p for p in points if _keeps(p, slo, phase)]
    most = max(kept, key=lambda p: p.tok_per_s_per_chip, default=None)
    return None if most is None else replace(most, phase=phase)


def _keeps(point: ServingPoint, slo: Slo, phase: Phase) -> bool:
    if phase == "prefill":
        return slo.ttft_s is None or point.ttft_s <= slo.ttft_s
    return slo.tpot_s is None or point.tpot_s <= slo.tpot_s


def prefill_state(g: Ground, d: Degrees, s: Slopes, lengths: Lengths, quantile: float, efficiency_frac: float) -> Grid:
    """Return the steady state of replicas that only prefill, at growing load; every array is [layouts, loads].

    A prompt keeps full steps busy for b = u / room x step(room); at load l the replica takes l / b requests a second, and
    TTFT is the wait of M/G/1 in tokens and one's own prefill, as where both phases share a replica.

    Ignores: that steps are shorter than full ones while few prompts wait, which the simulator replays.
    """
    load = np.broadcast_to(LOADS[None, :], (d.tp.shape[0], LOADS.shape[0]))
    uncached = serving.uncached_tokens(lengths)
    room = np.broadcast_to(MAX_STEP_TOKENS * d.dp, load.shape)
    none = np.zeros_like(load)

    def step(tokens: Array, attended: float) -> Array:
        math_s = tokens_s(g.terms, g.rates, d, tokens) + s.pair_s * tokens * attended
        return np.asarray((math_s + g.rates.prefill_step_s) / efficiency_frac)

    def prefill_s(tokens: float) -> Array:
        chunks = np.ceil(tokens / room)
        return np.asarray(chunks * step(tokens / chunks, lengths.isl_tokens - uncached + tokens / 2.0))

    busy_s = uncached / room * step(room, lengths.isl_tokens - uncached / 2.0)
    rps = load / busy_s
    ttft = g.eff.first_token_s + g.eff.admission_s + serving._ttft_s(prefill_s, busy_s, rps, none, lengths, quantile)
    inside = np.maximum(1.0, room / uncached)  # prompts a full step works on
    fits = (inside * lengths.isl_tokens <= s.kv_tokens) | (lengths.isl_tokens <= 0.5 * s.kv_tokens)
    fits &= s.missing_gb_per_chip <= 0.0
    mfu = rps * uncached * _flop_per_token(g, lengths) / (d.tp * d.pp * d.dp * g.peak_tflop_per_s * 1e12)
    return Grid(np.maximum(1.0, np.round(inside)), none, none, ttft, rps, none + 1.0, np.asarray(mfu), none, np.asarray(fits))


def _flop_per_token(g: Ground, lengths: Lengths) -> float:
    """Return the math of one prompt token: two per active weight, and attention over half the prompt."""
    t = g.terms
    routed = t.routed_params * t.experts_per_token / t.experts if t.experts else 0.0
    return float(2.0 * (t.dense_params + routed) + t.prefill_pair_flop * lengths.isl_tokens / 2.0)


def decode_state(g: Ground, d: Degrees, s: Slopes, lengths: Lengths, quantile: float, efficiency_frac: float) -> Grid:
    """Return the steady state of replicas that only decode: step = decode(n), rate = n / (OSL step); arrays [layouts, batches]."""
    n = np.broadcast_to(serving.BATCHES[None, :], (d.tp.shape[0], serving.BATCHES.shape[0]))
    osl = max(1.0, lengths.osl_tokens)
    context = lengths.isl_tokens + osl / 2.0
    step = serving._decode_s(g, d, s, n, context) / efficiency_frac
    n_q = n + serving._z(quantile) * np.sqrt(n) if quantile > 0.5 else n
    tpot_q = serving._decode_s(g, d, s, n_q, context) / efficiency_frac
    held = n * context * (1.0 + serving._z(0.95) * lengths.osl_cv * 0.5 / np.sqrt(n))
    fits = (held <= s.kv_tokens) & (s.missing_gb_per_chip <= 0.0) & (n <= 4096.0 * d.dp)
    mfu, mbu = serving._utilisation(g, d, n, step, 0.0, context)
    none = np.zeros_like(n)
    return Grid(n, step, tpot_q, none, n / (osl * step), none, mfu, mbu, fits)
