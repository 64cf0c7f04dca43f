"""One fact: a number or a word, where it was read, when, and how much it can be trusted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

Basis = Literal["measured", "calibrated", "datasheet", "filing", "press", "announced", "list_price", "estimate", "assumed"]
BASES: tuple[str, ...] = get_args(Basis)  # from the most to the least trusted


@dataclass(frozen=True, slots=True)
class Fact:
    """One row of a data file: `subject, parameter, value, unit, source, as_of, basis, note`."""

    subject: str
    parameter: str
    value: float | str
    unit: str
    source: str  # a key of data/sources.csv, or the overlay file's own words
    as_of: str  # ISO date or year-month; empty where the source is undated, and then note says so
    basis: Basis
    note: str = ""
