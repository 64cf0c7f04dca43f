"""SkyPilot's price lists (`catalogs/v8/<cloud>/vms.csv`) as offers, with the traps of those files taken out.

The traps: Google lists host and accelerator in separate rows and writes 700.0 for "not sold"; `tpu-v5p-N` counts cores,
so it has N/2 chips, while `tpu-v6e-N` and `tpu-v5litepod-N` count chips; slices are priced linearly, so the smallest one
speaks for all; an Azure list has carried 12 for the 8 GPUs of an ND96 node.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from polysilicon.catalogue import Catalogue
from polysilicon.catalogue.rows import Row, read_csv, read_text
from polysilicon.catalogue.schema import parse_number
from polysilicon.errors import InputError, InputErrors

COLUMNS: tuple[str, ...] = ("InstanceType", "AcceleratorName", "AcceleratorCount", "Price", "SpotPrice", "Region")
NOT_SOLD_USD = 700.0  # what Google's list writes in place of a price
OFFER_COLUMNS: tuple[str, ...] = (
    "id",
    "cloud",
    "region",
    "chip",
    "kind",
    "usd_per_chip_hour",
    "low_usd_per_chip_hour",
    "high_usd_per_chip_hour",
    "block_chips",
    "instance",
    "quoted_on",
    "source",
    "basis",
    "note",
)
_CHIPS: Mapping[str, str] = {  # SkyPilot's words that mean something else than they say
    "A100": "a100-40gb",
    "Trainium": "trainium1",
    "H100-MEGA": "h100-sxm",
    "H100-SXM": "h100-sxm",
    "H200-SXM": "h200-sxm",
}
_GOOGLE_HOSTS: Mapping[str, str] = {  # accelerator -> the family of hosts it is attached to
    "A100": "a2-highgpu",
    "A100-80GB": "a2-ultragpu",
    "H100": "a3-highgpu",
    "H100-MEGA": "a3-megagpu",
    "H200": "a3-ultragpu",
    "B200": "a4-highgpu",
}
_TPU = re.compile(r"tpu-(v\d+(?:litepod|p|e)?)(?:-(\d+))?")
_CORES_A_CHIP: Mapping[str, int] = {"v4": 2, "v5p": 2, "v5litepod": 1, "v6e": 1}  # what N counts in the name
_TPU_CHIPS: Mapping[str, str] = {"v4": "tpu-v4", "v5p": "tpu-v5p", "v5litepod": "tpu-v5e", "v6e": "tpu-v6e"}


@dataclass(slots=True)
class Import:
    """What came of a price list: offers as rows of an overlay, and what was left out and why."""

    offers: list[dict[str, str]] = field(default_factory=list)
    skipped: dict[str, int] = field(default_factory=dict)  # reason -> rows
    rows: int = 0

    def skip(self, reason: str) -> None:
        """Count one row that is left out."""
        self.skipped[reason] = self.skipped.get(reason, 0) + 1


@dataclass(frozen=True, slots=True)
class _Quote:
    region: str
    zone: str
    chip: str
    chips: int
    instance: str
    usd_per_hour: float | None
    spot_usd_per_hour: float | None
    tpu: bool


def read_vms(path: Path, cloud: str, catalogue: Catalogue, *, quoted_on: str) -> Import:
    """Return the offers of one SkyPilot list.

    Offers get the ids of the embedded ones, so that an overlay made of them replaces what is older.

    Raises: InputErrors with every row that cannot be read.
    """
    problems: list[InputError] = []
    header, rows = read_csv(read_text(path, str(path), problems), str(path), problems)
    missing = [c for c in COLUMNS if c not in header]
    if header and missing:
        hint = f"a SkyPilot list has the columns {', '.join(COLUMNS)}"
        problems.append(InputError(f"the header lacks {', '.join(missing)}", where=f"{path}:1:1", hint=hint))
    if problems:
        raise InputErrors(problems)
    result = Import(rows=len(rows))
    hosts = {(r.get("InstanceType"), r.get("AvailabilityZone")): r for r in rows if not r.get("AcceleratorName")} if cloud == "gcp" else {}
    quotes = []
    for row in rows:
        if not row.get("AcceleratorName"):
            result.skip("no accelerator")
            continue
        try:
            quote = _quote(row, cloud, catalogue, hosts, result)
        except InputError as problem:
            problems.append(problem)
            continue
        if quote is not None:
            quotes.append(quote)
    if problems:
        raise InputErrors(problems)
    result.offers = _offers(quotes, cloud, quoted_on, f"skypilot {path.name}")
    return result


def _quote(row: Row, cloud: str, catalogue: Catalogue, hosts: Mapping[tuple[str, str], Row], result: Import) -> _Quote | None:
    name = row.get("AcceleratorName").strip()
    count = parse_number(row.get("AcceleratorCount") or "1", row.where("AcceleratorCount"))
    price, spot = _price(row, "Price"), _price(row, "SpotPrice")
    if cloud == "gcp" and price == NOT_SOLD_USD:
        price = None
    instance = row.get("InstanceType")
    tpu = _TPU.fullmatch(name)
    if tpu:
        chip, chips = _tpu(tpu, count)
        instance = name
    else:
        chip, chips = _chip(name, catalogue), int(count)
        if cloud == "azure" and instance.startswith("Standard_ND96"):
            chips = 8
        if cloud == "gcp" and not instance:
            instance = f"{_GOOGLE_HOSTS.get(name, '')}-{chips}g"
            host = hosts.get((instance, row.get("AvailabilityZone")))
            if host is None:
                result.skip(f"{name}: no host row to go with it")
                return None
            price, spot = _sum(price, _price(host, "Price")), _sum(spot, _price(host, "SpotPrice"))
    if not chip:
        result.skip(f"{name}: not in the catalogue")
        return None
    if chips < 1:
        raise row.problem("AcceleratorCount", f"AcceleratorCount is {row.get('AcceleratorCount')}; at least one chip is expected")
    if price is None and spot is None:
        result.skip("not sold")
        return None
    return _Quote(row.get("Region"), row.get("AvailabilityZone"), chip, chips, instance, price, spot, tpu is not None)


def _price(row: Row, column: str) -> float | None:
    text = row.get(column).strip()
    if not text:
        return None
    value = parse_number(text, row.where(column))
    if value < 0:
        raise row.problem(column, f"{column} is {text}; a price is not negative")
    return value or None


def _sum(part: float | None, host: float | None) -> float | None:
    return part + host if part is not None and host is not None else None


def _tpu(match: re.Match[str], count: float) -> tuple[str, int]:
    """Return chip and chips of a TPU slice.

    >>> _tpu(_TPU.fullmatch("tpu-v5p-16"), 1), _tpu(_TPU.fullmatch("tpu-v6e-8"), 1)
    (('tpu-v5p', 8), ('tpu-v6e', 8))
    """
    version, size = match.groups()
    return _TPU_CHIPS.get(version, ""), int(size or 1) * int(count) // _CORES_A_CHIP.get(version, 1)


def _chip(name: str, catalogue: Catalogue) -> str:
    if name in _CHIPS:
        return _CHIPS[name]
    try:
        return catalogue.chip(name).id
    except InputError:
        return ""


def _offers(quotes: Iterable[_Quote], cloud: str, quoted_on: str, source: str) -> list[dict[str, str]]:
    places: dict[tuple[str, str], dict[tuple[str, int], list[_Quote]]] = {}
    for quote in quotes:
        places.setdefault((quote.region, quote.chip), {}).setdefault((quote.instance, quote.chips), []).append(quote)
    offers = []
    for (region, chip), shapes in sorted(places.items()):
        for instance, chips, group, main in _shapes(shapes):
            tag = "" if main else f"-{instance or chips}"
            common = {
                "cloud": cloud,
                "region": region,
                "chip": chip,
                "block_chips": str(chips),
                "instance": instance,
                "quoted_on": quoted_on,
                "source": source,
            }
            for kind, prices in (
                ("on_demand", [q.usd_per_hour / chips for q in group if q.usd_per_hour is not None]),
                ("spot", [q.spot_usd_per_hour / chips for q in group if q.spot_usd_per_hour is not None]),
            ):
                if prices:
                    offers.append(
                        {
                            "id": f"{cloud}-{region}-{chip}-{kind.replace('_', '-')}{tag}",
                            "kind": kind,
                            **common,
                            **_middle(prices),
                        }
                    )
    return offers


def _shapes(shapes: Mapping[tuple[str, int], list[_Quote]]) -> Iterable[tuple[str, int, list[_Quote], bool]]:
    """Give the shapes worth an offer: of TPU slices the smallest, of nodes each, the largest first and without a tag."""
    order = sorted(shapes, key=lambda s: (-s[1], s[0]))
    if shapes[order[0]][0].tpu:
        order = [order[-1]]
    for shape in order:
        yield *shape, shapes[shape], shape == order[0]


def _middle(prices: list[float]) -> dict[str, str]:
    """Return the price over zones: their middle, with the band where they differ."""
    low, high = min(prices), max(prices)
    cells = {"usd_per_chip_hour": f"{(low + high) / 2:.6g}", "basis": "list_price", "note": ""}
    if high > low * 1.0001:
        note = "middle of the quotes of its zones"
        cells |= {
            "low_usd_per_chip_hour": f"{low:.6g}",
            "high_usd_per_chip_hour": f"{high:.6g}",
            "basis": "estimate",
            "note": note,
        }
    return cells


def price_series(paths: Mapping[str, Path], cloud: str, catalogue: Catalogue) -> list[tuple[str, str, float]]:
    """Return (date, offer id, $ per chip-hour) of several dated versions of one list, oldest first: a price feed to replay."""
    found = []
    for quoted_on, path in sorted(paths.items()):
        imported = read_vms(path, cloud, catalogue, quoted_on=quoted_on)
        found += [(quoted_on, o["id"], float(o["usd_per_chip_hour"])) for o in imported.offers]
    return found
