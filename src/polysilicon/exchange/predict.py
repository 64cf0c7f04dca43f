"""Predictions of measured cases: the same physics as serving points, played under the protocol of the measurement."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polysilicon.application.workload import Lengths
from polysilicon.exchange import closed_loop
from polysilicon.exchange.cases import Case
from polysilicon.exchange.reference import visible_gb
from polysilicon.model.layout import Layout
from polysilicon.model.work import Terms, terms
from polysilicon.performance.efficiency import Efficiency, efficiency, resolve
from polysilicon.performance.serving import BATCHES, steady_state
from polysilicon.performance.steps import ChipFacts, Degrees, Rates, affine, chip_facts, degrees, ground, rates, slopes, tokens_s
from polysilicon.units import BYTES_PER_GB

Array = NDArray[np.float64]
GRID: Array = np.unique(np.round(np.concatenate([np.arange(1, 17), 2.0 ** np.arange(4, 17.01, 0.25)])))
TURNAROUND_S = 1e-3  # a client sees an answer end and asks again
MOST_REQUESTS = 40_000
STEP_TOKENS = (2048, 8192)  # a submitter tries
MOST_SEQUENCES = 512  # an attention rank decodes at once: captured graphs and sampler buffers end there
MOE_WORKSPACE_GB = 10.0  # the same of an MoE model in TensorRT-LLM, which measures it at its largest step before it shares out the rest
WORKSPACE_GB = 3.0  # of a chip for activations, graphs and buffers of communication, where the share for weights and cache has them in it
DRAFT_COST_FRAC = 0.25  # of a step, for drafting and checking


@dataclass(frozen=True, slots=True)
class Loads:
    """How cases are loaded and scheduled, one value a case [cases, 1]."""

    isl_tokens: Array  # to prefill, mean
    context_tokens: Array  # mean while decoding
    slots: Array
    prompts_per_slot: Array
    budget_tokens: Array
    apart: Array  # prefill in steps of its own
    queued: Array  # a front end takes requests one after another
    stream_steps: Array
    offline: Array


@dataclass(frozen=True, slots=True)
class Columns:
    """Many cases as columns [cases, 1]: one expression predicts them all."""

    cases: tuple[Case, ...]
    loads: Loads
    terms: Terms
    facts: ChipFacts
    degrees: Degrees
    years: Array
    kv_tokens: Array  # [cases]


def columns(cases: Sequence[Case], *, prefill: bool = False) -> Columns:
    """Return cases as columns; `prefill` takes the prefill pool of disaggregated ones."""
    layouts = [c.prefill_layout if prefill and c.prefill_layout else c.layout for c in cases]
    cost = [terms(c.model, x.precision, x.kv_precision) for c, x in zip(cases, layouts, strict=True)]
    facts = [chip_facts(c.model, c.chip, x.precision) for c, x in zip(cases, layouts, strict=True)]
    d = degrees(layouts)
    t = stack(Terms, cost)
    weights = (t.dense_bytes + 2 * t.head_bytes) / (d.tp * d.pp) + t.routed_bytes / (d.tp * d.dp * d.pp)
    memory = np.array([[visible_gb(c.chip) * BYTES_PER_GB] for c in cases])
    share = np.array([[c.recipe.memory_frac] for c in cases])
    rest = np.array([[c.recipe.of_rest] for c in cases])
    used = weights + np.array([[_workspace_gb(c) * BYTES_PER_GB] for c in cases])
    free = np.where(rest, share * (memory - used), share * memory - used)
    free = np.maximum(free, 0.04 * memory)  # measured engines ran, so something was left
    kept = t.kv_bytes_per_token + t.index_bytes_per_token + t.selected_bytes_per_token + 0.1 * t.window_bytes_per_token
    room = free * np.minimum(d.tp, t.kv_heads) * d.dp * d.pp / np.maximum(kept, 1.0)
    return Columns(tuple(cases), loads(cases), t, stack(ChipFacts, facts), d, np.array([[c.years] for c in cases]), room[:, 0])


def _workspace_gb(case: Case) -> float:
    """Return what an engine keeps of a chip beside weights and cache, where its stated share has that in it."""
    if case.recipe.static:
        return 0.0
    return MOE_WORKSPACE_GB if case.recipe.of_rest and case.model.experts else WORKSPACE_GB


def loads(cases: Sequence[Case]) -> Loads:
    """Return how cases are loaded, as columns."""
    scale = [0.9 if c.uniform_lengths else 1.0 for c in cases]
    table = [
        (
            c.isl_tokens * (1.0 - c.cached_frac) * k, (c.isl_tokens + c.osl_tokens / 2.0) * k, c.concurrency,
            float(c.recipe.prompts_per_slot), float(c.recipe.step_tokens * c.layout.dp), float(c.recipe.prefill_only),
            float(c.recipe.queued_client), float(c.recipe.stream_steps), float(c.queued_requests > 0),
        )
        for c, k in zip(cases, scale, strict=True)
    ]  # fmt: skip
    return Loads(*(column[:, None] for column in np.array(table).T))


def stack(kind: type[Any], items: Sequence[Any]) -> Any:
    """Return one dataclass whose fields are columns over many of its kind."""
    return kind(**{f.name: np.array([getattr(x, f.name) for x in items])[:, None] for f in fields(kind)})


def embedded(cols: Columns, *, path: str = "", table: Sequence[dict[str, str]] | None = None) -> tuple[Efficiency, Efficiency]:
    """Return the efficiency table's values for each case, for its routed (or only) weights and for the rest."""

    def find(case: Case, precision: str) -> Efficiency:
        if table is not None:
            return resolve(table, case.chip.id, case.chip.family, precision, case.engine)
        return efficiency(case.chip, precision, case.engine, path=path)

    weights = [find(c, str(w)) for c, w in zip(cols.cases, cols.facts.weights[:, 0], strict=True)]  # type: ignore[index]
    dense = [find(c, str(w)) for c, w in zip(cols.cases, cols.facts.dense_weights[:, 0], strict=True)]  # type: ignore[index]
    return stack(Efficiency, weights), stack(Efficiency, dense)


def reached(cols: Columns, eff: tuple[Efficiency, Efficiency]) -> Rates:
    """Return the rates that every case reaches."""
    return rates(cols.terms, cols.facts, eff[0], eff[1], years=cols.years)


def _line(value: Any, size: int) -> Array:
    """Return a column or a number as one value a case."""
    return np.broadcast_to(np.asarray(value, dtype=float).reshape(-1), (size,)) if np.size(value) in (1, size) else np.asarray(value)[:, 0]


def play(cols: Columns, r: Rates, *, each: Callable[[float], None] | None = None) -> Array:
    """Play every case as a closed loop and return [cases, OUTPUTS] of `closed_loop`."""
    size = len(cols.cases)
    quiet = _unstreamed(cols, r)
    table = tokens_s(cols.terms, r, cols.degrees, np.broadcast_to(GRID, (size, len(GRID))))
    sequence, kv, near, pair = (_line(x, size) for x in affine(cols.terms, quiet, cols.degrees))
    window = _line(np.maximum(cols.terms.window_tokens, cols.terms.selected_tokens), size)
    host = np.where(cols.loads.offline[:, 0] > 0, _line(r.host_token_s, size), 0.0)
    prefill, first = _line(r.prefill_step_s, size), _line(r.first_token_s, size)
    admission, per_token = _line(r.admission_s, size), _line(r.admission_s_per_token, size)
    out = np.zeros((size, closed_loop.OUTPUTS))
    for i, case in enumerate(cols.cases):
        isl, osl, slots = requests(case, i)
        if case.protocol == "disaggregated":
            isl = np.ones_like(isl)  # prompts arrive prefilled; their contexts count through the slope
        shift = case.isl_tokens * (0.9 if case.uniform_lengths else 1.0) if case.protocol == "disaggregated" else 0.0
        room = cols.kv_tokens[i] * case.osl_tokens / (case.osl_tokens + shift)  # their contexts fill the cache all the same
        limits = np.array([
            case.recipe.step_tokens * case.layout.dp, case.recipe.sequences, max(room, 4.0 * case.isl_tokens),
            float(case.recipe.prefill_only), case.recipe.poll_steps, case.recipe.wait_steps, case.recipe.wait_tokens,
            float(case.recipe.ahead), 1.0 if shift else case.recipe.keeps_frac, float(case.recipe.whole),
        ])  # fmt: skip
        slope = np.array([sequence[i] + kv[i] * shift, kv[i], near[i], window[i], pair[i], 0.0 if shift else prefill[i], host[i]])
        queued = 1.0 if case.recipe.queued_client and not shift else 0.0
        client = np.array([TURNAROUND_S, queued * admission[i], queued * per_token[i], first[i]])
        closed_loop.play(isl, osl, slots, GRID, table[i], slope, limits, client, out[i])
        if case.queued_requests:
            out[i, closed_loop.TPOT] = out[i, closed_loop.MAKESPAN] / case.osl_tokens
            out[i, closed_loop.TOKEN] = out[i, closed_loop.TOTAL] / case.osl_tokens
        if each is not None and i % 64 == 0:
            each(i / size)
    waits = _stream_wait(cols, r) * out[:, closed_loop.TPOT]
    out[:, closed_loop.TTFT] += waits
    out[:, closed_loop.MEDIAN_TTFT] += waits
    return out


def _unstreamed(cols: Columns, r: Rates) -> Rates:
    """Return rates under which runs that stream nothing pay no host time for a sequence on top of the step."""
    return replace(r, sequence_s=np.where(cols.loads.offline > 0, 0.0, r.sequence_s))


def _stream_wait(cols: Columns, r: Rates) -> Array:
    """Return how many decode steps the first token waits in the streaming buffer."""
    return np.asarray(cols.loads.stream_steps[:, 0] * _line(r.stream_wait_frac, len(cols.cases)))


def requests(case: Case, seed: int) -> tuple[Any, Any, int]:
    """Return prompt lengths, output lengths and slots of one replica's closed loop."""
    slots = max(1, round(case.concurrency / case.replicas)) if case.protocol == "disaggregated" else max(1, round(case.concurrency))
    count = max(slots + (case.recipe.prompts_per_slot > 1), min(case.recipe.prompts_per_slot * slots, MOST_REQUESTS))
    isl = closed_loop.lengths(case.isl_tokens * (1.0 - case.cached_frac), count, uniform=case.uniform_lengths, seed=2 * seed + 1)
    osl = closed_loop.lengths(case.osl_tokens, count, uniform=case.uniform_lengths, seed=2 * seed)
    return isl, osl, slots


def analytic(cols: Columns, r: Rates, played: Array) -> tuple[Array, Array]:
    """Return TTFT and TPOT from the steps that a played loop counted, at other rates: what a calibration moves.

    A request's TTFT is a number of steps of each kind; their order hardly changes when rates move a little.
    """
    size, load = len(cols.cases), cols.loads
    isl, context = load.isl_tokens[:, 0], load.context_tokens[:, 0]
    n = np.maximum(played[:, closed_loop.RUNNING], 1.0)
    sequence, kv, near, pair = (_line(x, size) for x in affine(cols.terms, _unstreamed(cols, r), cols.degrees))
    window = _line(np.maximum(cols.terms.window_tokens, cols.terms.selected_tokens), size)
    chunk = np.minimum(load.budget_tokens[:, 0], np.maximum(isl, 1.0))
    at = tokens_s(cols.terms, r, cols.degrees, np.stack([n, n + chunk, np.ones_like(n)], axis=1))
    decode = at[:, 0] + n * (sequence + kv * context + near * np.minimum(window, context))
    decode = np.maximum(decode, np.where(load.offline[:, 0] > 0, n * _line(r.host_token_s, size), 0.0))
    per_token = (at[:, 1] - at[:, 0]) / chunk
    carrying = np.where(load.apart[:, 0] > 0, at[:, 2], decode) + _line(r.prefill_step_s, size)

    def total(counts: Array) -> Array:
        steps = counts[:, 0] * decode + counts[:, 1] * carrying
        return np.asarray(steps + counts[:, 2] * per_token + counts[:, 3] * pair)

    admitted = _line(r.admission_s, size) + _line(r.admission_s_per_token, size) * isl
    queue = load.queued[:, 0] * admitted * (1.0 + load.slots[:, 0] / (2 * load.prompts_per_slot[:, 0]))
    ttft = total(played[:, closed_loop.WAIT]) + _line(r.first_token_s, size) + queue
    tpot = total(played[:, closed_loop.TOKEN])
    return ttft + _stream_wait(cols, r) * tpot, tpot


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a case is predicted to show: seconds and tokens per second of the whole system."""

    ttft_s: float
    tpot_s: float
    output_tok_per_s: float
    prompt_tok_per_s: float
    ttft_tail_s: float  # 99th percentile, where the protocol has one
    tpot_tail_s: float
    ttft_median_s: float = 0.0


def outcomes(cols: Columns, r: Rates, *, path: str = "", each: Callable[[float], None] | None = None) -> list[Outcome]:
    """Return the prediction of every case under its protocol."""
    loops = [i for i, c in enumerate(cols.cases) if c.protocol in ("closed", "disaggregated")]
    found: dict[int, Outcome] = {}
    if loops:
        part = take(cols, loops)
        played = play(part, pick(r, loops, len(cols.cases)), each=each)
        for row, i in enumerate(loops):
            found[i] = _looped(cols.cases[i], played[row])
    split = [i for i in loops if cols.cases[i].protocol == "disaggregated"]
    if split:
        _prefill_pools(cols, split, found, path)
    for i, case in enumerate(cols.cases):
        if i not in found:
            alone = _queued if case.queued_requests else _static
            found[i] = (
                _saturated(case, path)
                if case.protocol == "saturated" and not case.queued_requests
                else alone(take(cols, [i]), pick(r, [i], len(cols.cases)))
            )
    return [found[i] for i in range(len(cols.cases))]


def take(cols: Columns, rows: Sequence[int] | NDArray[np.int64]) -> Columns:
    """Return some of the cases."""
    index = np.asarray(rows)
    size = len(cols.cases)
    load, cost, facts, d = (pick(item, rows, size) for item in (cols.loads, cols.terms, cols.facts, cols.degrees))
    return Columns(tuple(cols.cases[i] for i in rows), load, cost, facts, d, cols.years[index], cols.kv_tokens[index])


def pick(item: Any, rows: Sequence[int] | NDArray[np.int64], size: int) -> Any:
    """Return some rows of a dataclass of columns."""
    index = np.asarray(rows)

    def part(value: Any) -> Any:
        return value[index] if np.ndim(value) == 2 and value.shape[0] == size else value

    return type(item)(**{f.name: part(getattr(item, f.name)) for f in fields(item)})


def _looped(case: Case, out: Array) -> Outcome:
    isl, osl, slots = requests(case, 0)
    speed = case.accepted_tokens / (1.0 + DRAFT_COST_FRAC) if case.accepted_tokens > 1 else 1.0
    ttft, tpot = float(out[closed_loop.TTFT]), float(out[closed_loop.TPOT]) / speed
    requests_per_s = slots / max(ttft + tpot * (float(osl.mean()) - 1.0), 1e-9)
    return Outcome(
        ttft,
        tpot,
        requests_per_s * float(osl.mean()) * case.replicas,
        requests_per_s * float(isl.mean()) * case.replicas,
        ttft,
        tpot,
        float(out[closed_loop.MEDIAN_TTFT]),
    )


def _prefill_pools(cols: Columns, rows: Sequence[int], found: dict[int, Outcome], path: str) -> None:
    """Replace the TTFT of disaggregated cases by that of their prefill pool."""
    cases = [cols.cases[i] for i in rows]
    pool = columns(cases, prefill=True)
    eff = embedded(pool, path=path)
    r = reached(pool, eff)
    size = len(cases)
    busy, hand_over = _line(eff[0].pool_busy_frac, size), _line(eff[0].hand_over_s, size)
    table = tokens_s(pool.terms, r, pool.degrees, np.broadcast_to(GRID, (size, len(GRID))))
    pair = _line(affine(pool.terms, r, pool.degrees)[3], size)
    prefill, first, admission = (_line(x, size) for x in (r.prefill_step_s, r.first_token_s, r.admission_s))
    link = _line(r.scale_out_bytes_per_s, size)
    for row, (i, case) in enumerate(zip(rows, cases, strict=True)):
        whole = Case(**{**{f.name: getattr(case, f.name) for f in fields(case)}, "replicas": 1})
        isl, osl, slots = requests(whole, i)
        layout = case.prefill_layout or case.layout
        kept = case.model.kv_bytes_per_token(layout.kv_precision, context_tokens=case.isl_tokens)
        slope = np.array([0.0, 0.0, 0.0, 0.0, pair[row], prefill[row]])
        client = np.array([TURNAROUND_S, admission[row] / case.prefill_replicas, 0.0, first[row]])
        limits = np.array([case.recipe.step_tokens * layout.dp, 1024.0, busy[row]])
        before = found[i]
        ttft = closed_loop.play_prefill(
            isl, osl, slots, case.prefill_replicas, GRID, table[row], slope, limits, client, before.tpot_s,
            hand_over[row] + before.ttft_s, kept / link[row],  # the decode pool must have room
        )  # fmt: skip
        rate = slots / max(ttft + before.tpot_s * float(osl.mean()), 1e-9)
        found[i] = Outcome(ttft, before.tpot_s, rate * float(osl.mean()), rate * float(isl.mean()), ttft, before.tpot_s)


def _static(cols: Columns, r: Rates) -> Outcome:
    """Predict a static batch: one prefill of all prompts, then decode steps at the mean context."""
    case = cols.cases[0]
    n = case.concurrency
    sequence, kv, near, pair = (float(_line(x, 1)[0]) for x in affine(cols.terms, r, cols.degrees))
    window = float(max(np.max(cols.terms.window_tokens), np.max(cols.terms.selected_tokens)))
    new = case.isl_tokens * (1.0 - case.cached_frac)
    per_request = case.protocol == "static"
    batch = n * new if per_request else n
    at = tokens_s(cols.terms, r, cols.degrees, np.array([[batch, n]]))[0]
    prefill = float(at[0]) + pair * batch * case.isl_tokens / 2.0 + float(_line(r.prefill_step_s, 1)[0])
    context = case.isl_tokens + (case.osl_tokens / 2.0 if per_request else 0.0)
    decode = float(at[1]) + n * (sequence + kv * context + near * min(window, context))
    if case.accepted_tokens > 1:
        decode *= (1.0 + DRAFT_COST_FRAC) / case.accepted_tokens
    rate = n * case.osl_tokens / (prefill + decode * case.osl_tokens) if per_request else n / decode
    return Outcome(prefill, decode, rate, batch / prefill, prefill, decode)


def _queued(cols: Columns, r: Rates) -> Outcome:
    """Play requests that are all queued at once to the end: batches fill, shrink with the cache, and drain."""
    case = cols.cases[0]
    out = play(cols, r)[0]
    rate = case.queued_requests / float(out[closed_loop.TPOT]) * case.replicas
    ttft, tpot = float(out[closed_loop.TTFT]), float(out[closed_loop.MAKESPAN]) / case.osl_tokens
    return Outcome(ttft, tpot, rate, rate * case.isl_tokens / case.osl_tokens, ttft, tpot)


def _saturated(case: Case, path: str) -> Outcome:
    """Predict endless offline or promised load: of the layouts and step sizes a submitter would try, the one that serves most."""
    tried = [_loaded(case, layout, step, path) for layout in _layouts(case) for step in STEP_TOKENS]
    return max(tried, key=lambda outcome: outcome.output_tok_per_s)


def _layouts(case: Case) -> list[Layout]:
    """Return the case's own layout and wider ones on the same chips; for MoE also attention by data."""
    own, total = case.layout, case.layout.chips * case.replicas
    found = [own]
    if own.dp > 1:
        return found
    most = min(total, int(case.chip.scale_up_chips or 8), 8)
    tp = own.tp
    while tp <= most:
        if tp > own.tp:
            found.append(Layout(own.precision, own.kv_precision, tp=tp))
        if case.model.experts and tp > 1:
            found.append(Layout(own.precision, own.kv_precision, tp=1, ep=tp, dp=tp))
        tp *= 2
    return found


def _loaded(case: Case, layout: Layout, step_tokens: int, path: str) -> Outcome:
    g = ground(case.model, case.chip, layout.precision, layout.kv_precision, engine=case.engine, efficiency_path=path)
    g = replace(g, rates=replace(g.rates, sequence_s=0.0))  # nothing is streamed: host work hides behind the chips
    d = degrees([layout])
    lengths = Lengths(case.isl_tokens, case.osl_tokens, isl_cv=0.3, osl_cv=0.0 if not case.ttft_limit_s else 0.5)
    at = {"batches": BATCHES, "max_step_tokens": step_tokens}
    grid = steady_state(g, d, slopes(g, d), lengths, 0.5, **at)  # type: ignore[arg-type]
    tail = steady_state(g, d, slopes(g, d), lengths, 0.99, **at) if case.ttft_limit_s else grid  # type: ignore[arg-type]
    keep = grid.fits[0] & (grid.batch[0] <= MOST_SEQUENCES * layout.dp)
    if case.ttft_limit_s:
        keep &= (tail.ttft_q_s[0] <= case.ttft_limit_s) & (tail.tpot_q_s[0] <= case.tpot_limit_s)
    best = int(np.argmax(np.where(keep, grid.rps[0], -1.0))) if keep.any() else 0
    total = float(grid.rps[0, best]) * case.layout.chips * case.replicas / layout.chips
    return Outcome(
        float(grid.ttft_q_s[0, best]), float(grid.tpot_s[0, best]), total * case.osl_tokens, total * case.isl_tokens,
        float(tail.ttft_q_s[0, best]), float(tail.tpot_q_s[0, best]),
    )  # fmt: skip
