"""What is emulated: the types of FLEET.yaml."""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec

FAULTS = (
    "refuse", "401", "403", "429", "429-spend", "500", "503", "529", "stall", "cut-before", "cut-after", "bad-json", "error-event", "garbage",
    "lie-length", "slow",
)  # fmt: skip


class Fault(msgspec.Struct, forbid_unknown_fields=True):
    """Something that goes wrong for a time, for a share of the requests."""

    kind: str
    frac: float = 1.0
    from_s: float = 0.0
    to_s: float = float("inf")
    retry_after_s: float = 0.0
    slow_factor: float = 10.0  # for "slow": so much later
    model: str = ""  # only this model; empty: all


class PriceStep(msgspec.Struct, forbid_unknown_fields=True):
    """From a moment on, one model's price is this."""

    at_s: float
    model: str
    usd_per_mtok_in: float
    usd_per_mtok_out: float


class FleetModel(msgspec.Struct, forbid_unknown_fields=True):
    """One model as an endpoint serves it."""

    ttft_s: float = 0.002
    tpot_s: float = 0.0005
    output_tokens: int = 12
    reasoning_tokens: int = 0  # of them, thought and not shown
    usd_per_mtok_in: float = 3.0
    usd_per_mtok_out: float = 15.0
    usd_per_mtok_cached: float | None = 0.3
    usd_per_mtok_write_5m: float | None = 3.75
    chip: str = ""  # with `of`: latencies come from the performance model
    of: str = ""  # the catalogue's name of the model
    text: str = "word"  # what it says, numbered


class FleetEndpoint(msgspec.Struct, forbid_unknown_fields=True):
    """One door."""

    id: str
    door: str
    port: int = 0
    cloud: str = ""
    region: str = ""
    keys: tuple[str, ...] = ()  # accepted tokens; for SigV4 "ACCESS:SECRET"; empty: any
    versions: tuple[str, ...] = ("2023-06-01", "2026-10-21")
    models: dict[str, FleetModel] = {}
    concurrent: int = 1_000_000
    requests_per_minute: int = 0
    tokens_per_minute: int = 0
    faults: list[Fault] = []
    tape: tuple[PriceStep, ...] = ()


class Fleet(msgspec.Struct, forbid_unknown_fields=True):
    """All endpoints, and the seed that decides what is random."""

    endpoints: tuple[FleetEndpoint, ...]
    polysilicon: int = 1
    seed: int = 7
    host: str = "127.0.0.1"
    jitter_frac: float = 0.0  # of latencies


@dataclass(slots=True)
class Billed:
    """One line of the provider's own bill."""

    model: str
    fresh_tokens: int
    cached_tokens: int
    write_tokens: int
    output_tokens: int
    nano_usd: int


@dataclass(slots=True)
class Seen:
    """What an endpoint has seen, for tests and the live page."""

    requests: int = 0
    answered: int = 0
    refused: int = 0
    open_now: int = 0
    most_open: int = 0
    bill: list[Billed] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)  # the last few, for tests
