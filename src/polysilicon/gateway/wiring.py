"""What a worker is given: targets, variants, keys and timeouts, resolved and checked; and, every second, the broker's directive.

A worker reads nothing else: no scenario, no catalogue, no plan. Secrets are named here and looked up by the worker itself.
"""

from __future__ import annotations

import msgspec

from polysilicon.gateway.tariff import Tariff

DOORS = (
    "claude", "aws-platform", "bedrock", "bedrock-messages", "vertex", "google-cloud", "foundry", "anthropic", "openai",
)  # fmt: skip
OLD, NEW = "2023-06-01", "2026-10-21"
# porting stages that may carry a share of client traffic, and the share each may carry unless a lower cap is stated
STAGE_CAPS = {
    "none": 0.0, "built": 0.0, "parity": 0.0, "shadow": 0.0, "pilot": 0.01, "canary": 0.10, "production": 1.0, "draining": 0.0,
}  # fmt: skip


class Renew(msgspec.Struct, frozen=True):
    """Where a proof that expires is issued, and as whom we ask."""

    kind: str
    file: str = ""
    url: str = ""
    tenant: str = ""
    client_id: str = ""
    client_secret: str = ""  # a reference
    scope: str = ""
    profile: str = ""
    role: str = ""
    region: str = ""


class Secret(msgspec.Struct, frozen=True):
    """How to prove who we are to a target. Each value is a reference, `env:NAME` or `file:/path`, never the secret."""

    token: str = ""
    access_key: str = ""
    secret_key: str = ""
    session_token: str = ""
    renew: Renew | None = None


class Target(msgspec.Struct, frozen=True):
    """One door of one provider, or one pool of our own."""

    index: int
    id: str
    door: str
    scheme: str
    host: str
    port: int
    prefix: str  # path before the door's own
    cloud: str
    region: str
    seller: str = ""
    versions: tuple[str, ...] = (OLD, NEW)
    tags: tuple[str, ...] = ()
    places: tuple[str, ...] = ()  # geographies the region lies in
    secret: Secret = Secret()
    auth: str = ""  # bearer, x-api-key, api-key, sigv4; empty: the door's usual one
    options: dict[str, str] = {}  # project, location, workspace
    max_concurrent: int = 1024
    provisioned_tokens_per_minute: int = 0  # reserved throughput; 0: none
    ca_file: str = ""


class Variant(msgspec.Struct, frozen=True):
    """One model through one target: on a chip, with an engine, at a stage of its porting, for a price."""

    index: int
    id: str
    model: str  # as clients ask for it
    target: int
    name: str  # as the target calls it
    chip: str
    engine: str
    contract: str
    stage: str
    share_max_frac: float
    gate: str  # "", passed, failed: the quality gate without which nothing goes beyond pilot
    tariff: Tariff
    max_output_tokens: int = 8192
    switch_usd: float = 0.0  # what moving a session away costs: its prompt cache


class Route(msgspec.Struct, frozen=True):
    """One model for one workload of the plan: the variants it may use and the plan's shares."""

    id: str
    model: str
    workload: str
    slo: str  # interactive, batch, ...
    variants: tuple[int, ...]
    weights: tuple[float, ...]  # the plan's, same order
    why: str  # where the weights come from


class Key(msgspec.Struct, frozen=True):
    """A virtual key: what it may ask for, where, and on whose account. Only its hash is kept."""

    id: str
    sha256: str
    team: str = ""
    application: str = ""
    workload: str = ""
    models: tuple[str, ...] = ()  # empty: all
    regions: tuple[str, ...] = ()  # regions or geographies; empty: any
    clouds: tuple[str, ...] = ()  # a sales channel pinned to its cloud; empty: any
    tags: tuple[str, ...] = ()  # what a target must carry
    chips: tuple[str, ...] = ()
    priority: int = 0
    requests_per_minute: int = 0
    budgets: tuple[int, ...] = ()  # indices of budgets that its requests draw on


class Budget(msgspec.Struct, frozen=True):
    """So many dollars for a key, a team or an application."""

    index: int
    id: str
    scope: str  # key:x, team:x, application:x
    limit_nano_usd: int
    period: str = ""  # "", day, month: when it starts anew


class Shared(msgspec.Struct, frozen=True):
    """What several hosts have in common. Addresses are references, as they hold passwords."""

    name: str = "default"  # of the fleet: hosts of one name share
    valkey: str = ""  # budgets
    postgres: str = ""  # ledgers, contracts' burn-down, demand


class Reliability(msgspec.Struct, frozen=True):
    """How long to wait, how often to try, when to give up on a target."""

    connect_timeout_s: float = 5.0
    first_byte_timeout_s: float = 60.0
    stall_timeout_s: float = 30.0
    total_timeout_s: float = 900.0
    attempts: int = 4
    breaker_failures: int = 5  # consecutive
    breaker_open_s: float = 10.0
    eject_error_frac: float = 0.5
    eject_min_requests: int = 20
    eject_slow_factor: float = 5.0  # first token so much slower than the model's best target
    hedge_after_s: float = 0.0  # 0: off
    hedge_share_max_frac: float = 0.049  # of requests: a hedged one may carry more tokens than most, and 5 % of tokens is meant
    rate_limit_open_s: float = 2.0  # where a 429 states no retry-after
    answer_bytes: int = 64 * 1024 * 1024


class Wiring(msgspec.Struct, frozen=True):
    """Everything static a worker needs."""

    digest: str
    plan_version: str
    state: str  # folder of the ledger and the table
    host: str
    port: int
    workers: int
    targets: tuple[Target, ...]
    variants: tuple[Variant, ...]
    routes: tuple[Route, ...]
    keys: tuple[Key, ...]
    budgets: tuple[Budget, ...]
    reliability: Reliability
    open_access: bool = False  # requests without a key are served (loopback only)
    sampling: str = "strip"  # what to do with sampling parameters a target refuses: strip or refuse
    models: dict[str, str] = {}  # other names clients use -> model
    shadow_frac: dict[str, float] = {}  # variant id -> share of the model's requests copied to it
    head_bytes: int = 32 * 1024
    body_bytes: int = 64 * 1024 * 1024
    drain_s: float = 30.0
    log_level: str = "info"
    shared: Shared | None = None


class Directive(msgspec.Struct):
    """What the broker decided last: shares per route, states per variant; read by every worker within a request of its writing."""

    number: int
    written_s: float
    weights: list[list[float]]  # per route, in the order of its variants
    caps: list[float]  # per variant, share of its model's requests: stage, gate and promotion
    open: list[bool]  # per variant: false is out of service (health, availability, operator)
    price_nano_usd: list[float]  # per variant, marginal price of a token mix, for PRICE routing and the headers
    stages: list[str]  # per variant
    tariffs: dict[int, Tariff] = {}  # variants whose price has moved, also those that are back at the known one
    shadow_usd: dict[str, float] = {}  # contract -> worth of one more dollar drawn
    reason: str = ""


def first_directive(wiring: Wiring) -> Directive:
    """Return the plan's own shares, with every variant open and at its stage's cap."""
    return Directive(
        number=1,
        written_s=0.0,
        weights=[list(route.weights) for route in wiring.routes],
        caps=[cap_of(v.stage, v.share_max_frac, v.gate) for v in wiring.variants],
        open=[True] * len(wiring.variants),
        price_nano_usd=[float(mix_price(v.tariff)) for v in wiring.variants],
        stages=[v.stage for v in wiring.variants],
        reason="plan",
    )


def cap_of(stage: str, share_max_frac: float, gate: str) -> float:
    """Return the share of a model's requests that a variant may carry.

    Beyond pilot a quality gate must have passed; a failed one stops all client traffic.

    >>> cap_of("production", 1.0, "passed"), cap_of("production", 1.0, ""), cap_of("canary", 0.05, "passed"), cap_of("pilot", 1.0, "failed")
    (1.0, 0.01, 0.05, 0.0)
    """
    if gate == "failed":
        return 0.0
    cap = STAGE_CAPS.get(stage, 0.0)
    if gate != "passed":
        cap = min(cap, STAGE_CAPS["pilot"])
    return min(cap, share_max_frac)


def mix_price(tariff: Tariff, *, in_per_out: float = 3.0) -> float:
    """Return nano-dollars for a million tokens at three prompt tokens to one of output, discount included."""
    if tariff.provisioned:
        return 0.0
    fresh, out = max(0, tariff.rates[0]), max(0, tariff.rates[4])
    return (fresh * in_per_out + out) / (in_per_out + 1.0) * 1e3 * (1.0 - tariff.discount_frac)
