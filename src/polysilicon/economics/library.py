"""The library of public compute deals, and how to compare deals of any size: dollars per gigawatt-year and per chip-year.

Contracts, equity, chip supply, build-outs and letters are different things: they are counted apart and never summed together,
and what replaces or restates another row is not counted twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from polysilicon.economics.energy import capacity, usd_per_gw_year
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
RACK: dict[str, float] = {"rack_kw": 120.0, "rack_chips": 72.0}  # one yardstick for every deal: an NVL72, whatever the chips are
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

    def usd_per_chip_year(self, *, rack_kw: float, rack_chips: float, pue: float = 1.0) -> float | None:
        """Return dollars per chip-year if all of the power were such racks."""
        price = self.usd_per_gw_year
        return None if price is None else price / capacity(1.0, rack_kw=rack_kw, rack_chips=rack_chips, pue=pue).chips


def library() -> tuple[PublicDeal, ...]:
    """Return every deal of data/deals.csv, oldest first."""
    out = []
    for row in deal_rows():
        numbers = {name: float(row[name]) if row[name] else None for name in ("amount_usd", "gw", "years")}
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


def select(deals: Iterable[PublicDeal], *, party: str = "", group: str = "", rank: str = "date") -> list[PublicDeal]:
    """Return deals of a party or group, ranked by date, amount, gw, usd-per-gw-year or usd-per-chip-year.

    What is not known comes last. Chip-years are those of one yardstick rack, so that they rank as gigawatt-years do unless
    a caller's own rack is used with `PublicDeal.usd_per_chip_year`.

    Raises: InputError for a group or a rank that does not exist.
    """
    if group and group not in GROUPS:
        raise InputError(f'group "{group}" is not known', hint=f"groups: {', '.join(GROUPS)}")
    keys: dict[str, Callable[[PublicDeal], Any]] = {
        "date": lambda d: d.date,
        "amount": lambda d: d.amount_usd,
        "gw": lambda d: d.gw,
        "usd-per-gw-year": lambda d: d.usd_per_gw_year,
        "usd-per-chip-year": lambda d: d.usd_per_chip_year(**RACK),
    }
    if rank not in keys:
        raise InputError(f'rank "{rank}" is not known', hint=f"ranks: {', '.join(keys)}")
    chosen = [d for d in deals if (not group or d.group == group) and party.casefold() in f"{d.buyer} {d.supplier}".casefold()]
    if rank == "date":
        return sorted(chosen, key=lambda d: d.date)
    of = keys[rank]
    return sorted(chosen, key=lambda d: (of(d) is None, -(of(d) or 0.0)))
