"""A plan's weights for gateways and platforms that people already run.

Each target takes what it can: a weight per pool and model. What it cannot take (stage caps, commitments, replanning) stays behind,
so a compiled plan is a snapshot: compile again when the plan changes.

Sources: LiteLLM docs `routing.md`; Gateway API inference extension `conformance/tests/gateway_weighted_two_pools.yaml` and
`InferenceModelRewrite`; OpenRouter provider routing; HAProxy `server weight`; KServe `LLMInferenceService` canary; vLLM
production-stack `helm/values.yaml`; SkyPilot `sky/utils/schemas.py`.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable, Sequence
from typing import Any
from zlib import crc32

from polysilicon.errors import InputError, did_you_mean
from polysilicon.portfolio import Placement, Plan

Yaml = dict[str, Any]


def compile_plan(plan: Plan, to: str, *, period: int = 0) -> str:
    """Return the text of a plan's placements of one period, in the form of `to`.

    Raises: InputError for an unknown form, or a period without placements.
    """
    if to not in COMPILERS:
        raise InputError(f'"{to}" is not a form a plan can be written in', hint=did_you_mean(to, COMPILERS) or ", ".join(COMPILERS))
    placements = [p for p in plan.placements if p.period == period and p.share_frac > 0]
    if not placements:
        raise InputError(f"period {period} places nothing; the plan has periods {sorted({p.period for p in plan.placements})}", where="plan")
    apart = next((p for p in placements if p.decode is not None), None)
    if apart is not None and to in ("vllm-stack", "skypilot", "kserve", "llm-d"):
        raise InputError(
            f'"{to}" is written for replicas that do both phases; {apart.workload} prefills and decodes apart ({apart.pool})',
            where="plan",
            hint="write weights for a router instead, and deploy the two pools with your engine's own tools",
        )
    return COMPILERS[to](plan, placements)


def integer_weights(shares: Sequence[float], total: int = 100) -> list[int]:
    """Return whole weights that sum to `total`, nearest to the shares (largest remainder).

    >>> integer_weights([0.5, 0.3333, 0.1667])
    [50, 33, 17]

    A share above zero keeps at least one, so that no planned pool disappears.
    """
    scale = sum(shares)
    exact = [s / scale * total for s in shares]
    whole = [max(1, int(x)) if x > 0 else 0 for x in exact]
    for i in sorted(range(len(exact)), key=lambda i: exact[i] - whole[i], reverse=True):
        if sum(whole) >= total:
            break
        whole[i] += 1
    while sum(whole) > total:
        whole[max(range(len(whole)), key=lambda i: whole[i] - exact[i])] -= 1
    return whole


def name_of(text: str) -> str:
    """Return a name that Kubernetes and HAProxy accept.

    >>> name_of("GB300@aws/us-east-1")
    'gb300-aws-us-east-1'
    """
    name = re.sub(r"[^a-z0-9]+", "-", text.casefold()).strip("-")
    if len(name) <= 63:
        return name
    return f"{name[:54].rstrip('-')}-{crc32(text.encode()):08x}"  # cut short, two names must stay two


def _model_of(plan: Plan, workload: str) -> str:
    return next((s.model for s in plan.points if s.workload == workload), workload)


def _by_workload(placements: Sequence[Placement]) -> dict[str, list[Placement]]:
    out: dict[str, list[Placement]] = {}
    for p in placements:
        out.setdefault(p.workload, []).append(p)
    return out


def _dump(*documents: Yaml) -> str:
    from ruamel.yaml import YAML

    out = io.StringIO()
    writer = YAML()
    writer.default_flow_style = False
    for i, document in enumerate(documents):
        if i:
            out.write("---\n")
        writer.dump(document, out)
    return out.getvalue()


def _litellm(plan: Plan, placements: Sequence[Placement]) -> str:
    rows = []
    for workload, group in _by_workload(placements).items():
        model = _model_of(plan, workload)
        for p, weight in zip(group, integer_weights([p.share_frac for p in group]), strict=True):
            pool = name_of(p.pool).upper().replace("-", "_")
            params = {
                "model": f"openai/{model}",
                "api_base": f"os.environ/{pool}_URL",
                "api_key": f"os.environ/{pool}_KEY",
                "weight": weight,
            }
            rows.append({"model_name": model if len(_by_workload(placements)) == 1 else f"{model}/{workload}", "litellm_params": params,
                         "model_info": {"id": f"{name_of(workload)}-{name_of(p.pool)}", "chip": p.chip, "cloud": p.cloud}})  # fmt: skip
    return _dump({"model_list": rows, "router_settings": {"routing_strategy": "simple-shuffle", "num_retries": 2}})


def _httproute(plan: Plan, placements: Sequence[Placement]) -> str:
    documents = []
    for workload, group in _by_workload(placements).items():
        weights = integer_weights([p.share_frac for p in group])
        backends = [
            {
                "group": "inference.networking.k8s.io",
                "kind": "InferencePool",
                "name": name_of(f"{workload}-{p.pool}"),
                "weight": w,
            }
            for p, w in zip(group, weights, strict=True)
        ]
        match = {"headers": [{"name": "X-Gateway-Model-Name", "value": _model_of(plan, workload)}]}
        documents.append({
            "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute", "metadata": {"name": name_of(workload)},
            "spec": {"parentRefs": [{"name": "inference-gateway"}], "rules": [{"matches": [match], "backendRefs": backends}]},
        })  # fmt: skip
    return _dump(*documents)


def _llm_d(plan: Plan, placements: Sequence[Placement]) -> str:
    documents = []
    for workload, group in _by_workload(placements).items():
        weights = integer_weights([p.share_frac for p in group])
        targets = [{"modelRewrite": name_of(f"{workload}-{p.pool}"), "weight": w} for p, w in zip(group, weights, strict=True)]
        match = {"model": {"type": "Exact", "value": _model_of(plan, workload)}}
        documents.append({
            "apiVersion": "inference.networking.x-k8s.io/v1alpha2", "kind": "InferenceModelRewrite", "metadata": {"name": name_of(workload)},
            "spec": {"poolRef": {"group": "inference.networking.k8s.io", "kind": "InferencePool", "name": name_of(workload)},
                     "rules": [{"matches": [match], "targets": targets}]},
        })  # fmt: skip
    return _dump(*documents)


def _openrouter(plan: Plan, placements: Sequence[Placement]) -> str:
    """OpenRouter takes an order, not weights: the largest share first; the shares stand beside it for callers that draw."""
    out = []
    for workload, group in _by_workload(placements).items():
        ordered = sorted(group, key=lambda p: -p.share_frac)
        order = list(dict.fromkeys(p.cloud for p in ordered))
        share = {cloud: round(sum(p.share_frac for p in group if p.cloud == cloud), 6) for cloud in order}
        out.append(
            {
                "model": _model_of(plan, workload),
                "workload": workload,
                "provider": {"order": order, "allow_fallbacks": True},
                "x_share": share,
            }
        )
    return json.dumps(out, indent=1) + "\n"


def _haproxy(plan: Plan, placements: Sequence[Placement]) -> str:
    lines = ["# weights of a plan; at run time: echo 'set weight BACKEND/SERVER N' | socat stdio /run/haproxy.sock", ""]
    for workload, group in _by_workload(placements).items():
        lines += [
            f"backend {name_of(workload)}",
            "    mode http",
            "    balance roundrobin",
            "    timeout connect 5s",
            "    timeout server 15m",  # an answer may be long in coming; health checks find what is dead
            "    option http-no-delay",
            "    option httpchk GET /health",
        ]
        for p, weight in zip(group, integer_weights([p.share_frac for p in group], 256), strict=True):
            server = name_of(p.pool)
            lines.append(f'    server {server} "${{{server.upper().replace("-", "_")}_ADDR}}" weight {weight} check')
        lines.append("")
    return "\n".join(lines)


def _kserve(plan: Plan, placements: Sequence[Placement]) -> str:
    documents = []
    for workload, group in _by_workload(placements).items():
        model = _model_of(plan, workload)
        for p, weight in zip(group, integer_weights([p.share_frac for p in group]), strict=True):
            documents.append({
                "apiVersion": "serving.kserve.io/v1alpha2", "kind": "LLMInferenceService",
                "metadata": {"name": name_of(f"{workload}-{p.pool}"), "labels": {"chip": name_of(p.chip), "cloud": name_of(p.cloud)}},
                "spec": {"model": {"name": model, "uri": f"hf://{model}"}, "replicas": _replicas(plan, p),
                         "router": {"route": {"group": name_of(workload), "weight": weight}, "scheduler": {}}},
            })  # fmt: skip
    return _dump(*documents)


def _replicas(plan: Plan, p: Placement) -> int:
    """Return whole replicas for a placement's peak; the layout of its serving point says how many chips one takes."""
    chips = next((s.chips for s in plan.serving if s.workload == p.workload and s.chip == p.chip), 1)
    return max(1, -(-int(p.peak_chips + 0.999999) // max(1, chips)))


def _vllm_stack(plan: Plan, placements: Sequence[Placement]) -> str:
    specs = []
    for p in placements:
        point = next((s for s in plan.serving if s.workload == p.workload and s.chip == p.chip), None)
        model = _model_of(plan, p.workload)
        spec: Yaml = {
            "name": name_of(f"{p.workload}-{p.pool}"),
            "modelURL": model,
            "replicaCount": _replicas(plan, p),
            "requestGPUType": p.chip,
        }
        if point is not None:
            spec["requestGPU"] = point.layout.chips
            spec["vllmConfig"] = {
                "tensorParallelSize": point.layout.tp,
                "pipelineParallelSize": point.layout.pp,
                "enablePrefixCaching": True,
            }
        specs.append(spec)
    return _dump({"servingEngineSpec": {"modelSpec": specs}})


def _skypilot(plan: Plan, placements: Sequence[Placement]) -> str:
    documents = []
    for p in placements:
        point = next((s for s in plan.serving if s.workload == p.workload and s.chip == p.chip), None)
        holding = [h for h in plan.holdings if h.period == p.period and h.chip == p.chip and h.cloud == p.cloud and h.region == p.region]
        spot = any(h.kind == "spot" for h in holding)
        count = point.layout.chips if point is not None else 1
        replicas = _replicas(plan, p)
        policy: Yaml = {"min_replicas": replicas, "max_replicas": replicas, "dynamic_ondemand_fallback": spot}
        if point is not None:
            policy = {"min_replicas": max(1, replicas // 2), "max_replicas": replicas, "dynamic_ondemand_fallback": spot,
                      "target_qps_per_replica": round(point.requests_per_s, 3)}  # fmt: skip
        documents.append({
            "name": name_of(f"{p.workload}-{p.pool}"),
            "resources": {"infra": f"{p.cloud}/{p.region}", "accelerators": f"{p.chip}:{count}", "use_spot": spot},
            "service": {"readiness_probe": "/health", "replica_policy": policy},
        })  # fmt: skip
    return _dump(*documents)


COMPILERS: dict[str, Callable[[Plan, Sequence[Placement]], str]] = {
    "litellm": _litellm, "httproute": _httproute, "llm-d": _llm_d, "openrouter": _openrouter, "haproxy": _haproxy, "kserve": _kserve,
    "vllm-stack": _vllm_stack, "skypilot": _skypilot,
}  # fmt: skip
