"""Step times: the work of a step times the calibrated efficiency of a chip, for many layouts at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from polysilicon.errors import DoesNotFit
from polysilicon.model.architecture import Model
from polysilicon.model.layout import Layout
from polysilicon.model.work import ACTIVATION_BYTES, Terms, experts_hit, terms
from polysilicon.performance.efficiency import Efficiency, efficiency
from polysilicon.performance.types import StepTimes
from polysilicon.silicon.chip import BITS, Chip
from polysilicon.silicon.network import Links, all_reduce_s, all_to_all_s, send_s
from polysilicon.silicon.roofline import math_precision, math_s, memory_s, smooth_max
from polysilicon.units import BYTES_PER_GB, FLOP_PER_TFLOP

Array = NDArray[np.float64]
WINDOW_CONTEXT_TOKENS = 8192.0  # context at which window layers' share of the KV cache is counted


@dataclass(frozen=True, slots=True)
class Degrees:
    """Degrees of parallelism of several layouts, as columns [layouts, 1]."""

    tp: Array
    pp: Array
    ep: Array
    dp: Array


@dataclass(frozen=True, slots=True)
class Ground:
    """Everything a step's time depends on except the layout and the tokens: one model on one chip in one precision."""

    terms: Terms
    chip: Chip
    eff: Efficiency
    links: Links
    peak_tflop_per_s: float
    hbm_gb_per_s: float
    note: str


def ground(
    model: Model, chip: Chip, precision: str, kv_precision: str, *, engine: str = "*", efficiency_path: str = "",
) -> Ground:  # fmt: skip
    """Return what a model on a chip in a precision rests on.

    Raises: MissingFact where the chip's math rate, memory bandwidth or, for several chips, links are not known.
    """
    math, note = math_precision(chip, precision)
    eff = efficiency(chip, math, engine, path=efficiency_path)
    links = Links(
        scale_up_gb_per_s=(chip.scale_up_gb_per_s or chip.scale_out_gb_per_s or 1.0) * eff.link_frac,
        domain_chips=int(chip.scale_up_chips or 1),
        scale_out_gb_per_s=(chip.scale_out_gb_per_s or 12.5) * eff.link_frac,
        latency_s=eff.collective_s, scale_out_latency_s=4 * eff.collective_s,
    )  # fmt: skip
    return Ground(
        terms=terms(model, precision, kv_precision), chip=chip, eff=eff, links=links,
        peak_tflop_per_s=chip.dense_tflop_per_s[math], hbm_gb_per_s=chip.need("hbm_gb_per_s", needed_for="step times"), note=note,
    )  # fmt: skip


def degrees(layouts: Sequence[Layout]) -> Degrees:
    """Return the columns of a list of layouts."""
    table = np.array([[x.tp, x.pp, x.ep, x.dp] for x in layouts], dtype=float).reshape(-1, 4, 1)
    return Degrees(table[:, 0], table[:, 1], table[:, 2], table[:, 3])


def tokens_s(g: Ground, d: Degrees, tokens: Array) -> Array:
    """Return the seconds of a step's token-dependent part [layouts, tokens]: GEMMs, collectives, launches, host.

    With pipeline stages a step is one round: pp micro-batches of t / pp tokens, each in another stage, so every stage reads
    its own layers once per micro-batch and the round takes as long as the whole depth at t / pp tokens.
    """
    t, eff = g.terms, g.eff
    each = np.maximum(tokens / d.pp, 1.0)  # micro-batch over the whole expert group
    mine = np.maximum(each / d.dp, 1.0)  # rows one attention rank multiplies
    bw = g.hbm_gb_per_s
    dense = smooth_max(
        math_s(2.0 * t.dense_params * mine / d.tp, g.peak_tflop_per_s, eff.gemm_math_frac),
        memory_s(t.dense_bytes / d.tp + 0.0 * mine, bw, eff.gemm_memory_frac), eff.knee_sharpness_ratio,
    )  # fmt: skip
    total = dense + memory_s(t.head_bytes / d.tp, bw, eff.gemm_memory_frac)
    if t.experts:
        total = total + _experts_s(g, d, each)
    total = total + math_s(t.state_flop * mine / d.tp, g.peak_tflop_per_s, eff.attention_math_frac)
    total = total + _wire_s(g, d, mine)
    total = total + t.layers * eff.layer_s + t.moe_layers * eff.moe_layer_s
    return np.asarray(total + eff.step_s)


def _experts_s(g: Ground, d: Degrees, each: Array) -> Array:
    """Return the seconds of routed experts: experts hit are read once, the busiest rank sets the pace."""
    t, eff = g.terms, g.eff
    chips = d.tp * d.dp
    hit = experts_hit(t.experts, t.experts_per_token, each) / t.experts
    busiest = np.where(d.ep > 1.0, eff.imbalance_factor, 1.0)
    active = 2.0 * t.routed_params * t.experts_per_token / t.experts
    return smooth_max(
        math_s(active * each / chips * busiest, g.peak_tflop_per_s, eff.expert_math_frac),
        memory_s(t.routed_bytes * hit / chips * busiest, g.hbm_gb_per_s, eff.expert_memory_frac), eff.knee_sharpness_ratio,
    )  # fmt: skip


def _wire_s(g: Ground, d: Degrees, mine: Array) -> Array:
    """Return the seconds on the wire: two all-reduces a layer over tp, dispatch and combine over experts, stage hand-over."""
    t = g.terms
    row = t.hidden * ACTIVATION_BYTES
    time = 2.0 * t.layers * all_reduce_s(mine * row, d.tp, g.links)
    if t.experts:
        sent = mine / d.tp * t.experts_per_token * row * 0.75  # dispatched in 8 bits, combined in 16
        time = time + np.where(d.dp > 1.0, 2.0 * t.moe_layers * all_to_all_s(sent, d.tp * d.dp, g.links), 0.0)
    return np.asarray(time + np.where(d.pp > 1.0, (d.pp - 1.0) / d.pp * send_s(mine * row, g.links), 0.0))


@dataclass(frozen=True, slots=True)
class Slopes:
    """The affine coefficients of a step beside its token table, as columns [layouts, 1]."""

    sequence_s: Array
    kv_s_per_token: Array
    window_s_per_token: Array
    pair_s: Array
    kv_tokens: Array
    weight_gb_per_chip: Array
    missing_gb_per_chip: Array  # > 0: the weights do not fit


def slopes(g: Ground, d: Degrees) -> Slopes:
    """Return the coefficients of sequences, contexts and prefill pairs, and the memory left for KV."""
    t, eff = g.terms, g.eff
    shards = np.minimum(d.tp, float(t.kv_heads))  # beyond its KV heads (one for a latent cache) a tp group holds copies
    ranks = d.dp * d.pp
    memory = g.hbm_gb_per_s * BYTES_PER_GB * eff.kv_memory_frac
    peak = g.peak_tflop_per_s * FLOP_PER_TFLOP
    kv = np.maximum(
        (t.kv_bytes_per_token + t.index_bytes_per_token) / shards / memory,
        t.decode_pair_flop / d.tp / (peak * eff.attention_math_frac),
    )  # fmt: skip
    near = (t.window_bytes_per_token + t.selected_bytes_per_token) / shards / memory
    sequence = 2.0 * t.head_params / d.tp / (peak * eff.gemm_math_frac) + 2.0 * t.state_bytes / d.tp / memory
    pair = t.prefill_pair_flop / d.tp / (peak * eff.attention_math_frac)
    free, weights = _free_gb(g, d)
    window = t.window_bytes_per_token * min(1.0, t.window_tokens / WINDOW_CONTEXT_TOKENS)
    kept = t.kv_bytes_per_token + t.index_bytes_per_token + t.selected_bytes_per_token + window
    room = np.maximum(free, 0.0) * BYTES_PER_GB * shards * ranks / max(kept, 1.0)
    return Slopes(
        sequence_s=(sequence + eff.sequence_s) / ranks, kv_s_per_token=kv / ranks,
        window_s_per_token=near / ranks, pair_s=pair / ranks, kv_tokens=np.floor(room),
        weight_gb_per_chip=weights, missing_gb_per_chip=np.maximum(-free, 0.0),
    )  # fmt: skip


def _free_gb(g: Ground, d: Degrees) -> tuple[Array, Array]:
    """Return gigabytes left a chip after weights and runtime, and gigabytes of weights a chip."""
    t = g.terms
    embeddings = 2.0 * t.head_bytes
    weights = ((t.dense_bytes + embeddings) / (d.tp * d.pp) + t.routed_bytes / (d.tp * d.pp * d.dp)) / BYTES_PER_GB
    return g.chip.need("hbm_gb", needed_for="fit") * g.eff.usable_memory_frac - weights, weights


def step_times(
    model: Model, chip: Chip, layout: Layout, *, max_step_tokens: int = 8192, efficiency_frac: float = 1.0, engine: str = "*",
    link_gb_per_s: float | None = None, efficiency_path: str = "",
) -> StepTimes:  # fmt: skip
    """Return the duration of an engine step on one replica, as a table over its tokens and affine slopes.

    `efficiency_frac` < 1 slows everything (an immature port). `link_gb_per_s` is the wire to a decode replica for KV
    hand-over; the chip's scale-out link by default.

    Raises: DoesNotFit with the gigabytes a chip that are missing; MissingFact where the datasheet has a hole.
    """
    g = ground(model, chip, layout.precision, layout.kv_precision, engine=engine, efficiency_path=efficiency_path)
    d = degrees([layout])
    s = slopes(g, d)
    if float(s.missing_gb_per_chip[0, 0]) > 0 or float(s.kv_tokens[0, 0]) < 1:
        raise DoesNotFit(no_fit_words(model, chip, layout, s, 0))
    table = tokens_s(g, d, np.arange(max_step_tokens + 1, dtype=float)[None, :])[0] / efficiency_frac
    table[0] = 0.0
    np.maximum.accumulate(table, out=table)
    link = (link_gb_per_s or chip.scale_out_gb_per_s or 12.5) * g.eff.link_frac * BYTES_PER_GB
    kept = model.kv_bytes_per_token(layout.kv_precision, context_tokens=WINDOW_CONTEXT_TOKENS)
    e = efficiency_frac
    return StepTimes(
        tokens_s=table, sequence_s=float(s.sequence_s[0, 0]) / e, kv_s_per_token=float(s.kv_s_per_token[0, 0]) / e,
        window_s_per_token=float(s.window_s_per_token[0, 0]) / e, window_tokens=g.terms.window_tokens or g.terms.selected_tokens,
        pair_s=float(s.pair_s[0, 0]) / e, kv_tokens=int(s.kv_tokens[0, 0]),
        transfer_s_per_token=kept / (link * layout.tp), transfer_latency_s=4 * g.eff.collective_s,
        prefill_step_s=g.eff.prefill_step_s / e, first_token_s=g.eff.first_token_s,
    )  # fmt: skip


def no_fit_words(model: Model, chip: Chip, layout: Layout, s: Slopes, row: int) -> str:
    """Say why a model does not fit a layout, and by how many gigabytes."""
    short = float(s.missing_gb_per_chip[row, 0])
    weights = float(s.weight_gb_per_chip[row, 0])
    kept = model.kv_bytes_per_token(layout.kv_precision)
    need = f"{model.name} in {layout.precision} needs {weights:,.1f} GB of weights a chip"
    have = f"on {layout.chips} x {chip.id} ({chip.hbm_gb:,.0f} GB each)"
    cache = f"KV cache ({BITS[layout.kv_precision]}-bit, {kept:,.0f} bytes a token)"
    if short > 0:
        return f"{need} {have}: {short:,.1f} GB a chip short, {short * layout.chips:,.0f} GB in all, before any {cache}"
    return f"{need} {have}: too little room is left for {cache}"
