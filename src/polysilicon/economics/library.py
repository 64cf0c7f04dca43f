"""The library of public compute deals, and how to compare deals of any size: dollars per gigawatt-year and per chip-year.

Contracts, equity, chip supply, build-outs and letters are different things: they are counted apart and never summed together,
and what replaces or restates another row is not counted twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from polysilicon.economics.energy import usd_per_gw_year
from polysilicon.economics.references import deal_rows
from polysilicon.errors import InputError

GROUPS: dict[str, str] = {
    "commitment": "spend and capacity commitments",
    "equity": "equity",
    "supply": "chip supply",
    "build": "own build-out",
    "letter": "letters of intent",
    "detail": "details of another row",
}
YARD_KW, YARD_CHIPS = 120.0, 72.0  # the yardstick where a deal's own chip or its power is not known: an NVL72 rack
FACILITY_PUE = 1.2  # assumed where a deal's power is a campus's, not the chips'
FIRM = ("announced", "signed")


@dataclass(frozen=True, slots=True)
class PublicDeal:
    """One public deal."""

    id: str
    date: str
    buyer: str
    supplier: str
    kind: str
    group: str
    status: str
    amount_usd: float | None
    gw: float | None
    years: float | None
    chips: str
    chip: str  # of the catalogue, or a name of its own with `chip_w`
    chip_count: float | None  # as stated
    chip_w: float | None  # all-in, where the catalogue has none
    power_at: str  # facility where the gigawatts are a campus's
    chip_note: str
    uncertain: str
    same_as: str
    note: str
    basis: str
    source: str

    @property
    def usd_per_gw_year(self) -> float | None:
        """Return dollars per gigawatt-year where amount, power and term are all known."""
        if self.amount_usd is None or not self.gw or not self.years:
            return None
        return usd_per_gw_year(self.amount_usd, self.gw, self.years)

    def chip_year(self, all_in_w: Mapping[str, float | None]) -> ChipYear | None:
        """Return dollars per chip-year: of the stated count, else of the deal's own chip at its all-in power, else of the yardstick rack.

        `all_in_w` is watts by chip, as a catalogue knows them.
        """
        if self.amount_usd is None or not self.years:
            return None
        if self.chip_count:
            return ChipYear(self.amount_usd / self.years / self.chip_count, self.chip_count, "stated", "the stated number of chips")
        if not self.gw:
            return None
        pue = FACILITY_PUE if self.power_at == "facility" else 1.0
        told = f"campus power at an assumed PUE of {pue:g}" if pue > 1 else "the gigawatts taken as the chips' own"
        watts = self.chip_w or (all_in_w.get(self.chip) if self.chip else None)
        kind = "yardstick" if not watts else "stand-in" if self.chip_note.startswith("stand-in") else "own"
        words = f"{self.chip} at {watts:,.0f} W all-in" if watts else f"as if NVL72 racks of {YARD_KW:g} kW"
        chips = self.gw * 1e9 / pue / (watts or YARD_KW * 1000 / YARD_CHIPS)
        note = f"; {self.chip_note}" if self.chip_note else ""
        return ChipYear(self.amount_usd / self.years / chips, chips, kind, f"{words}, {told}{note}")


@dataclass(frozen=True, slots=True)
class ChipYear:
    """A deal's price per chip-year and what makes its chips."""

    usd: float
    chips: float
    kind: str  # stated, own, stand-in, yardstick
    words: str


def library() -> tuple[PublicDeal, ...]:
    """Return every deal of data/deals.csv, oldest first."""
    out = []
    for row in deal_rows():
        numbers = {name: float(row[name]) if row[name] else None for name in ("amount_usd", "gw", "years", "chip_count", "chip_w")}
        words = {name: row[name] for name in row if name not in numbers}
        out.append(PublicDeal(**words, **numbers))  # type: ignore[arg-type]
    return tuple(sorted(out, key=lambda d: d.date))


def totals(deals: Iterable[PublicDeal]) -> dict[str, float]:
    """Return dollars by group, announced or signed; what is only reported apart; letters, goals and restated rows nowhere."""
    out: dict[str, float] = {}
    for deal in deals:
        if deal.amount_usd and not deal.same_as and deal.status in (*FIRM, "reported") and deal.group not in ("letter", "detail"):
            name = deal.group if deal.status in FIRM else f"{deal.group} (only reported)"
            out[name] = out.get(name, 0.0) + deal.amount_usd
    return out


def select(
    deals: Iterable[PublicDeal], *, party: str = "", group: str = "", rank: str = "date", all_in_w: Mapping[str, float | None] | None = None
) -> list[PublicDeal]:
    """Return deals of a party or group, ranked by date, amount, gw, usd-per-gw-year or usd-per-chip-year.

    What is not known comes last. A chip-year is one of the deal's own chip where its power is known.

    Raises: InputError for a group or a rank that does not exist.
    """
    if group and group not in GROUPS:
        raise InputError(f'group "{group}" is not known', hint=f"groups: {', '.join(GROUPS)}")
    keys: dict[str, Callable[[PublicDeal], Any]] = {
        "date": lambda d: d.date,
        "amount": lambda d: d.amount_usd,
        "gw": lambda d: d.gw,
        "usd-per-gw-year": lambda d: d.usd_per_gw_year,
        "usd-per-chip-year": lambda d: None if (found := d.chip_year(all_in_w or {})) is None else found.usd,
    }
    if rank not in keys:
        raise InputError(f'rank "{rank}" is not known', hint=f"ranks: {', '.join(keys)}")
    chosen = [d for d in deals if (not group or d.group == group) and party.casefold() in f"{d.buyer} {d.supplier}".casefold()]
    if rank == "date":
        return sorted(chosen, key=lambda d: d.date)
    of = keys[rank]
    return sorted(chosen, key=lambda d: (of(d) is None, -(of(d) or 0.0)))
