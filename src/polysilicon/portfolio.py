"""What a plan is made of: what is held per period, who runs where, what it costs and what carries it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from polysilicon.errors import InputError
from polysilicon.performance import ServingPoint


@dataclass(frozen=True, slots=True)
class Period:
    """One planning period; `blocks` are its load blocks (name, hours, demand relative to the period's mean)."""

    index: int
    start: str  # ISO date
    hours: float
    discount_factor: float = 1.0
    blocks: tuple[tuple[str, float, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Holding:
    """Chips held of one offer in one period."""

    period: int
    offer: str
    cloud: str
    region: str
    chip: str
    kind: str
    chips: float  # contracted, or mean rented by the hour
    peak_chips: float
    usd_per_chip_hour: float
    bill_usd: float  # of the period, list or signed price, before commitment effects
    contract: str = ""  # the commitment it draws down, if any


@dataclass(frozen=True, slots=True)
class Placement:
    """One workload on one pool in one period."""

    period: int
    workload: str
    pool: str  # chip@cloud/region, or the id of a per-token offer
    chip: str
    cloud: str
    region: str
    share_frac: float  # of the workload's requests in the period
    chips: float  # busy chips, mean over the period
    peak_chips: float
    mtok: float  # tokens in and out over the period
    usd: float  # cost attributed
    usd_per_mtok_out: float
    engine: str = ""
    stage: str = "production"
    why: str = ""


@dataclass(frozen=True, slots=True)
class ShadowPrice:
    """The worth of one more unit of a limit, in words and dollars."""

    limit: str  # stable key, e.g. "power:azure-eastus"
    words: str
    usd: float
    per: str  # "chip-hour", "MW-month", "$ of commitment", "port", "percentage point"
    period: int | None = None


@dataclass(frozen=True, slots=True)
class ContractBill:
    """One contract over the horizon, period by period; the sums are what `Contract.bill_usd` says."""

    contract: str
    period: int
    eligible_usd: float
    drawdown_usd: float
    shortfall_usd: float
    overage_usd: float
    fixed_usd: float
    total_usd: float


@dataclass(frozen=True, slots=True)
class Assumption:
    """Something the answer rests on."""

    subject: str
    value: str
    basis: str
    source: str
    as_of: str = ""
    matters_usd: float | None = None  # how much the answer moves over its band, where known


@dataclass(frozen=True, slots=True)
class Plan:
    """All decisions, and what carries them."""

    scenario: str
    scenario_digest: str
    catalogue_digest: str
    status: str  # optimal, gap, time_limit
    gap_frac: float
    bound_usd: float
    objective_usd: float  # discounted
    bill_usd: float  # undiscounted sum of all contract bills
    energy_usd: float
    port_usd: float
    unserved_usd: float
    periods: tuple[Period, ...]
    holdings: tuple[Holding, ...]
    placements: tuple[Placement, ...]
    contracts: tuple[ContractBill, ...]
    serving: tuple[ServingPoint, ...]
    ports: tuple[Mapping[str, str | float], ...] = ()  # port started: family, chip family, engine, start, live, usd
    shadow_prices: tuple[ShadowPrice, ...] = ()
    assumptions: tuple[Assumption, ...] = ()
    headroom_frac: Mapping[str, float] = field(default_factory=dict)  # workload -> extra capacity the proof required
    notes: tuple[str, ...] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)

    def to_json(self) -> bytes:
        """Return the plan as JSON that `read_plan` reads back to an equal plan."""
        return msgspec.json.format(msgspec.json.encode(self), indent=1)


def read_plan(path: Path) -> Plan:
    """Read a plan file. Watts and joules that nobody knows are null in JSON and NaN in memory.

    Raises: InputError when the file is missing, truncated or not a plan.
    """
    try:
        return msgspec.convert(_unknown_as_nan(msgspec.json.decode(path.read_bytes())), type=Plan)
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", where=str(path)) from error
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise InputError(f"is not a plan: {error}", where=str(path), hint="write one with `polysilicon plan`") from error


def _unknown_as_nan(content: Any) -> Any:
    """Return a plan's content with NaN for the power figures of serving points that are null."""
    points = content.get("serving") if isinstance(content, dict) else None
    for point in points if isinstance(points, list) else ():
        for name in ("w_per_chip", "j_per_token"):
            if isinstance(point, dict) and point.get(name, 0.0) is None:
                point[name] = math.nan
    return content
