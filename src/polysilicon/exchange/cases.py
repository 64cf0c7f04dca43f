"""Cases: the runs behind measured points, as the engine, the client and the layout they were measured with.

One case is one configuration under one protocol; several points (TTFT, TPOT, throughput) may come from one case. What is
stated about engines here was read in the public benchmark scripts of InferenceX (SemiAnalysisAI/InferenceX, benchmarks/):
step budgets, polling of the SGLang scheduler, TensorRT-LLM's batch wait, 8-bit caches.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from polysilicon.catalogue import Catalogue
from polysilicon.errors import InputError, MissingFact
from polysilicon.exchange.points import Point, degree, first_number
from polysilicon.exchange.reference import Lookup
from polysilicon.model.architecture import Model
from polysilicon.model.layout import Layout
from polysilicon.performance import Observation
from polysilicon.silicon.chip import Chip

Protocol = Literal["closed", "disaggregated", "saturated", "static", "prefill", "decode"]
# Room that admission keeps for outputs to come: TensorRT-LLM for all of them (GUARANTEED_NO_EVICT), vLLM for none, SGLang for a
# tenth once its estimate has settled (new_token_ratio: 0.7 x 0.14).
VLLM_KEEPS, SGLANG_KEEPS = 0.0, 0.1
DRAFT_ACCEPTED_TOKENS = 3.0  # tokens a step with a small draft model, where a source states speculation but no acceptance

# MLPerf data sets: mean prompt and output tokens; promises of the scenario (TTFT s, TPOT s). Source: MLPerf Inference
# rules v5.1, table of latency constraints, and the data sets' statistics (OpenOrca, CNN-DailyMail, LongBench mix).
_MLPERF: dict[str, tuple[float, float, tuple[float, float], tuple[float, float]]] = {
    "llama-2-70b": (294.0, 294.0, (2.0, 0.2), (0.45, 0.04)),
    "mixtral-8x7b": (330.0, 144.0, (2.0, 0.2), (2.0, 0.2)),
    "llama-3.1-405b": (9400.0, 680.0, (6.0, 0.175), (4.5, 0.08)),
    "llama-3.1-8b": (870.0, 128.0, (2.0, 0.1), (0.5, 0.03)),
    "deepseek-r1": (800.0, 3880.0, (2.0, 0.08), (2.0, 0.08)),
}


@dataclass(frozen=True, slots=True)
class Recipe:
    """How an engine schedules: tokens a step, sequences, prefill apart from decode, polling, waiting for a batch."""

    step_tokens: int = 8192
    sequences: int = 1_000_000
    prefill_only: bool = False
    poll_steps: int = 1
    wait_steps: int = 0
    wait_tokens: float = 0.0
    stream_steps: int = 0  # tokens the engine gathers before it streams
    queued_client: bool = True  # requests pass a front end one after another
    ahead: bool = False  # a step is scheduled while the one before it runs
    memory_frac: float = 0.93  # of HBM for weights and cache
    static: bool = False  # the share is of weights and cache alone: activations live in the rest
    of_rest: bool = False  # the share is of what the weights leave, for the cache alone
    whole: bool = False  # prompts are not cut to fill a step
    keeps_frac: float = 1.0  # of the outputs still to come that admission keeps room for
    prompts_per_slot: int = 10  # of the whole run


@dataclass(frozen=True, slots=True)
class Case:
    """One run: what served, how it was loaded."""

    key: str
    model: Model
    chip: Chip
    layout: Layout
    engine: str
    years: float
    protocol: Protocol
    isl_tokens: float
    osl_tokens: float
    concurrency: float
    uniform_lengths: bool = False
    recipe: Recipe = Recipe()
    ttft_limit_s: float = 0.0  # saturated under promises; 0: none
    tpot_limit_s: float = 0.0
    replicas: int = 1
    prefill_layout: Layout | None = None
    prefill_replicas: int = 1
    accepted_tokens: float = 1.0  # tokens a decode step yields (speculation)
    cached_frac: float = 0.0
    queued_requests: int = 0  # saturated by so many requests queued at once; 0: an endless supply


def of(point: Point, lookup: Lookup) -> Case:
    """Return the case behind a point.

    Raises: InputError or MissingFact with the reason when nothing can be predicted for it.
    """
    _believable(point)
    model = lookup.model(point.model, point.total_params, point.active_params)
    chip = lookup.chip(point.chip)
    chip.need("hbm_gb_per_s", needed_for="prediction")
    if not chip.dense_tflop_per_s:
        raise MissingFact(chip.id, "dense_tflop_per_s", needed_for="prediction")
    precision, kv = precisions(point, model)
    if "fp8 or mxfp4" in point.quant.casefold() and "fp4" in chip.dense_tflop_per_s:
        precision = "fp4"  # a submitter takes the lower one where the chip multiplies it
    if "disagg" in point.parallelism:
        return _disaggregated(point, model, chip, precision, kv)
    protocol = _protocol(point)
    isl, osl = _lengths(point, model, protocol)
    queued = _queued(isl, osl) if "queued at once" in point.note else 0
    layout = _layout(point, model, chip, precision, kv, saturated=protocol == "saturated")
    if queued and model.experts and layout.dp == 1:
        layout = Layout(precision, kv, tp=1, ep=layout.tp, dp=layout.tp)  # enable_attention_dp in the overview's options
    limits = _limits(point, model) if protocol == "saturated" else (0.0, 0.0)
    return Case(
        key=_key(point),
        model=model,
        chip=chip,
        layout=layout,
        engine=point.engine,
        years=point.years,
        protocol=protocol,
        isl_tokens=isl,
        osl_tokens=osl,
        concurrency=queued or _concurrency(point, protocol, layout),
        uniform_lengths=_uniform(point),
        recipe=Recipe(8192, 4096 * layout.dp, queued_client=False, ahead=True, prompts_per_slot=1, memory_frac=0.9, of_rest=True)
        if queued
        else recipe(point, model, chip, layout),
        queued_requests=queued,
        ttft_limit_s=limits[0],
        tpot_limit_s=limits[1],
        replicas=max(1, point.n_chips // layout.chips),
        accepted_tokens=_accepted(point),
        cached_frac=_cached(point),
    )


def _believable(point: Point) -> None:
    """Refuse a run that no system is: it would be played request by request."""
    most = {"isl": 1e8, "osl": 1e7, "load": 1e6}
    found = {"isl": first_number(point.isl), "osl": first_number(point.osl), "load": first_number(point.load)}
    for name, value in found.items():
        if value > most[name]:
            raise InputError(f"{name} is {value:g}; up to {most[name]:,.0f} is played")
    degrees = [n for pair in re.findall(r"(?:TP|DP|EP)\s?(\d+)|(\d+)[PD]\(", point.parallelism) for n in pair if n]
    if any(not 1 <= int(n) <= 100_000 for n in degrees):
        raise InputError(f'parallelism "{point.parallelism[:80]}" is none; degrees are 1 to 100,000')


def _key(point: Point) -> str:
    known = (
        point.model,
        point.quant,
        point.chip,
        point.n_chips,
        point.parallelism,
        point.isl,
        point.osl,
        point.load,
        point.backend,
        point.date,
        point.source,
        point.metric if point.kind == "throughput" or "prefix" in point.metric else "",
    )
    run = re.sub(r"/performance/.*|row \d+.*", "", point.run) if "throughput" not in point.metric else ""
    return "|".join(str(k) for k in (*known, run if "id=" in run else ""))


def precisions(point: Point, model: Model) -> tuple[str, str]:
    """Return the precision of weights and of the KV cache that a point's words mean."""
    words = point.quant.casefold()
    if "fp4" in words and "fp8 or" not in words:
        weights = "fp4"
    elif "fp8" in words:
        weights = "fp8"
    elif "int8" in words:
        weights = "int8"
    elif "int4" in words or "w4a16" in words:
        weights = "int4"  # four-bit integers, multiplied in 16 bits
    else:
        weights = "bf16" if words or model.native_precision == "fp32" else model.native_precision
    if "fp8 kv" in words:
        return weights, "fp8"
    small = weights in ("fp8", "fp4") and "w-" not in words and not _wide_cache(point, model)
    return weights, "fp8" if small else "bf16"


def _wide_cache(point: Point, model: Model) -> bool:
    """Return whether a quantised model was run with a 16-bit cache: engines keep 16 bits unless a script says otherwise."""
    if "inferencex" not in point.source.casefold():
        return point.engine in ("vllm", "sglang")
    if _tuned(point, model):
        return False
    hopper = point.chip.casefold().startswith("h")
    if point.engine == "vllm":
        return model.family not in ("llama", "gpt-oss") or (model.family == "gpt-oss" and hopper)
    return point.engine == "sglang" and hopper and model.family == "deepseek-mla"


def _protocol(point: Point) -> Protocol:
    if point.metric.startswith(("prefill_throughput",)):
        return "prefill"
    if point.metric.startswith(("decode_throughput",)):
        return "decode"
    if point.metric in ("prefill_batch_time", "decode_step_time") or "neuron" in f"{point.source} {point.backend}".casefold():
        return "static"
    if re.fullmatch(r"\d+(\.\d+)?", point.load):
        return "closed"
    return "saturated"


def _lengths(point: Point, model: Model, protocol: Protocol) -> tuple[float, float]:
    isl, osl = first_number(point.isl), first_number(point.osl)
    known = _mlperf(model)
    if protocol == "saturated" and known and (isl == 0 or not point.isl[:1].isdigit()):
        return known[0], osl if osl >= 16 else known[1]
    if isl == 0 or not point.isl[:1].isdigit():
        isl = 1024.0
    return isl, osl or 128.0


def _queued(isl: float, osl: float) -> int:
    """Return how many requests TensorRT-LLM's performance overview queues (its table num_requests), by lengths."""
    if max(isl, osl) <= 256:
        return 30_000
    if max(isl, osl) >= 20_000:
        return 1_000
    return 3_000 if isl + osl <= 2_500 else 1_500


def _mlperf(model: Model) -> tuple[float, float, tuple[float, float], tuple[float, float]] | None:
    name = model.id.rsplit("/", 1)[-1].casefold().removeprefix("meta-")
    return next((v for k, v in _MLPERF.items() if name.startswith(k)), None)


def _limits(point: Point, model: Model) -> tuple[float, float]:
    known = _mlperf(model)
    if known is None:
        return 0.0, 0.0
    return {"Server": known[2], "Interactive": known[3]}.get(point.load, (0.0, 0.0))


def _uniform(point: Point) -> bool:
    return "[0.8L, L]" in point.note or "inferencex" in point.source.casefold()


def _accepted(point: Point) -> float:
    """Return the tokens a decode step yields: as the point tells, as a small draft model gives, or one without speculation."""
    words = f"{point.quant} {point.parallelism} {point.note}".casefold().replace("speculative decoding off", "")
    if "speculative" not in words:
        return 1.0
    told = re.search(r"(\d+(?:\.\d+)?) tokens a step", words)
    return max(1.0, float(told.group(1))) if told else DRAFT_ACCEPTED_TOKENS


def _cached(point: Point) -> float:
    if point.cached_frac:
        return point.cached_frac
    if point.metric.endswith("_prefix_cache") and "no_prefix" not in point.metric:
        return first_number(point.isl.split("~")[-1].split(">")[-1]) / 100.0 if "%" in point.isl else 0.0
    return 0.0


def _concurrency(point: Point, protocol: Protocol, layout: Layout) -> float:
    load = first_number(point.load, 1.0)
    if protocol in ("prefill", "decode") and "per GPU" in point.load:
        return load * layout.chips
    if protocol in ("prefill", "decode") and not first_number(point.load):
        return layout.chips * (16384.0 if protocol == "prefill" else 256.0)  # what such systems are reported at
    return max(1.0, load)


def _layout(point: Point, model: Model, chip: Chip, precision: str, kv: str, *, saturated: bool) -> Layout:
    text, n = point.parallelism, max(1, point.n_chips)
    attention_dp = degree(text, "attnDP")
    wide = degree(text, "EP")
    if "attention-DP" in text or ("DP attention" in text) or re.match(r"EP\d+ (prefill|decode)", text):
        return Layout(precision, kv, tp=1, ep=max(wide, n), dp=n)
    if "ranks per" in text:
        return Layout(precision, kv, tp=1, ep=n, dp=n)
    if saturated and not re.match(r"TP\d", text):
        return Layout(precision, kv, tp=smallest_tp(model, chip, precision, n))
    tp = max(1, n // attention_dp)
    return Layout(precision, kv, tp=tp, ep=wide if wide <= n else 1, dp=attention_dp)


def smallest_tp(model: Model, chip: Chip, precision: str, most: int) -> int:
    """Return the fewest chips (a power of two) whose memory is at most two thirds weights, as submitters choose."""
    weights_gb = model.weight_bytes(precision) / 1e9
    tp = 1
    while tp * 2 <= most and weights_gb > 0.67 * tp * (chip.hbm_gb or 0.0):
        tp *= 2
    return tp


def _disaggregated(point: Point, model: Model, chip: Chip, precision: str, kv: str) -> Case:
    found = re.search(r"(\d+)P\(TP(\d+) DP(\d+) EP(\d+)\) (\d+)D\(TP(\d+) DP(\d+) EP(\d+)\)", point.parallelism)
    if found is None:
        raise InputError(f'disaggregated layout "{point.parallelism}" is not understood')
    p, ptp, pdp, pep, d, dtp, ddp, dep = (int(x) for x in found.groups())
    return Case(
        key=_key(point),
        model=model,
        chip=chip,
        layout=Layout(precision, kv, tp=dtp, dp=ddp, ep=dep),
        engine=point.engine,
        years=point.years,
        protocol="disaggregated",
        isl_tokens=first_number(point.isl, 1024),
        osl_tokens=first_number(point.osl, 1024),
        concurrency=max(1.0, first_number(point.load, 1.0)),
        uniform_lengths=_uniform(point),
        replicas=d,
        recipe=Recipe(16384, prefill_only=True),
        prefill_layout=Layout(precision, kv, tp=ptp, dp=pdp, ep=pep),
        prefill_replicas=p,
    )


def recipe(point: Point, model: Model, chip: Chip, layout: Layout) -> Recipe:
    """Return how the measured engine was set up, as far as its public scripts say; its defaults where they say nothing."""
    load = first_number(point.load, 1)
    scripted = "inferencex" in point.source.casefold()
    if point.engine == "sglang":
        return _sglang(model, chip, load, scripted=scripted)
    if point.engine == "trtllm" and scripted:
        return _trtllm(first_number(point.isl, 1024), first_number(point.osl, 1024), load, model, chip, layout)
    if scripted:
        return _vllm(point, model, chip, layout, load)
    return _generated(point.engine, first_number(point.isl, 1024), load)


def _generated(engine: str, isl: float, load: float) -> Recipe:
    """Return a set-up as aiconfigurator generates it: TensorRT-LLM takes one prompt a step, vLLM ISL + batch + 1,500 tokens.

    Source: ai-dynamo/aiconfigurator, generator rules (max_num_tokens = max_batch_size + ISL + 1,500).
    """
    if engine == "trtllm":
        return Recipe(int(isl + load), queued_client=False, ahead=True, memory_frac=0.8, of_rest=True, prompts_per_slot=20)
    return Recipe(int(isl + load + 1500), queued_client=False, memory_frac=0.9, keeps_frac=VLLM_KEEPS)


def _sglang(model: Model, chip: Chip, load: float, *, scripted: bool) -> Recipe:
    """Return an SGLang set-up: prefill in steps of its own, the queue polled now and then on Blackwell."""
    blackwell = chip.family == "cuda-blackwell"
    if not scripted:
        return Recipe(16384, prefill_only=True, queued_client=False, memory_frac=0.8, static=True, keeps_frac=SGLANG_KEEPS)
    latent = model.family == "deepseek-mla"
    poll = (30 if load >= 16 else 10) if blackwell else 1
    budget = 32768 if latent != blackwell else 16384
    sequences = 256 if latent else 128
    return Recipe(
        budget, sequences, prefill_only=True, poll_steps=poll, stream_steps=10 if latent else 30, static=True,
        memory_frac=0.85 if latent and blackwell else 0.82, keeps_frac=SGLANG_KEEPS,
    )  # fmt: skip


def _trtllm(isl: float, osl: float, load: float, model: Model, chip: Chip, layout: Layout) -> Recipe:
    """Return InferenceX's TensorRT-LLM set-up: tokens a step by model, a wait for fuller batches on Llama 1k/1k."""
    budget, wait, share = 8192.0, 0, 0.9  # of what the weights leave, TensorRT-LLM's default
    if model.family == "gpt-oss":
        budget, share = 20000.0, 0.85
    elif model.family == "deepseek-mla":
        budget, share = max(8192.0, load + isl + 128), 0.8
    elif model.family == "llama":
        budget = 16384.0 if chip.family == "cuda-blackwell" else max(isl + osl + 200, 2248.0)
        wait = 20 if isl == osl == 1024 and layout.tp < 8 else 0
    return Recipe(
        int(max(budget, load + 256)),
        wait_steps=wait,
        wait_tokens=0.9 * budget if wait else 0.0,
        stream_steps=20 if model.family == "gpt-oss" else 10,
        ahead=True,
        memory_frac=share,
        of_rest=True,
    )


def _tuned(point: Point, model: Model) -> bool:
    """Return whether a run took InferenceX's vLLM set-up of April 2026 for MiniMax on Blackwell: 8-bit cache, two prompts a step."""
    blackwell = point.chip.casefold().startswith(("b", "gb"))
    spread = degree(point.parallelism, "attnDP") > 1
    return model.family == "minimax" and point.engine == "vllm" and blackwell and not spread and point.date >= "2026-04"


def _vllm(point: Point, model: Model, chip: Chip, layout: Layout, load: float) -> Recipe:
    """Return InferenceX's vLLM set-up: 8,192 tokens a step and 0.9 of memory, unless its script for MiniMax says otherwise."""
    if _tuned(point, model):
        return Recipe(int(2 * first_number(point.isl, 1024)), ahead=True, memory_frac=0.9, keeps_frac=VLLM_KEEPS)
    wide = model.family == "minimax" and layout.precision == "fp8" and chip.id != "h100-sxm"
    return Recipe(int(max(8192.0, load + 256)), ahead=True, memory_frac=0.95 if wide else 0.9, keeps_frac=VLLM_KEEPS)


def observations(
    points: Sequence[Point], known: Catalogue, *, models: Mapping[str, Model] | None = None,
) -> tuple[list[Observation], dict[str, int]]:  # fmt: skip
    """Return each closed-loop configuration as one observation (its TPOT, and TTFT where measured), and points refused by reason.

    Of several statistics of one latency the mean is taken, and with no mean the first. `models` are known beside the catalogue's.
    """
    lookup = Lookup(known, models)
    refused: dict[str, int] = {}
    runs: dict[str, tuple[Case, dict[str, float], Point]] = {}
    for point in sorted(points, key=lambda p: p.metric not in ("tpot", "ttft", "tpot_mean", "ttft_mean")):
        try:
            case = of(point, lookup)
        except (InputError, MissingFact) as error:
            refused[error.message] = refused.get(error.message, 0) + 1
            continue
        if case.protocol == "closed" and point.kind != "throughput":
            runs.setdefault(case.key, (case, {}, point))[1].setdefault(point.kind, point.seconds)
    return [
        Observation(
            c.model.id, c.chip.id, c.layout.chips, c.layout.precision, c.isl_tokens, c.osl_tokens, c.concurrency,
            times["tpot"], times.get("ttft"), c.layout, c.cached_frac, point.source, point.date,
        )
        for c, times, point in runs.values() if "tpot" in times
    ], refused  # fmt: skip
