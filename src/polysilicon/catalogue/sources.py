"""Facts and tables from files: the embedded data first, the user's overlay over it; all problems of all files at once."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import cast

from polysilicon.catalogue import schema
from polysilicon.catalogue.rows import FACT_COLUMNS, Row, read_csv, read_text
from polysilicon.catalogue.yaml_overlay import rows_of_yaml
from polysilicon.errors import InputError, InputErrors, did_you_mean
from polysilicon.facts import Basis, Fact

FACT_FILES: Mapping[str, str] = {
    "chips": "chip",
    "systems": "system",
    "models": "model",
    "profiles": "profile",
    "sites": "site",
    "press": "press",
}
TABLE_FILES: tuple[str, ...] = ("offers", "ports", "prices", "spot")
KINDS: tuple[str, ...] = ("chip", "system", "model", "profile", "site", "offer", "press")

_PROVENANCE = {"source": schema.TEXT, "as_of": schema.DATE, "basis": schema.TEXT, "note": schema.TEXT}
_TABLES: Mapping[str, Mapping[str, schema.Spec]] = {
    "offers": {"id": schema.TEXT, **schema.OFFER, **_PROVENANCE},
    "ports": {**schema.PORT, **_PROVENANCE},
    "prices": {**schema.PRICE, **_PROVENANCE},
    "spot": {**schema.SPOT, **_PROVENANCE},
    "sources": {"key": schema.TEXT, "reference": schema.TEXT, "note": schema.TEXT},
}
_REQUIRED: Mapping[str, tuple[str, ...]] = {
    "offers": ("id", "cloud", "region", "kind", "source", "basis"),
    "ports": ("model_family", "chip_family", "engine", "status", "source", "as_of", "basis"),
    "prices": ("provider", "model", "as_of", "source", "basis"),
    "spot": ("cloud", "zone", "source", "basis"),
    "sources": ("key", "reference"),
}


@dataclass(slots=True)
class Content:
    """Everything read: facts by (kind, subject, parameter), table rows, the digest of what was read."""

    facts: dict[tuple[str, str, str], tuple[Fact, Row]] = field(default_factory=dict)
    tables: dict[str, list[Row]] = field(default_factory=lambda: {name: [] for name in (*TABLE_FILES, "sources")})
    overlaid: set[tuple[str, str]] = field(default_factory=set)  # (kind, subject) that the overlay touches
    problems: list[InputError] = field(default_factory=list)
    digest: str = ""


def read_all(overlay: Path | None) -> Content:
    """Read the embedded files and the overlay over them.

    Raises: InputErrors with every problem found in any file.
    """
    embedded = _embedded()
    if overlay is None:
        content, digest = _copy(embedded), embedded.digest
    else:
        content = _copy(embedded)
        hasher = hashlib.sha256(embedded.digest.encode())
        for path in _overlay_files(overlay, content.problems):
            hasher.update(_read_overlay(content, path).encode())
        digest = hasher.hexdigest()
    content.digest = digest[:16]
    if content.problems:
        raise InputErrors(content.problems)
    return content


@cache
def _embedded() -> Content:
    """Return what the package itself carries; it does not change while a process runs."""
    content = Content()
    hasher = hashlib.sha256()
    data = files("polysilicon") / "data"
    for name in (*FACT_FILES, *TABLE_FILES, "sources"):
        file = data / f"{name}.csv"
        text = read_text(file, f"data/{name}.csv", content.problems)
        hasher.update(text.encode())
        header, rows = read_csv(text, f"data/{name}.csv", content.problems)
        if name in FACT_FILES:
            _take_facts(content, rows, fixed=FACT_FILES[name], seen={}, overlay=False)
        else:
            content.tables[name] = rows if name == "prices" else check_table(name, header, rows, content.problems)
    content.digest = hasher.hexdigest()
    return content


def _copy(content: Content) -> Content:
    """Return a copy that an overlay may be written into; rows and facts themselves are never changed."""
    return Content(dict(content.facts), dict(content.tables), problems=list(content.problems))


def _overlay_files(overlay: Path, problems: list[InputError]) -> list[Path]:
    if not overlay.is_dir():
        return [overlay]
    found = sorted(p for p in overlay.iterdir() if p.suffix in (".csv", ".yaml", ".yml"))
    if not found:
        problems.append(InputError("the overlay folder holds no .csv or .yaml file", where=str(overlay)))
    return found


def _read_overlay(content: Content, path: Path) -> str:
    text = read_text(path, str(path), content.problems)
    if not text and content.problems:
        return ""
    if path.suffix in (".yaml", ".yml"):
        facts, raw = rows_of_yaml(text, str(path), content.problems)
        tables = {kind: check_table(kind, _columns(kind, rows), rows, content.problems) for kind, rows in raw.items()}
    else:
        header, rows = read_csv(text, str(path), content.problems)
        kind = _kind_of(header)
        if not kind:
            if header:
                content.problems.append(
                    InputError(
                        f"the header ({', '.join(header[:6])}, ...) is none that an overlay can have",
                        where=f"{path}:1:1",
                        hint=f"facts: {','.join(FACT_COLUMNS)}; or the columns of offers.csv, ports.csv, prices.csv, sources.csv",
                    )
                )
            return text
        facts, tables = (rows, {}) if kind == "facts" else ([], {kind: check_table(kind, header, rows, content.problems)})
        if kind == "facts":
            missing = [c for c in FACT_COLUMNS[:-1] if c not in header]
            if missing:
                content.problems.append(InputError(f"the header lacks {', '.join(missing)}", where=f"{path}:1:1"))
                facts = []
    _take_facts(content, facts, fixed="", seen={}, overlay=True)
    for name, rows in tables.items():
        content.tables[name] = [*content.tables[name], *rows]
    return text


def _columns(kind: str, rows: Iterable[Row]) -> list[str]:
    """Return the columns that YAML rows use and those they must have."""
    used = dict.fromkeys(c for row in rows for c in row.cells)
    return [*used, *(c for c in _REQUIRED[kind] if c not in used)]


def _kind_of(header: Iterable[str]) -> str:
    columns = set(header)
    if {"subject", "parameter"} <= columns:
        return "facts"
    for name, required in _REQUIRED.items():
        if set(required[:3]) <= columns:
            return name
    return ""


# -- facts ------------------------------------------------------------------------------------------------------


def _take_facts(content: Content, rows: Iterable[Row], *, fixed: str, seen: dict[tuple[str, str, str], Row], overlay: bool) -> None:
    for row in rows:
        kind, subject = (fixed, row.get("subject").strip()) if fixed else _kind_and_subject(content, row)
        if not kind:
            continue
        try:
            fact = _fact(kind, subject, row)
        except InputError as problem:
            content.problems.append(problem)
            continue
        key = (kind, fact.subject, fact.parameter)
        if key in seen:
            content.problems.append(row.problem("parameter", f"{fact.subject} {fact.parameter} stands here again; it stood at {seen[key].where()}"))
            continue
        seen[key] = row
        if overlay:
            content.overlaid.add((kind, fact.subject))
            for band in (".low", ".high"):  # a band around a figure that is replaced says nothing of the new one
                if key not in seen or (*key[:2], key[2] + band) not in seen:
                    content.facts.pop((*key[:2], key[2] + band), None)
        content.facts[key] = (fact, row)


def _kind_and_subject(content: Content, row: Row) -> tuple[str, str]:
    subject = row.get("subject").strip()
    prefix, colon, rest = subject.partition(":")
    if colon and prefix in KINDS:
        return prefix, rest.strip()
    for kind in KINDS:
        if kind == "offer":
            if any(r.get("id") == subject for r in content.tables["offers"]):
                return kind, subject
        elif any(k == kind and s == subject for k, s, _ in content.facts):
            return kind, subject
    known = {s for _, s, _ in content.facts}
    hint = did_you_mean(subject, known) or f"something new is written with its kind: chip:{subject or 'x'}, one of {', '.join(KINDS)}"
    content.problems.append(row.problem("subject", f'"{subject}" is not in the catalogue', hint))
    return "", ""


def _fact(kind: str, subject: str, row: Row) -> Fact:
    parameter = row.get("parameter").strip()
    spec = schema.spec_of(schema.SCHEMAS[kind], parameter)
    if not subject:
        raise row.problem("subject", "the subject is empty")
    if spec is None:
        raise row.problem("parameter", f'"{parameter}" is not a parameter of a {kind}', did_you_mean(parameter, schema.SCHEMAS[kind]))
    if not row.get("value").strip():
        raise row.problem("value", f"{subject} {parameter} has no value", "leave the row out where the value is not known")
    if not row.get("source").strip():
        raise row.problem("source", f"{subject} {parameter} has no source", "say where the value was read, or from whom it comes")
    _at(row, "basis", schema.check_basis, row.get("basis").strip())
    if row.get("as_of").strip():
        _at(row, "as_of", schema.parse_date, row.get("as_of"))
    unit = row.get("unit").strip()
    value = _value(spec, parameter, row, unit)
    return Fact(
        subject,
        parameter,
        value,
        spec.unit,
        row.get("source").strip(),
        row.get("as_of").strip(),
        cast(Basis, row.get("basis").strip()),
        row.get("note").strip(),
    )


def _value(spec: schema.Spec, parameter: str, row: Row, unit: str) -> float | str:
    try:
        return schema.parse_value(spec, parameter, row.get("value"), unit)
    except InputError as problem:
        about_unit = "unit" in problem.message or "measures" in problem.message
        problem.where = row.where("unit" if about_unit else "value")
        raise


def _at(row: Row, column: str, check: Callable[[str], object], text: str) -> None:
    """Check a cell; a problem stands at its place, which is only sought when there is one."""
    try:
        check(text)
    except InputError as problem:
        problem.where = row.where(column)
        raise


# -- tables -----------------------------------------------------------------------------------------------------


def check_table(name: str, header: Iterable[str], rows: Iterable[Row], problems: list[InputError]) -> list[Row]:
    """Return the rows of a table that are right; every cell that is not becomes a problem."""
    columns, specs = tuple(header), _TABLES[name]
    place = next(iter(rows), None)
    if place is not None:
        problems.extend(
            InputError(f'column "{column}" is not one of {name}', where=f"{place.file}:1:1", hint=did_you_mean(column, specs))
            for column in columns
            if column not in specs
        )
    missing = [c for c in _REQUIRED[name] if c not in columns]
    if missing and place is not None:
        problems.append(InputError(f"the header lacks {', '.join(missing)}", where=f"{place.file}:1:1"))
        return []
    good = []
    for row in rows:
        before = len(problems)
        _check_row(name, row, problems)
        if len(problems) == before:
            good.append(row)
    return good


def _check_row(name: str, row: Row, problems: list[InputError]) -> None:
    specs = _TABLES[name]
    may_be_empty = ("status", "as_of") if name == "ports" else ()
    empty = [c for c in _REQUIRED[name] if not row.get(c).strip() and c not in may_be_empty]
    problems.extend(row.problem(column, f"{column} is empty") for column in empty)
    for column, text in row.cells.items():
        spec = specs.get(column)
        if not text or spec is None or spec.kind in ("text", "words"):
            continue
        try:
            schema.parse_value(spec, column, text, spec.unit)
        except InputError as problem:
            problem.where = row.where(column)
            problems.append(problem)
    if name != "sources" and row.get("basis"):
        try:
            schema.check_basis(row.get("basis"))
        except InputError as problem:
            problem.where = row.where("basis")
            problems.append(problem)
