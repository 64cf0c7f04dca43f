"""A replay as a page: the fleet over time, one replica over time, what happened to it, what was promised and kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polysilicon.report.evidence import Section
from polysilicon.report.sheet import PALETTE, drawing, sheet
from polysilicon.simulator.metrics import SimulationResult

Spec = dict[str, Any]
Points = list[dict[str, Any]]
SPANS = 120  # of a latency over time
MOST_POOLS, MOST_MARKS, MOST_EVENTS = 7, 60, 200
MARKS = {  # first word of an event -> colour
    "outage": "#d1495b", "failure": "#d1495b", "reclaim": "#d1495b", "maintenance": "#d1495b", "slip": "#d1495b", "repair": "#2fa37c",
    "scale up": "#8b5fd0", "scale down": "#8b5fd0", "price": "#a08030", "availability": "#a08030",
}  # fmt: skip
MARK_WORDS = "dashed lines: red something is lost, green it is back, violet scaling, brown price or supply"


def page(result: SimulationResult, *, title: str) -> str:
    """Return a replay as one HTML page that loads nothing."""
    totals = result.totals()
    kept = totals["met"] / totals["requests"] if totals["requests"] else 1.0
    facts = [
        ("requests done", f"{totals['done']:,}", f"of {totals['requests']:,}"),
        ("kept every promise", f"{kept:.2%}", f"{totals['goodput_rps']:.4g} requests/s"),
        ("run again elsewhere", f"{totals['retries']:,}", f"{totals['preemptions']:,} preempted"),
        ("bill", f"${totals['bill_usd']:,.2f}", f"{totals['span_s']:,.0f} s simulated"),
    ]
    lead = "; ".join(result.missed()) or ("Every promise was kept." if result.slos else "Nothing was promised.")
    sections = [_fleet(result), *_replica(result), _workloads(result), *_events(result)]
    return sheet(title, over="Replay", lead=lead, facts=facts, sections=sections)


def _fleet(result: SimulationResult) -> Section:
    """Return queue, batch, KV, replicas and TTFT of the whole fleet over time."""
    marks = _marks(result)
    names = [pool.name for pool in result.fleet.pools]
    shown = sorted(range(len(names)), key=lambda p: -result.fleet.pools[p].replicas)[:MOST_POOLS]
    line = result.timeline
    drawn: list[tuple[str, str]] = []
    if line:
        up = np.maximum(line["up"], 1)
        columns = {
            "Requests waiting in the pool's queues": line["waiting"], "Requests running per replica that is up": line["batch"] / up,
            "KV cache in use, share of what is up": line["kv_frac"], "Replicas up": line["up"],
        }  # fmt: skip
        for words, values in columns.items():
            points = [
                {"t": float(t), "value": float(v), "what": names[p]} for t, p, v in zip(line["t_s"], line["pool"], values, strict=True) if p in shown
            ]
            drawn.append((words, drawing(_chart(points, marks, percent="share" in words))))
    drawn += _latencies(result, marks)
    largest = f"By pool, the largest {MOST_POOLS}." if len(names) > MOST_POOLS else "By pool."
    said = (largest, MARK_WORDS.capitalize() + "." if marks else "Nothing happened to the fleet.")
    return Section("The fleet over time", words=said, figures=tuple(drawn), short="Fleet")


def _latencies(result: SimulationResult, marks: Points) -> list[tuple[str, str]]:
    """Return time to first token over time, at the promised quantile, with the promise."""
    points: Points = []
    limits: Points = []
    for w, name in enumerate(result.workload_names):
        slo = result.slos.get(name)
        quantile = slo.quantile if slo else 0.95
        mine = result.requests["workload"] == w
        at, values = _over_time(result.requests["arrival_s"][mine], result.ttft_s[mine], quantile, result.span_s)
        points += [{"t": float(t), "value": float(v), "what": f"{name} p{100 * quantile:g}"} for t, v in zip(at, values, strict=True)]
        if slo is not None and slo.ttft_s is not None:
            limits.append({"limit": slo.ttft_s, "what": f"{name} p{100 * quantile:g}"})
    words = "Time to first token of the requests that arrive then, seconds" + ("; dotted: the promise" if limits else "")
    return [(words, drawing(_chart(points, marks, limits=limits)))] if points else []


def _over_time(arrival_s: NDArray[Any], values: NDArray[Any], quantile: float, span_s: float) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return (start of span, quantile of what arrives in it) for each span in which something does."""
    known = ~np.isnan(values)
    arrival_s, values = arrival_s[known], values[known]
    width = max(span_s, 1e-9) / SPANS
    span = (arrival_s / width).astype(np.int64)
    order = np.argsort(span, kind="stable")
    cuts = np.flatnonzero(np.diff(span[order])) + 1
    groups = np.split(values[order], cuts)
    starts = span[order][np.concatenate([[0], cuts])] if len(order) else np.empty(0)
    return starts * width, np.array([np.quantile(g, quantile) for g in groups if len(g)])


def _replica(result: SimulationResult) -> list[Section]:
    """Return queue, batch, KV and TTFT of the replica that was watched."""
    line = result.watched
    if not line:
        return []
    name, index = str(line["name"]), int(line["replica"])
    marks = _marks(result)
    charts = {"Requests waiting": "waiting", "Requests running": "batch", "KV cache in use, share of all": "kv_frac"}
    drawn = []
    for words, column in charts.items():
        points = [{"t": float(t), "value": float(v), "what": name} for t, v in zip(line["t_s"], line[column], strict=True)]
        drawn.append((words, drawing(_chart(points, marks, percent="share" in words))))
    mine = result.requests["replica"] == index
    at, values = _over_time(result.requests["arrival_s"][mine], result.ttft_s[mine], 0.5, result.span_s)
    if len(at):
        points = [{"t": float(t), "value": float(v), "what": name} for t, v in zip(at, values, strict=True)]
        drawn.append(("Time to first token of the requests it finished, median, seconds", drawing(_chart(points, marks))))
    words = f"Replica {name}: {int(mine.sum()):,} requests, {int(result.replicas['preemptions'][index]):,} preemptions."
    return [Section("One replica over time", words=(words,), figures=tuple(drawn), short="One replica")]


def _marks(result: SimulationResult) -> Points:
    """Return the moments to mark, the first few of each kind where there are too many."""
    found: Points = []
    for at_s, words in result.events:
        kind = words.partition(":")[0]
        if kind in MARKS:
            found.append({"t": float(at_s), "colour": MARKS[kind], "words": words})
    return found[:: max(1, -(-len(found) // MOST_MARKS))]


def _chart(points: Points, marks: Points, *, percent: bool = False, limits: Sequence[Mapping[str, Any]] = ()) -> Spec:
    """Return lines by `what` over simulated time, with rules where something happened."""
    names = list(dict.fromkeys(p["what"] for p in points))
    colour: Spec = {"field": "what", "type": "nominal", "title": None, "scale": {"domain": names, "range": list(PALETTE[: len(names)])}}
    if len(names) == 1:
        colour["legend"] = None
    elif len(names) > 1:
        colour["legend"] = {"orient": "bottom", "columns": 3}
    axis: Spec = {"format": "%"} if percent else {}
    layers: list[Spec] = [
        {
            "data": {"values": points},
            "mark": {"type": "line", "interpolate": "step-after", "strokeWidth": 1.3},
            "encoding": {
                "x": {"field": "t", "type": "quantitative", "title": "seconds", "scale": {"nice": False}, "axis": {"tickCount": 8}},
                "y": {"field": "value", "type": "quantitative", "title": None, "axis": {"tickCount": 4, **axis}},
                "color": colour,
            },
        }
    ]
    if limits:
        rule = {"type": "rule", "strokeDash": [1, 3], "strokeWidth": 1.5}
        encoding = {"y": {"field": "limit", "type": "quantitative"}, "color": colour}
        layers.append({"data": {"values": [dict(x) for x in limits]}, "mark": rule, "encoding": encoding})
    if marks:
        encoding = {"x": {"field": "t", "type": "quantitative"}, "color": {"field": "colour", "type": "nominal", "scale": None}}
        rule = {"type": "rule", "strokeDash": [4, 3], "opacity": 0.8}
        layers.append({"data": {"values": marks}, "mark": rule, "encoding": encoding})
    return {"width": 640, "height": 130, "layer": layers}


def _workloads(result: SimulationResult) -> Section:
    """Return outcomes and promises by workload as tables."""
    rows, promises = [], []
    for name, n in result.summary().items():
        rows.append((name, n["requests"], n["done"], n["met_frac"], n["ttft_s"]["p50"], n["ttft_s"]["p99"], n["tpot_s"]["p50"], n["tpot_s"]["p99"],
                     n["cached_frac"], n["preemptions"], n["retries"]))  # fmt: skip
        promises += [(name, what, p["limit"], f"{100 * p['quantile']:g} %", p["value"], "kept" if p["kept"] else "missed")
                     for what, p in n["promises"].items()]  # fmt: skip
        rows += [(f"{name}: {why}", count, 0, *[None] * 8) for why, count in n["refused"].items()]
    heads = ("workload", "requests", "done", "kept all", "TTFT s p50", "p99", "TPOT s p50", "p99", "cached", "preempted", "run again")
    tables: list[tuple[Sequence[str], Sequence[Sequence[object]]]] = [(heads, rows)]
    if promises:
        tables.append((("workload", "promise", "limit, s", "quantile", "measured, s", ""), promises))
    return Section("Workloads and promises", tables=tuple(tables), short="Workloads")


def _events(result: SimulationResult) -> list[Section]:
    """Return what happened to the fleet as a table."""
    if not result.events:
        return []
    rows = [(float(at_s), words) for at_s, words in result.events[:MOST_EVENTS]]
    more = len(result.events) - len(rows)
    return [Section("What happened", words=(f"And {more:,} more.",) if more > 0 else (), tables=((("second", "what"), rows),), short="Events")]
