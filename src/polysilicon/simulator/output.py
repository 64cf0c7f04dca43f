"""What a run leaves behind: a summary as JSON, rows as Parquet, the shape that serving benchmarks print, a trace to look at."""

from __future__ import annotations

import io
import json
import math
from typing import Any

import msgspec
import numpy as np
import polars as pl

from polysilicon.errors import InputError
from polysilicon.simulator.metrics import SimulationResult, itl_quantiles
from polysilicon.simulator.state import DONE, STATUS

_MS = 1000.0


def frame(result: SimulationResult) -> pl.DataFrame:
    """Return one row a request, with words for workload, pool and status, and its latencies."""
    rows = result.requests
    names = [pool.name for pool in result.fleet.pools for _ in range(pool.replicas)] + [""]
    columns = {name: rows[name] for name in rows.dtype.names or () if name not in ("workload", "status")}
    data = pl.DataFrame({name: np.ascontiguousarray(column) for name, column in columns.items()})
    words = np.array(result.workload_names)[rows["workload"]]
    latencies = {"ttft_s": result.ttft_s, "tpot_s": result.tpot_s, "e2e_s": result.e2e_s}
    return data.with_columns(
        pl.Series("workload", words), pl.Series("pool", np.array(names)[rows["replica"]]), pl.Series("status",
        np.array(STATUS)[rows["status"]]),
        *(pl.Series(name, values).fill_nan(None) for name, values in latencies.items()),
    )  # fmt: skip


def parquet(result: SimulationResult) -> bytes:
    """Return the rows as a Parquet file."""
    buffer = io.BytesIO()
    frame(result).write_parquet(buffer)
    return buffer.getvalue()


def report(result: SimulationResult) -> dict[str, Any]:
    """Return everything a reader asks first: totals, workloads, pools, missed promises, events."""
    return {
        "totals": result.totals(), "workloads": result.summary(), "pools": result.pools(), "missed": result.missed(),
        "events": [{"at_s": t, "what": words} for t, words in result.events], "seed": result.seed, "seconds": result.seconds,
    }  # fmt: skip


def bench(result: SimulationResult) -> dict[str, Any]:
    """Return the result in the shape of vLLM's `bench serve` JSON, times in ms.

    `*_itl_ms` come from 2 % bins over all pools; other values are exact.
    """
    rows = result.requests[result.done]
    out: dict[str, Any] = {
        "backend": "polysilicon", "duration": result.span_s, "completed": len(rows), "failed": len(result) - len(rows),
        "total_input_tokens": int(rows["isl_tokens"].sum()), "total_output_tokens": int(rows["osl_tokens"].sum()),
        "request_throughput": len(rows) / result.span_s, "request_goodput": float(result.met().sum()) / result.span_s,
        "output_throughput": float(rows["osl_tokens"].sum()) / result.span_s,
        "total_token_throughput": float(rows["osl_tokens"].sum() + rows["isl_tokens"].sum()) / result.span_s,
    }  # fmt: skip
    for name, values in (("ttft", result.ttft_s), ("tpot", result.tpot_s), ("e2el", result.e2e_s)):
        known = values[~np.isnan(values)] * _MS
        if len(known):
            out |= {
                f"mean_{name}_ms": float(known.mean()),
                f"median_{name}_ms": float(np.median(known)),
                f"std_{name}_ms": float(known.std()),
            }
            out |= {f"p{q}_{name}_ms": float(np.quantile(known, q / 100)) for q in (90, 95, 99)}
    gaps = itl_quantiles(result.itl.sum(axis=0))
    out |= {f"{'median' if q == 'p50' else q}_itl_ms": value * _MS for q, value in gaps.items() if value is not None}
    return out


def over_time(result: SimulationResult, bin_s: float) -> pl.DataFrame:
    """Return per workload and time bin: requests, TTFT p50 and p95, share that kept every promise."""
    data = frame(result).with_columns(pl.Series("met", result.met()), (pl.col("arrival_s") // bin_s * bin_s).alias("t_s"))
    return (
        data.group_by("workload", "t_s")
        .agg(
            pl.len().alias("requests"),
            pl.col("ttft_s").quantile(0.5).alias("ttft_p50_s"),
            pl.col("ttft_s").quantile(0.95).alias("ttft_p95_s"),
            pl.col("met").mean().alias("met_frac"),
        )
        .sort("workload", "t_s")
    )


def chrome_trace(result: SimulationResult, start_s: float = 0.0, end_s: float = math.inf, *, most: int = 200_000) -> bytes:
    """Return what replicas did in a window as a Chrome trace, which Perfetto and chrome://tracing open.

    Each replica is a process; each of its lanes holds requests one after another as three slices: queued, prefill, decode.

    Raises: InputError when the window holds more than `most` requests.
    """
    rows = result.requests
    inside = (rows["status"] == DONE) & (rows["done_s"] >= start_s) & (rows["arrival_s"] <= end_s)
    picked = rows[inside]
    if len(picked) > most:
        raise InputError(
            f"the window holds {len(picked):,} requests; a trace viewer takes {most:,}",
            where="chrome trace",
            hint="narrow the window",
        )
    picked = picked[np.argsort(picked["arrival_s"], kind="stable")]
    names = [f"{pool.name} #{i}" for pool in result.fleet.pools for i in range(pool.replicas)]
    events: list[dict[str, Any]] = []
    lanes: dict[int, list[float]] = {}
    for row in picked:
        replica = int(row["replica"])
        mine = lanes.setdefault(replica, [])
        lane = next((i for i, free_at in enumerate(mine) if free_at <= row["arrival_s"]), len(mine))
        if lane == len(mine):
            mine.append(0.0)
        mine[lane] = float(row["done_s"])
        cuts = (("queued", "arrival_s", "start_s"), ("prefill", "start_s", "first_s"), ("decode", "first_s", "done_s"))
        for name, begin, end in cuts:
            if row[end] > row[begin]:
                events.append({"name": name, "ph": "X", "pid": replica, "tid": lane, "ts": row[begin] * 1e6,
                "dur": (row[end] - row[begin]) * 1e6,
                               "args": {"request": int(row["id"]), "isl": int(row["isl_tokens"]),
                               "osl": int(row["osl_tokens"])}})  # fmt: skip
    events += [{"name": "process_name", "ph": "M", "pid": r, "args": {"name": names[r]}} for r in lanes]
    events += [{"name": words, "ph": "i", "s": "g", "pid": 0, "tid": 0, "ts": t * 1e6} for t, words in result.events if start_s <= t <= end_s]
    return json.dumps({"traceEvents": events, "displayTimeUnit": "ms"}, default=float).encode()


def files(result: SimulationResult) -> dict[str, bytes]:
    """Return what a run's folder holds, by name: summary, bench shape, rows and, where sampled, the timeline."""
    contents = {
        "summary.json": msgspec.json.format(msgspec.json.encode(report(result), enc_hook=float), indent=1),  # NaN becomes null
        "bench.json": json.dumps(bench(result), indent=1).encode(),
        "requests.parquet": parquet(result),
    }
    if result.timeline:
        buffer = io.BytesIO()
        names = np.array([pool.name for pool in result.fleet.pools])
        columns = {**result.timeline, "pool": names[result.timeline["pool"]]}
        pl.DataFrame(columns).write_parquet(buffer)
        contents["timeline.parquet"] = buffer.getvalue()
    return contents
