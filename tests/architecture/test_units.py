"""The name carries the unit: every public float field ends in a known suffix."""

from __future__ import annotations

import dataclasses
import importlib
import pkgutil
import re
import typing

import pytest
from pydantic import BaseModel

import polysilicon
from polysilicon.units import SUFFIXES, convert, known_units

# Pure numbers and counts of the field, and values whose unit stands beside them as data (a fact, a threshold, a cell of a comparison).
DIMENSIONLESS = {
    "value", "weight", "weights", "stated", "recomputed", "low", "high", "base", "p10", "p50", "p90", "hhi", "slope", "shares", "goal",
    "chips", "peak_chips", "replicas", "batch", "racks", "facilities", "gigawatt_facilities", "messages", "events", "concurrency", "size",
    "press", "dense", "sparse", "left", "right", "old", "new", "above", "below", "now", "threshold", "needed_systems", "predicted",
    "prior", "width", "most", "least", "delta", "floor", "total", "squares", "probability", "day", "hourly", "live_month",
}  # fmt: skip
FLOAT = re.compile(r"\bfloat\b|Positive|NonNegative|Share\b|FiniteFloat")
MODULES = [m.name for m in pkgutil.walk_packages(polysilicon.__path__, "polysilicon.") if not m.name.endswith("__main__")]


def float_fields(module):
    for name, thing in vars(module).items():
        if name.startswith("_") or getattr(thing, "__module__", None) != module.__name__ or not isinstance(thing, type):
            continue
        if dataclasses.is_dataclass(thing) or issubclass(thing, BaseModel) or hasattr(thing, "_fields"):
            for field, annotation in typing.cast(dict, getattr(thing, "__annotations__", {})).items():
                text = annotation if isinstance(annotation, str) else str(annotation)
                if not field.startswith("_") and FLOAT.search(text) and not re.search(r"Mapping\[str|dict\[|tuple\[tuple|tuple\[str", text):
                    yield f"{name}.{field}", field


@pytest.mark.parametrize("module", MODULES)
def test_float_fields_carry_their_unit(module):
    if module.endswith("reference"):
        pytest.skip("a script")
    fields = float_fields(importlib.import_module(module))
    bad = [where for where, field in fields if not f"_{field}".endswith(SUFFIXES) and field not in DIMENSIONLESS]
    assert not bad, f"{module}: {bad} end in no unit of units.SUFFIXES"


def test_every_unit_converts_to_itself():
    for unit in known_units():
        assert convert(3.0, unit, unit) == 3.0
