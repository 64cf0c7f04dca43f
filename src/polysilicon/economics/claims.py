"""Claims as people write them down to have them checked: a YAML file of ours, or the table format of spreadsheets.

A claim is a short quote with a source and a date, the quantity it states, the premises it rests on (each with unit,
source and date) and a formula over the premises. Nothing of the verdict stands in the file; `audit` computes it.
"""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError, model_validator

from polysilicon.economics.reading import check
from polysilicon.errors import InputError, InputErrors
from polysilicon.scenario.document import Document, read_document

PremiseName = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", max_length=40)]
FormulaText = Annotated[str, Field(min_length=1, max_length=2000)]
OWN = "own"  # a premise the claim's own text gives


class Part(BaseModel):
    """A section of the file: unknown keys are errors, nothing is coerced silently."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Stated(Part):
    """What the claim says: a value, a range from low to high, or a bound."""

    value: FiniteFloat | None = None
    low: FiniteFloat | None = None
    high: FiniteFloat | None = None
    above: FiniteFloat | None = None
    unit: Annotated[str, Field(min_length=1, max_length=60)] = "1"

    @model_validator(mode="after")
    def _one_form(self) -> Stated:
        forms = [self.value is not None, self.low is not None or self.high is not None, self.above is not None]
        if sum(forms) != 1 or (self.low is None) != (self.high is None):
            raise ValueError("give `value`, or `low` and `high`, or `above`")
        if self.low is not None and self.high is not None and self.low > self.high:
            raise ValueError(f"low {self.low:g} is above high {self.high:g}")
        return self


class Premise(Part):
    """One number a claim rests on: a literal, or an expression over the catalogue and other premises."""

    value: FiniteFloat | FormulaText
    unit: Annotated[str, Field(max_length=60)] = ""  # may be left out where `value` is an expression
    source: Annotated[str, Field(min_length=1, max_length=400)] = ""  # "own": the claim's text; empty only for a catalogue reference
    as_of: Annotated[str, Field(max_length=10, pattern=r"^(\d{4}(-\d{2}(-\d{2})?)?)?$")] = ""
    basis: Literal["stated", "sourced", "assumed"] | None = None  # default: stated when source is "own", else sourced
    fixed: bool = False  # a constant of nature or of the calendar: not a candidate for "what must change"

    @property
    def kind(self) -> str:
        """Return stated, sourced or assumed."""
        return self.basis or ("stated" if self.source == OWN else "sourced")


class Baselines(Part):
    """What a percentage is measured against, in the claim and in the source it comes from."""

    stated: str = ""
    source: str = ""


class Claim(Part):
    """One claim to check."""

    id: Annotated[str, Field(min_length=1, max_length=40)]
    covers: tuple[str, ...] = ()
    quote: Annotated[str, Field(min_length=1, max_length=300)]
    source: str = ""
    as_of: str = ""
    quantity: Annotated[str, Field(min_length=1, max_length=200)]
    stated: Stated | None = None
    tolerance_frac: Annotated[FiniteFloat, Field(ge=0, le=1)] = 0.10
    premises: Annotated[dict[PremiseName, Premise], Field(max_length=40)] = {}
    formula: FormulaText | None = None
    readings: Annotated[dict[str, FormulaText], Field(max_length=6)] = {}  # several readings of an ambiguous unit or baseline
    baseline: Baselines | None = None
    correction: str = ""  # a sentence with {recomputed}, {stated}, {ratio} or {= formula | unit} in it
    note: str = ""

    @model_validator(mode="after")
    def _formula_or_readings(self) -> Claim:
        if self.formula and self.readings:
            raise ValueError("give `formula` or `readings`, not both")
        if len(self.readings) == 1:
            raise ValueError("one reading is a `formula`; `readings` are two or more")
        return self


class ClaimsFile(Part):
    """A file of claims."""

    polysilicon_claims: Literal[1]
    title: str = ""
    articles: dict[str, str] = {}
    claims: Annotated[tuple[Claim, ...], Field(min_length=1, max_length=2000)]


class ClaimSet(BaseModel):
    """Claims with the place of each, ready to audit; `raw_units` for tables whose formulas convert by hand."""

    model_config = ConfigDict(frozen=True)
    name: str
    title: str = ""
    claims: tuple[Claim, ...]
    places: tuple[str, ...]
    formula_places: tuple[str, ...]
    raw_units: bool = False
    expected: dict[str, str] = {}  # verdicts a table carries, to compare with


def read_claims(path: Path) -> ClaimSet:
    """Read a claims file: YAML of ours, or a CSV table with claim_id, quantity, stated_value, unit, premises, formula.

    Raises: InputErrors with file, line and column of everything that is wrong.
    """
    if path.suffix.lower() == ".csv":
        return _read_table(path)
    return from_document(read_document(path))


def from_document(document: Document) -> ClaimSet:
    """Return the claims of a parsed YAML document."""
    file = check(document, ClaimsFile)
    ids = [claim.id for claim in file.claims]
    twice = [InputError(f'claim id "{c}" is given twice', where=document.where(("claims", i, "id"))) for i, c in enumerate(ids) if c in ids[:i]]
    if twice:
        raise InputErrors(twice)
    places = tuple(document.where(("claims", i)) for i in range(len(ids)))
    formulas = tuple(document.where(("claims", i, "formula" if c.formula else "readings")) for i, c in enumerate(file.claims))
    return ClaimSet(name=document.name, title=file.title, claims=file.claims, places=places, formula_places=formulas)


_COLUMNS = ("claim_id", "quote_short", "quantity", "stated_value", "unit", "premises", "formula")
_PREMISE = re.compile(r"^\s*(?P<name>[A-Za-z_]\w*)\s*=\s*(?P<value>[^\[\]]+?)\s*(?:\[(?P<unit>[^|\]]*)(?:\|(?P<source>[^\]]*))?\])?\s*$")


def _read_table(path: Path) -> ClaimSet:
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", where=str(path)) from error
    except UnicodeDecodeError as error:
        raise InputError("is not UTF-8 text", where=str(path)) from error
    reader = csv.DictReader(io.StringIO(text), strict=True)
    missing = [column for column in _COLUMNS if column not in (reader.fieldnames or ())]
    if missing:
        raise InputError(f"columns {', '.join(missing)} are missing", where=f"{path}:1", hint=f"a table of claims has {', '.join(_COLUMNS)}")
    claims: list[Claim] = []
    places: list[str] = []
    expected: dict[str, str] = {}
    problems: list[InputError] = []
    seen: set[str] = set()
    try:
        for row in reader:
            place = f"{path}:{reader.line_num}"
            try:
                claims.append(_from_row({k: v or "" for k, v in row.items() if k}, place))
            except (InputError, ValueError) as error:
                problems.append(error if isinstance(error, InputError) else InputError(_in_words(error), where=place))
                continue
            if claims[-1].id in seen:
                problems.append(InputError(f'claim id "{claims[-1].id}" is given twice', where=place))
            seen.add(claims[-1].id)
            places.append(place)
            if row.get("verdict"):
                expected[claims[-1].id] = str(row["verdict"])
    except csv.Error as error:
        problems.append(InputError(f"is not a readable table: {error}", where=f"{path}:{reader.line_num}"))
    if problems or not claims:
        raise InputErrors(problems or [InputError("holds no claims", where=str(path))])
    return ClaimSet(name=str(path), claims=tuple(claims), places=tuple(places), formula_places=tuple(places), raw_units=True, expected=expected)


def _in_words(error: ValueError) -> str:
    if not isinstance(error, ValidationError):
        return str(error)
    found = error.errors(include_url=False)[0]
    name = ".".join(str(part) for part in found["loc"] if part not in ("float", "str"))
    return f"{name}: {found['msg'].removeprefix('Value error, ')}"


def _from_row(row: dict[str, str], place: str) -> Claim:
    premises, prose = {}, False
    for piece in _split_premises(row["premises"]):
        match = _PREMISE.match(piece)
        if match is None:
            if "=" not in piece:
                prose = True  # a remark where premises would stand
                continue
            raise InputError(f'premise "{piece.strip()[:60]}" is not `name=value[unit|source]`', where=place)
        source = (match["source"] or "").strip()
        value: float | str = _number(match["value"])
        premises[match["name"]] = Premise(
            value=value,
            unit=(match["unit"] or "1").strip(),
            source=OWN if source.startswith("article") else source or "not given",
            basis="assumed" if "assumed" in source else None,
        )
    formula = row["formula"].strip().replace("math.", "")
    exact = row["unit"].strip() in ("year", "rank", "cloud", "platform")
    return Claim(
        id=row["claim_id"].strip(),
        quote=row["quote_short"].strip() or "-",
        source=row.get("article", ""),
        quantity=row["quantity"].strip() or "-",
        stated=_stated(row["stated_value"].strip(), row["unit"].strip() or "1", place),
        tolerance_frac=0.0001 if exact else 0.10,
        premises=premises,
        formula=None if prose or not formula else formula,
        note=row.get("note", ""),
    )


def _split_premises(text: str) -> list[str]:
    return [piece for piece in re.split(r";(?![^\[]*\])", text) if piece.strip()]


def _number(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


def _stated(text: str, unit: str, place: str) -> Stated | None:
    if not text:
        return None
    try:
        if text.startswith(">"):
            return Stated(above=float(text[1:]), unit=unit)
        if ".." in text:
            low, high = (float(part) for part in text.split(".."))
            return Stated(low=low, high=high, unit=unit)
        return Stated(value=float(text), unit=unit)
    except ValueError as error:
        raise InputError(f'stated_value "{text}" is not a number, `low..high` or `>number`', where=place) from error
