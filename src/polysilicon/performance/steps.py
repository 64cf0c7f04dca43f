"""Step times: the work of a step times the calibrated efficiency of a chip, for many layouts at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polysilicon.errors import DoesNotFit
from polysilicon.model.architecture import Model
from polysilicon.model.layout import Layout
from polysilicon.model.work import ACTIVATION_BYTES, Terms, experts_hit, terms
from polysilicon.performance.efficiency import Efficiency, efficiency
from polysilicon.performance.types import StepTimes
from polysilicon.silicon.chip import BITS, Chip
from polysilicon.silicon.elementwise import ceil, choose, larger, smaller
from polysilicon.silicon.network import Links, all_reduce_s, all_to_all_s, send_s
from polysilicon.silicon.roofline import math_precision, smooth_max
from polysilicon.units import BYTES_PER_GB, FLOP_PER_TFLOP

Array = NDArray[np.float64]
Number = Any  # a float, or a column of them
OVERLAP_FRAC = 0.7  # of a step's arithmetic behind which token exchange hides
MAX_STEP_TOKENS = 8192  # of one rank's scheduler
WINDOW_CONTEXT_TOKENS = 8192.0  # context at which window layers' share of the KV cache is counted


@dataclass(frozen=True, slots=True)
class Degrees:
    """Degrees of parallelism of several layouts, as columns [layouts, 1]; of one layout asked for alone, as numbers."""

    tp: Number
    pp: Number
    ep: Number
    dp: Number


@dataclass(frozen=True, slots=True)
class Rates:
    """What one chip reaches for one model in one precision: reached rates in FLOP/s and bytes/s, latencies in seconds.

    Every field may be a number (one model on one chip) or a column [rows, 1] (many at once, as the calibration needs).
    """

    dense_flop_per_s: Number
    dense_bytes_per_s: Number
    expert_flop_per_s: Number
    expert_bytes_per_s: Number
    kv_bytes_per_s: Number
    prefill_flop_per_s: Number  # attention of prefill
    decode_flop_per_s: Number  # attention of decode
    scale_up_bytes_per_s: Number
    scale_out_bytes_per_s: Number
    domain_chips: Number
    collective_s: Number
    all_to_all_s: Number
    routing_skew_factor: Number
    imbalance_factor: Number
    knee_sharpness_ratio: Number
    gemm_pad_tokens: Number
    expert_pad_tokens: Number
    launch_s: Number  # of all layers of one step
    step_s: Number
    sequence_s: Number
    host_token_s: Number
    prefill_step_s: Number
    first_token_s: Number
    admission_s: Number
    admission_s_per_token: Number
    stream_wait_frac: Number


@dataclass(frozen=True, slots=True)
class Ground:
    """Everything a step's time depends on except the layout and the tokens: one model on one chip in one precision."""

    terms: Terms
    chip: Chip
    eff: Efficiency
    rates: Rates
    peak_tflop_per_s: float
    hbm_gb_per_s: float
    note: str


def ground(
    model: Model,
    chip: Chip,
    precision: str,
    kv_precision: str,
    *,
    engine: str = "*",
    efficiency_path: str = "",
) -> Ground:
    """Return what a model on a chip in a precision rests on.

    Raises: MissingFact where the chip's math rate, memory bandwidth or, for several chips, links are not known.
    """
    cost = terms(model, precision, kv_precision)
    facts = chip_facts(model, chip, precision)
    eff = efficiency(chip, facts.weights, engine, path=efficiency_path)
    dense = efficiency(chip, facts.dense_weights, engine, path=efficiency_path)
    return Ground(
        terms=cost,
        chip=chip,
        eff=eff,
        rates=_as_numbers(rates(cost, facts, eff, dense)),
        peak_tflop_per_s=facts.peak_tflop_per_s,
        hbm_gb_per_s=facts.hbm_gb_per_s,
        note=facts.note,
    )


def _as_numbers(r: Rates) -> Rates:
    """Return the rates of one model on one chip as plain numbers."""
    return Rates(**{f.name: float(getattr(r, f.name)) for f in fields(Rates)})


@dataclass(frozen=True, slots=True)
class ChipFacts:
    """The datasheet figures a model in a precision meets on a chip."""

    weights: str  # precision of the (routed) weights, in the names of the efficiency table
    dense_weights: str  # precision of the rest
    weight_only: bool  # no math in the precision of the weights
    latent: bool
    quantised: bool
    peak_tflop_per_s: float  # of the routed or only weights
    dense_peak_tflop_per_s: float
    attention_peak_tflop_per_s: float
    hbm_gb_per_s: float
    scale_up_gb_per_s: float
    scale_out_gb_per_s: float
    domain_chips: int
    note: str


def chip_facts(model: Model, chip: Chip, precision: str) -> ChipFacts:
    """Return what of a chip's datasheet a model in a precision meets; 16-bit math runs attention everywhere."""
    math, note = math_precision(chip, precision)
    plain = {"int4": "fp4", "fp16": "bf16", "fp32": "bf16"}.get(precision, precision)
    weights = "fp8_block" if plain == "fp8" and model.fp8_blocks else plain
    weights = "mxfp4" if precision == "fp4" and model.quantised == "experts" else weights
    dense = "bf16" if model.quantised == "experts" else weights
    dense_math, _ = math_precision(chip, "fp8" if dense == "fp8_block" else dense)
    attention_math, _ = math_precision(chip, "bf16")
    return ChipFacts(
        weights=weights,
        dense_weights=dense,
        weight_only=math not in (plain, precision),
        quantised=dense != "bf16",
        latent=any(g.latent_dim for g in model.groups),
        peak_tflop_per_s=chip.dense_tflop_per_s[math],
        dense_peak_tflop_per_s=chip.dense_tflop_per_s[dense_math],
        attention_peak_tflop_per_s=chip.dense_tflop_per_s[attention_math],
        hbm_gb_per_s=chip.need("hbm_gb_per_s", needed_for="step times"),
        scale_up_gb_per_s=chip.scale_up_gb_per_s or chip.scale_out_gb_per_s or 1.0,
        scale_out_gb_per_s=chip.scale_out_gb_per_s or 12.5,
        domain_chips=int(chip.scale_up_chips or 1),
        note=note,
    )


def rates(t: Terms, facts: ChipFacts, eff: Efficiency, dense: Efficiency, *, years: Number = 0.0) -> Rates:
    """Return reached rates and latencies: datasheet x efficiency; `years` of releases after the table's epoch shrink launches.

    Accepts columns in place of numbers in every argument.
    """
    bandwidth = facts.hbm_gb_per_s * BYTES_PER_GB * eff.memory_factor
    softer = np.power(eff.software_gain_ratio, years)
    only = np.asarray(facts.weight_only)
    latent = np.asarray(facts.latent)
    gemm_math = np.where(only & np.asarray(facts.weights == facts.dense_weights), dense.weight_only_math_frac, dense.gemm_math_frac)
    gemm_memory = np.where(only & np.asarray(facts.weights == facts.dense_weights), dense.weight_only_memory_frac, dense.gemm_memory_frac)
    expert_math = np.where(only, eff.weight_only_math_frac, eff.expert_math_frac) * eff.expert_factor
    expert_memory = np.where(only, eff.weight_only_memory_frac, eff.expert_memory_frac) * eff.expert_factor
    kv = np.where(latent, eff.latent_memory_frac, eff.kv_memory_frac) * eff.kv_factor
    attention_peak = facts.attention_peak_tflop_per_s * FLOP_PER_TFLOP * eff.math_factor
    launch = t.layers * (eff.layer_s + np.where(facts.quantised, eff.quantised_layer_s, 0.0) + np.where(latent, eff.latent_layer_s, 0.0))
    launch = (launch + t.linear_layers * eff.linear_layer_s) * eff.launch_factor * eff.chip_launch_factor
    routing = eff.moe_layer_s + eff.expert_layer_s * t.experts + np.where(only, eff.weight_only_layer_s, 0.0)
    launch = launch + t.moe_layers * routing * eff.moe_launch_factor
    return Rates(
        dense_flop_per_s=facts.dense_peak_tflop_per_s * FLOP_PER_TFLOP * gemm_math * eff.math_factor,
        dense_bytes_per_s=bandwidth * gemm_memory,
        expert_flop_per_s=facts.peak_tflop_per_s * FLOP_PER_TFLOP * expert_math * eff.math_factor,
        expert_bytes_per_s=bandwidth * expert_memory,
        kv_bytes_per_s=bandwidth * kv,
        prefill_flop_per_s=attention_peak * eff.attention_math_frac,
        decode_flop_per_s=attention_peak * np.where(latent, eff.latent_math_frac, 2.0 * eff.attention_math_frac),
        scale_up_bytes_per_s=facts.scale_up_gb_per_s * BYTES_PER_GB * eff.link_frac,
        scale_out_bytes_per_s=facts.scale_out_gb_per_s * BYTES_PER_GB * eff.link_frac,
        domain_chips=facts.domain_chips,
        collective_s=eff.collective_s / softer,
        all_to_all_s=eff.all_to_all_s,
        routing_skew_factor=eff.routing_skew_factor,
        imbalance_factor=eff.imbalance_factor,
        knee_sharpness_ratio=eff.knee_sharpness_ratio,
        gemm_pad_tokens=eff.gemm_pad_tokens,
        expert_pad_tokens=eff.expert_pad_tokens,
        launch_s=launch / softer,
        step_s=eff.step_s,
        sequence_s=eff.sequence_s,
        host_token_s=eff.host_token_s,
        prefill_step_s=(eff.prefill_step_s + eff.eager_launch_ratio * launch) / softer,
        first_token_s=eff.first_token_s,
        admission_s=eff.admission_s,
        admission_s_per_token=eff.admission_s_per_token,
        stream_wait_frac=eff.stream_wait_frac,
    )


def degrees(layouts: Sequence[Layout]) -> Degrees:
    """Return the columns of a list of layouts."""
    table = np.array([[x.tp, x.pp, x.ep, x.dp] for x in layouts], dtype=float).reshape(-1, 4, 1)
    return Degrees(table[:, 0], table[:, 1], table[:, 2], table[:, 3])


def tokens_s(t: Terms, r: Rates, d: Degrees, tokens: Number) -> Any:
    """Return the seconds of a step's token-dependent part [rows, tokens]: GEMMs, collectives, launches, host.

    With pipeline stages a step is one round: pp micro-batches of t / pp tokens, each in another stage, so every stage reads
    its own layers once per micro-batch and the round takes as long as the whole depth at t / pp tokens.
    """
    each = larger(tokens / d.pp, 1.0)  # micro-batch over the whole expert group
    mine = larger(each / d.dp, 1.0)  # rows one attention rank multiplies
    dense = smooth_max(
        2.0 * t.dense_params / d.tp / r.dense_flop_per_s * (mine + r.gemm_pad_tokens),
        t.dense_bytes / d.tp / r.dense_bytes_per_s,
        r.knee_sharpness_ratio,
    )
    head = t.head_bytes / d.tp / r.dense_bytes_per_s
    state = t.state_flop / d.tp / (0.3 * r.prefill_flop_per_s) * mine
    work = dense + _experts_s(t, r, d, each)
    wire, exchange = _wire_s(t, r, d, mine)
    hidden = smaller(exchange, OVERLAP_FRAC * work)  # two micro-batches: one exchanges tokens while the other computes
    return work + head + state + wire + exchange - hidden + r.launch_s + r.step_s


def _experts_s(t: Terms, r: Rates, d: Degrees, each: Number) -> Any:
    """Return the seconds of routed experts: experts hit are read once, the busiest rank sets the pace.

    A grouped GEMM works in tiles of rows, so each expert hit also pays for rows it does not have.
    """
    count = larger(t.experts, 1)
    chips = d.tp * d.dp
    hit = experts_hit(count, t.experts_per_token, larger(each / r.routing_skew_factor, 1.0)) / count
    busiest = choose(d.ep > 1.0, r.imbalance_factor, 1.0)
    an_expert = 2.0 * t.routed_params / count
    rows = each * t.experts_per_token + hit * count * r.expert_pad_tokens
    return smooth_max(
        an_expert / chips * busiest / r.expert_flop_per_s * rows,
        t.routed_bytes / chips / r.expert_bytes_per_s * smaller(hit * busiest, 1.0),  # no rank reads more than all it holds
        r.knee_sharpness_ratio,
    )


def _wire_s(t: Terms, r: Rates, d: Degrees, mine: Number) -> tuple[Any, Any]:
    """Return the seconds of all-reduces over tp and stage hand-over, and those of dispatch and combine over experts.

    A token crosses to another domain once, however many of its experts live there.
    """
    links = Links(r.scale_up_bytes_per_s, r.domain_chips, r.scale_out_bytes_per_s, r.collective_s, 4.0 * r.collective_s)
    row = t.hidden * ACTIVATION_BYTES
    time = 2.0 * t.layers * all_reduce_s(mine * row, d.tp, links)
    if isinstance(d.dp, float) and d.dp == d.pp == 1.0:
        return time, 0.0
    sent = mine / d.tp * (t.experts_per_token * row * 0.75)  # dispatched in 8 bits, combined in 16
    slower = Links(r.scale_up_bytes_per_s, r.domain_chips, r.scale_out_bytes_per_s, r.all_to_all_s, 2.0 * r.all_to_all_s)
    spread = d.tp * d.dp
    domains = ceil(spread / r.domain_chips)
    once = choose(domains > 1.0, smaller(1.0, domains / larger(t.experts_per_token, 1)), 1.0)
    exchange = choose(d.dp > 1.0, 2.0 * t.moe_layers * all_to_all_s(sent * once, spread, slower), 0.0)
    time = time + choose(d.pp > 1.0, (d.pp - 1.0) / d.pp * send_s(mine * row, links), 0.0)
    return time, exchange


@dataclass(frozen=True, slots=True)
class Slopes:
    """The affine coefficients of a step beside its token table, as columns [layouts, 1] or, of one layout, as numbers."""

    sequence_s: Number
    kv_s_per_token: Number
    window_s_per_token: Number
    pair_s: Number
    kv_tokens: Number
    weight_gb_per_chip: Number
    missing_gb_per_chip: Number  # > 0: the weights do not fit


def affine(t: Terms, r: Rates, d: Degrees) -> tuple[Any, Any, Any, Any]:
    """Return the seconds per decoding sequence, per context token, per windowed token and per prefill pair."""
    shards = smaller(d.tp, t.kv_heads)  # beyond its KV heads (one for a latent cache) a tp group holds copies
    ranks = d.dp * d.pp
    kv = larger(
        (t.kv_bytes_per_token + t.index_bytes_per_token) / shards / r.kv_bytes_per_s,
        t.decode_pair_flop / d.tp / r.decode_flop_per_s,
    )
    near = (t.window_bytes_per_token + t.selected_bytes_per_token) / shards / r.kv_bytes_per_s
    sequence = 2.0 * t.head_params / d.tp / r.dense_flop_per_s + 2.0 * t.state_bytes / d.tp / r.kv_bytes_per_s
    pair = t.prefill_pair_flop / d.tp / r.prefill_flop_per_s
    return (sequence / ranks + r.sequence_s / d.dp, kv / ranks, near / ranks, pair / ranks)


def slopes(g: Ground, d: Degrees) -> Slopes:
    """Return the coefficients of sequences, contexts and prefill pairs, and the memory left for KV."""
    t = g.terms
    sequence, kv, near, pair = affine(t, g.rates, d)
    shards = smaller(d.tp, float(t.kv_heads))
    free, weights = _free_gb(g, d)
    window = t.window_bytes_per_token * min(1.0, t.window_tokens / WINDOW_CONTEXT_TOKENS)
    kept = t.kv_bytes_per_token + t.index_bytes_per_token + t.selected_bytes_per_token + window
    room = larger(free, 0.0) * BYTES_PER_GB * shards * d.dp * d.pp / max(kept, 1.0)
    return Slopes(
        sequence_s=sequence,
        kv_s_per_token=kv,
        window_s_per_token=near,
        pair_s=pair,
        kv_tokens=room - room % 1.0,
        weight_gb_per_chip=weights,
        missing_gb_per_chip=larger(-free, 0.0),
    )


def _free_gb(g: Ground, d: Degrees) -> tuple[Any, Any]:
    """Return gigabytes left a chip after weights and runtime, and gigabytes of weights a chip."""
    t = g.terms
    embeddings = 2.0 * t.head_bytes
    weights = ((t.dense_bytes + embeddings) / (d.tp * d.pp) + t.routed_bytes / (d.tp * d.pp * d.dp)) / BYTES_PER_GB
    return g.chip.need("hbm_gb", needed_for="fit") * g.eff.usable_memory_frac - weights, weights


def step_budget_tokens(layout: Layout) -> int:
    """Return the tokens one engine step may carry: a scheduler's budget on each data-parallel rank.

    >>> step_budget_tokens(Layout("fp8", "fp8", tp=1, dp=16, ep=16))
    131072
    """
    return MAX_STEP_TOKENS * layout.dp


def step_times(
    model: Model,
    chip: Chip,
    layout: Layout,
    *,
    max_step_tokens: int | None = None,
    efficiency_frac: float = 1.0,
    engine: str = "*",
    link_gb_per_s: float | None = None,
    efficiency_path: str = "",
) -> StepTimes:
    """Return the duration of an engine step on one replica, as a table over its tokens and affine slopes.

    The table goes up to the layout's step budget, the one serving points assume, unless `max_step_tokens` says otherwise.
    `efficiency_frac` < 1 slows everything (an immature port). `link_gb_per_s` is the wire to a decode replica for KV
    hand-over; the chip's scale-out link by default.

    Raises: DoesNotFit with the gigabytes a chip that are missing; MissingFact where the datasheet has a hole.
    """
    g = ground(model, chip, layout.precision, layout.kv_precision, engine=engine, efficiency_path=efficiency_path)
    d = degrees([layout])
    s = slopes(g, d)
    if float(s.missing_gb_per_chip[0, 0]) > 0 or float(s.kv_tokens[0, 0]) < 1:
        raise DoesNotFit(no_fit_words(model, chip, layout, s, 0))
    budget = step_budget_tokens(layout) if max_step_tokens is None else max_step_tokens
    table = tokens_s(g.terms, g.rates, d, np.arange(budget + 1, dtype=float)[None, :])[0] / efficiency_frac
    table[0] = 0.0
    np.maximum.accumulate(table, out=table)
    link = (link_gb_per_s or chip.scale_out_gb_per_s or 12.5) * g.eff.link_frac * BYTES_PER_GB
    kept = model.kv_bytes_per_token(layout.kv_precision, context_tokens=WINDOW_CONTEXT_TOKENS)
    e = efficiency_frac
    return StepTimes(
        tokens_s=table,
        sequence_s=float(s.sequence_s[0, 0]) / e,
        kv_s_per_token=float(s.kv_s_per_token[0, 0]) / e,
        window_s_per_token=float(s.window_s_per_token[0, 0]) / e,
        window_tokens=g.terms.window_tokens or g.terms.selected_tokens,
        pair_s=float(s.pair_s[0, 0]) / e,
        kv_tokens=int(s.kv_tokens[0, 0]),
        transfer_s_per_token=kept / (link * layout.tp),
        transfer_latency_s=4 * g.eff.collective_s,
        prefill_step_s=float(g.rates.prefill_step_s) / e,
        first_token_s=g.eff.first_token_s + g.eff.admission_s,
    )


def no_fit_words(model: Model, chip: Chip, layout: Layout, s: Slopes, row: int = 0) -> str:
    """Say why a model does not fit a layout, and by how many gigabytes."""
    short, weights = (float(np.reshape(x, -1)[row]) for x in (s.missing_gb_per_chip, s.weight_gb_per_chip))
    kept = model.kv_bytes_per_token(layout.kv_precision)
    need = f"{model.name} in {layout.precision} needs {weights:,.1f} GB of weights a chip"
    have = f"on {layout.chips} x {chip.id} ({chip.hbm_gb:,.0f} GB each)"
    cache = f"KV cache ({BITS[layout.kv_precision]}-bit, {kept:,.0f} bytes a token)"
    if short > 0:
        return f"{need} {have}: {short:,.1f} GB a chip short, {short * layout.chips:,.0f} GB in all, before any {cache}"
    return f"{need} {have}: too little room is left for {cache}"
