"""Results users already have, as measured points: vLLM, SGLang, GuideLLM, AIPerf, InferenceX, llm-d reports, MLPerf summaries.

A file is recognised by its keys. Where a tool does not record the chip, the precision or the degree of parallelism, they
are read from its own words (model name, `--chip` style fields it carries) or left empty, and the point says so when refused.
Traps that are minded: InferenceX counts seconds and vLLM milliseconds; GuideLLM's time per output token has the first token in
it, so the gaps between tokens are read; a run at a rate has no concurrency, so Little's law gives it one.
"""

from __future__ import annotations

import csv
import json
import math
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from polysilicon.errors import InputError
from polysilicon.exchange import points as measured
from polysilicon.exchange.points import Point
from polysilicon.scenario.document import read_document

MAX_BYTES = 512 * 1024 * 1024
MOST_CHIPS = 100_000
LATENCIES = ("ttft", "tpot", "itl")
TIMES = (
    (("s", "sec", "secs", "second", "seconds"), 1.0), (("ms", "msec", "millisecond", "milliseconds"), 1e-3),
    (("us", "µs", "microsecond", "microseconds"), 1e-6), (("ns", "nanosecond", "nanoseconds"), 1e-9),
)  # fmt: skip
CHIP_WORDS = re.compile(r"(?<![A-Za-z0-9])(GB[23]00|B[23]00|GH200|H[1-8]00|H20|A100|A10G|L40S|L4|MI[23]\d\d[AX]?)(?![0-9])", re.IGNORECASE)
GUIDELLM_CSV = {
    "time_to_first_token_ms": ("Time to First Token", "ms"), "inter_token_latency_ms": ("Inter Token Latency", "ms"),
    "prompt_token_count": ("Token Metrics", "Input Tokens"), "output_token_count": ("Token Metrics", "Output Tokens"),
    "output_tokens_per_second": ("Token Throughput", "Output Tokens/Sec"), "requests_per_second": ("Server Throughput", "Requests/Sec"),
    "request_concurrency": ("Server Throughput", "Concurrency"), "request_latency": ("Request Latency", "Sec"),
}  # fmt: skip


def read(path: Path) -> list[Point]:
    """Return the points of a file: our CSV, or what a benchmark tool wrote as JSON, JSON lines, YAML or GuideLLM's CSV.

    Raises: InputError where the file is none of the known shapes; InputErrors with every bad row of a CSV.
    """
    try:
        with path.open("rb") as file:
            if path.stat().st_size > MAX_BYTES:
                raise InputError(f"holds {path.stat().st_size:,} bytes; up to {MAX_BYTES:,} are read", where=str(path))
            start = file.read(64).lstrip(b"\xef\xbb\xbf \r\n\t")
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", where=str(path)) from error
    if path.suffix.casefold() in (".yaml", ".yml"):
        documents = [_yaml(path)]
    elif start.startswith(b"Run Info,"):
        documents = _guidellm_csv(path)
    elif start[:1] not in (b"{", b"["):
        return measured.read(path)
    else:
        documents = _documents(path)
    found = [p for n, document in enumerate(documents, start=1) for p in _points(document, n, str(path))]
    if not found:
        raise InputError("holds no result that can be compared", where=str(path))
    return found


def _yaml(path: Path) -> Any:
    document = read_document(path)
    if document.value is None:
        raise document.problems[0] if document.problems else InputError("is empty", where=str(path))
    return document.value  # a value that cannot be taken (.inf) is left out, as if it were not stated


def _guidellm_csv(path: Path) -> list[Any]:
    """Return a GuideLLM CSV as the JSON it stands for: three lines of headings, then one benchmark a line."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.reader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"cannot be read: {error}", where=str(path)) from error
    if len(rows) < 4:
        raise InputError("holds no benchmark under its three lines of headings", where=str(path))
    heads = list(zip(*(row + [""] * (len(rows[0]) - len(row)) for row in rows[:3]), strict=False))
    found = []
    for row in rows[3:]:
        cells = dict(zip(heads, row, strict=False))
        metrics = {
            name: {"successful": {"mean": cells.get((group, f"Successful {unit}", "Mean"), "")}} for name, (group, unit) in GUIDELLM_CSV.items()
        }
        try:
            backend = json.loads(cells.get(("Run Info", "Backend", ""), ""))
        except (ValueError, RecursionError):
            backend = {}
        found.append({"guidellm_version": "csv", "config": {"backend": backend}, "benchmarks": [{"metrics": metrics}]})
    return found


def _documents(path: Path) -> list[Any]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError("is not UTF-8 text", where=str(path)) from error
    try:
        return [json.loads(text)]
    except (ValueError, RecursionError) as whole:
        lines = [line for line in text.splitlines() if line.strip()]
        try:
            return [json.loads(line) for line in lines]
        except (ValueError, RecursionError):
            place = f":{whole.lineno}" if isinstance(whole, json.JSONDecodeError) else ""
            raise InputError(f"is neither JSON nor JSON lines: {whole}", where=f"{path}{place}") from whole


def _points(document: Any, row: int, where: str) -> list[Point]:
    if isinstance(document, list):
        return [p for n, item in enumerate(document, start=1) for p in _points(item, n, where)]
    if not isinstance(document, Mapping):
        raise InputError(f"entry {row} is {type(document).__name__}; an object is expected", where=where)
    for test, reader in SHAPES:
        if test(document):
            try:
                return list(reader(document, row))
            except (TypeError, ValueError, KeyError, AttributeError, ArithmeticError) as error:
                name = (reader.__doc__ or "").removeprefix("Read ").split(":")[0].split("\n")[0].rstrip(".")
                raise InputError(f"entry {row} looks like {name} and is damaged: {error}", where=where) from error
    keys = ", ".join(list(map(str, document))[:6])
    raise InputError(f"entry {row} is no known result (its keys: {keys}, ...)", where=where, hint="known: " + ", ".join(NAMES))


def _point(row: int, metric: str, value: Any, unit: str, **words: Any) -> list[Point]:
    """Return one point, or none where the value is absent or no positive number.

    Raises: ValueError for a latency in a unit that is none of time.
    """
    try:
        number = float(value) if not isinstance(value, bool) else math.nan
    except (TypeError, ValueError):
        return []
    if not 0.0 < number < 1e12:
        return []
    if metric.startswith(LATENCIES):
        number, unit = 1e3 * number * _seconds(unit), "ms"
    text = {k: "" if v is None else str(v) for k, v in words.items()}
    chips = int(float(text.get("n_chips") or 1)) if (text.get("n_chips") or "1").replace(".", "").isdigit() else 1
    return [
        Point(
            row=row,
            source=text.get("source", ""),
            model=text.get("model", ""),
            total_params=0.0,
            active_params=0.0,
            quant=text.get("quant", ""),
            chip=text.get("chip", ""),
            n_chips=max(1, chips),
            parallelism=text.get("parallelism", ""),
            isl=text.get("isl", ""),
            osl=text.get("osl", ""),
            load=text.get("load", ""),
            metric=metric,
            value=number,
            unit=unit,
            run=text.get("run", ""),
            backend=text.get("backend", ""),
            date=text.get("date", "")[:10],
            note=text.get("note", ""),
        )
    ]


def _seconds(unit: str) -> float:
    """Return the seconds of a unit of time, however a tool spells it: "ms", "s/token", "milliseconds"."""
    word = unit.casefold().split("/")[0].strip()
    for words, seconds in TIMES:
        if word in words:
            return seconds
    raise ValueError(f'"{unit}" is no unit of time; s, ms, us and ns are read')


def _chip(name: Any) -> str:
    """Return the chip in a driver's or a scheduler's words: H100 of "NVIDIA-H100-80GB-HBM3"."""
    text = str(name or "")
    found = CHIP_WORDS.search(text)
    if not found:
        return text
    small = "-40gb" if found.group().casefold() == "a100" and re.search(r"40\s?GB", text, re.IGNORECASE) else ""
    return found.group() + small


def _at_once(concurrency: Any, rate: Any, e2e_s: float | None, prompts: Any = None) -> tuple[str, str]:
    """Return how many requests run at once, and a note where it is not stated.

    Little's law: requests at once = requests/s x seconds each. A rate without end sends all prompts at once.
    """
    stated, pace = _finite(concurrency), _finite(rate)
    if stated:
        return f"{max(1, round(stated))}", ""
    if pace and e2e_s:
        return f"{max(1, round(pace * e2e_s))}", f"open loop at {pace:g} requests/s, so many at once by Little's law"
    everyone = _finite(prompts)
    return (f"{round(everyone)}", "all sent at once") if everyone else ("open loop", "")


def _finite(value: Any) -> float | None:
    """Return a positive finite number, or None."""
    try:
        number = float(value) if not isinstance(value, bool) else math.nan
    except (TypeError, ValueError):
        return None
    return number if 0 < number < 1e12 else None


def _drafted(accepted: Any) -> str:
    """Return the note of a run with speculative decoding: how many tokens a step yields, where it is told."""
    tokens = _finite(accepted)
    return f"speculative, {tokens:g} tokens a step" if tokens and tokens > 1 else "speculative"


def _mean(total: Any, count: Any) -> float | None:
    try:
        return float(total) / float(count) if float(count) > 0 else None
    except (TypeError, ValueError):
        return None


def _vllm(d: Mapping[str, Any], row: int) -> Iterable[Point]:
    """Read `vllm bench serve` or SGLang's `bench_serving`, which renames a few keys."""
    isl, osl = _mean(d.get("total_input_tokens"), d.get("completed")), _mean(d.get("total_output_tokens"), d.get("completed"))
    ttft, tpot = (_finite(d.get(f"mean_{x}_ms")) or _finite(d.get(f"median_{x}_ms")) for x in ("ttft", "tpot"))
    e2e = _finite(d.get("mean_e2el_ms")) or _finite(d.get("mean_e2e_latency_ms"))
    if e2e is None and ttft and tpot and osl:
        e2e = ttft + (osl - 1.0) * tpot
    rate = _finite(d.get("request_throughput")) or _finite(d.get("request_rate"))
    concurrency = _finite(d.get("max_concurrency")) or _finite(d.get("concurrency"))
    load, note = _at_once(concurrency, rate, e2e / 1e3 if e2e else None, d.get("num_prompts"))
    drafts = d.get("accept_length") or d.get("spec_decode_acceptance_length")
    notes = [note, _drafted(drafts) if drafts or d.get("spec_decode_acceptance_rate") else ""]
    notes.append(f"{d['failed']} requests failed" if _finite(d.get("failed")) else "")
    words = {
        "source": "sglang bench_serving" if "total_throughput" in d or "accept_length" in d else "vllm bench serve",
        "model": d.get("model_id") or d.get("model"),
        "isl": isl,
        "osl": osl,
        "load": load,
        "chip": _chip(d.get("accelerator") or d.get("gpu") or d.get("chip")),
        "n_chips": d.get("num_gpus"),
        "quant": d.get("quantization") or d.get("precision"),
        "backend": d.get("endpoint_type") or d.get("backend"),
        "parallelism": f"TP{d['tensor_parallel_size']}" if d.get("tensor_parallel_size") else "",
        "date": _date(d.get("date")),
        "note": "; ".join(n for n in notes if n),
    }
    for kind, value in (("ttft", ttft), ("tpot", tpot)):
        yield from _point(row, f"{kind}_mean" if _finite(d.get(f"mean_{kind}_ms")) else f"{kind}_median", value, "ms", **words)
    yield from _point(row, "output_token_throughput", d.get("output_throughput"), "tokens/s", **words)


def _date(value: Any) -> str:
    text = str(value or "")
    return f"{text[:4]}-{text[4:6]}-{text[6:8]}" if text[:8].isdigit() else text


def _inferencex(d: Mapping[str, Any], row: int) -> Iterable[Point]:
    """Read an InferenceX run (seconds) or a row of its API: figures of the API's rows sit under `metrics`."""
    if d.get("benchmark_type") == "agentic_traces":
        raise ValueError("a replay of agentic traces has no fixed lengths; single_turn rows are read")
    m = d["metrics"] if isinstance(d.get("metrics"), Mapping) else d
    parallel, chips = _split_pools(d) if _true(d.get("disagg")) else _one_pool(d)
    framework = str(d.get("framework") or "").casefold().replace("dynamo-", "")
    drafted = (d.get("spec_decoding") or d.get("spec_method") or d.get("mtp")) not in (None, "", "none", "off", False)
    words = {
        "source": "InferenceX",
        "model": d.get("infmax_model_prefix") if "model" not in d else d["model"],
        "chip": str(d.get("hw") or d.get("hardware") or "").split("-")[0].split("_")[0],
        "quant": d.get("precision"),
        "n_chips": chips,
        "parallelism": parallel,
        "isl": d.get("isl"),
        "osl": d.get("osl"),
        "load": d.get("conc"),
        "backend": "trtllm" if framework in ("trt", "trtllm") else framework,
        "date": d.get("date"),
        "note": "lengths uniform in [0.8L, L]" + ("; " + _drafted(d.get("acceptance_length")) if drafted else ""),
    }
    yield from _point(row, "ttft", m.get("mean_ttft") or m.get("median_ttft"), "s", **words)
    yield from _point(row, "tpot", m.get("mean_tpot") or m.get("median_tpot"), "s", **words)
    if not _true(d.get("disagg")):  # there output is divided by the decode pool alone
        yield from _point(row, "output_throughput_per_gpu", m.get("output_tput_per_gpu"), "tokens/s/GPU", **words)


def _many(value: Any) -> int:
    """Return a degree of parallelism or a count of chips, 1 where it is not stated.

    Raises: ValueError for what can be neither.
    """
    count = int(value or 1)
    if not 1 <= count <= MOST_CHIPS:
        raise ValueError(f"{str(value)[:40]} is no count of chips; 1 to {MOST_CHIPS:,} are")
    return count


def _true(value: Any) -> bool:
    return str(value).casefold() in ("true", "1", "yes")


def _one_pool(d: Mapping[str, Any]) -> tuple[str, int]:
    tp, ep = _many(d.get("tp") or d.get("decode_tp")), _many(d.get("ep") or d.get("decode_ep"))
    if _true(d.get("dp_attention", d.get("decode_dp_attention"))):
        return f"TP1 attnDP{tp} EP{ep}", tp
    return f"TP{tp}" + (f" EP{ep}" if ep > 1 else ""), tp * _many(d.get("pp"))


def _split_pools(d: Mapping[str, Any]) -> tuple[str, int]:
    """Return the words of prefill and decode pools, "2P(TP1 DP4 EP4) 1D(TP8 DP1 EP8)", and their chips."""
    parts, total = [], 0
    for name, letter in (("prefill", "P"), ("decode", "D")):
        tp, ep = _many(d.get(f"{name}_tp")), _many(d.get(f"{name}_ep"))
        chips = _many(d.get(f"num_{name}_gpu") or tp)
        workers = _many(d.get(f"{name}_num_workers") or max(1, chips // tp))
        degrees = f"TP1 DP{tp}" if _true(d.get(f"{name}_dp_attention")) else f"TP{tp} DP1"
        parts.append(f"{workers}{letter}({degrees} EP{ep})")
        total += chips
    return "disagg " + " ".join(parts), total


def _guidellm(d: Mapping[str, Any], row: int) -> Iterable[Point]:
    """Read a GuideLLM report: one benchmark per rate or concurrency."""
    for n, b in enumerate(d.get("benchmarks") or (), start=row):
        metrics = b.get("metrics") if isinstance(b, Mapping) else None
        if not isinstance(metrics, Mapping):
            continue

        def mean(name: str, metrics: Mapping[str, Any] = metrics) -> Any:
            return _dig(metrics, name, "successful", "mean")

        config = [d.get("config"), d.get("args"), b.get("config"), b.get("args")]
        load, note = _at_once(mean("request_concurrency"), mean("requests_per_second"), _finite(mean("request_latency")))
        words = {
            "source": "GuideLLM",
            "model": _found(config, "model"),
            "chip": _chip(_found(config, "accelerator")),
            "isl": mean("prompt_token_count"),
            "osl": mean("output_token_count"),
            "load": load,
            "n_chips": _found(config, "accelerators"),
            "quant": _found(config, "precision"),
            "note": note,
        }
        yield from _point(n, "ttft_mean", mean("time_to_first_token_ms"), "ms", **words)
        yield from _point(n, "itl_mean", mean("inter_token_latency_ms"), "ms", **words)
        yield from _point(n, "output_token_throughput", mean("output_tokens_per_second"), "tokens/s", **words)


def _aiperf(d: Mapping[str, Any], row: int) -> Iterable[Point]:
    """Read an AIPerf export: one object with a statistic block a metric."""
    config = d.get("input_config") if isinstance(d.get("input_config"), Mapping) else {}
    latency = _dig(d, "request_latency", "avg")
    e2e_s = float(latency) * _seconds(str(_dig(d, "request_latency", "unit") or "ms")) if _finite(latency) else None
    rate = _dig(d, "request_throughput", "avg") or _found([config], "request_rate")
    load, note = _at_once(_found([config], "concurrency"), rate, e2e_s)
    names = _dig(config, "endpoint", "model_names") or _dig(config, "models") or _found([config], "models") or _found([config], "model")
    words = {
        "source": "AIPerf",
        "model": _first_name(names),
        "chip": _chip(_found([config], "accelerator")),
        "isl": _dig(d, "input_sequence_length", "avg"),
        "osl": _dig(d, "output_sequence_length", "avg"),
        "load": load,
        "n_chips": _found([config], "accelerators"),
        "quant": _found([config], "precision"),
        "note": note,
    }
    yield from _point(row, "ttft_mean", _dig(d, "time_to_first_token", "avg"), _dig(d, "time_to_first_token", "unit") or "ms", **words)
    yield from _point(row, "itl_mean", _dig(d, "inter_token_latency", "avg"), _dig(d, "inter_token_latency", "unit") or "ms", **words)
    yield from _point(row, "output_token_throughput", _dig(d, "output_token_throughput", "avg"), "tokens/s", **words)


def _llmd(d: Mapping[str, Any], row: int) -> Iterable[Point]:
    """Read an llm-d Benchmark Report 0.2.1.

    Load and throughput are those of the whole stack: they are shared by its replicas.
    """
    stack = [s.get("standardized", s) for s in _dig(d, "scenario", "stack") or () if isinstance(s, Mapping)]
    engines = [s for s in stack if isinstance(s, Mapping) and (s.get("kind") == "inference_engine" or s.get("accelerator"))]
    roles = {str(s.get("role")): s for s in engines}
    engine: Mapping[str, Any] = roles.get("decode") or (engines[0] if engines else {})
    split = "prefill" in roles and "decode" in roles
    replicas = 1 if split else _many(engine.get("replicas"))
    load = _dig(d, "scenario", "load", "standardized") or {}
    total = _dig(d, "results", "request_performance", "aggregate") or {}
    e2e = _dig(total, "latency", "request_latency") or {}
    e2e_s = float(e2e["mean"]) * _seconds(str(e2e.get("units") or "s")) if _finite(e2e.get("mean")) else None
    rate = _dig(total, "throughput", "request_rate", "mean") or load.get("rate_qps")
    at_once, note = _at_once(load.get("concurrency"), rate, e2e_s)
    shared = str(max(1, round(float(at_once) / replicas))) if at_once.isdigit() else at_once
    failures = _finite(_dig(total, "requests", "failures"))
    notes = [note, f"a {replicas}th of the load of {replicas} replicas" if replicas > 1 else "", f"{failures:g} requests failed" if failures else ""]
    words = {
        "source": "llm-d Benchmark Report",
        "model": _dig(engine, "model", "name"),
        "chip": _chip(_dig(engine, "accelerator", "model")),
        "n_chips": sum(_count(s) for s in roles.values()) if split else _dig(engine, "accelerator", "count"),
        "parallelism": "disagg " + " ".join(_pool(roles[r], r[0].upper()) for r in ("prefill", "decode")) if split else _degrees(engine),
        "backend": engine.get("tool"),
        "isl": _dig(total, "requests", "input_length", "mean") or _number(load.get("input_seq_len")),
        "osl": _dig(total, "requests", "output_length", "mean") or _number(load.get("output_seq_len")),
        "load": shared,
        "date": _dig(d, "run", "time", "start"),
        "note": "; ".join(n for n in notes if n),
    }
    for metric, name in (("ttft_mean", "time_to_first_token"), ("tpot_mean", "time_per_output_token"), ("itl_mean", "inter_token_latency")):
        block = _dig(total, "latency", name) or {}
        yield from _point(row, metric, block.get("mean"), str(block.get("units") or "s"), **words)
    output = _finite(_dig(total, "throughput", "output_token_rate", "mean"))
    yield from _point(row, "output_token_throughput", output / replicas if output else None, "tokens/s", **words)


def _degrees(engine: Mapping[str, Any]) -> str:
    found = [(n, _many(_dig(engine, "accelerator", "parallelism", n.casefold()))) for n in ("TP", "EP")]
    return " ".join(f"{n}{x}" for n, x in found if n == "TP" or x > 1)


def _count(engine: Mapping[str, Any]) -> int:
    return _many(_dig(engine, "accelerator", "count")) * _many(engine.get("replicas"))


def _pool(engine: Mapping[str, Any], letter: str) -> str:
    tp, dp, ep = (_many(_dig(engine, "accelerator", "parallelism", n)) for n in ("tp", "dp", "ep"))
    return f"{_many(engine.get('replicas'))}{letter}(TP{tp} DP{dp} EP{ep})"


def _mlperf(d: Mapping[str, Any], row: int) -> Iterable[Point]:
    """Read a row of an MLPerf `summary_results.json`; rows in other units than tokens per second hold nothing for us."""
    if "token" not in str(d.get("Performance_Units", "")).casefold():
        return
    chips = float(d.get("a#") or 1) * float(d.get("Nodes") or 1)
    yield from _point(
        row,
        "output_throughput_total",
        d.get("Performance_Result"),
        "tokens/s",
        source=f"MLPerf {d.get('version', '')}",
        model=str(d.get("UsedModel") or d.get("Model"))
        .removesuffix("-99.9")
        .removesuffix("-99")
        .replace("llama2", "llama-2")
        .replace("llama3.1", "llama-3.1")
        .replace("llama3_1", "llama-3.1"),
        chip=str(d.get("Accelerator", "")).removeprefix("NVIDIA ").removeprefix("AMD Instinct "),
        n_chips=chips,
        quant=d.get("weight_data_types"),
        load=d.get("Scenario"),
        backend=d.get("Software"),
        run=d.get("ID"),
        isl="MLPerf dataset",
        parallelism=f"{d.get('Nodes', 1)} node(s) x {d.get('a#', 1)}",
    )


def _dig(value: Any, *keys: str) -> Any:
    for key in keys:
        if not isinstance(value, Mapping):
            return None
        value = value.get(key)
    return value


def _first_name(value: Any) -> Any:
    """Return the first name of a list of names, of objects with a name, or of an object that holds such a list."""
    for _ in range(4):
        if isinstance(value, list) and value:
            value = value[0]
        elif isinstance(value, Mapping):
            value = value.get("name") or value.get("items")
    return value


def _found(places: Iterable[Any], key: str) -> Any:
    """Return the first plain value or list under a key, in or below some objects; what is deeper than five levels is not searched."""
    level = [p for p in places if isinstance(p, Mapping)]
    for _ in range(5):
        for place in level:
            if place.get(key) not in (None, "") and not isinstance(place[key], Mapping):
                return place[key]
        inner = [v for place in level for v in place.values()]
        level = [v for x in inner for v in (x if isinstance(x, list) else [x]) if isinstance(v, Mapping)][:1000]
    return None


def _number(value: Any) -> Any:
    return value.get("value") or value.get("mean") if isinstance(value, Mapping) else value


def _has(*keys: str) -> Callable[[Mapping[str, Any]], bool]:
    return lambda d: all(k in d for k in keys)


SHAPES: tuple[tuple[Callable[[Mapping[str, Any]], bool], Callable[[Mapping[str, Any], int], Iterable[Point]]], ...] = (
    (_has("Performance_Result", "Accelerator"), _mlperf),
    (_has("aiperf_version"), _aiperf),
    (_has("guidellm_version"), _guidellm),
    (lambda d: "benchmarks" in d and isinstance(d.get("benchmarks"), list), _guidellm),
    (lambda d: "version" in d and "scenario" in d and "results" in d, _llmd),
    (lambda d: "conc" in d and ("hw" in d or "hardware" in d), _inferencex),
    (_has("mean_ttft_ms"), _vllm),
)
NAMES = (
    "vllm bench serve",
    "sglang bench_serving",
    "GuideLLM",
    "AIPerf",
    "InferenceX",
    "llm-d Benchmark Report",
    "MLPerf summary",
)
