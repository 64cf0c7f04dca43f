"""A plan's weights for gateways and platforms that people already run.

Each target takes what it can: a weight per pool and model. What it cannot take (stage caps, commitments, replanning) stays behind,
so a compiled plan is a snapshot: compile again when the plan changes.

Sources: LiteLLM docs `routing.md`; Gateway API inference extension `conformance/tests/gateway_weighted_two_pools.yaml` and
`InferenceModelRewrite`; OpenRouter provider routing; HAProxy `server weight`; KServe `LLMInferenceService` canary and its configuration
guide; vLLM production-stack `helm/values.yaml` and `helm/templates/deployment-vllm-multi.yaml`; SkyPilot `sky/utils/schemas.py`; images and
packages: "Using Docker" of vLLM, "Installation" of vLLM TPU, "vLLM inference" of ROCm (read 2026-11-27).
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable, Mapping, Sequence
from math import ceil
from typing import Any, NamedTuple
from zlib import crc32

from polysilicon.catalogue import Catalogue
from polysilicon.errors import InputError, InputErrors, did_you_mean
from polysilicon.model.layout import Layout
from polysilicon.portfolio import Placement, Plan, served_name

Yaml = dict[str, Any]
DEPLOYED = ("kserve", "vllm-stack", "skypilot")  # forms that also start the replicas
FILL_IN = "FILL-IN"


class _Maker(NamedTuple):
    """What Kubernetes calls the chips of who makes them, and vLLM's image, its tag and its package for them."""

    resource: str = ""
    image: str = FILL_IN
    tag: str = FILL_IN
    package: str = ""


_MAKERS = {
    "Nvidia": _Maker("nvidia.com/gpu", "vllm/vllm-openai", "latest", "vllm"),
    "AMD": _Maker("amd.com/gpu", "rocm/vllm"),  # tags name a ROCm, an architecture and a vLLM
    "Google": _Maker("google.com/tpu", "vllm/vllm-tpu", "latest", "vllm-tpu"),
    "AWS": _Maker("aws.amazon.com/neuron"),
    "Intel": _Maker("habana.ai/gaudi"),
}
_SKYPILOT = {
    "a100-40gb": "A100:{}", "a100-80gb": "A100-80GB:{}", "h100-sxm": "H100:{}", "h200-sxm": "H200:{}", "b200-sxm": "B200:{}",
    "b300-sxm": "B300:{}", "gb200": "GB200:{}", "gb300": "GB300:{}", "mi300x": "MI300X:{}", "trainium1": "Trainium:{}",
    "trainium2": "Trainium2:{}", "inferentia2": "Inferentia2:{}", "tpu-v5e": "tpu-v5litepod-{}", "tpu-v6e": "tpu-v6e-{}",
}  # fmt: skip
_PORT = 8000


class Names:
    """What platforms call models and chips: what the user says, else what the catalogue knows. What is missing is kept, to be told at once."""

    def __init__(self, catalogue: Catalogue | None = None, given: Mapping[str, str] | None = None) -> None:
        self._catalogue = catalogue
        self._given = dict(given or {})
        self.used: set[str] = set()
        self.problems: dict[str, InputError] = {}

    def hub(self, model: str, precision: str) -> str:
        """Return where a model's weights are on the Hugging Face hub; an engine makes 8 bits of 16 as it loads, and nothing of 4."""
        known = self._catalogue.models.get(model) if self._catalogue is not None else None
        fits = known is not None and (_bits(precision) == _bits(known.native_precision) or (_bits(precision) == 8 and not self.loads_as_is(model)))
        return self._name(served_name(model), known.hf_id if known is not None and fits else "", f"id on the Hugging Face hub in {precision}")

    def loads_as_is(self, model: str) -> bool:
        """Return whether a model's own weights are not of 16 bits, or a place was given for others."""
        known = self._catalogue.models.get(model) if self._catalogue is not None else None
        return served_name(model) in self._given or known is None or _bits(known.native_precision) != 16

    def resource(self, chip: str) -> str:
        """Return what Kubernetes calls a chip."""
        return self._name(chip, self.maker(chip).resource, "resource name in Kubernetes")

    def maker(self, chip: str) -> _Maker:
        """Return what is known of a chip's maker."""
        known = self._catalogue.chips.get(chip) if self._catalogue is not None else None
        return _MAKERS.get(known.vendor, _Maker()) if known is not None else _Maker()

    def accelerator(self, chip: str, count: int) -> str:
        """Return what SkyPilot calls so many chips."""
        name = self._name(chip, _SKYPILOT.get(chip, ""), "accelerator in SkyPilot")
        return name.format(count) if "{}" in name else f"{name}:{count}"

    def _name(self, subject: str, known: str, what: str) -> str:
        found = self._given.get(subject, known)
        if subject in self._given:
            self.used.add(subject)
        if not found:
            message = f"{subject} has no known {what}"
            self.problems[message] = InputError(message, where="plan", hint=f"say it: --name {subject}=...")
        return found or subject

    def check(self) -> None:
        """Raise what was missing, and what was said of something that does not occur.

        Raises: InputErrors.
        """
        unused = [InputError(f'nothing in this form is called "{name}"', where="--name") for name in self._given if name not in self.used]
        if self.problems or unused:
            raise InputErrors([*self.problems.values(), *unused])


def compile_plan(
    plan: Plan, to: str, *, period: int = 0, catalogue: Catalogue | None = None, names: Mapping[str, str] | None = None
) -> str:
    """Return the text of a plan's placements of one period, in the form of `to`.

    Forms that start replicas need to know what platforms call models and chips: from the catalogue, or by `names`.

    Raises: InputError for an unknown form, or a period without placements; InputErrors with every name that is not known.
    """
    if to not in COMPILERS:
        raise InputError(f'"{to}" is not a form a plan can be written in', hint=did_you_mean(to, COMPILERS) or ", ".join(COMPILERS))
    placements = [p for p in plan.placements if p.period == period and p.share_frac > 0]
    if not placements:
        raise InputError(f"period {period} places nothing; the plan has periods {sorted({p.period for p in plan.placements})}", where="plan")
    if to in DEPLOYED:
        placements = [p for p in placements if p.chip]
        if not placements:
            raise InputError(f'period {period} buys tokens alone: "{to}" has nothing to start', where="plan")
    apart = next((p for p in placements if p.decode is not None), None)
    if apart is not None and to in ("vllm-stack", "skypilot", "kserve", "llm-d"):
        raise InputError(
            f'"{to}" is written for replicas that do both phases; {apart.workload} prefills and decodes apart ({apart.pool})',
            where="plan",
            hint="write weights for a router instead, and deploy the two pools with your engine's own tools",
        )
    known = Names(catalogue, names)
    text = COMPILERS[to](plan, placements, known)
    known.check()
    return text


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
    return served_name(plan.model_of(workload))


def _bits(precision: str) -> int:
    return 16 if precision in ("bf16", "fp16") else 4 if "4" in precision else 8


def _weights(plan: Plan, p: Placement, names: Names) -> tuple[str, list[str]]:
    """Return where a placement's weights are, and vLLM's arguments to serve them as the plan was sized."""
    point = plan.point_of(p)
    args = engine_args(point.layout, point.batch)
    if _bits(point.layout.precision) == 8 and not names.loads_as_is(point.model):
        args += ["--quantization", "fp8"]
    return names.hub(point.model, point.layout.precision), args


def engine_args(layout: Layout, batch: int) -> list[str]:
    """Return vLLM's arguments for a layout, and for the largest batch the plan was sized with.

    >>> engine_args(Layout("fp4", "fp8", ep=8, dp=8), 4096)[:5]
    ['--tensor-parallel-size', '1', '--data-parallel-size', '8', '--enable-expert-parallel']
    """
    out = ["--tensor-parallel-size", str(layout.tp)]
    if layout.pp > 1:
        out += ["--pipeline-parallel-size", str(layout.pp)]
    if layout.dp > 1:
        out += ["--data-parallel-size", str(layout.dp)]
    if layout.ep > 1:
        out.append("--enable-expert-parallel")
    out += ["--max-num-seqs", str(max(1, ceil(batch / layout.dp)))]
    if layout.kv_precision == "fp8":
        out += ["--kv-cache-dtype", "fp8"]
    return out


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
    writer.width = 4096
    for i, document in enumerate(documents):
        if i:
            out.write("---\n")
        writer.dump(document, out)
    return out.getvalue()


def _litellm(plan: Plan, placements: Sequence[Placement], names: Names) -> str:
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


def _httproute(plan: Plan, placements: Sequence[Placement], names: Names) -> str:
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


def _llm_d(plan: Plan, placements: Sequence[Placement], names: Names) -> str:
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


def _openrouter(plan: Plan, placements: Sequence[Placement], names: Names) -> str:
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


def _haproxy(plan: Plan, placements: Sequence[Placement], names: Names) -> str:
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


def _kserve(plan: Plan, placements: Sequence[Placement], names: Names) -> str:
    documents = []
    for workload, group in _by_workload(placements).items():
        for p, weight in zip(group, integer_weights([p.share_frac for p in group]), strict=True):
            point = plan.point_of(p)
            hub, args = _weights(plan, p, names)
            container: Yaml = {
                "name": "main", "env": [{"name": "VLLM_ADDITIONAL_ARGS", "value": " ".join(args)}],
                "resources": {"limits": {names.resource(p.chip): str(point.layout.chips)}},
            }  # fmt: skip
            spec: Yaml = {
                "model": {"name": _model_of(plan, workload), "uri": f"hf://{hub}"}, "replicas": _replicas(plan, p),
                "router": {"route": {"group": name_of(workload), "weight": weight}, "scheduler": {}}, "template": {"containers": [container]},
            }  # fmt: skip
            documents.append({
                "apiVersion": "serving.kserve.io/v1alpha2", "kind": "LLMInferenceService",
                "metadata": {"name": name_of(f"{workload}-{p.pool}"), "labels": {"chip": name_of(p.chip), "cloud": name_of(p.cloud)}},
                "spec": spec,
            })  # fmt: skip
    return _dump(*documents)


def _replicas(plan: Plan, p: Placement) -> int:
    """Return whole replicas for a placement's peak, with the idle share that the plan keeps."""
    return max(1, ceil(p.peak_chips / plan.utilisation_max_frac / plan.point_of(p).layout.chips - 1e-6))


def _vllm_stack(plan: Plan, placements: Sequence[Placement], names: Names) -> str:
    specs = []
    for p in placements:
        point = plan.point_of(p)
        hub, args = _weights(plan, p, names)
        specs.append({
            "name": name_of(f"{p.workload}-{p.pool}"), "repository": names.maker(p.chip).image, "tag": names.maker(p.chip).tag,
            "modelURL": hub, "replicaCount": _replicas(plan, p), "requestGPUType": names.resource(p.chip),
            "podAnnotations": {"polysilicon/pool": p.pool}, "requestGPU": point.layout.chips,
            "vllmConfig": {"enablePrefixCaching": True, "tensorParallelSize": point.layout.tp, "extraArgs": args[2:]},
        })  # fmt: skip
    return _dump({"servingEngineSpec": {"modelSpec": specs}})


def _skypilot(plan: Plan, placements: Sequence[Placement], names: Names) -> str:
    documents = []
    for p in placements:
        point = plan.point_of(p)
        holding = [h for h in plan.holdings if h.period == p.period and h.chip == p.chip and h.cloud == p.cloud and h.region == p.region]
        spot = any(h.kind == "spot" for h in holding)
        replicas = _replicas(plan, p)
        policy = {"min_replicas": max(1, replicas // 2), "max_replicas": replicas, "dynamic_ondemand_fallback": spot,
                  "target_qps_per_replica": round(plan.utilisation_max_frac * point.requests_per_s, 3)}  # fmt: skip
        hub, args = _weights(plan, p, names)
        package = names.maker(p.chip).package
        command = ["vllm serve", hub, "--served-model-name", _model_of(plan, p.workload), "--port", str(_PORT), *args]
        documents.append({
            "name": name_of(f"{p.workload}-{p.pool}"),
            "resources": {"infra": f"{p.cloud}/{p.region}", "accelerators": names.accelerator(p.chip, point.layout.chips),
                          "use_spot": spot, "ports": _PORT},
            "service": {"readiness_probe": "/health", "replica_policy": policy},
            "setup": f"pip install {package}" if package else f"echo 'FILL IN: install vLLM for {p.chip}' >&2; exit 1", "run": " ".join(command),
        })  # fmt: skip
    return _dump(*documents)


COMPILERS: dict[str, Callable[[Plan, Sequence[Placement], Names], str]] = {
    "litellm": _litellm, "httproute": _httproute, "llm-d": _llm_d, "openrouter": _openrouter, "haproxy": _haproxy, "kserve": _kserve,
    "vllm-stack": _vllm_stack, "skypilot": _skypilot,
}  # fmt: skip
