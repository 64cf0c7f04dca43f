"""A gateway's file drafted from a plan: a target for each pool the plan places work on, a key for each workload."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date

from polysilicon.gateway.compile import period_of
from polysilicon.portfolio import Placement, Plan, served_name

_DOORS = {  # where a model bought by the token is asked, by who sells it
    "anthropic": ("claude", "https://api.anthropic.com"),
    "aws": ("bedrock-messages", "https://bedrock-mantle.{region}.api.aws"),
    "gcp": ("vertex", "https://{region}-aiplatform.googleapis.com"),
    "azure": ("foundry", "https://RESOURCE.services.ai.azure.com"),
}
_HEAD = """\
# A gateway's file, drafted from the plan {plan}: placements of the period from {start}.
# To fill in: addresses and secrets (FILL IN), hashes of keys (`polysilicon serve --new-key NAME`), budgets, commitments.
# `polysilicon serve --example` without a plan shows everything that can stand here.
polysilicon: 1
listen: {{host: 127.0.0.1, port: 8700, workers: 2}}
admin: {{host: 127.0.0.1, port: 8701, key: env:POLYSILICON_ADMIN_KEY}}
state: gateway-state

targets:
"""


def draft(plan: Plan, *, on: date | None = None) -> str:
    """Return the text of a gateway's file whose targets are the pools of the plan on a day, today by default.

    Prices of pools of our own are the plan's dollars over its tokens, split by the time that prompts and outputs take; where two pools
    share the work the plan does not say which dollars are whose, and the price is left to fill in. A pool held under terms alone is
    stated as paid for.

    Raises: InputError where the plan does not say how a workload is served on a chip.
    """
    period = period_of(plan, on or date.today())
    placed = [p for p in plan.placements if p.period == period and p.share_frac > 0]
    start = next((p.start for p in plan.periods if p.index == period), "")
    out = [_HEAD.format(plan=plan.scenario, start=start)]
    for pool in dict.fromkeys(p.pool for p in placed):
        out += _target(plan, [p for p in placed if p.pool == pool])
    out.append("\nkeys:\n")
    for workload in dict.fromkeys(p.workload for p in placed):
        out.append(f"  - id: {workload}\n    application: {workload}\n    workload: {workload}\n")
        out.append(f'    sha256: "{"0" * 64}" # FILL IN: of `polysilicon serve --new-key {workload}`\n')
    out.append("\nbroker: {mode: plan} # plan: its shares while all is well; price: the cheapest that keeps the limits\n")
    return "".join(out)


def _target(plan: Plan, placements: list[Placement]) -> Iterable[str]:
    first = placements[0]
    door, url = ("openai", "http://FILL-IN.example:8000") if first.chip else _DOORS.get(first.cloud, ("openai", "https://FILL-IN.example"))
    yield f"  - id: {first.pool.replace('>', '--')}\n    door: {door}\n"
    yield f"    url: {url.format(region=first.region or 'us-east-1')} # FILL IN\n"
    yield f"    cloud: {first.cloud}\n    region: {first.region or 'global'}\n"
    if "+" in first.pool:
        yield f"    tags: [{', '.join(first.pool.split('+')[1:])}]\n"
    held = {h.kind for h in plan.holdings if (h.period, h.chip, h.cloud, h.region) == (first.period, first.chip, first.cloud, first.region)}
    if first.chip and held == {"reserved"}:
        yield "    provisioned: true # held under terms: paid for whether used or not\n"
    if first.chip:
        yield f"    max_concurrent: {_most(plan, placements)} # replicas held at peak times the batch each was sized with\n"
    else:
        yield f"    secret: {{token: env:{first.cloud.upper().replace('-', '_')}_TOKEN}} # FILL IN\n"
        if door == "vertex":
            yield "    project: FILL-IN\n"
    yield "    models:\n"
    seen = set()
    for p in placements:
        model = served_name(plan.model_of(p.workload))
        if model in seen:
            continue
        seen.add(model)
        yield f"      {model}:\n"
        if p.chip:
            yield f'        chip: {p.chip}\n        engine: "{p.engine}"\n        stage: {p.stage}\n'
            yield '        gate: "" # FILL IN: passed, once its quality is proven; until then at most 1 % goes there\n'
            if p.decode is not None:
                yield f"        price: null # FILL IN: the plan's dollars are those of two pools, {p.usd / p.mtok:.4g} a million tokens in and out\n"
                continue
            prompt, output = _price(plan, p)
            rates = f"usd_per_mtok_in: {prompt:.6g}, usd_per_mtok_cached: {prompt:.6g}, usd_per_mtok_out: {output:.6g}"
            yield f"        price: {{{rates}}} # the plan's\n"
        else:
            yield "        price: null # FILL IN: {usd_per_mtok_in: ..., usd_per_mtok_out: ...}; null is the catalogue's for this model\n"


def _most(plan: Plan, placements: list[Placement]) -> int:
    """Return how many requests at once a pool was sized for: all that its replicas decode."""
    most = 0.0
    for p in placements:
        point = plan.point_of(p)
        peak = p.peak_chips if p.decode is None else p.decode.peak_chips
        most += peak / plan.utilisation_max_frac / point.chips * point.batch
    return max(1, round(most))


def _price(plan: Plan, p: Placement) -> tuple[float, float]:
    """Return dollars per million prompt tokens, whether a cache had them or not, and per million output tokens."""
    prefill = plan.point_of(p).prefill_frac
    outputs = p.usd / p.usd_per_mtok_out if p.usd_per_mtok_out > 0 else 0.0
    prompts = p.mtok - outputs
    return p.usd * prefill / prompts if prompts > 0 else 0.0, p.usd * (1.0 - prefill) / outputs if outputs > 0 else 0.0
