"""A YAML file of ours as a checked type: every problem at once, each with file, line and column."""

from __future__ import annotations

from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from polysilicon.errors import InputError, InputErrors, did_you_mean
from polysilicon.scenario.document import Document

Checked = TypeVar("Checked", bound=BaseModel)


def check(document: Document, shape: type[Checked]) -> Checked:
    """Return the document's value as `shape`.

    Raises: InputErrors with the place of everything that does not fit, keys given twice and numbers without end included.
    """
    try:
        found = shape.model_validate(document.value)
    except ValidationError as error:
        wrong = [_problem(document, shape, dict(item)) for item in error.errors(include_url=False)]
        raise InputErrors([*document.problems, *wrong]) from error
    if document.problems:
        raise InputErrors(document.problems)
    return found


def _problem(document: Document, shape: type[BaseModel], item: dict[str, Any]) -> InputError:
    loc = tuple(part for part in item["loc"] if not (isinstance(part, str) and part.startswith("function-")))
    name = ".".join(str(part) for part in loc) or "the file"
    where = document.where(loc)
    if item["type"] == "extra_forbidden":
        return InputError(f"{name}: this key is not known here", where=where, hint=did_you_mean(str(loc[-1]), _keys(shape)))
    if item["type"] == "missing":
        return InputError(f"{name} is missing", where=document.where(loc[:-1]))
    message = str(item["msg"]).removeprefix("Value error, ").removeprefix("Assertion failed, ")
    given = item.get("input")
    shown = f", not {given!r}"[:80] if isinstance(given, (str, int, float, bool)) and not item["type"].startswith("value_error") else ""
    return InputError(f"{name}: {message}{shown}", where=where)


def _keys(shape: type[BaseModel]) -> list[str]:
    keys: list[str] = []
    seen: set[type[BaseModel]] = set()
    todo: list[Any] = [shape]
    while todo:
        part = todo.pop()
        if isinstance(part, type) and issubclass(part, BaseModel) and part not in seen:
            seen.add(part)
            keys.extend(part.model_fields)
            todo.extend(field.annotation for field in part.model_fields.values())
        else:
            todo.extend(getattr(part, "__args__", ()))
    return keys
