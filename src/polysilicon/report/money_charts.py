"""Charts of deals and costs, as Vega-Lite specifications."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from typing import Any

from polysilicon.economics.audit import Finding
from polysilicon.economics.kpi import MarginOutlook
from polysilicon.economics.lockin import SurfacePoint
from polysilicon.economics.price_history import Trend
from polysilicon.economics.uncertainty import Bar, Spread

Spec = dict[str, Any]
WIDTH, HEIGHT = 640, 280


def fan(points: Sequence[tuple[str, Spread]], *, title: str, form: str = "%") -> Spec:
    """Return p10 to p90 as a band with p50 as a line."""
    rows = [{"when": day, "p10": s.p10, "p50": s.p50, "p90": s.p90} for day, s in points]
    x = {"field": "when", "type": "temporal", "title": None}
    axis = {"format": form}
    return {
        "width": WIDTH,
        "height": HEIGHT,
        "data": {"values": rows},
        "layer": [
            {
                "mark": {"type": "area", "opacity": 0.25},
                "encoding": {"x": x, "y": {"field": "p10", "type": "quantitative", "title": title, "axis": axis}, "y2": {"field": "p90"}},
            },
            {"mark": {"type": "line", "point": True}, "encoding": {"x": x, "y": {"field": "p50", "type": "quantitative"}}},
        ],
    }


def margin_outlook(outlook: MarginOutlook) -> Spec:
    """Return p10 to p90 of gross margin by year, one silicon beside two."""
    rows = [
        {"year": year, "p10": p10, "p50": p50, "p90": p90, "what": what}
        for what, points in (("one silicon", outlook.one), ("the better of two", outlook.two))
        for year, p10, p50, p90 in points
    ]
    x = {"field": "year", "type": "quantitative", "title": "years from now"}
    colour = {"field": "what", "type": "nominal", "title": None}
    low = {"field": "p10", "type": "quantitative", "title": "gross margin", "axis": {"format": "%"}}
    return {
        "width": WIDTH,
        "height": HEIGHT,
        "data": {"values": rows},
        "layer": [
            {"mark": {"type": "area", "opacity": 0.2}, "encoding": {"x": x, "y": low, "y2": {"field": "p90"}, "color": colour}},
            {"mark": {"type": "line", "point": True}, "encoding": {"x": x, "y": {"field": "p50", "type": "quantitative"}, "color": colour}},
        ],
    }


def tornado(bars: Sequence[Bar], *, title: str, scale: float = 1e9) -> Spec:
    """Return drivers as bars between the outcome at their 10 % and 90 % points."""
    rows = [{"driver": b.driver, "from": b.low / scale, "to": b.high / scale} for b in bars]
    return {
        "width": WIDTH,
        "data": {"values": rows},
        "mark": "bar",
        "encoding": {
            "y": {"field": "driver", "type": "nominal", "sort": [b.driver for b in bars], "title": None},
            "x": {"field": "from", "type": "quantitative", "title": title, "scale": {"zero": False}},
            "x2": {"field": "to"},
        },
    }


def lines(rows: Sequence[Mapping[str, Any]], *, title: str, value: str = "value", when: str = "temporal") -> Spec:
    """Return lines by `what` over `when` (a date, or a number with `when="quantitative"`)."""
    return {
        "width": WIDTH,
        "height": HEIGHT,
        "data": {"values": [dict(row) for row in rows]},
        "mark": {"type": "line", "point": True},
        "encoding": {
            "x": {"field": "when", "type": when, "title": None},
            "y": {"field": value, "type": "quantitative", "title": title},
            "color": {"field": "what", "type": "nominal", "title": None},
        },
    }


def price_history(trend: Trend, months: float, floor_usd_per_mtok: float | None = None) -> Spec:
    """Return a class's dated prices as steps, and three dashed scenarios from the newest on; the floor as a line."""
    newest = trend.observations[-1]
    ahead = (date.fromisoformat(newest.day) + timedelta(days=months * 365.25 / 12)).isoformat()
    seen = [{"when": o.day, "value": o.usd_per_mtok, "model": o.model} for o in trend.observations]
    scenarios = [
        {"when": day, "value": usd, "what": what}
        for what, end in zip(("band's low end", "median", "band's high end"), trend.projected(months), strict=True)
        for day, usd in ((newest.day, newest.usd_per_mtok), (ahead, end))
    ]
    x = {"field": "when", "type": "temporal", "title": None}
    y = {"field": "value", "type": "quantitative", "scale": {"type": "log"}, "title": "$/Mtok"}
    layer: list[Spec] = [
        {"data": {"values": seen}, "mark": {"type": "line", "interpolate": "step-after", "point": True}, "encoding": {"x": x, "y": y}},
        {
            "data": {"values": scenarios},
            "mark": {"type": "line", "strokeDash": [5, 4]},
            "encoding": {"x": x, "y": y, "color": {"field": "what", "type": "nominal", "title": "if it went on so"}},
        },
    ]
    if floor_usd_per_mtok is not None:
        level = {"data": {"values": [{"value": floor_usd_per_mtok}]}, "encoding": {"y": y}}
        layer.append(level | {"mark": {"type": "rule", "strokeWidth": 2, "color": "#d1495b"}})
    return {"width": WIDTH, "height": HEIGHT, "layer": layer}


def burn_down(rows: Sequence[Mapping[str, Any]]) -> Spec:
    """Return cumulative dollars due and billed by date; rows of when, what, usd."""
    return lines([{**row, "usd": row["usd"] / 1e9} for row in rows], title="B$, cumulative", value="usd")


def heat_map(points: Sequence[SurfacePoint]) -> Spec:
    """Return break-even gains by spend and porting cost, a panel a horizon; empty cells never pay."""
    rows = [
        {
            "spend": f"{p.spend_usd_per_year / 1e9:g} B$",
            "cost": f"{p.cost_usd / 1e6:g} M$",
            "horizon": f"{p.horizon_years:g} years",
            "gain": None if p.gain_frac is None else p.gain_frac,
            "label": "never" if p.gain_frac is None else f"{p.gain_frac:.0%}",
        }
        for p in points
    ]
    spends = [f"{x / 1e9:g} B$" for x in dict.fromkeys(p.spend_usd_per_year for p in points)]
    costs = [f"{x / 1e6:g} M$" for x in dict.fromkeys(p.cost_usd for p in points)]
    axes = {
        "x": {"field": "spend", "type": "nominal", "sort": spends, "title": "model spend a year", "axis": {"labelAngle": 0}},
        "y": {"field": "cost", "type": "nominal", "sort": costs, "title": "porting cost"},
    }
    colour = {
        "field": "gain",
        "type": "quantitative",
        "title": "break-even gain",
        "scale": {"scheme": "viridis", "domain": [0, 1], "clamp": True},
        "legend": {"format": "%"},
    }
    tests = [{"test": "!isValid(datum.gain)", "value": "#8a8f98"}, {"test": "datum.gain > 0.6", "value": "#101216"}]
    ink = {"condition": tests, "value": "white"}  # by what lies under it: the page where no gain pays
    layer = [
        {"mark": "rect", "encoding": {**axes, "color": colour}},
        {"mark": {"type": "text", "fontSize": 11}, "encoding": {**axes, "text": {"field": "label"}, "color": ink}},
    ]
    return {
        "data": {"values": rows},
        "facet": {"column": {"field": "horizon", "type": "nominal", "title": None}},
        "spec": {"width": 300, "height": 160, "layer": layer},
    }


def claimed(findings: Sequence[Finding]) -> Spec:
    """Return recomputed over stated on a logarithmic axis: 1 is agreement."""
    rows = [{"claim": f.id, "ratio": f.ratio, "verdict": f.verdict.replace("_", " ")} for f in findings if f.ratio is not None and f.ratio > 0]
    order = [r["claim"] for r in sorted(rows, key=lambda r: -float(str(r["ratio"])))]
    return {
        "width": WIDTH,
        "data": {"values": rows},
        "mark": {"type": "point", "filled": True, "size": 60},
        "encoding": {
            "y": {"field": "claim", "type": "nominal", "sort": order, "title": None},
            "x": {"field": "ratio", "type": "quantitative", "scale": {"type": "log"}, "title": "recomputed over stated"},
            "color": {"field": "verdict", "type": "nominal", "title": None},
        },
    }


def stack(layers: Mapping[str, float], *, title: str) -> Spec:
    """Return layers of a price as one stacked bar a layer, largest first told by its share."""
    rows = [{"layer": name, "usd": value} for name, value in layers.items()]
    return {
        "width": WIDTH,
        "data": {"values": rows},
        "mark": "bar",
        "encoding": {
            "y": {"field": "layer", "type": "nominal", "sort": list(layers), "title": None},
            "x": {"field": "usd", "type": "quantitative", "title": title},
        },
    }
