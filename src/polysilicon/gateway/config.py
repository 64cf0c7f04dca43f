"""The gateway's file: targets, keys, budgets, contracts, feeds. Every problem at once, with its line and column."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError, model_validator

from polysilicon.errors import InputError, InputErrors, did_you_mean
from polysilicon.gateway.credentials.keyfile import is_near
from polysilicon.scenario.document import Document, parse_document, read_document

Positive = Annotated[FiniteFloat, Field(gt=0)]
NonNegative = Annotated[FiniteFloat, Field(ge=0)]
Share = Annotated[FiniteFloat, Field(ge=0, le=1)]
Name = Annotated[str, Field(min_length=1, max_length=120, pattern=r"^[A-Za-z0-9][A-Za-z0-9._:/@+-]*$")]
Reference = Annotated[str, Field(pattern=r"^(env:[A-Za-z_][A-Za-z0-9_]*|file:/.+)$")]
DoorName = Literal["claude", "aws-platform", "bedrock", "bedrock-messages", "vertex", "google-cloud", "foundry", "anthropic", "openai"]
Stage = Literal["none", "built", "parity", "shadow", "pilot", "canary", "production", "draining"]


class Part(BaseModel):
    """A section of the file: unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Listen(Part):
    """Where clients come in."""

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8700
    workers: Annotated[int, Field(ge=1, le=64)] = 1
    open: bool = False  # serve without keys; loopback only


class Admin(Part):
    """Where the operator looks in."""

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8701
    key: Reference | None = None  # none: made at the start and printed once


RenewKind = Literal[
    "google-key", "google-metadata", "entra-secret", "entra-certificate", "entra-workload", "entra-app-service", "entra-metadata",
    "aws-profile", "aws-web-identity", "aws-metadata", "aws-container",
]  # fmt: skip
_NEEDED = {
    "google-key": ("file",), "entra-secret": ("tenant", "client_id", "client_secret"), "entra-workload": ("tenant", "client_id", "file"),
    "entra-certificate": ("tenant", "client_id", "file"),
    "aws-web-identity": ("role", "file"),
}  # fmt: skip
_FOR_DOORS = {"google": ("vertex", "google-cloud"), "entra": ("foundry",), "aws": ("bedrock", "bedrock-messages", "aws-platform")}


class RenewPart(Part):
    """Credentials that expire: where they are issued; fetched and renewed by the gateway itself."""

    kind: RenewKind
    file: str = ""  # a key, a platform's token, a credentials file
    url: str = ""  # of the issuer, where it is not the usual one
    tenant: str = ""
    client_id: str = ""
    client_secret: Reference | None = None
    scope: str = ""
    profile: str = ""
    role: str = ""

    @model_validator(mode="after")
    def _complete(self) -> RenewPart:
        missing = [name for name in _NEEDED.get(self.kind, ()) if not getattr(self, name)]
        if missing:
            raise ValueError(f"{self.kind} needs {', '.join(missing)}")
        if self.url:
            parts = urlsplit(self.url)
            fine = parts.scheme == "https" or (parts.scheme == "http" and is_near(parts.hostname or ""))
            if not fine or parts.username or parts.query or parts.fragment:
                raise ValueError("url must be https://, or http:// of this machine or its metadata server")
        return self


class SecretPart(Part):
    """References to what proves who we are."""

    token: Reference | None = None
    access_key: Reference | None = None
    secret_key: Reference | None = None
    session_token: Reference | None = None
    renew: RenewPart | None = None


class PricePart(Part):
    """A target's price for one model, where the catalogue has none or the contract says otherwise."""

    usd_per_mtok_in: NonNegative
    usd_per_mtok_out: NonNegative
    usd_per_mtok_cached: NonNegative | None = None
    usd_per_mtok_write_5m: NonNegative | None = None
    usd_per_mtok_write_1h: NonNegative | None = None
    batch_frac: Share | None = None
    valid_from: date | None = None


class ServedPart(Part):
    """One model at one target."""

    name: str = ""  # as the target calls it; empty: the same
    price: PricePart | str | None = None  # "provider/model" of the catalogue; none: the catalogue's first for this model
    chip: str = ""
    engine: str = ""
    stage: Stage = "production"
    gate: Literal["", "passed", "failed"] | None = None  # none: passed at a vendor's own door, not yet at an engine of ours
    share_max_frac: Share = 1.0
    weight: NonNegative | None = None  # where no plan says otherwise
    max_output_tokens: Annotated[int, Field(ge=1)] = 8192
    shadow_frac: Share = 0.0


class TargetPart(Part):
    """One door of one provider, or one pool of our own."""

    id: Name
    door: DoorName
    url: str
    cloud: Name
    region: str
    seller: str = ""
    versions: tuple[Literal["2023-06-01", "2026-10-21"], ...] = ("2023-06-01", "2026-10-21")
    tags: tuple[str, ...] = ()
    secret: SecretPart = SecretPart()
    auth: Literal["", "bearer", "x-api-key", "api-key", "sigv4"] = ""
    project: str = ""
    workspace: str = ""
    contract: str = ""
    discount_frac: Share = 0.0
    factors: dict[str, Positive] = {}
    provisioned: bool = False
    provisioned_tokens_per_minute: Annotated[int, Field(ge=0)] = 0
    max_concurrent: Annotated[int, Field(ge=1)] = 1024
    ca_file: str = ""
    metrics: bool = False  # an engine whose /metrics is read for load
    models: dict[str, ServedPart]


class KeyPart(Part):
    """A virtual key; make one with `polysilicon serve --new-key`."""

    id: Name
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    team: str = ""
    application: str = ""
    workload: str = ""
    models: tuple[str, ...] = ()
    regions: tuple[str, ...] = ()
    clouds: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    chips: tuple[str, ...] = ()
    priority: Annotated[int, Field(ge=0, le=9)] = 0
    requests_per_minute: Annotated[int, Field(ge=0)] = 0


class BudgetPart(Part):
    """Dollars for a key, a team or an application."""

    scope: Annotated[str, Field(pattern=r"^(key|team|application):.+$")]
    usd: NonNegative
    period: Literal["", "day", "month"] = ""


class ContractTerms(Part):
    """A commitment whose burn-down steers the routes."""

    id: Name
    cloud: Name
    start: date
    end: date
    commit_usd: Positive
    take_or_pay_frac: Share = 1.0
    drawn_before_usd: NonNegative = 0.0
    draw_schedule: tuple[tuple[date, NonNegative], ...] = ()


class QuotePart(Part):
    """Where prices and availability are read, and how often."""

    file: str = ""
    url: str = ""
    every_s: Positive = 0.4
    stale_after_s: Positive = 60.0


class SharedPart(Part):
    """What several hosts have in common: one budget, one ledger, one burn-down."""

    name: Name = "default"
    valkey: Reference | None = None  # a redis:// or rediss:// address
    postgres: Reference | None = None  # a postgresql:// address


class TelemetryPart(Part):
    """Where OpenTelemetry spans and metrics go; without this section nothing is sent anywhere."""

    otlp: Annotated[str, Field(pattern=r"^https?://[^\s?#@]+$")]  # a collector's OTLP/HTTP address
    headers: Reference | None = None  # name=value, separated by commas: they may hold a key
    trace_frac: Share = 1.0  # of requests; metrics count all
    every_s: Positive = 5.0


class BrokerPart(Part):
    """How the weights follow the world."""

    mode: Literal["plan", "price"] = "plan"  # plan: the plan's shares while all is well; price: cheapest that keeps the limits
    quotes: tuple[QuotePart, ...] = ()
    tick_s: Positive = 0.4  # so that a quote is in all weights within a second
    gain_min_frac: Share = 0.02  # a move must be worth more than this
    noise_frac: Share = 0.08  # a quote within this of its average is taken for the average; what is further off is a new price
    settle_s: Positive = 900.0  # memory of that average
    dwell_s: NonNegative = 3600.0  # after a move made for price, so long until the next; a large gain waits less
    dwell_large_gain_s: NonNegative = 30.0
    large_gain_frac: Share = 0.12
    ramp_per_minute_frac: Positive = 0.20
    switch_usd_per_mtok: NonNegative = 0.0  # what lost prompt caches cost, per million tokens moved
    cloud_share_max_frac: dict[str, Share] = {}


class PromotionPart(Part):
    """How sure to be before a variant moves up, and when it goes down."""

    automatic: bool = False
    quality_drop_max_frac: Positive = 0.02
    length_drift_max_frac: Positive = 0.20
    error_max_frac: Share = 0.02
    latency_factor_max: Positive = 1.5
    false_stop_frac: Share = 0.05
    miss_frac: Share = 0.05
    samples_min: Annotated[int, Field(ge=10)] = 200
    samples_max: Annotated[int, Field(ge=100)] = 5000


class ReliabilityPart(Part):
    """Timeouts and retries."""

    connect_timeout_s: Positive = 5.0
    first_byte_timeout_s: Positive = 60.0
    stall_timeout_s: Positive = 30.0
    total_timeout_s: Positive = 900.0
    attempts: Annotated[int, Field(ge=1, le=10)] = 4
    breaker_failures: Annotated[int, Field(ge=1)] = 5
    breaker_open_s: Positive = 10.0
    eject_error_frac: Share = 0.5
    eject_min_requests: Annotated[int, Field(ge=1)] = 20
    eject_slow_factor: Positive = 5.0
    hedge_after_s: NonNegative = 0.0
    hedge_share_max_frac: Share = 0.049
    rate_limit_open_s: Positive = 2.0


class GatewayConfig(Part):
    """The whole file."""

    polysilicon: Literal[1]
    listen: Listen = Listen()
    admin: Admin = Admin()
    state: str = "gateway-state"
    targets: Annotated[tuple[TargetPart, ...], Field(min_length=1)]
    keys: tuple[KeyPart, ...] = ()
    budgets: tuple[BudgetPart, ...] = ()
    contracts: tuple[ContractTerms, ...] = ()
    aliases: dict[str, str] = {}  # other names clients use -> model
    plan_models: dict[str, str] = {}  # the plan's name of a model -> ours
    sampling: Literal["strip", "refuse"] = "strip"
    reliability: ReliabilityPart = ReliabilityPart()
    broker: BrokerPart = BrokerPart()
    promotion: PromotionPart = PromotionPart()
    shared: SharedPart | None = None
    telemetry: TelemetryPart | None = None
    head_bytes: Annotated[int, Field(ge=1024, le=1_000_000)] = 32 * 1024
    body_bytes: Annotated[int, Field(ge=1024, le=1_000_000_000)] = 64 * 1024 * 1024
    drain_s: Positive = 30.0


def load(path: Path) -> GatewayConfig:
    """Read and check the gateway's file.

    Raises: InputErrors with every problem and its place.
    """
    return check(read_document(path))


def load_text(text: str, name: str = "gateway.yaml") -> GatewayConfig:
    """Read and check the gateway's file, given as text."""
    return check(parse_document(text, name))


def check(document: Document) -> GatewayConfig:
    """Return the configuration of a document.

    Raises: InputErrors with every problem and its place.
    """
    problems = list(document.problems)
    try:
        config = GatewayConfig.model_validate(document.value)
    except ValidationError as error:
        problems += [_problem(document, dict(e)) for e in _own(error.errors())]
        raise InputErrors(problems) from error
    problems += _cross_checks(config, document)
    if problems:
        raise InputErrors(problems)
    return config


def _own(errors: list[Any]) -> list[Any]:
    """Leave out what only follows from another problem: a list short of its bad items, the other form of a bad price."""
    out = []
    for e in errors:
        deeper = [o for o in errors if o is not e and len(o["loc"]) > len(e["loc"]) and o["loc"][: len(e["loc"])] == e["loc"]]
        above = e["loc"][:-1]
        other_form = e["loc"][-1] == "str" and any(o is not e and o["loc"][: len(above)] == above for o in errors)
        if not (e["type"] == "too_short" and deeper) and not other_form:
            out.append(e)
    return out


def _problem(document: Document, error: dict[str, Any]) -> InputError:
    loc = tuple(part for part in error["loc"] if isinstance(part, int) or not part.startswith(("PricePart", "constrained", "str")))
    path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in loc).lstrip(".")
    hint = ""
    if error["type"] == "extra_forbidden":
        hint = did_you_mean(str(loc[-1]), _fields_at(loc[:-1]))
        return InputError(f"{path} is not a field", where=document.where_key(loc), hint=hint)
    if error["type"] == "string_pattern_mismatch" and "env:" in str(error.get("ctx", "")):
        hint = "a secret is given by reference: env:NAME or file:/path"
        return InputError(f"{path} must not hold the secret itself", where=document.where(loc), hint=hint)
    return InputError(f"{path}: {error['msg']}", where=document.where(loc))


def _fields_at(loc: tuple[Any, ...]) -> list[str]:
    sections = {"targets": TargetPart, "keys": KeyPart, "budgets": BudgetPart, "contracts": ContractTerms, "broker": BrokerPart,
                "reliability": ReliabilityPart, "promotion": PromotionPart, "listen": Listen, "admin": Admin, "shared": SharedPart,
                "telemetry": TelemetryPart}  # fmt: skip
    part: Any = sections.get(str(loc[0]), GatewayConfig) if loc else GatewayConfig
    if "models" in loc:
        part = ServedPart
    return list(part.model_fields)


def _cross_checks(config: GatewayConfig, document: Document) -> list[InputError]:
    problems: list[InputError] = []
    contracts = {c.id for c in config.contracts}
    for section, ids in (("targets", [t.id for t in config.targets]), ("keys", [k.id for k in config.keys])):
        problems += [
            InputError(f'{section}[{i}].id "{name}" is given twice', where=document.where((section, i, "id")))
            for i, name in enumerate(ids)
            if name in ids[:i]
        ]
    for i, target in enumerate(config.targets):
        parts = urlsplit(target.url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment or parts.username:
            message = f'targets[{i}].url "{target.url}" must be http(s)://host[:port][/path]'
            problems.append(InputError(message, where=document.where(("targets", i, "url"))))
        if target.contract and target.contract not in contracts:
            hint = did_you_mean(target.contract, contracts)
            where = document.where(("targets", i, "contract"))
            problems.append(InputError(f'targets[{i}].contract "{target.contract}" is not among the contracts', where=where, hint=hint))
        renew = target.secret.renew
        if renew is not None and target.door not in _FOR_DOORS[renew.kind.partition("-")[0]]:
            message = f"targets[{i}].secret.renew: {renew.kind} proves nothing to a {target.door} target"
            problems.append(InputError(message, where=document.where(("targets", i, "secret"))))
        for name in ("project", "workspace") if target.door == "google-cloud" else ("project",) if target.door == "vertex" else ():
            if not getattr(target, name):
                problems.append(InputError(f"targets[{i}]: a {target.door} target needs {name}", where=document.where(("targets", i))))
    if config.listen.open and config.listen.host not in ("127.0.0.1", "::1", "localhost"):
        problems.append(InputError("listen.open serves anyone, so it is for loopback only", where=document.where(("listen", "open"))))
    if not config.keys and not config.listen.open:
        hint = "make a key with `polysilicon serve --new-key NAME`, or set listen.open on loopback"
        problems.append(InputError("there are no keys: nobody could be served", where=document.where(()), hint=hint))
    return problems
