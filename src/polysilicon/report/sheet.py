"""A page without scripts: a title, a few figures, sections of words, drawings and tables. Everything of the user's is escaped."""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib.metadata import version
from importlib.resources import files
from typing import Any

import jinja2
from markupsafe import Markup, escape

from polysilicon.report.evidence import Section

INK, WIDTH = "#6b7280", 640
FONT = 'system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", "Noto Sans", "DejaVu Sans", sans-serif'
PALETTE = ("#4269d0", "#e08a1e", "#2fa37c", "#d1495b", "#8b5fd0", "#3aa5c9", "#a08030", "#8a8f98")


def sheet(title: str, *, over: str, lead: str = "", facts: Sequence[tuple[str, str, str]] = (), sections: Sequence[Section] = ()) -> str:
    """Return the page as HTML."""
    folder = files("polysilicon") / "report" / "templates"
    template = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined).from_string((folder / "sheet.html.j2").read_text("utf-8"))
    css = Markup((folder / "report.css").read_text("utf-8"))  # our own file
    return template.render(title=title, over=over, lead=lead, facts=facts, sections=sections, css=css, version=version("polysilicon"), words=words)


def words(cell: object) -> str:
    """Return a cell as a person reads it."""
    if cell is None:
        return "-"
    if isinstance(cell, float):
        return f"{cell:,.0f}" if abs(cell) >= 1000 else f"{cell:.4g}"
    return str(cell)


def drawing(spec: dict[str, Any]) -> Markup:
    """Return a Vega-Lite specification as SVG text, drawn here so that the page needs no script."""
    import vl_convert

    config: dict[str, Any] = {
        "background": "transparent",
        "font": FONT,
        "padding": {"left": 24, "right": 24, "top": 5, "bottom": 5},  # the reader's font may be wider than the one drawn with
        "axis": {"labelColor": INK, "titleColor": INK, "labelLimit": 260, "gridColor": "#8883", "domainColor": INK, "tickColor": INK},
        "legend": {"labelColor": INK, "titleColor": INK, "labelLimit": 260},
        "view": {"stroke": None},
        "range": {"category": list(PALETTE)},
        "header": {"labelColor": INK, "titleColor": INK},
        "text": {"color": INK},
    }
    theirs = spec.get("config", {})
    merged = config | theirs | {key: config[key] | theirs[key] for key in theirs if isinstance(config.get(key), dict)}
    width = {"width": WIDTH} if spec.get("width") == "container" else {}
    full = {"$schema": "https://vega.github.io/schema/vega-lite/v5.json", **spec, **width, "config": merged, "autosize": "pad"}
    return Markup(vl_convert.vegalite_to_svg(json.dumps(full)))  # made of numbers and names that the renderer escapes


def sankey(bands: Sequence[tuple[str, str, float]], *, unit: str, width: int = 760, height: int = 380) -> Markup:
    """Return flows (from, to, amount) as bands between two columns, as wide as they are large; equal names stand on both sides."""
    left = _stack([(a, sum(v for x, _, v in bands if x == a)) for a in dict.fromkeys(a for a, _, _ in bands)], height)
    right = _stack([(b, sum(v for _, y, v in bands if y == b)) for b in dict.fromkeys(b for _, b, _ in bands)], height)
    names = list(dict.fromkeys([*left, *right]))
    out_at, in_at = {n: left[n][0] for n in left}, {n: right[n][0] for n in right}
    x0, x1, parts = 150, width - 150, []
    for a, b, value in sorted(bands, key=lambda band: -band[2]):
        thick_a, thick_b = value * left[a][2], value * right[b][2]
        ya, yb = out_at[a], in_at[b]
        out_at[a], in_at[b] = ya + thick_a, yb + thick_b
        middle = (x0 + x1) / 2
        path = (
            f"M{x0},{ya:.1f} C{middle},{ya:.1f} {middle},{yb:.1f} {x1},{yb:.1f} L{x1},{yb + thick_b:.1f} "
            f"C{middle},{yb + thick_b:.1f} {middle},{ya + thick_a:.1f} {x0},{ya + thick_a:.1f} Z"
        )
        colour = PALETTE[names.index(a) % len(PALETTE)]
        parts.append(f'<path d="{path}" fill="{colour}" fill-opacity="0.5"><title>{escape(f"{a} to {b}: {value:.3g} {unit}")}</title></path>')
    for side, x, anchor in ((left, x0 - 6, "end"), (right, x1 + 6, "start")):
        for name, (y, size, scale) in side.items():
            total = size / scale if scale else 0.0
            label = escape(f"{name}  {total:.3g}")
            parts.append(f'<text x="{x}" y="{y + size / 2 + 4:.1f}" text-anchor="{anchor}" font-size="12" class="name" fill="{INK}">{label}</text>')
    return Markup(f'<svg viewBox="0 0 {width} {height}" role="img" font-family="sans-serif">{"".join(parts)}</svg>')


def _stack(nodes: Sequence[tuple[str, float]], height: int, gap: float = 14.0) -> dict[str, tuple[float, float, float]]:
    """Return (top, size, pixels per unit) of each node."""
    total = sum(value for _, value in nodes) or 1.0
    scale = (height - gap * (len(nodes) + 1)) / total
    out, y = {}, gap
    for name, value in nodes:
        out[name] = (y, value * scale, scale)
        y += value * scale + gap
    return out
