"""Serving points: what a replica delivers for a shape of request, over every layout and batch, by array arithmetic."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polysilicon.application.workload import Lengths, Slo
from polysilicon.errors import DoesNotFit
from polysilicon.facts import Basis
from polysilicon.model.architecture import Model
from polysilicon.model.layout import Layout
from polysilicon.model.work import experts_hit
from polysilicon.performance.efficiency import changed_ns
from polysilicon.performance.measured import Observation, Own, Sighting, corrected, same_system
from polysilicon.performance.steps import MAX_STEP_TOKENS, Degrees, Ground, Slopes, degrees, ground, no_fit_words, slopes, tokens_s
from polysilicon.performance.types import ServingPoint
from polysilicon.silicon.chip import Chip, System
from polysilicon.silicon.elementwise import Number, ceil, larger, log, root, smaller
from polysilicon.units import BYTES_PER_GB, FLOP_PER_TFLOP

Array = NDArray[np.float64]
BATCHES: Array = np.unique(np.round(2.0 ** np.arange(0.0, 12.01, 0.25)))  # 1 to 4096, a quarter octave apart
EMBEDDED = Own()
_SPREAD_CHIPS = 32  # replicas may span domains this far: pipeline stages or experts over the scale-out network
_TP = (1, 2, 4, 8, 16, 32, 64)
_DP = (1, 2, 4, 8, 16, 32, 64, 128)


def layouts(
    model: Model, chip: Chip, system: System | None = None, *, max_chips: int | None = None, precisions: Sequence[str] = (),
) -> list[Layout]:  # fmt: skip
    """Return every layout of one replica worth trying: tp x pp x ep x dp x precision, inside a scale-up domain or system.

    Precisions are the model's native one and lower ones the chip multiplies; KV is 8-bit below 16-bit weights.
    """
    domain = int(chip.scale_up_chips or 1)
    room = system.chips if system else min(max(domain, _SPREAD_CHIPS), 144)
    room = min(room, max_chips or room)
    found: list[Layout] = []
    for precision in precisions or _precisions(model, chip):
        kv = "fp8" if precision in ("fp8", "fp4", "int8") and "fp8" in chip.dense_tflop_per_s else "bf16"
        for tp in (n for n in _TP if n <= min(room, domain, 8 * max(1, model.kv_heads)) and model.heads % n == 0):
            if model.experts:
                wide = [(dp, 1) for dp in _DP if tp * dp <= room] + [(1, pp) for pp in _stages(tp, domain) if tp * pp <= room]
            else:
                wide = [(1, pp) for pp in (1, *_stages(tp, domain)) if tp * pp <= room and model.layers >= 4 * pp]
            for dp, pp in wide:
                ep = tp * dp if model.experts and (dp > 1) else 1
                if ep <= max(1, model.experts):
                    found.append(Layout(precision, kv, tp=tp, pp=pp, ep=ep, dp=dp))
    return found


def _stages(tp: int, domain: int) -> tuple[int, ...]:
    """Return pipeline depths worth trying: only over whole scale-up domains, where sharding further is too slow."""
    return (2, 4) if 2 * tp > domain or tp >= 8 else ()


def _precisions(model: Model, chip: Chip) -> list[str]:
    """Return the precisions to try: native, and each lower one that the chip multiplies."""
    order = ["fp32", "bf16", "int8", "fp8", "fp4"]
    native = model.native_precision if model.native_precision in order else "bf16"
    lower = [p for p in order[order.index(native) + 1 :] if p in chip.dense_tflop_per_s]
    if "fp8" in lower and "int8" in lower:
        lower.remove("int8")
    return [native if native != "fp32" else "bf16", *[p for p in lower if p != native and p != "bf16"]]


@dataclass(frozen=True, slots=True)
class Grid:
    """Steady state of continuous batching for layouts x batches: arrays [layouts, batches], or numbers for one of each."""

    batch: Number
    tpot_s: Number  # mean
    tpot_q_s: Number  # at the quantile
    ttft_q_s: Number
    rps: Number
    prefill_frac: Number
    mfu: Number
    mbu: Number
    fits: Any  # bool


def steady_state(
    g: Ground, d: Degrees, s: Slopes, lengths: Lengths, quantile: float, *, batches: Array = BATCHES,
    max_step_tokens: int = MAX_STEP_TOKENS, efficiency_frac: float = 1.0,
) -> Grid:  # fmt: skip
    """Return the steady state in which n sequences decode while new prompts are prefilled in chunks beside them.

    A request brings u = ISL (1 - cached) tokens to prefill and OSL steps of decoding; with chunks of c tokens (a part of a
    long prompt, or several short ones) a share f = n u / (OSL c) of the steps carries one, so step = (1 - f) decode +
    f mixed, and rate = n / (OSL step).
    TTFT at the quantile is that of `_ttft_s`; TPOT at the quantile is that of the concurrency at the quantile (Poisson around n).

    Ignores: preemption; correlation of long prompts with long outputs.
    """
    n = np.broadcast_to(batches[None, :], (d.tp.shape[0], batches.shape[0]))
    return _steady(g, d, s, lengths, quantile, n, max_step_tokens, efficiency_frac)


def _steady(
    g: Ground, d: Degrees, s: Slopes, lengths: Lengths, quantile: float, n: Number, max_step_tokens: int, efficiency_frac: float,
) -> Grid:  # fmt: skip
    """Return the steady state at `n` sequences: a grid of them, or one number for one layout."""
    uncached = uncached_tokens(lengths)
    osl = max(1.0, lengths.osl_tokens)
    context = lengths.isl_tokens + osl / 2.0
    room = larger(max_step_tokens * d.dp - n, 256.0)
    chunk = smaller(room, larger(uncached, n * uncached / osl))  # short prompts share a step
    share = n * uncached / (osl * chunk)
    attended = lengths.isl_tokens - smaller(chunk, uncached) / 2.0
    base = tokens_s(g.terms, g.rates, d, n)  # of a step without prefill: asked for once, it is most of the work
    mixed_extra = _mixed_extra(g, d, s, base, n, chunk, attended) / efficiency_frac
    decode = _decode_s(g, d, s, n, context, base) / efficiency_frac
    step = decode + smaller(share, 1.0) * mixed_extra
    n_q = n + _z(quantile) * root(n) if quantile > 0.5 else n
    decode_q = _decode_s(g, d, s, n_q, context) / efficiency_frac if n_q is not n else decode
    tpot_q = decode_q + smaller(share * n_q / n, 1.0) * mixed_extra
    rps = n / (osl * step)

    def prefill_s(tokens: float) -> Any:
        chunks = ceil(tokens / room)
        before = lengths.isl_tokens - uncached + tokens / 2.0
        return chunks * (decode + _mixed_extra(g, d, s, base, n, tokens / chunks, before) / efficiency_frac)

    full = decode + _mixed_extra(g, d, s, base, n, room, lengths.isl_tokens - uncached / 2.0) / efficiency_frac
    ttft = g.eff.first_token_s + g.eff.admission_s + _ttft_s(prefill_s, uncached / room * full, rps, step, lengths, quantile)
    held = n * context * (1.0 + _z(0.95) * lengths.osl_cv * 0.5 / root(n))
    fits = (held <= s.kv_tokens) & (s.missing_gb_per_chip <= 0.0) & (share <= 1.0) & (n <= 4096.0 * d.dp)
    mfu, mbu = _utilisation(g, d, n, step, uncached / osl, context)
    return Grid(n, step, tpot_q, ttft, rps, smaller(share, 1.0) * mixed_extra / step, mfu, mbu, fits)


def _decode_s(g: Ground, d: Degrees, s: Slopes, n: Number, context: float, base: Number = None) -> Any:
    window = g.terms.window_tokens or g.terms.selected_tokens
    slope = s.sequence_s + s.kv_s_per_token * context + s.window_s_per_token * min(context, float(window))
    return (tokens_s(g.terms, g.rates, d, n) if base is None else base) + n * slope


def _mixed_extra(g: Ground, d: Degrees, s: Slopes, base: Number, n: Number, chunk: Number, attended: Number) -> Any:
    """Return how much longer a step of n sequences becomes by carrying a chunk of prefill whose tokens attend to so many each."""
    more = tokens_s(g.terms, g.rates, d, n + chunk) - base
    return more + s.pair_s * chunk * attended + g.rates.prefill_step_s


def uncached_tokens(lengths: Lengths) -> float:
    """Return the mean prompt tokens left to prefill: ISL (1 - cached), at least one.

    >>> round(uncached_tokens(Lengths(120_000, 400, cached_frac=0.96)))
    4800
    """
    return max(1.0, lengths.isl_tokens * (1.0 - lengths.cached_frac))


def uncached_cv(lengths: Lengths) -> float:
    """Return the coefficient of variation of the prompt tokens left to prefill.

    With m = 1 - cached, u = r ISL and E[r] = m: were every prompt cached in the same proportion, E[r^2] = m^2; were a
    prompt cached whole or not at all, E[r^2] = m. Traffic has both (shared system prompts, sessions that return), so
    E[r^2] = (m + m^2) / 2 and 1 + cv^2 = (1 + isl_cv^2) (1 + 1/m) / 2. Of the built-in profiles' own spreads (coding agent
    4.3, long context 2.25, chat 1.2, enterprise 0.67) this gives 4.4, 2.0, 1.15, 0.72.

    Ignores: that longer prompts may be cached better than short ones.

    >>> uncached_cv(Lengths(1000, 500, isl_cv=0.5)), uncached_cv(Lengths(1000, 500, cached_frac=0.9, isl_cv=0.0))
    (0.5, 2.121320343559643)
    """
    missed = max(1.0 - lengths.cached_frac, 1e-6)
    return math.sqrt((1.0 + lengths.isl_cv**2) * (1.0 + 1.0 / missed) / 2.0 - 1.0)


def _ttft_s(
    prefill_s: Callable[[float], Any], busy_s: Number, rps: Number, step: Number, lengths: Lengths, quantile: float,
) -> Any:  # fmt: skip
    """Return the time to first token at a quantile: the rest of a step, the queue of prefills, one's own prefill.

    The rest of a step is uniform over it. The queue is M/G/1 in tokens: a prompt keeps full steps busy for `busy_s`, so
    busy = rps busy_s. One's own prefill has a lognormal length. The three are independent: their means add, and their
    excesses over the mean at the quantile add as squares.

    Ignores: that decoding sequences pile up behind a burst of prompts.
    """
    cv = uncached_cv(lengths)
    mean = uncached_tokens(lengths)
    busy = smaller(rps * busy_s, 0.999)
    wait, wait_q = queue_wait_s(busy, busy_s, quantile, cv)
    sigma = math.sqrt(math.log1p(cv**2))
    own, own_q = prefill_s(mean), prefill_s(max(1.0, mean * math.exp(_z(quantile) * sigma - sigma**2 / 2.0)))
    parts = ((step / 2.0, quantile * step), (wait, wait_q), (own, own_q))
    late = root(sum(larger(q - m, 0.0) ** 2 for m, q in parts))
    early = root(sum(smaller(q - m, 0.0) ** 2 for m, q in parts))
    return larger(step / 2.0 + wait + own + late - early, smaller(own, own_q))


def queue_wait_s(busy: Number, service: Number, quantile: float, cv: float) -> tuple[Any, Any]:
    """Return the wait in front of one server, its mean and at a quantile (Pollaczek-Khinchine mean, exponential tail).

    P(W > t) = busy exp(-t / w) with w = service (1 + cv^2) / 2 / (1 - busy); mean = busy w; exact for M/M/1 (cv 1).
    """
    scale = service * (1.0 + cv**2) / 2.0 / (1.0 - busy)
    late = scale * log(larger(busy, 1e-12) / (1.0 - min(quantile, 0.9999)))
    return busy * scale, larger(0.0, late)


@lru_cache(maxsize=256)
def _z(quantile: float) -> float:
    """Return the standard normal quantile."""
    return NormalDist().inv_cdf(min(max(quantile, 1e-6), 1.0 - 1e-6))


def _utilisation(g: Ground, d: Degrees, n: Number, step: Number, prefill_ratio: float, context: float) -> tuple[Any, Any]:
    """Return the share of dense peak and of HBM peak that needed work takes."""
    t = g.terms
    chips = d.tp * d.pp * d.dp
    routed = t.routed_params * t.experts_per_token / t.experts if t.experts else 0.0
    flop = n * (1.0 + prefill_ratio) * 2.0 * (t.dense_params + routed) + n * t.decode_pair_flop * context
    flop += n * prefill_ratio * t.prefill_pair_flop * context / 2.0
    kv = t.kv_bytes_per_token + t.index_bytes_per_token
    near = (t.window_bytes_per_token + t.selected_bytes_per_token) * min(context, float(t.window_tokens or t.selected_tokens))
    weights = t.dense_bytes * d.dp + t.head_bytes
    if t.experts:
        weights = weights + t.routed_bytes * experts_hit(t.experts, t.experts_per_token, n) / t.experts
    needed = weights + n * (kv * context + near)
    mfu = flop / (step * chips * g.peak_tflop_per_s * FLOP_PER_TFLOP)
    return mfu, needed / (step * chips * g.hbm_gb_per_s * BYTES_PER_GB)


def table(
    model: Model, chip: Chip, lengths: Lengths, slo: Slo, *, layouts: Sequence[Layout] | None = None, own: Own = EMBEDDED,
    margin_quantile: float = 0.5, efficiency_frac: float = 1.0,
) -> list[ServingPoint]:  # fmt: skip
    """Return the serving points that no other beats on throughput per chip, TTFT and TPOT at once; all fit in memory.

    `margin_quantile` above one half makes the points as slow as the error band says a careful buyer should expect. `own`
    puts the user's efficiency table and measured points over the embedded ones; what was measured is always among the points
    compared, its layout and its load added.

    Raises: DoesNotFit when no layout holds the weights; it names the layout that comes nearest and the gigabytes missing.
    """
    mine = own.of(model.id, chip.id)
    candidates = _with_seen(list(layouts) if layouts is not None else _default_layouts(model, chip), mine)
    batches = np.unique(np.concatenate([BATCHES, [max(1.0, round(o.concurrency)) for o in mine]]))
    margin = _z(margin_quantile) / _z(0.9)
    points: list[ServingPoint] = []
    nearest: tuple[float, str] = (math.inf, f"{model.name} has no layout on {chip.id}")
    by_precision: dict[tuple[str, str], list[Layout]] = {}
    for layout in candidates:
        by_precision.setdefault((layout.precision, layout.kv_precision), []).append(layout)
    for (precision, kv_precision), group in by_precision.items():
        g = ground(model, chip, precision, kv_precision, efficiency_path=own.efficiency_path)
        d = degrees(group)
        s = slopes(g, d)
        short = s.missing_gb_per_chip[:, 0] + np.where(s.kv_tokens[:, 0] < lengths.isl_tokens, 1e-3, 0.0)
        row = int(np.argmin(short))
        if short[row] < nearest[0]:
            nearest = (float(short[row]), no_fit_words(model, chip, group[row], s, row))
        slower = efficiency_frac / (1.0 + g.eff.error_frac * margin)
        grid = steady_state(g, d, s, lengths, slo.quantile, batches=batches, efficiency_frac=slower)
        points.extend(_points(model, g, group, s, grid, lengths, mine))
    if not points:
        raise DoesNotFit(nearest[1])
    sightings = [Sighting(o, modelled_tpot_s(model, chip, o, own, efficiency_frac)) for o in mine]
    return _non_dominated(corrected(points, sightings, lengths, margin=margin) if mine else points)


def _default_layouts(model: Model, chip: Chip) -> list[Layout]:
    return layouts(model, chip)


def _with_seen(candidates: list[Layout], mine: Sequence[Observation]) -> list[Layout]:
    """Return layouts with those that were measured added, in a precision that is asked for anyway."""
    asked = {x.precision for x in candidates}
    added = [o.layout for o in mine if o.layout and o.precision in asked and not any(same_system(x, o) for x in candidates)]
    return [*candidates, *dict.fromkeys(added)]


def modelled_tpot_s(model: Model, chip: Chip, o: Observation, own: Own, efficiency_frac: float = 1.0) -> float:
    """Return the mean TPOT that the model gives for what was measured, at its own lengths and load."""
    kv = "fp8" if o.precision in ("fp8", "fp4", "int8") and "fp8" in chip.dense_tflop_per_s else "bf16"
    layout = replace(o.layout, kv_precision=kv) if o.layout else Layout(o.precision, kv, tp=o.chips)  # as the points it corrects
    asked = prepared(model, chip, layout, "*", own.efficiency_path)
    shape, load = Lengths(o.isl_tokens, o.osl_tokens, o.cached_frac), max(1.0, o.concurrency)
    return float(_steady(asked.ground, asked.degrees, asked.slopes, shape, 0.5, load, MAX_STEP_TOKENS, efficiency_frac).tpot_s)


@dataclass(frozen=True, slots=True)
class Prepared:
    """What an estimate rests on whatever the lengths and the load: worked out once for a model, a chip and a layout."""

    model: Model  # both held, so that no other takes their place in memory
    chip: Chip
    ground: Ground
    degrees: Degrees
    slopes: Slopes
    words: Words


_PREPARED: dict[tuple[object, ...], Prepared] = {}
_MOST_PREPARED = 4096


def prepared(model: Model, chip: Chip, layout: Layout, engine: str, path: str) -> Prepared:
    """Return what estimates of one layout share, from memory if it was asked for before and no file behind it changed."""
    key = (id(model), id(chip), layout, engine, path, changed_ns(path))
    found = _PREPARED.get(key)
    if found is None:
        g = ground(model, chip, layout.precision, layout.kv_precision, engine=engine, efficiency_path=path)
        d = Degrees(float(layout.tp), float(layout.pp), float(layout.ep), float(layout.dp))
        if len(_PREPARED) >= _MOST_PREPARED:
            _PREPARED.clear()
        found = _PREPARED[key] = Prepared(model, chip, g, d, slopes(g, d), words_of(g))
    return found


def estimate(
    model: Model, chip: Chip, layout: Layout, lengths: Lengths, batch: float, *, quantile: float = 0.5, engine: str = "*",
    efficiency_path: str = "",
) -> ServingPoint:  # fmt: skip
    """Return the serving point of one layout at one load: the same formulas as a table's, on plain numbers.

    Raises: DoesNotFit where the weights, or the caches of so many sequences, exceed memory.
    """
    asked = prepared(model, chip, layout, engine, efficiency_path)
    at = _steady(asked.ground, asked.degrees, asked.slopes, lengths, quantile, float(batch), MAX_STEP_TOKENS, 1.0)
    if not at.fits and asked.slopes.missing_gb_per_chip > 0:
        raise DoesNotFit(no_fit_words(model, chip, layout, asked.slopes))
    if not at.fits:
        raise DoesNotFit(_no_room(layout, chip, asked, lengths, batch))
    return point_at(model, asked.ground, layout, at, int(asked.slopes.kv_tokens), lengths.osl_tokens, asked.words)


def _no_room(layout: Layout, chip: Chip, asked: Prepared, lengths: Lengths, batch: float) -> str:
    """Say that a load is too much for a layout: for its cache, or for its time."""
    held = batch * (lengths.isl_tokens + lengths.osl_tokens / 2.0)
    room = float(asked.slopes.kv_tokens)
    if held > room:
        return f"{batch:g} sequences hold {held:,.0f} tokens of KV cache; {layout.chips} x {chip.id} have room for {room:,.0f}"
    return f"{batch:g} sequences of {lengths.isl_tokens:g}/{lengths.osl_tokens:g} tokens are no steady load for {layout.chips} x {chip.id}"


def _points(
    model: Model, g: Ground, group: Sequence[Layout], s: Slopes, grid: Grid, lengths: Lengths, mine: Sequence[Observation],
) -> list[ServingPoint]:  # fmt: skip
    chips = np.array([x.chips for x in group], dtype=float)[:, None]
    rate = grid.rps * lengths.osl_tokens / chips
    keep = grid.fits & (_best_of(rate, grid) | np.isin(grid.batch, [max(1.0, round(o.concurrency)) for o in mine]))
    words = words_of(g)
    found: list[ServingPoint] = []
    for i, j in zip(*np.nonzero(keep), strict=True):
        at = Grid(*(getattr(grid, name)[i, j].item() for name in _FIELDS))
        found.append(point_at(model, g, group[i], at, int(s.kv_tokens[i, 0]), lengths.osl_tokens, words))
    return found


_FIELDS = tuple(f.name for f in fields(Grid))
Words = tuple[str, str, str]  # a point's note, source and date


def words_of(g: Ground) -> Words:
    """Return what a point of a model on a chip says of itself: note, source, date."""
    power = "" if g.chip.all_in_w else "power is the chip's TDP share, without host and fabric"
    if not (g.chip.all_in_w or g.chip.tdp_w):
        power = f"power of {g.chip.id} is not public"
    return "; ".join(x for x in (g.note, power) if x), *_source(g)


def point_at(model: Model, g: Ground, layout: Layout, at: Grid, kv_tokens: int, osl_tokens: float, words: Words) -> ServingPoint:
    """Return one cell of a grid, given as numbers, as a serving point."""
    rate = at.rps * osl_tokens / layout.chips
    watts = _power_w(g, at)
    note, source, as_of = words
    return ServingPoint(
        workload="", model=model.id, chip=g.chip.id, layout=layout, batch=int(at.batch), ttft_s=at.ttft_q_s, tpot_s=at.tpot_q_s,
        tok_per_s_per_chip=rate, requests_per_s=at.rps, w_per_chip=watts, j_per_token=watts / rate, mfu_frac=at.mfu,
        mbu_frac=at.mbu, kv_tokens=kv_tokens, basis=_basis(g), error_frac=g.eff.error_frac, note=note,
        prefill_frac=at.prefill_frac, source=source, as_of=as_of,
    )  # fmt: skip


def _basis(g: Ground) -> Basis:
    return "calibrated" if g.eff.basis in ("calibrated", "measured") else "datasheet"


def _source(g: Ground) -> tuple[str, str]:
    """Return where a point's speed comes from, and when: the runs it was fitted to, or the datasheet."""
    sheet = g.chip.facts.get("hbm_gb_per_s")
    if _basis(g) == "datasheet" and sheet is not None:
        return sheet.source, sheet.as_of
    return g.eff.source, g.eff.as_of


def _best_of(rate: Array, grid: Grid) -> NDArray[np.bool_]:
    """Thin the grid: within a layout, a larger batch must bring at least half a percent of throughput."""
    masked = np.where(grid.fits, rate, -np.inf)
    before = np.maximum.accumulate(masked, axis=1)
    first = np.concatenate([np.full((rate.shape[0], 1), -np.inf), before[:, :-1]], axis=1)
    return np.asarray(masked > first * 1.005)


def _power_w(g: Ground, at: Grid) -> float:
    """Return watts a chip, nan where its power is not public: base x (idle + (1 - idle) x max(mfu / reachable, mbu / reachable)), base all-in or TDP.

    A chip that streams or multiplies as fast as its kernels allow draws its rating; an idle one the idle share.
    """
    base = g.chip.all_in_w or g.chip.tdp_w or math.nan
    busy = max(at.mfu / g.eff.gemm_math_frac, at.mbu / g.eff.gemm_memory_frac)
    return float(base * (g.eff.idle_power_frac + (1.0 - g.eff.idle_power_frac) * min(busy, 1.0)))


def _non_dominated(points: list[ServingPoint]) -> list[ServingPoint]:
    """Keep points that no other beats on tokens/s/chip, TTFT and TPOT together, and those that were measured."""
    values = np.array([[-p.tok_per_s_per_chip, p.ttft_s, p.tpot_s] for p in points])
    order = np.lexsort((values[:, 2], values[:, 1], values[:, 0]))
    kept: list[int] = []
    front = np.empty((0, 2))
    for i in order:
        if points[i].basis == "measured":  # shown whatever it is worth; only itself is no reason to drop a prediction
            kept.append(int(i))
        elif not bool(np.any((front[:, 0] <= values[i, 1]) & (front[:, 1] <= values[i, 2]))):
            kept.append(int(i))
            front = np.vstack([front, values[i, 1:]])
    return [points[i] for i in kept]


def meets(point: ServingPoint, slo: Slo) -> bool:
    """Return whether a point keeps an SLO's latencies; deferrable work has none to keep."""
    if slo.deferrable:
        return True
    return (slo.ttft_s is None or point.ttft_s <= slo.ttft_s) and (slo.tpot_s is None or point.tpot_s <= slo.tpot_s)


def best(
    model: Model, chip: Chip, lengths: Lengths, slo: Slo, *, layouts: Sequence[Layout] | None = None, own: Own = EMBEDDED,
    margin_quantile: float = 0.5, efficiency_frac: float = 1.0,
) -> ServingPoint | None:  # fmt: skip
    """Return the point with most tokens per second per chip that keeps the SLO, or None where none does.

    Raises: DoesNotFit when no layout holds the weights.
    """
    points = table(
        model, chip, lengths, slo, layouts=layouts, own=own, margin_quantile=margin_quantile,
        efficiency_frac=efficiency_frac,
    )  # fmt: skip
    return choose(points, slo)


def choose(points: Sequence[ServingPoint], slo: Slo) -> ServingPoint | None:
    """Return the fastest point that keeps the SLO; a prediction wins over a measurement only by more than its own error band."""
    kept = [p for p in points if meets(p, slo)]
    first = max(kept, key=lambda p: p.tok_per_s_per_chip, default=None)
    seen = max((p for p in kept if p.basis == "measured"), key=lambda p: p.tok_per_s_per_chip, default=None)
    if first and seen and seen.tok_per_s_per_chip * (1.0 + first.error_frac) >= first.tok_per_s_per_chip:
        return seen
    return first
