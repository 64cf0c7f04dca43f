"""From the gateway's file, the plan and the catalogue to the wiring that workers read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date
from hashlib import sha256
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import msgspec

from polysilicon.cloud.region import geographies
from polysilicon.cloud.token_price import TokenPrice, price_on
from polysilicon.errors import InputError, InputErrors, MissingFact
from polysilicon.gateway.config import GatewayConfig, PricePart, ServedPart, TargetPart
from polysilicon.gateway.tariff import Tariff, compile_price
from polysilicon.gateway.wiring import Budget, Key, Reliability, Renew, Route, Secret, Shared, Target, Variant, Wiring, cap_of
from polysilicon.portfolio import served_name

if TYPE_CHECKING:
    from polysilicon.portfolio import Placement, Plan

NANO = 1_000_000_000


def compile_wiring(
    config: GatewayConfig,
    plan: Plan | None = None,
    *,
    prices: Iterable[TokenPrice] = (),
    on: date | None = None,
    state: str = "",
) -> Wiring:
    """Return the wiring for a configuration under a plan, with the catalogue's token prices.

    Raises: InputErrors when the plan places work where no target is; MissingFact when a price is neither given nor known.
    """
    day = on or date.today()
    known = list(prices)
    targets = tuple(_target(i, part) for i, part in enumerate(config.targets))
    variants: list[Variant] = []
    for target, part in zip(targets, config.targets, strict=True):
        for model, served in part.models.items():
            variants.append(_variant(len(variants), target, part, model, served, _tariff(part, model, served, known, day)))
    routes = _routes(config, plan, targets, variants, day)
    budgets = tuple(Budget(i, b.scope, b.scope, round(b.usd * NANO), b.period) for i, b in enumerate(config.budgets))
    keys = tuple(_key(k.model_dump(), budgets) for k in config.keys)
    wiring = Wiring(
        digest="", plan_version=plan_version(plan), state=state or config.state, host=config.listen.host, port=config.listen.port,
        workers=config.listen.workers, targets=targets, variants=tuple(variants), routes=routes, keys=keys, budgets=budgets,
        reliability=Reliability(**config.reliability.model_dump()), open_access=config.listen.open, sampling=config.sampling,
        models=dict(config.aliases), head_bytes=config.head_bytes, body_bytes=config.body_bytes, drain_s=config.drain_s,
        shared=_shared(config),
        shadow_frac={v.id: s.shadow_frac for v, s in zip(variants, _all_served(config), strict=True) if s.shadow_frac},
    )  # fmt: skip
    return msgspec.structs.replace(wiring, digest=sha256(msgspec.msgpack.encode(wiring)).hexdigest()[:12])


def plan_version(plan: Plan | None) -> str:
    """Return a name for a plan: its scenario and digests."""
    return f"{plan.scenario}-{plan.scenario_digest[:8]}" if plan is not None else "no-plan"


def _shared(config: GatewayConfig) -> Shared | None:
    given = config.shared
    return Shared(given.name, given.valkey or "", given.postgres or "") if given is not None else None


def _all_served(config: GatewayConfig) -> list[ServedPart]:
    return [served for target in config.targets for served in target.models.values()]


def _target(index: int, part: TargetPart) -> Target:
    url = urlsplit(part.url)
    return Target(
        index=index, id=part.id, door=part.door, scheme=url.scheme, host=url.hostname or "",
        port=url.port or (443 if url.scheme == "https" else 80), prefix=url.path.rstrip("/"), cloud=part.cloud, region=part.region,
        seller=part.seller, versions=part.versions, tags=part.tags, places=geographies(part.region),
        secret=_secret(part), auth=part.auth,
        options={name: value for name in ("project", "workspace") if (value := getattr(part, name))}, max_concurrent=part.max_concurrent,
        provisioned_tokens_per_minute=part.provisioned_tokens_per_minute, ca_file=part.ca_file,
    )  # fmt: skip


def _secret(part: TargetPart) -> Secret:
    given = part.secret
    renew = None
    if given.renew is not None:
        renew = Renew(**{name: value or "" for name, value in given.renew.model_dump().items()}, region=part.region)
    return Secret(given.token or "", given.access_key or "", given.secret_key or "", given.session_token or "", renew)


def _variant(index: int, target: Target, part: TargetPart, model: str, served: ServedPart, tariff: Tariff) -> Variant:
    ours = part.door in ("anthropic", "openai")
    gate = served.gate if served.gate is not None else ("" if ours else "passed")
    return Variant(
        index=index, id=f"{model}@{part.id}", model=model, target=target.index, name=served.name or model, chip=served.chip, engine=served.engine,
        contract=part.contract, stage=served.stage, share_max_frac=served.share_max_frac, gate=gate, tariff=tariff,
        max_output_tokens=served.max_output_tokens,
    )  # fmt: skip


def _tariff(part: TargetPart, model: str, served: ServedPart, known: list[TokenPrice], day: date) -> Tariff:
    price = _price(part, model, served, known, day)
    return compile_price(
        price,
        discount_frac=part.discount_frac,
        factors=dict(part.factors),
        provisioned=part.provisioned or part.provisioned_tokens_per_minute > 0,
    )


def _price(part: TargetPart, model: str, served: ServedPart, known: list[TokenPrice], day: date) -> TokenPrice:
    given = served.price
    if isinstance(given, PricePart):
        valid = given.valid_from.isoformat() if given.valid_from else ""
        return TokenPrice(model, part.id, valid_from=valid, **given.model_dump(exclude={"valid_from"}))
    provider, _, name = given.partition("/") if given else ("", "", model)
    found = price_on((p for p in known if p.model == name and (not provider or p.provider == provider)), day)
    if found is None:
        raise MissingFact(f"{provider + '/' if provider else ''}{name}", "token price", needed_for=f"target {part.id}")
    return found


def _key(given: Mapping[str, object], budgets: tuple[Budget, ...]) -> Key:
    key = Key(**given)  # type: ignore[arg-type]
    scopes = (f"key:{key.id}", f"team:{key.team}", f"application:{key.application}")
    return msgspec.structs.replace(key, budgets=tuple(b.index for b in budgets if b.scope in scopes))


# --- routes


def _routes(config: GatewayConfig, plan: Plan | None, targets: tuple[Target, ...], variants: list[Variant], day: date) -> tuple[Route, ...]:
    stated = [served.weight for served in _all_served(config)]
    routes: list[Route] = []
    problems: list[InputError] = []
    if plan is not None:
        period = period_of(plan, day)
        for workload in dict.fromkeys(p.workload for p in plan.placements if p.period == period):
            placements = [p for p in plan.placements if p.period == period and p.workload == workload and p.share_frac > 0]
            model = config.plan_models.get(plan.model_of(workload), served_name(plan.model_of(workload)))
            offered = [v for v in variants if v.model == model]
            barred = {v.index: why for v in offered if (why := _bar(plan, workload, v, targets[v.target]))}
            serving = [v for v in offered if v.index not in barred]
            if offered and not serving:
                words = "; ".join(f"{variants[i].id}: {why}" for i, why in barred.items())
                problems.append(InputError(f'no target may serve workload "{workload}": {words}', where="plan"))
                continue
            if not serving:
                problems.append(InputError(f'the plan serves workload "{workload}" with model "{model}", which no target offers',
                                           where="plan", hint="name it under plan_models, or add a target"))  # fmt: skip
                continue
            weights, missing = plan_weights(placements, serving, targets)
            problems += [InputError(f'the plan places "{workload}" on {pool}, where no target serves "{model}"', where="plan",
                                    hint="add a target with that chip, cloud and region") for pool in missing]  # fmt: skip
            why = f"plan {plan_version(plan)}, period {period}"
            routes.append(Route(f"{model}/{workload}", model, workload, "", tuple(v.index for v in serving), weights, why))
    if problems:
        raise InputErrors(problems)
    for model in dict.fromkeys(v.model for v in variants):
        if any(r.model == model for r in routes):
            continue
        serving = [v for v in variants if v.model == model]
        given = [stated[v.index] for v in serving]
        shares = [1.0 if w is None else w for w in given]
        total = sum(shares) or 1.0
        why = "configured weights" if any(w is not None for w in given) else "equal shares"
        routes.append(Route(model, model, "", "", tuple(v.index for v in serving), tuple(s / total for s in shares), why))
    return tuple(routes)


def _bar(plan: Plan, workload: str, variant: Variant, target: Target) -> str:
    """Return why the plan's workload may not be served by a variant, whoever asks; the empty string where it may."""
    pins = plan.pins.get(workload)
    return pins.refuses(region=target.region, cloud=target.cloud, tags=target.tags, chip=variant.chip) if pins is not None else ""


def on_trial(wiring: Wiring) -> list[InputError]:
    """Return the routes all of whose variants are on trial, as most of their requests would be refused."""
    found = []
    for route in wiring.routes:
        variants = [wiring.variants[v] for v in route.variants]
        caps = [cap_of(v.stage, v.share_max_frac, v.gate) for v in variants]
        if max(caps) < 1.0:
            hint = "`gate: passed` says that a variant's quality is proven; or add a target in production"
            words = f'all variants of "{route.id}" are capped: at most {min(1.0, sum(caps)):.0%} of its requests are served'
            found.append(InputError(words, where="gateway", hint=hint))
    return found


def period_of(plan: Plan, day: date) -> int:
    """Return the period of the plan that a day falls into: the last one begun, or the first where none has."""
    begun = [p.index for p in plan.periods if p.start <= day.isoformat()]
    return max(begun) if begun else min((p.index for p in plan.periods), default=0)


def plan_weights(placements: Iterable[Placement], serving: Iterable[Variant], targets: tuple[Target, ...]) -> tuple[tuple[float, ...], list[str]]:
    """Return the share of each variant, in order, and the pools no variant stands for.

    A placement's share goes to the variant whose target is called like its pool; else to those on its chip, cloud and region, in equal
    parts. One bought by the token (no chip) goes to the variants of its cloud and region that name no chip of their own.
    """
    variants = list(serving)
    shares = [0.0] * len(variants)
    missing = []
    for placement in placements:
        fitting = [j for j, v in enumerate(variants) if targets[v.target].id == placement.pool] or [
            j
            for j, v in enumerate(variants)
            if targets[v.target].cloud == placement.cloud
            and (not placement.region or targets[v.target].region == placement.region)
            and v.chip.casefold() == placement.chip.casefold()
        ]
        if not fitting:
            missing.append(placement.pool)
            continue
        for j in fitting:
            shares[j] += placement.share_frac / len(fitting)
    total = sum(shares)
    return tuple(s / total for s in shares) if total else tuple(shares), missing
