"""Results users already have, as measured points: vLLM, SGLang, GuideLLM, AIPerf, InferenceX, llm-d reports, MLPerf summaries.

A file is recognised by its keys. Where a tool does not record the chip, the precision or the degree of parallelism, they
are read from its own words (model name, `--chip` style fields it carries) or left empty, and the point says so when refused.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from polysilicon.errors import InputError
from polysilicon.exchange import points as measured
from polysilicon.exchange.points import Point

MAX_BYTES = 512 * 1024 * 1024


def read(path: Path) -> list[Point]:
    """Return the points of a file: our CSV, or JSON or JSON lines of a benchmark tool.

    Raises: InputError where the file is none of the known shapes; InputErrors with every bad row of a CSV.
    """
    try:
        with path.open("rb") as file:
            if path.stat().st_size > MAX_BYTES:
                raise InputError(f"holds {path.stat().st_size:,} bytes; up to {MAX_BYTES:,} are read", where=str(path))
            start = file.read(64).lstrip(b"\xef\xbb\xbf \r\n\t")
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", where=str(path)) from error
    if start[:1] not in (b"{", b"["):
        return measured.read(path)
    found = [p for n, document in enumerate(_documents(path), start=1) for p in _points(document, n, str(path))]
    if not found:
        raise InputError("holds no result that can be compared", where=str(path))
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
            return list(reader(document, row))
    keys = ", ".join(list(map(str, document))[:6])
    raise InputError(f"entry {row} is no known result (its keys: {keys}, ...)", where=where, hint="known: " + ", ".join(NAMES))


def _point(row: int, metric: str, value: Any, unit: str, **words: Any) -> list[Point]:
    """Return one point, or none where the value is absent or no positive number."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return []
    if not 0.0 < number < 1e12:
        return []
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


def _mean(total: Any, count: Any) -> float | None:
    try:
        return float(total) / float(count) if float(count) > 0 else None
    except (TypeError, ValueError):
        return None


def _vllm(d: Mapping[str, Any], row: int) -> Iterable[Point]:
    """Read `vllm bench serve` (and SGLang's `bench_serving`, which renames a few keys)."""
    load = d.get("max_concurrency") or (round(float(d["concurrency"])) if d.get("concurrency") else None)
    words = {
        "source": "sglang bench_serving" if "total_throughput" in d else "vllm bench serve",
        "model": d.get("model_id") or d.get("model"),
        "isl": _mean(d.get("total_input_tokens"), d.get("completed")),
        "osl": _mean(d.get("total_output_tokens"), d.get("completed")),
        "load": load or "open loop",
        "chip": d.get("accelerator") or d.get("gpu") or d.get("chip"),
        "n_chips": d.get("num_gpus"),
        "quant": d.get("quantization") or d.get("precision"),
        "backend": d.get("endpoint_type") or d.get("backend"),
        "parallelism": f"TP{d['tensor_parallel_size']}" if d.get("tensor_parallel_size") else "",
        "date": _date(d.get("date")),
    }
    yield from _point(row, "ttft_mean", d.get("mean_ttft_ms"), "ms", **words)
    yield from _point(row, "tpot_mean", d.get("mean_tpot_ms"), "ms", **words)
    yield from _point(row, "output_token_throughput", d.get("output_throughput"), "tokens/s", **words)


def _date(value: Any) -> str:
    text = str(value or "")
    return f"{text[:4]}-{text[4:6]}-{text[6:8]}" if text[:8].isdigit() else text


def _inferencex(d: Mapping[str, Any], row: int) -> Iterable[Point]:
    """Read an InferenceX run (`process_result.py`, seconds) or a row of its API, whose figures sit under `metrics`."""
    m = d["metrics"] if isinstance(d.get("metrics"), Mapping) else d
    tp, ep = d.get("tp") or d.get("decode_tp") or 1, d.get("ep") or d.get("decode_ep") or 1
    attention_dp = str(d.get("dp_attention", "")).casefold() in ("true", "1")
    parallel = f"TP1 attnDP{tp} EP{ep}" if attention_dp else f"TP{tp}" + (f" EP{ep}" if float(ep) > 1 else "")
    words = {
        "source": "InferenceX",
        "model": d.get("infmax_model_prefix") if "model" not in d else d["model"],
        "chip": str(d.get("hw") or d.get("hardware") or "").split("-")[0].split("_")[0],
        "quant": d.get("precision"),
        "n_chips": tp,
        "parallelism": parallel,
        "isl": d.get("isl"),
        "osl": d.get("osl"),
        "load": d.get("conc"),
        "backend": d.get("framework"),
        "date": d.get("date"),
        "note": "lengths uniform in [0.8L, L]"
        + ("; speculative" if d.get("spec_decoding") not in (None, "", "none", False) else ""),
    }
    yield from _point(row, "ttft", m.get("mean_ttft") or m.get("median_ttft"), "s", **words)
    yield from _point(row, "tpot", m.get("mean_tpot") or m.get("median_tpot"), "s", **words)
    yield from _point(row, "output_throughput_per_gpu", m.get("output_tput_per_gpu"), "tokens/s/GPU", **words)


def _guidellm(d: Mapping[str, Any], row: int) -> Iterable[Point]:
    """Read a GuideLLM report: one benchmark per rate or concurrency."""
    for n, b in enumerate(d.get("benchmarks") or (), start=row):
        metrics = b.get("metrics") if isinstance(b, Mapping) else None
        if not isinstance(metrics, Mapping):
            continue

        def mean(name: str, metrics: Mapping[str, Any] = metrics) -> Any:
            return _dig(metrics, name, "successful", "mean")

        words = {
            "source": "GuideLLM",
            "model": _dig(d, "config", "model") or _dig(b, "config", "model") or _dig(b, "args", "model"),
            "chip": _dig(d, "config", "accelerator"),
            "isl": mean("prompt_token_count"),
            "osl": mean("output_token_count"),
            "load": round(float(mean("request_concurrency") or 1)),
            "n_chips": _dig(d, "config", "accelerators"),
            "quant": _dig(d, "config", "precision"),
        }
        yield from _point(n, "ttft_mean", mean("time_to_first_token_ms"), "ms", **words)
        yield from _point(n, "itl_mean", mean("inter_token_latency_ms"), "ms", **words)
        yield from _point(n, "output_token_throughput", mean("output_tokens_per_second"), "tokens/s", **words)


def _aiperf(d: Mapping[str, Any], row: int) -> Iterable[Point]:
    """Read an AIPerf export: one object with a statistic block a metric."""
    config = d.get("input_config") if isinstance(d.get("input_config"), Mapping) else {}
    words = {
        "source": "AIPerf",
        "model": _first(_dig(config, "endpoint", "model_names")),
        "chip": _dig(config, "accelerator"),
        "isl": _dig(d, "input_sequence_length", "avg"),
        "osl": _dig(d, "output_sequence_length", "avg"),
        "load": _dig(config, "loadgen", "concurrency") or "open loop",
        "n_chips": _dig(config, "accelerators"),
        "quant": _dig(config, "precision"),
    }
    yield from _point(
        row, "ttft_mean", _dig(d, "time_to_first_token", "avg"), _dig(d, "time_to_first_token", "unit") or "ms", **words
    )
    yield from _point(
        row, "itl_mean", _dig(d, "inter_token_latency", "avg"), _dig(d, "inter_token_latency", "unit") or "ms", **words
    )
    yield from _point(row, "output_token_throughput", _dig(d, "output_token_throughput", "avg"), "tokens/s", **words)


def _llmd(d: Mapping[str, Any], row: int) -> Iterable[Point]:
    """Read an llm-d Benchmark Report 0.2.1."""
    stack = [s.get("standardized", s) for s in _dig(d, "scenario", "stack") or () if isinstance(s, Mapping)]
    engine: Mapping[str, Any] = next((s for s in stack if s.get("kind") == "inference_engine" or s.get("accelerator")), {})
    load = _dig(d, "scenario", "load", "standardized") or {}
    total = _dig(d, "results", "request_performance", "aggregate") or {}
    tp = _dig(engine, "accelerator", "parallelism", "tp")
    words = {
        "source": "llm-d Benchmark Report",
        "model": _dig(engine, "model", "name"),
        "chip": _dig(engine, "accelerator", "model"),
        "n_chips": _dig(engine, "accelerator", "count"),
        "parallelism": f"TP{tp}" if tp else "",
        "backend": engine.get("tool"),
        "isl": _number(load.get("input_seq_len")),
        "osl": _number(load.get("output_seq_len")),
        "load": load.get("concurrency") or "open loop",
        "date": _dig(d, "run", "time", "start"),
    }
    for metric, name in (
        ("ttft_mean", "time_to_first_token"),
        ("tpot_mean", "time_per_output_token"),
        ("itl_mean", "inter_token_latency"),
    ):
        block = _dig(total, "latency", name) or {}
        yield from _point(row, metric, block.get("mean"), str(block.get("units") or "s").split("/")[0], **words)
    yield from _point(row, "output_token_throughput", _dig(total, "throughput", "output_token_rate", "mean"), "tokens/s", **words)


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


def _first(value: Any) -> Any:
    return value[0] if isinstance(value, list) and value else value


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
