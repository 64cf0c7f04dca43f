"""A YAML file as plain values and the place of each: read whole, whatever it holds.

The text is composed into YAML's node graph and turned into JSON values here, so nothing of the file is ever
executed, an alias cannot blow up, and every key and value keeps its line and column.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from polysilicon.errors import InputError

MAX_BYTES = 4_000_000
MAX_NODES = 200_000  # after aliases are expanded
MAX_DEPTH = 60
Loc = tuple[str | int, ...]
_TAG = "tag:yaml.org,2002:"


@dataclass(frozen=True, slots=True)
class Document:
    """The values of one file and where each stands; `places` maps a path of keys and indexes to (line, column)."""

    name: str
    value: Any
    places: Mapping[Loc, tuple[int, int]]
    problems: tuple[InputError, ...] = ()  # values that could not be taken; they stand as None

    def where(self, loc: Loc) -> str:
        """Return `file:line:col` of the nearest enclosing thing that is in the file."""
        while loc and loc not in self.places:
            loc = loc[:-1]
        line, column = self.places.get(loc, (1, 1))
        return f"{self.name}:{line}:{column}"

    def where_key(self, loc: Loc) -> str:
        """Return `file:line:col` of the key that ends a path, not of its value."""
        key = (*loc[:-1], f"\0{loc[-1]}") if loc else loc
        return self.where(key if key in self.places else loc)


def read_document(path: Path) -> Document:
    """Read a YAML file into plain values with places.

    Raises: InputError for a file that is missing, binary, empty, too large, truncated or not one document. Single values
    that cannot be taken (a key given twice, a number that is not finite, a foreign tag) are kept in `problems`.
    """
    name = str(path)
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror or error}", where=name) from error
    if len(raw) > MAX_BYTES:
        raise InputError(f"is larger than {MAX_BYTES:,} bytes; a scenario is a short file", where=name)
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise InputError(f"is not UTF-8 text (byte {error.start})", where=f"{name}:{line}:1") from error
    return parse_document(text, name)


def parse_document(text: str, name: str) -> Document:
    """Parse YAML text; `name` is what errors call the file."""
    root = _compose(text, name)
    builder = _Builder(name)
    value = builder.build(root, (), 0)
    return Document(name, value, builder.places, tuple(builder.problems))


def _compose(text: str, name: str) -> Any:
    from ruamel.yaml import YAML
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    try:
        documents = list(YAML(typ="safe", pure=True).compose_all(text))
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"{name}:{mark.line + 1}:{mark.column + 1}" if mark else name
        problem = " ".join(str(part) for part in (error.problem, f"({error.context})" if error.context else "") if part)
        raise InputError(f"is not valid YAML: {problem}", where=where, hint=_syntax_hint(problem, text)) from error
    except YAMLError as error:
        raise InputError(f"is not valid YAML: {str(error).splitlines()[0]}", where=_place_of_control(text, name)) from error
    except (RecursionError, ValueError, OverflowError) as error:
        raise InputError("is nested too deeply or holds something YAML cannot carry", where=f"{name}:1:1") from error
    if not documents:
        raise InputError("is empty", where=f"{name}:1:1", hint="write a starter with `polysilicon init`")
    if len(documents) > 1:
        mark = documents[1].start_mark
        raise InputError("holds more than one document; a scenario is one", where=f"{name}:{mark.line + 1}:{mark.column + 1}")
    if documents[0].id != "mapping":
        raise InputError("is not a scenario: the top level must be `key: value` lines", where=f"{name}:1:1")
    return documents[0]


def _syntax_hint(problem: str, text: str) -> str:
    if "\\t" in problem:
        return "indent with spaces, not tabs"
    if "stream end" in problem or "end of stream" in problem:
        return "the file seems to be cut off"
    if "mapping values are not allowed" in problem:
        return "a value that holds a colon needs quotes"
    return "" if text.endswith("\n") else "the file does not end in a newline; is it whole?"


def _place_of_control(text: str, name: str) -> str:
    for index, char in enumerate(text):
        if (char < " " and char not in "\t\n\r") or char == "\x7f":
            line = text.count("\n", 0, index) + 1
            return f"{name}:{line}:{index - text.rfind(chr(10), 0, index)}"
    return name


class _Builder:
    """Turns nodes into values, remembering places and problems."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.places: dict[Loc, tuple[int, int]] = {}
        self.problems: list[InputError] = []
        self.count = 0
        self.open: set[int] = set()

    def build(self, node: Any, loc: Loc, depth: int) -> Any:
        """Return the node's value as JSON would hold it."""
        self.count += 1
        self.places.setdefault(loc, (node.start_mark.line + 1, node.start_mark.column + 1))
        if self.count > MAX_NODES or depth > MAX_DEPTH or id(node) in self.open:
            reason = "its aliases refer to themselves" if id(node) in self.open else "is too large once aliases are expanded or too deep"
            raise InputError(reason, where=self._at(node))
        if node.id == "scalar":
            return self._scalar(node, loc)
        self.open.add(id(node))
        try:
            if node.id == "sequence":
                return [self.build(child, (*loc, i), depth + 1) for i, child in enumerate(node.value)]
            return self._mapping(node, loc, depth)
        finally:
            self.open.discard(id(node))

    def _mapping(self, node: Any, loc: Loc, depth: int) -> dict[str, Any]:
        out: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        first: dict[str, Any] = {}
        for key, child in node.value:
            if key.id != "scalar":
                self._problem(key, "a key must be a word")
                continue
            if key.tag == f"{_TAG}merge":
                value = self.build(child, (*loc, "<<"), depth + 1)
                for part in value if isinstance(value, list) else [value]:
                    merged |= part if isinstance(part, dict) else {}
                continue
            name = str(key.value)
            if name in first:
                line = first[name].start_mark.line + 1
                self._problem(key, f'the key "{name}" is given twice (first in line {line})')
                continue
            first[name] = key
            mark = child.start_mark if child.id == "scalar" and child.value != "" else key.start_mark
            self.places[(*loc, name)] = (mark.line + 1, mark.column + 1)
            self.places[(*loc, f"\0{name}")] = (key.start_mark.line + 1, key.start_mark.column + 1)
            out[name] = self.build(child, (*loc, name), depth + 1)
        return merged | out

    def _scalar(self, node: Any, loc: Loc) -> Any:
        kind = node.tag.removeprefix(_TAG)
        text = str(node.value)
        if kind in ("str", "timestamp", "merge"):
            return text
        if kind == "null":
            return None
        if kind == "bool":
            return text.lower() == "true"
        if kind in ("int", "float"):
            return self._number(node, text, kind)
        self._problem(node, f'the tag "{node.tag}" is not allowed here')
        return None

    def _number(self, node: Any, text: str, kind: str) -> float | int | None:
        plain = text.replace("_", "").lower()
        try:
            if kind == "int":
                value: float | int = int(plain, 0) if plain.lstrip("+-").startswith(("0x", "0o", "0b")) else int(plain[:400])
            else:
                value = float(plain.replace(".inf", "inf").replace(".nan", "nan"))
        except ValueError:
            self._problem(node, f"{text[:40]} is not a number")
            return None
        if abs(value) > 1e300 or not math.isfinite(value):
            self._problem(node, f"{text[:40]} is not a finite number")
            return None
        return value

    def _at(self, node: Any) -> str:
        return f"{self.name}:{node.start_mark.line + 1}:{node.start_mark.column + 1}"

    def _problem(self, node: Any, message: str) -> None:
        self.problems.append(InputError(message, where=self._at(node)))
