"""An overlay in YAML: sections of facts and lists of rows, brought into the form of the CSV files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from polysilicon.catalogue import schema
from polysilicon.catalogue.rows import FACT_COLUMNS, Row, read_yaml
from polysilicon.errors import InputError, did_you_mean

DEFAULTS: tuple[str, ...] = ("source", "as_of", "basis")  # said once at the top for all rows
FACT_SECTIONS: tuple[str, ...] = ("chips", "systems", "models", "profiles", "sites", "offers")
ROW_SECTIONS: tuple[str, ...] = ("ports", "prices")
MAX_DEPTH = 3  # dense_tflop_per_s: {fp8: {low: 1}}

Place = tuple[int, int]


@dataclass(slots=True)
class _Reading:
    name: str
    defaults: Mapping[str, str]
    problems: list[InputError]

    def blame(self, place: Place, message: str, hint: str = "") -> None:
        """Note a problem at a place."""
        self.problems.append(InputError(message, where=f"{self.name}:{place[0]}:{place[1]}", hint=hint))


def rows_of_yaml(text: str, name: str, problems: list[InputError]) -> tuple[list[Row], dict[str, list[Row]]]:
    """Return the facts and, by table, the rows that a YAML overlay holds; values are not checked yet.

    A plain number is in the unit its parameter's name carries; `{value, unit, source, as_of, basis, note}` says more.
    """
    document = read_yaml(text, name, problems)
    reading = _Reading(name, {}, problems)
    facts: list[Row] = []
    tables: dict[str, list[Row]] = {}
    if document is None:
        return facts, tables
    if not isinstance(document, Mapping):
        reading.blame((1, 1), f"an overlay is a mapping, not {type(document).__name__}")
        return facts, tables
    reading.defaults = {k: str(document[k]) for k in DEFAULTS if k in document}
    for section, body in document.items():
        place = _place(document, section)
        if section in DEFAULTS:
            continue
        if section in FACT_SECTIONS and isinstance(body, Mapping):
            for subject, parameters in body.items():
                facts += _facts(reading, f"{str(section)[:-1]}:{subject}", parameters, _place(body, subject))
        elif section in ROW_SECTIONS and isinstance(body, list):
            tables[str(section)] = [_row(reading, item, place) for item in body if _is_mapping(reading, item, place)]
        elif section == "sources" and isinstance(body, Mapping):
            tables["sources"] = [_source(reading, key, body) for key in body]
        else:
            allowed = (*DEFAULTS, *FACT_SECTIONS, *ROW_SECTIONS, "sources")
            reading.blame(place, f'section "{section}" is not understood here', did_you_mean(str(section), allowed))
    return facts, tables


def _place(mapping: Any, key: Any) -> Place:
    try:
        line, column = mapping.lc.key(key)
    except (AttributeError, KeyError, TypeError):
        return 1, 1
    return line + 1, column + 1


def _facts(reading: _Reading, subject: str, parameters: Any, place: Place, prefix: str = "") -> list[Row]:
    if not isinstance(parameters, Mapping):
        reading.blame(place, f"{subject} needs a mapping of parameters")
        return []
    if prefix.count(".") > MAX_DEPTH:
        reading.blame(place, f"{subject} {prefix.rstrip('.')[:60]} is nested too deeply")
        return []
    rows: list[Row] = []
    for key, value in parameters.items():
        parameter, here = f"{prefix}{key}", _place(parameters, key)
        if isinstance(value, Mapping) and "value" not in value:
            rows += _facts(reading, subject, value, here, f"{parameter}.")
        else:
            rows.append(_fact(reading, subject, parameter, value, here))
    return rows


def _fact(reading: _Reading, subject: str, parameter: str, value: Any, here: Place) -> Row:
    cells: dict[str, Any] = {"unit": "", "note": "", "source": "", "as_of": "", "basis": "assumed", **reading.defaults}
    if isinstance(value, Mapping):
        cells |= value
        for unknown in set(value) - set(FACT_COLUMNS):
            reading.blame(here, f'"{unknown}" is not a part of a fact', did_you_mean(str(unknown), FACT_COLUMNS))
    else:
        cells["value"] = value
    spec = schema.spec_of(schema.SCHEMAS.get(subject.partition(":")[0], {}), parameter)
    if not cells["unit"] and spec is not None:
        cells["unit"] = spec.unit
    cells |= {"subject": subject, "parameter": parameter}
    plain = {k: _plain(reading, v, here) for k, v in cells.items() if k in FACT_COLUMNS}
    return Row(reading.name, here[0], plain, places=dict.fromkeys(FACT_COLUMNS, here))


def _is_mapping(reading: _Reading, item: Any, place: Place) -> bool:
    if not isinstance(item, Mapping):
        reading.blame(place, f"an item of this list is {type(item).__name__}; a mapping is expected")
    return isinstance(item, Mapping)


def _row(reading: _Reading, item: Mapping[str, Any], place: Place) -> Row:
    places = {str(k): _place(item, k) for k in item}
    first = next(iter(places.values()), place)
    cells = {"basis": "assumed", **reading.defaults, **{str(k): _plain(reading, v, places[str(k)]) for k, v in item.items()}}
    return Row(reading.name, first[0], cells, places={**dict.fromkeys(cells, first), **places})


def _source(reading: _Reading, key: Any, body: Mapping[Any, Any]) -> Row:
    place = _place(body, key)
    return Row(reading.name, place[0], {"key": str(key), "reference": _plain(reading, body[key], place)}, places={"key": place})


def _plain(reading: _Reading, value: Any, place: Place) -> str:
    """Return a scalar, or a list of scalars, as the text of a cell."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (list, tuple)):
        if any(isinstance(v, (list, tuple, Mapping)) for v in value):
            reading.blame(place, "a list of lists or mappings is not a value")
            return ""
        return ";".join(str(v) for v in value)
    if isinstance(value, Mapping):
        reading.blame(place, "a mapping is not a value")
        return ""
    return str(value)
