"""From plain values to a Scenario, or to every problem at once in the user's words."""

from __future__ import annotations

import json
import re
import types
from collections.abc import Mapping
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from polysilicon.errors import InputError, did_you_mean
from polysilicon.scenario.document import Document, Loc
from polysilicon.scenario.schema import Scenario
from polysilicon.units import convert

# the ending of a field's name -> its unit in words, and the unit `convert` knows (months and tokens have words only)
_UNIT_OF_SUFFIX: tuple[tuple[str, str, str], ...] = (
    ("_usd_per_mtok", "dollars per million tokens", "USD/Mtok"),
    ("usd_per_mtok_in", "dollars per million tokens", "USD/Mtok"),
    ("usd_per_mtok_cached", "dollars per million tokens", "USD/Mtok"),
    ("usd_per_mtok_out", "dollars per million tokens", "USD/Mtok"),
    ("usd_per_chip_hour", "dollars per chip-hour", "USD/chip-hour"),
    ("usd_per_kwh", "dollars per kWh", "USD/kWh"),
    ("usd_per_tonne_co2", "dollars per tonne", ""),
    ("_tokens", "tokens", "tokens"),
    ("_months", "months", "months"),
    ("months", "months", "months"),
    ("_frac", "a share between 0 and 1", "frac"),
    ("_usd", "dollars", "USD"),
    ("_mw", "megawatts", "MW"),
    ("_rps", "requests per second", ""),
    ("_h", "hours", "h"),
    ("_s", "seconds", "s"),
)
_QUANTITY = re.compile(r"^\s*([$€]?)\s*([-+]?[\d][\d,_]*\.?\d*(?:[eE][-+]?\d+)?)\s*([A-Za-z%$/µ][A-Za-z0-9%$/ .-]*)?\s*$")
_WORD_FACTORS: Mapping[str, float] = {
    "k": 1e3,
    "m": 1e6,
    "mn": 1e6,
    "million": 1e6,
    "b": 1e9,
    "bn": 1e9,
    "billion": 1e9,
    "t": 1e12,
}
_TIME_WORDS: Mapping[str, str] = {
    "sec": "s",
    "secs": "s",
    "seconds": "s",
    "minutes": "min",
    "mins": "min",
    "m": "min",
    "hours": "h",
    "days": "d",
}


def build_scenario(document: Document) -> tuple[Scenario | None, list[InputError]]:
    """Return the scenario of a document, or None and every problem with its place."""
    problems = list(document.problems)
    taken = {problem.where for problem in problems}
    try:
        scenario = Scenario.model_validate_json(json.dumps(document.value), strict=True)
    except ValidationError as error:
        details = error.errors(include_url=False)
        for detail in details:
            deeper = any(len(d["loc"]) > len(detail["loc"]) and d["loc"][: len(detail["loc"])] == detail["loc"] for d in details)
            if detail["type"] == "too_short" and deeper:  # entries that are wrong were counted as absent
                continue
            problem = _problem(document, detail)
            if problem.where not in taken:
                problems.append(problem)
        return None, sorted(problems, key=place_order)
    except (ValueError, RecursionError) as error:
        return None, [*problems, InputError(f"cannot be taken: {error}", where=document.name)]
    return (None if problems else scenario), problems


def place_order(problem: InputError) -> tuple[int, int]:
    """Order problems as they stand in the file."""
    parts = problem.where.rsplit(":", 2)
    return (int(parts[1]), int(parts[2])) if len(parts) == 3 and parts[1].isdigit() and parts[2].isdigit() else (0, 0)


def path_words(loc: Loc) -> str:
    """Return a path the way a person writes it.

    >>> path_words(("workloads", 2, "slo", "ttft_s"))
    'workloads[2].slo.ttft_s'
    """
    out = ""
    for step in loc:
        out += f"[{step}]" if isinstance(step, int) else f".{step}" if out else str(step)
    return out


def _problem(document: Document, detail: Any) -> InputError:
    loc: Loc = tuple(detail["loc"])
    kind, given, ctx = detail["type"], detail["input"], detail.get("ctx") or {}
    words, shown = path_words(loc), _shown(given)
    where = document.where(loc)
    if kind == "extra_forbidden":
        known = [name for name in _fields_at(loc[:-1]) if name not in _keys_at(document.value, loc[:-1])]
        hint = did_you_mean(str(loc[-1]), known) or f"known here: {', '.join(sorted(_fields_at(loc[:-1])))}"
        return InputError(f'{words}: the key "{loc[-1]}" is not known', where=document.where_key(loc), hint=hint)
    if kind == "missing":
        return InputError(f"{words}: is missing", where=document.where(loc[:-1]))
    message, hint = _explain(kind, ctx, given, shown, str(loc[-1]) if loc else "")
    return InputError(f"{words}: {message}" if words else message, where=where, hint=hint)


def _explain(kind: str, ctx: Mapping[str, Any], given: Any, shown: str, field: str) -> tuple[str, str]:
    unit, _ = _unit(field)
    bound = {"greater_than": "gt", "greater_than_equal": "ge", "less_than": "lt", "less_than_equal": "le"}.get(kind)
    if kind in ("float_type", "int_type", "int_from_float") and isinstance(given, str):
        return f"{shown} is text, a number is needed" + (f" ({unit})" if unit else ""), _unit_hint(given, field)
    if kind in ("float_type", "int_type", "int_from_float"):
        whole = " whole" if kind.startswith("int") else ""
        return f"{shown} is not a{whole} number" + (f" ({unit})" if unit else ""), ""
    if bound:
        sign = {"gt": "more than", "ge": "at least", "lt": "less than", "le": "at most"}[bound]
        hint = f"write {given / 100:g} for {given:g} %" if field.endswith("_frac") and isinstance(given, (int, float)) and 1 < given <= 100 else ""
        return f"{shown} is out of range, it must be {sign} {_plain(ctx[bound])}" + (f" ({unit})" if unit else ""), hint
    if kind == "literal_error":
        allowed = re.findall(r"'([^']*)'", str(ctx.get("expected", ""))) or [str(ctx.get("expected", ""))]
        return f"{shown} is not one of {', '.join(name or '(empty)' for name in allowed)}", did_you_mean(str(given), allowed)
    if kind.startswith("date"):
        return f"{shown} is not a date", "write it as 2026-07-01"
    if kind == "string_pattern_mismatch":
        return f"{shown} is not a name", "letters, digits and . _ : / @ + - are allowed, beginning with a letter or digit"
    if kind in ("too_short", "too_long"):
        return f"has {ctx.get('actual_length')} entries, {ctx.get('min_length', ctx.get('max_length'))} are needed", ""
    if kind in ("tuple_type", "model_type", "dict_type", "model_attributes_type"):
        needed = "a list ([a, b] or lines that begin with -)" if kind == "tuple_type" else "a section of `key: value` lines"
        return f"{shown} is not {needed}", ""
    if kind == "string_type":
        return f"{shown} is not text", "put it in quotes" if given is not None else ""
    if kind == "bool_type":
        return f"{shown} is neither true nor false", ""
    return str(kind).replace("_", " ") + f": {shown}", ""


def _shown(value: Any) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, str):
        return f'"{value[:60]}"'
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return _plain(value)
    return "a section" if isinstance(value, Mapping) else "a list"


def _plain(value: float) -> str:
    return f"{value:,.0f}".replace(",", "") if float(value).is_integer() and abs(value) < 1e15 else f"{value:g}"


def _unit(field: str) -> tuple[str, str]:
    return next(((words, unit) for suffix, words, unit in _UNIT_OF_SUFFIX if field.endswith(suffix)), ("", ""))


def _unit_hint(given: str, field: str) -> str:
    """Say what number to write where a person wrote a number with its unit."""
    found = _QUANTITY.match(given)
    words, unit = _unit(field)
    if not found:
        return ""
    value = float(found[2].replace(",", "").replace("_", ""))
    tail = (found[3] or "").strip()
    if tail and unit:
        try:
            value = convert(value, _TIME_WORDS.get(tail.lower(), tail) if unit in ("s", "h") else tail, unit)
            tail = ""
        except InputError:
            pass
    if tail.lower() in _WORD_FACTORS:
        value, tail = value * _WORD_FACTORS[tail.lower()], ""
    if tail:
        return f'"{tail}" is not understood here; write a plain number in {words or "the unit the name ends in"}'
    return f"write {_plain(value)}" + (f": the field is in {words}" if words else " without quotes or unit")


def _keys_at(value: Any, loc: Loc) -> set[str]:
    for step in loc:
        try:
            value = value[step]
        except (KeyError, IndexError, TypeError):
            return set()
    return set(value) if isinstance(value, Mapping) else set()


def _fields_at(loc: Loc) -> list[str]:
    """Return the names a section of the file may hold."""
    kind: Any = Scenario
    for step in loc:
        if isinstance(step, int):
            kind = _inner(get_args(_inner(kind))[0])
        else:
            fields = getattr(_inner(kind), "model_fields", {})
            if step not in fields:
                return []
            kind = fields[step].annotation
    model = _inner(kind)
    return list(model.model_fields) if isinstance(model, type) and issubclass(model, BaseModel) else []


def _inner(kind: Any) -> Any:
    """Return a type without Annotated and without None."""
    if hasattr(kind, "__metadata__"):
        return _inner(kind.__origin__)
    if get_origin(kind) in (Union, types.UnionType):
        return _inner(next(option for option in get_args(kind) if option is not type(None)))
    return kind
