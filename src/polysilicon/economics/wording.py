"""Numbers and formulas as a person writes them."""

from __future__ import annotations

import math
from collections.abc import Mapping

from polysilicon.economics.expression import Node

_BINDING = {"<": 0, ">": 0, "<=": 0, ">=": 0, "+": 1, "-": 1, "*": 2, "/": 2, "**": 4}


def show(value: float) -> str:
    """Return a number with four significant digits and no needless zeros.

    >>> [show(x) for x in (66.66667, 8333.33, 0.0044, 1e6, 5.0, -2.5)]
    ['66.67', '8,333', '0.0044', '1,000,000', '5', '-2.5']
    """
    if value == 0:
        return "0"
    size = abs(value)
    if size >= 1e15 or size < 1e-6:
        return f"{value:.3e}"
    if size >= 1000:
        return f"{value:,.0f}"
    return f"{value:.4g}"


def show_range(value: tuple[float, float] | None, unit: str = "", *, above: bool = False) -> str:
    """Return a value or a range with its unit.

    >>> show_range((66.7, 333.3), "T tok/month"), show_range((5.0, 5.0), "%"), show_range((10.0, 10.0), "B$", above=True)
    ('66.7 to 333.3 T tok/month', '5 %', 'more than 10 B$')
    """
    if value is None:
        return "nothing"
    if unit == "date":
        return " to ".join(dict.fromkeys(f"{math.floor(end)}" for end in value))
    text = show(value[0]) if show(value[0]) == show(value[1]) else f"{show(value[0])} to {show(value[1])}"
    return f"{'more than ' if above else ''}{text} {'' if unit in ('', '1') else unit}".strip()


def render(node: Node, texts: Mapping[str, str]) -> str:
    """Return a formula with its numbers in place of its names."""
    return _render(node, texts, 0)


def _render(node: Node, texts: Mapping[str, str], binding: int) -> str:
    if node.kind == "number":
        return f"{node.text} {node.unit}".strip()
    if node.kind in ("name", "reference"):
        text = texts.get(node.text, node.text)
        return f"({text})" if text.startswith("-") else text
    if node.kind == "negate":
        return f"-{_render(node.parts[0], texts, 3)}"
    if node.kind == "call":
        return f"{node.text}({', '.join(_render(part, texts, 0) for part in node.parts)})"
    own = _BINDING[node.text]
    left, right = _render(node.parts[0], texts, own), _render(node.parts[1], texts, own + 1)
    inside = f"{left} {node.text} {right}"
    return f"({inside})" if own < binding else inside
