"""A plan written for eight gateways and platforms: the very fields and limits their own schemas ask for, and HAProxy's own verdict."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from dataclasses import replace
from math import ceil
from pathlib import Path
from typing import Any

import pytest
from plans import plan
from ruamel.yaml import YAML

from polysilicon.catalogue import load
from polysilicon.errors import InputError, InputErrors
from polysilicon.exchange.compilers import COMPILERS, compile_plan, integer_weights, name_of
from polysilicon.model.layout import Layout
from polysilicon.portfolio import Plan

DNS_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")


NAMES = {
    "kserve": {"planned": "org/planned", "TRN2": "aws.amazon.com/neuron", "TPUv7": "google.com/tpu"},
    "skypilot": {"planned": "org/planned", "TRN2": "Trainium2", "TPUv7": "tpu-v7-{}"},
}
NAMES["vllm-stack"] = NAMES["kserve"]


def documents(to: str, made: Plan | None = None) -> list[dict[str, Any]]:
    return list(YAML(typ="safe").load_all(compile_plan(made or plan(), to, names=NAMES.get(to))))


def shape(value: Any) -> Any:
    """What a document is made of: keys and types, list items folded into one."""
    if isinstance(value, dict):
        return {k: shape(v) for k, v in value.items()}
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    return type(value).__name__


def test_gateway_api_httproute() -> None:
    (route,) = documents("httproute")
    assert (route["apiVersion"], route["kind"]) == ("gateway.networking.k8s.io/v1", "HTTPRoute")
    (rule,) = route["spec"]["rules"]
    for backend in rule["backendRefs"]:
        assert shape(backend) == {"group": "str", "kind": "str", "name": "str", "weight": "int"}
        assert (backend["group"], backend["kind"]) == ("inference.networking.k8s.io", "InferencePool")
        assert 0 <= backend["weight"] <= 1_000_000
        assert DNS_LABEL.fullmatch(backend["name"])
    assert [b["weight"] for b in rule["backendRefs"]] == [70, 30]
    assert shape(rule["matches"]) == [{"headers": [{"name": "str", "value": "str"}]}]


def test_llm_d_model_rewrite() -> None:
    (rewrite,) = documents("llm-d")
    assert (rewrite["apiVersion"], rewrite["kind"]) == ("inference.networking.x-k8s.io/v1alpha2", "InferenceModelRewrite")
    assert set(rewrite["spec"]) == {"poolRef", "rules"}  # both are required, and there is no third
    assert shape(rewrite["spec"]["poolRef"]) == {"group": "str", "kind": "str", "name": "str"}
    (rule,) = rewrite["spec"]["rules"]
    assert rule["matches"] == [{"model": {"type": "Exact", "value": "planned"}}]
    assert all(shape(t) == {"modelRewrite": "str", "weight": "int"} and 1 <= t["weight"] <= 1_000_000 for t in rule["targets"])


def test_kserve() -> None:
    services = documents("kserve")
    for one in services:
        assert (one["apiVersion"], one["kind"]) == ("serving.kserve.io/v1alpha2", "LLMInferenceService")
        assert shape(one["spec"]) == {
            "model": {"name": "str", "uri": "str"}, "replicas": "int", "router": {"route": {"group": "str", "weight": "int"}, "scheduler": {}},
            "template": {"containers": [{"name": "str", "env": [{"name": "str", "value": "str"}], "resources": {"limits": {
                next(iter(one["spec"]["template"]["containers"][0]["resources"]["limits"])): "str"}}}]},
        }  # fmt: skip
        assert one["spec"]["model"]["uri"] == "hf://org/planned"
        assert DNS_LABEL.fullmatch(one["metadata"]["name"])
    assert len({one["spec"]["router"]["route"]["group"] for one in services}) == 1, "a canary group needs one name, and a weight each"
    assert [one["spec"]["router"]["route"]["weight"] for one in services] == [70, 30]


def test_litellm() -> None:
    (config,) = documents("litellm")
    assert set(config) == {"model_list", "router_settings"}
    for row in config["model_list"]:
        assert shape(row["litellm_params"]) == {"model": "str", "api_base": "str", "api_key": "str", "weight": "int"}
        assert row["litellm_params"]["api_key"].startswith("os.environ/"), "no secret in the file"
        assert row["litellm_params"]["model"].partition("/")[0] == "openai"
    assert config["router_settings"]["routing_strategy"] == "simple-shuffle", "the one that heeds weights"
    assert [row["litellm_params"]["weight"] for row in config["model_list"]] == [70, 30]


def test_vllm_production_stack() -> None:
    (values,) = documents("vllm-stack")
    for spec in values["servingEngineSpec"]["modelSpec"]:
        assert shape(spec) == {
            "name": "str", "repository": "str", "tag": "str", "modelURL": "str", "replicaCount": "int", "requestGPUType": "str", "requestGPU": "int",
            "podAnnotations": {"polysilicon/pool": "str"},
            "vllmConfig": {"tensorParallelSize": "int", "enablePrefixCaching": "bool", "extraArgs": ["str"]},
        }  # fmt: skip
        assert "/" in spec["requestGPUType"], "a resource of Kubernetes, not a chip"


def test_skypilot() -> None:
    for task in documents("skypilot"):
        assert set(task) == {"name", "resources", "service", "setup", "run"}
        assert f"--port {task['resources']['ports']}" in task["run"]
        assert re.fullmatch(r"[a-z0-9-]+(/[a-z0-9-]+){0,2}", task["resources"]["infra"])
        assert re.fullmatch(r"[A-Za-z0-9]+:\d+|tpu-v\w+-\d+", task["resources"]["accelerators"])
        policy = task["service"]["replica_policy"]
        allowed = {"min_replicas", "max_replicas", "target_qps_per_replica", "dynamic_ondemand_fallback", "spot_placer"}
        assert set(policy) <= allowed
        assert 1 <= policy["min_replicas"] <= policy["max_replicas"]


def wide() -> Plan:
    """The same plan, its replicas spread over eight chips by data and expert parallelism, on chips of the catalogue."""
    made = plan()
    layout = Layout("fp4", "fp8", tp=1, ep=8, dp=8)
    chips = ("gb200", "mi300x")
    points = tuple(replace(s, layout=layout, batch=4096, chip=c, model="gpt-oss-120b") for s, c in zip(made.serving, chips, strict=True))
    placements = tuple(replace(p, chip=c) for p, c in zip(made.placements, chips, strict=True))
    return replace(made, serving=points, placements=placements, utilisation_max_frac=0.85)


def test_what_starts_replicas_says_how_the_plan_spreads_them_and_how_many_it_holds() -> None:
    catalogue = load()
    want = "--tensor-parallel-size 1 --data-parallel-size 8 --enable-expert-parallel --max-num-seqs 512 --kv-cache-dtype fp8"
    first, second = YAML(typ="safe").load_all(compile_plan(wide(), "kserve", catalogue=catalogue))
    (main,) = first["spec"]["template"]["containers"]
    assert main["env"][0]["value"] == want
    assert main["resources"]["limits"] == {"nvidia.com/gpu": "8"}
    assert second["spec"]["template"]["containers"][0]["resources"]["limits"] == {"amd.com/gpu": "8"}
    assert first["spec"]["model"] == {"name": "gpt-oss-120b", "uri": "hf://openai/gpt-oss-120b"}
    peak = wide().placements[0].peak_chips
    assert first["spec"]["replicas"] == ceil(peak / 0.85 / 8)
    (values,) = YAML(typ="safe").load_all(compile_plan(wide(), "vllm-stack", catalogue=catalogue))
    spec = values["servingEngineSpec"]["modelSpec"][0]
    images = [f"{s['repository']}:{s['tag']}" for s in values["servingEngineSpec"]["modelSpec"]]
    assert images == ["vllm/vllm-openai:latest", "rocm/vllm:FILL-IN"]
    assert spec["vllmConfig"]["tensorParallelSize"] == 1
    assert " ".join(spec["vllmConfig"]["extraArgs"]) == want.removeprefix("--tensor-parallel-size 1 ")
    task, other = YAML(typ="safe").load_all(compile_plan(wide(), "skypilot", catalogue=catalogue))
    assert task["resources"]["accelerators"] == "GB200:8"
    assert (task["setup"], other["setup"]) == ("pip install vllm", "echo 'FILL IN: install vLLM for mi300x' >&2; exit 1")
    assert task["run"] == f"vllm serve openai/gpt-oss-120b --served-model-name gpt-oss-120b --port 8000 {want}"


def test_what_a_platform_calls_things_is_said_or_known_and_never_made_up() -> None:
    with pytest.raises(InputErrors) as caught:
        compile_plan(plan(), "vllm-stack", catalogue=load())
    told = str(caught.value)
    assert all(words in told for words in ("TRN2 has no known resource name in Kubernetes", "TPUv7 has", "planned has no known id on the Hugging"))
    assert "--name planned=" in told
    made = wide()
    fp8 = replace(made, serving=tuple(replace(s, model="llama-3.1-70b", layout=Layout("fp8", tp=8)) for s in made.serving))
    task = next(iter(YAML(typ="safe").load_all(compile_plan(fp8, "skypilot", catalogue=load()))))
    assert "meta-llama/Meta-Llama-3.1-70B" in task["run"]
    assert task["run"].endswith("--quantization fp8"), "its own weights are of 16 bits: made on loading"
    fp4 = replace(fp8, serving=tuple(replace(s, layout=Layout("fp4", tp=8)) for s in fp8.serving))
    with pytest.raises(InputErrors, match=r"llama-3.1-70b has no known id on the Hugging Face hub in fp4"):
        compile_plan(fp4, "skypilot", catalogue=load())
    task = next(iter(YAML(typ="safe").load_all(compile_plan(fp4, "skypilot", catalogue=load(), names={"llama-3.1-70b": "org/l70-fp4"}))))
    assert "org/l70-fp4" in task["run"] and "--quantization" not in task["run"]
    with pytest.raises(InputErrors, match='nothing in this form is called "plannde"'):
        compile_plan(plan(), "kserve", names={**NAMES["kserve"], "plannde": "x"})
    bought = replace(plan(), placements=tuple(replace(p, chip="") for p in plan().placements))
    with pytest.raises(InputError, match="buys tokens alone"):
        compile_plan(bought, "skypilot")


def test_openrouter() -> None:
    for row in json.loads(compile_plan(plan(), "openrouter")):
        assert set(row["provider"]) <= {"order", "allow_fallbacks", "only", "ignore", "sort", "require_parameters", "data_collection"}
        assert row["provider"]["order"] == sorted(row["x_share"], key=lambda cloud: -row["x_share"][cloud])
        assert row["x_share"] == pytest.approx({"aws": 0.7, "gcp": 0.3})


def test_haproxy_itself_accepts_it(tmp_path: Path) -> None:
    text = compile_plan(plan(), "haproxy")
    weights = [int(x) for x in re.findall(r" weight (\d+)", text)]
    assert sum(weights) == 256
    assert all(1 <= w <= 256 for w in weights)
    binary = shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin:/usr/local/sbin")
    if binary is None:
        pytest.skip("HAProxy is not installed")
    front = "frontend f\n    mode http\n    timeout client 15m\n    bind 127.0.0.1:1\n    default_backend chat\n\n"
    path = tmp_path / "haproxy.cfg"
    path.write_text(front + text)
    addresses = dict.fromkeys(re.findall(r"\$\{(\w+)\}", text), "127.0.0.1:2")
    done = subprocess.run([binary, "-c", "-f", str(path)], env={**os.environ, **addresses}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr, "an ignored `http-no-delay` would cost every stream 187 ms"


def test_names_that_are_cut_stay_apart() -> None:
    long = "a-workload-with-quite-a-long-name-for-agents-"
    one, two = (name_of(f"{long}GB300@azure/germany-west-central-{zone}") for zone in "12")
    assert one != two
    assert all(DNS_LABEL.fullmatch(n) for n in (one, two))
    assert name_of("GB300@aws/us-east-1") == "gb300-aws-us-east-1"
    assert sum(integer_weights([0.98, 0.01, 0.005, 0.005])) == 100
    with pytest.raises(InputError, match="period 3 places nothing"):
        compile_plan(plan(), "litellm", period=3)
    assert len(COMPILERS) == 8
